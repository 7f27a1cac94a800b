//! What goes wrong between a client and its server.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::ErrorKind;

/// What all types of problems of Annals begin with.
const URN: &str = "urn:annals:problem:";

/// Why the server did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No server can have this address.
    #[error("{address:?} is no address of a server: {reason}; write for example http://127.0.0.1:7117")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no connection. The server knows nothing of the request.
    #[error("the server at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The request went out and no answer came back. It may have been carried out.
    #[error("no answer came from {address}: {reason}")]
    Lost {
        /// The server's address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The server refuses the request.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what was expected: perhaps something else listens there, or the server is of another version.
    #[error("the answer of {address} cannot be understood: {reason}")]
    Unexpected {
        /// The server's address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be put into words.
    #[error("{0}")]
    Input(String),
}

impl ClientError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Address { .. } | Self::Input(_) => ErrorKind::Input,
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Lost { .. } => ErrorKind::Retry,
            Self::Refused(problem) => problem.kind(),
            Self::Unexpected { .. } => ErrorKind::Bug,
        }
    }

    /// The problem that the server has named, if it is this one.
    pub fn problem(&self, name: &str) -> Option<&Problem> {
        match self {
            Self::Refused(problem) if problem.name == name => Some(problem),
            _ => None,
        }
    }
}

/// A problem document of the server (RFC 9457).
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What kind of problem it is, such as `unknown-store`; empty if the status says it all.
    pub name: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong and what to do about it.
    pub detail: String,
    /// More, by the kind of problem.
    pub members: Map<String, Value>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Problem {
    /// Reads the body of an answer that is no success. What is no problem document becomes one by its status.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let parsed = serde_json::from_slice::<Document>(body);
        let Ok(Document { kind, title, detail, members }) = parsed else {
            let (name, members) = (String::new(), Map::new());
            return Self { name, status, detail: format!("the server answered {status}"), members };
        };
        let name = kind.strip_prefix(URN).unwrap_or_default().to_owned();
        let detail = if detail.is_empty() { title } else { detail };
        Self { name, status, detail, members }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match (self.name.as_str(), self.status) {
            ("wrong-expected-revision" | "condition-failed", _) => ErrorKind::Conflict,
            ("corrupt", _) => ErrorKind::Corrupt,
            ("unavailable" | "unknown-store" | "not-authorized", _) => ErrorKind::Unavailable,
            (_, 429 | 502..=504) => ErrorKind::Retry,
            (_, 400..=499) => ErrorKind::Input,
            _ => ErrorKind::Bug,
        }
    }

    /// Whether it may pass by itself.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.status, 429 | 502..=504)
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn is_unknown(&self) -> bool {
        match self.name.as_str() {
            // It was appended perhaps, and not known to be durable when the server stopped.
            "unavailable" | "timeout" => true,
            // Something in between: a proxy.
            "" => self.status >= 500,
            _ => false,
        }
    }

    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member)?.as_str()
    }

    pub(crate) fn number(&self, member: &str) -> Option<u64> {
        self.members.get(member)?.as_u64()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use crate::ErrorKind;

    #[test]
    fn a_problem_is_read_with_its_members() {
        let body = br#"{"type":"urn:annals:problem:wrong-expected-revision","title":"Conflict","status":409,
            "detail":"no","stream":"a-1","expected":"no_stream","actual":3}"#;
        let problem = Problem::read(409, body);
        assert_eq!((problem.name.as_str(), problem.kind()), ("wrong-expected-revision", ErrorKind::Conflict));
        assert_eq!((problem.text("stream"), problem.number("actual")), (Some("a-1"), Some(3)));
        assert!(!problem.is_unknown());
    }

    #[test]
    fn what_something_in_between_says_is_a_problem_too() {
        let problem = Problem::read(502, b"<html>Bad gateway</html>");
        assert_eq!((problem.name.as_str(), problem.kind()), ("", ErrorKind::Retry));
        assert!(problem.is_unknown() && problem.may_pass());
        assert_eq!(problem.to_string(), "the server answered 502");
    }
}
