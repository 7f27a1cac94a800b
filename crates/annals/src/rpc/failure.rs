//! What a responder says when it cannot answer, and how that travels.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body::{Body, JsonError};
use crate::ErrorKind;

/// The content type of a reply that is a failure.
const CONTENT_TYPE: &str = "application/vnd.annals.failure+json";

/// Why a request was not answered, in the words of the responder.
///
/// ```
/// use annals::ErrorKind;
/// use annals::rpc::Failure;
/// let failure = Failure::input("insufficient-funds", "only 20 left").with_details(&20)?;
/// assert_eq!((failure.kind, failure.details::<u32>()?), (ErrorKind::Input, Some(20)));
/// # Ok::<(), annals::rpc::JsonError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What the requester can do about it.
    pub kind: ErrorKind,
    /// What programs tell it by, such as `insufficient-funds`.
    pub code: String,
    /// What people read.
    pub message: String,
    details: Option<serde_json::Value>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
}

impl Failure {
    /// A failure of any kind.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), details: None }
    }

    /// The request is wrong and stays wrong.
    pub fn input(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, code, message)
    }

    /// It may work the next time.
    pub fn retry(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, code, message)
    }

    /// Something that the responder needs does not work.
    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, code, message)
    }

    /// A mistake in the responder.
    pub fn bug(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, code, message)
    }

    /// Adds what a program needs to act upon it.
    ///
    /// # Errors
    /// [`JsonError`] if `details` cannot be written as JSON.
    pub fn with_details<T: Serialize>(mut self, details: &T) -> Result<Self, JsonError> {
        self.details = Some(serde_json::to_value(details)?);
        Ok(self)
    }

    /// What was added, if anything was.
    ///
    /// # Errors
    /// [`JsonError`] if it is something else than `T`.
    pub fn details<T: DeserializeOwned>(&self) -> Result<Option<T>, JsonError> {
        Ok(self.details.clone().map(serde_json::from_value).transpose()?)
    }

    pub(super) fn to_body(&self) -> Body {
        let kind = kind_name(self.kind).to_owned();
        let (code, message) = (self.code.clone(), self.message.clone());
        let written = Written { kind, code, message, details: self.details.clone() };
        // Texts and a JSON value: nothing here cannot be written.
        Body::json(&written).unwrap_or_default().with_content_type(CONTENT_TYPE)
    }

    /// The failure, if a reply is one.
    pub(super) fn from_body(body: &Body) -> Option<Self> {
        if body.content_type() != Some(CONTENT_TYPE) {
            return None;
        }
        Some(match body.parse::<Written>() {
            Ok(Written { kind, code, message, details }) => {
                Self { kind: kind_from(&kind), code, message, details }
            }
            Err(error) => Self::bug("unreadable-failure", error.to_string()),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Names that are sent: never change one.
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::Input => "input",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Bug => "bug",
    }
}

/// A kind that a newer responder may send is none to act upon by itself.
fn kind_from(name: &str) -> ErrorKind {
    match name {
        "retry" => ErrorKind::Retry,
        "input" => ErrorKind::Input,
        "conflict" => ErrorKind::Conflict,
        "corrupt" => ErrorKind::Corrupt,
        "bug" => ErrorKind::Bug,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back() {
        use ErrorKind as K;
        for kind in [K::Retry, K::Input, K::Conflict, K::Unavailable, K::Corrupt, K::Bug] {
            let failure = Failure::new(kind, "code", "why").with_details(&[1, 2]).expect("numbers");
            assert_eq!(Failure::from_body(&failure.to_body()), Some(failure));
        }
    }

    #[test]
    fn it_is_written_like_this() {
        let body = Failure::input("out-of-stock", "none left").to_body();
        assert_eq!(&body.bytes()[..], br#"{"kind":"input","code":"out-of-stock","message":"none left"}"#);
        assert_eq!(body.content_type(), Some("application/vnd.annals.failure+json"));
    }

    #[test]
    fn only_the_content_type_makes_a_failure() {
        assert_eq!(Failure::from_body(&Body::from(r#"{"kind":"bug","code":"","message":""}"#)), None);
        let broken = Body::from("no JSON").with_content_type(CONTENT_TYPE);
        assert_eq!(
            Failure::from_body(&broken).map(|failure| failure.code),
            Some("unreadable-failure".into())
        );
    }
}
