//! The HTTP protocol binding: an event in the headers and the body of a message, in binary mode.
//!
//! Each attribute is a header `ce-NAME` whose value is percent-encoded; `Content-Type` is `datacontenttype`; the body is the
//! data untouched. In structured and batch mode the body is the whole event, or many, in [JSON](crate::json).
//!
//! Choices where the binding leaves room: an empty body is no data, since HTTP does not tell the two apart in a request. A
//! percent sign that is not followed by two hexadecimal digits stands for itself. A header that comes twice is refused: two
//! readers that choose differently are a way past a filter.
//!
//! Source: CloudEvents HTTP protocol binding 1.0.2, section 3.1.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::excerpt;
use crate::parts::{Parts, name};
use crate::{Event, InvalidEvent, Value};

/// What the names of attributes' headers start with.
pub const PREFIX: &str = "ce-";

const CONTENT_TYPE: &str = "content-type";

/// Why a message is no event in binary mode. Its sender has to fix it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A header comes twice.
    #[error("header {header:?} comes twice")]
    Repeated {
        /// Its name, shortened.
        header: String,
    },
    /// A header is not UTF-8, also once it is percent-decoded.
    #[error("header {header:?} is not UTF-8")]
    NotUtf8 {
        /// Its name, shortened.
        header: String,
    },
    /// An attribute breaks a rule.
    #[error("header {header:?} is not possible")]
    Header {
        /// The header's name, shortened.
        header: String,
        /// What is wrong with it.
        #[source]
        source: InvalidEvent,
    },
    /// The attributes together break a rule.
    #[error("the event is not valid")]
    Invalid(#[from] InvalidEvent),
}

/// Reads an event in binary mode. `headers` are all headers of the message, with names in lower case.
///
/// ```
/// use annals_event::http;
///
/// let headers = [
///     ("host", "localhost"), ("content-type", "application/json"), ("ce-specversion", "1.0"), ("ce-id", "1"),
///     ("ce-source", "/shop"), ("ce-type", "OrderPaid"), ("ce-subject", "caf%C3%A9"),
/// ];
/// let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
/// let event = http::decode_binary(headers, "[1.50]".into())?;
/// assert_eq!(event.subject(), Some("café"));
/// # Ok::<(), http::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeError`] says which header breaks which rule.
pub fn decode_binary<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
) -> Result<Event, DecodeError> {
    let mut parts = Parts { data: (!body.is_empty()).then_some(body), ..Parts::default() };
    let mut seen = BTreeSet::new();
    for (header, value) in headers {
        let attribute = match header.strip_prefix(PREFIX) {
            Some(attribute) => attribute,
            None if header == CONTENT_TYPE => name::DATA_CONTENT_TYPE,
            None => continue,
        };
        if !seen.insert(attribute) {
            return Err(DecodeError::Repeated { header: excerpt(header) });
        }
        let text = if header == CONTENT_TYPE { utf8(value.to_vec()) } else { utf8(decode_value(value)) };
        let text = text.ok_or_else(|| DecodeError::NotUtf8 { header: excerpt(header) })?;
        let set = parts.set(attribute, Value::String(text));
        set.map_err(|source| DecodeError::Header { header: excerpt(header), source })?;
    }
    Ok(parts.into_event()?)
}

fn utf8(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// Takes away quotes and then percent signs (section 3.1.3.2).
fn decode_value(value: &[u8]) -> Vec<u8> {
    match value {
        [b'"', quoted @ .., b'"'] => percent_decode(&unescape(quoted)),
        _ => percent_decode(value),
    }
}

/// The inside of a quoted string, without its backslashes (RFC 7230, section 3.2.6).
fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    plain
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                plain.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "A234-1234-1234"),
        ("ce-source", "/mycontext"),
        ("ce-type", "Sent"),
    ];

    fn decoded(more: &[(&str, &str)], body: &'static str) -> Result<Event, DecodeError> {
        let headers = REQUIRED.iter().chain(more).map(|(name, value)| (*name, value.as_bytes()));
        decode_binary(headers, Bytes::from_static(body.as_bytes()))
    }

    fn subject(value: &str) -> String {
        decoded(&[("ce-subject", value)], "").unwrap().subject().unwrap().to_owned()
    }

    #[test]
    fn attributes_come_from_headers_and_data_from_the_body() {
        let more = [
            ("accept", "*/*"),
            ("content-type", "application/json; charset=utf-8"),
            ("ce-time", "2018-04-05T03:56:24Z"),
            ("ce-comexampleextension", "5"),
        ];
        let event = decoded(&more, "{\"a\":1}").unwrap();
        assert_eq!((event.id(), event.source(), event.type_name()), ("A234-1234-1234", "/mycontext", "Sent"));
        assert_eq!(event.data_content_type(), Some("application/json; charset=utf-8"));
        assert_eq!(event.extension("comexampleextension"), Some(&Value::from("5")));
        assert_eq!(event.extensions().len(), 1);
        assert_eq!(event.data().map(|data| &data[..]), Some(&b"{\"a\":1}"[..]));
        assert_eq!(decoded(&[], "").unwrap().data(), None);
    }

    #[test]
    fn values_are_unquoted_and_percent_decoded() {
        // The first is the example of the binding, section 3.1.3.2.
        assert_eq!(subject("Euro%20%E2%82%AC%20%F0%9F%98%80"), "Euro € 😀");
        assert_eq!(subject("\"a \\\"quoted\\\" text%21\""), "a \"quoted\" text!");
        assert_eq!(subject("100%"), "100%");
        assert_eq!(subject("100%zz%4"), "100%zz%4");
        assert_eq!(subject("%2f%2F"), "//");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            matches!(decoded(&[("ce-id", "2")], ""), Err(DecodeError::Repeated { header }) if header == "ce-id")
        );
        assert!(matches!(decoded(&[("ce-subject", "%ff")], ""), Err(DecodeError::NotUtf8 { .. })));
        assert!(
            matches!(decoded(&[("ce-no_good", "1")], ""), Err(DecodeError::Header { header, .. }) if header == "ce-no_good")
        );
        assert!(matches!(decoded(&[("ce-data", "1")], ""), Err(DecodeError::Header { .. })));
        let missing = decode_binary([("ce-id", &b"1"[..])], Bytes::new());
        assert!(matches!(
            missing,
            Err(DecodeError::Invalid(InvalidEvent::Missing { attribute: "specversion" }))
        ));
        assert!(matches!(
            decoded(&[("ce-subject", "a%0Ab")], ""),
            Err(DecodeError::Invalid(InvalidEvent::Character { .. }))
        ));
    }
}
