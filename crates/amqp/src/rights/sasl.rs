//! Names and passwords as clients send them.
//!
//! Source: RFC 4616 (PLAIN); RabbitMQ's documentation of AMQPLAIN, which is a field table without its length.

use bytes::Bytes;

use crate::reply::{Exception, command_invalid, syntax_error};
use crate::wire::table::Table;
use crate::wire::value::Value;

/// The mechanisms on offer, the better one first.
pub(crate) const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Bytes,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Reads a client's response to a mechanism.
pub(crate) fn read(mechanism: &str, response: &Bytes) -> Result<Credentials, Exception> {
    match mechanism {
        "PLAIN" => plain(response).ok_or_else(|| syntax_error("response of mechanism PLAIN is invalid")),
        "AMQPLAIN" => amqplain(response),
        other => Err(command_invalid(format!("unknown authentication mechanism '{other}'"))),
    }
}

/// `authzid NUL name NUL password`.
fn plain(response: &Bytes) -> Option<Credentials> {
    let first = response.iter().position(|byte| *byte == 0)? + 1;
    let second = first + response[first..].iter().position(|byte| *byte == 0)?;
    let user = std::str::from_utf8(&response[first..second]).ok()?.to_owned();
    let password = response.slice(second + 1..);
    (!password.contains(&0)).then_some(Credentials { user, password })
}

fn amqplain(response: &Bytes) -> Result<Credentials, Exception> {
    let invalid = |_| syntax_error("response of mechanism AMQPLAIN is invalid");
    let table = Table::from_wire(response.clone()).map_err(invalid)?;
    match (table.get("LOGIN"), table.get("PASSWORD")) {
        (Some(Value::LongString(user)), Some(Value::LongString(password))) => {
            let user = String::from_utf8_lossy(&user).into_owned();
            Ok(Credentials { user, password })
        }
        _ => Err(syntax_error("AMQPLAIN auth info needs LOGIN and PASSWORD as strings")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyCode;

    fn guest() -> Credentials {
        Credentials { user: "guest".to_owned(), password: Bytes::from_static(b"secret") }
    }

    #[test]
    fn both_mechanisms_are_read() {
        let plain = Bytes::from_static(b"\0guest\0secret");
        assert_eq!(read("PLAIN", &plain), Ok(guest()));
        let table = [("LOGIN", Value::string("guest")), ("PASSWORD", Value::string("secret"))];
        assert_eq!(read("AMQPLAIN", Table::from_entries(table).as_bytes()), Ok(guest()));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        let code = |mechanism, response| read(mechanism, &Bytes::from_static(response)).map_err(|e| e.code);
        assert_eq!(code("PLAIN", b"guest"), Err(ReplyCode::SyntaxError));
        assert_eq!(code("PLAIN", b"\0guest"), Err(ReplyCode::SyntaxError));
        assert_eq!(code("PLAIN", b"\0guest\0a\0b"), Err(ReplyCode::SyntaxError));
        assert_eq!(code("AMQPLAIN", b"\x05LOGIN"), Err(ReplyCode::SyntaxError));
        assert_eq!(code("AMQPLAIN", b""), Err(ReplyCode::SyntaxError));
        assert_eq!(code("CRAM-MD5", b""), Err(ReplyCode::CommandInvalid));
    }
}
