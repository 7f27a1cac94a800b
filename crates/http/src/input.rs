//! JSON in the bodies of requests.

use annals_broker::api::stores::{Expected, Revision, StreamName};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::Problem;
use crate::problem::Kind;
use crate::query::parse_expected;

/// The media type of a body, in lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// That the body is JSON.
///
/// # Errors
/// 415. It also keeps web pages out: a browser asks first before it sends JSON to another site's address.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        found => Err(unsupported(found, "application/json")),
    }
}

pub(crate) fn unsupported(found: Option<&str>, wanted: &str) -> Problem {
    let found = found
        .map_or_else(|| "there is no Content-Type".to_owned(), |found| format!("Content-Type is {found:?}"));
    Problem::of(Kind::UnsupportedMediaType, format!("{found}, and must be {wanted}"))
}

/// Reads a whole body, which is one object.
///
/// # Errors
/// As [`json`].
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // A structure would be read from an array too, member by member.
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => json(body),
        _ => Err(Problem::invalid("", "the body must be a JSON object")),
    }
}

/// Reads a whole body.
///
/// # Errors
/// 400, which names the member that is wrong. Only then is the body read a second time, keeping track of where it is.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(found) => {
                let path = found.path().to_string();
                let field = if matches!(&*path, "." | "?") { "" } else { &path };
                Problem::invalid(field, format!("the body is not what is asked for: {}", found.inner()))
            }
            // What follows the value is wrong.
            Ok(_) => Problem::invalid("", format!("the body is not what is asked for: {error}")),
        }
    })
}

/// A stream's name in a path, parameter or member.
pub(crate) fn stream_name(field: &str, name: &str) -> Result<StreamName, Problem> {
    StreamName::new(name)
        .map_err(|error| Problem::invalid(field, format!("stream name {name:?} is not possible: {error}")))
}

/// [`Expected`] as a member: a word or a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedMember(pub(crate) Expected);

impl Default for ExpectedMember {
    fn default() -> Self {
        Self(Expected::Any)
    }
}

impl<'de> Deserialize<'de> for ExpectedMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Expected;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"any\", \"no_stream\", \"exists\" or a revision")
            }

            fn visit_u64<E: de::Error>(self, revision: u64) -> Result<Expected, E> {
                Ok(Expected::Exact(Revision(revision)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                parse_expected(text).map_err(E::custom)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Expected, E> {
                Ok(Expected::Any)
            }
        }
        deserializer.deserialize_any(Words).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        expected: ExpectedMember,
        #[serde(default)]
        items: Vec<Item>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        name: String,
    }

    #[test]
    fn the_member_that_is_wrong_is_named() {
        let refused = |body: &str| {
            let problem = object::<Sample>(body.as_bytes()).expect_err("refused");
            assert_eq!(problem.status, 400);
            problem.members.get("field").and_then(|field| field.as_str()).unwrap_or_default().to_owned()
        };
        assert_eq!(refused(r#"{"items":[{"name":"a"},{"name":5}]}"#), "items[1].name");
        assert_eq!(refused(r#"{"items":[{}]}"#), "items[0]");
        assert_eq!(refused(r#"{"item":[]}"#), "item");
        assert_eq!(refused(r#"{"expected":"never"}"#), "expected");
        assert_eq!(refused(r#"{"expected":-1}"#), "expected");
        assert_eq!(refused(r#"{"items":"#), "items");
        assert_eq!(refused(r"{} {}"), "");
        assert_eq!(refused(""), "");
        assert_eq!(refused("{"), "");
        assert_eq!(refused("[]"), "");
    }

    #[test]
    fn expectations_are_words_numbers_or_nothing() {
        let read = |body: &str| json::<Sample>(body.as_bytes()).unwrap().expected.0;
        assert_eq!(read("{}"), Expected::Any);
        assert_eq!(read(r#"{"expected":null}"#), Expected::Any);
        assert_eq!(read(r#"{"expected":"no_stream"}"#), Expected::NoStream);
        assert_eq!(read(r#"{"expected":3}"#), Expected::Exact(Revision(3)));
        assert_eq!(read(r#"{"expected":"3"}"#), Expected::Exact(Revision(3)));
    }
}
