//! The JSON batch format: an array of events.
//!
//! Source: CloudEvents JSON event format 1.0.2, section 4.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{DecodeError, decode};
use crate::Event;

/// The media type of the batch format.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";

/// Events of one batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;

/// Why a text is no batch of events. Its sender has to fix it.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The text is not one JSON array, or has too many members.
    #[error("the text is not a JSON array that holds events")]
    Syntax(#[source] serde_json::Error),
    /// One member is not an event.
    #[error("member {index} of the batch is not an event")]
    Event {
        /// Its place, from zero.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}

/// Reads a batch. It may be empty.
///
/// ```
/// use annals_event::json;
///
/// let text = r#"[{"specversion":"1.0","id":"1","source":"/shop","type":"OrderPaid"}]"#;
/// assert_eq!(json::decode_batch(text.as_bytes())?[0].type_name(), "OrderPaid");
/// # Ok::<(), json::BatchError>(())
/// ```
///
/// # Errors
/// [`BatchError`] says which event breaks which rule.
pub fn decode_batch(text: &[u8]) -> Result<Vec<Event>, BatchError> {
    let Members(members) = serde_json::from_slice(text).map_err(BatchError::Syntax)?;
    let event = |(index, member): (usize, &RawValue)| {
        decode(member.get().as_bytes()).map_err(|source| BatchError::Event { index, source })
    };
    members.into_iter().enumerate().map(event).collect()
}

/// The members of a JSON array, of which there are not too many.
struct Members<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = sequence.next_element()? {
            if members.len() == BATCH_EVENTS_MAX {
                return Err(serde::de::Error::custom(format_args!("more than {BATCH_EVENTS_MAX} events")));
            }
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"OrderPaid","data":[1.50]}"#;

    #[test]
    fn a_batch_is_an_array_of_events() {
        assert!(decode_batch(b"[]").unwrap().is_empty());
        let events = decode_batch(format!("[{EVENT} , {EVENT}]").as_bytes()).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].data().map(|data| &data[..]), Some(&b"[1.50]"[..]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = decode_batch(format!("[{EVENT},{{\"id\":\"2\"}}]").as_bytes());
        assert!(matches!(wrong, Err(BatchError::Event { index: 1, .. })));
        for text in ["", "{}", "[", "[1,]", EVENT, "[] []"] {
            assert!(matches!(decode_batch(text.as_bytes()), Err(BatchError::Syntax(_))), "{text}");
        }
        let many = format!("[{}]", vec!["1"; BATCH_EVENTS_MAX + 1].join(","));
        assert!(matches!(decode_batch(many.as_bytes()), Err(BatchError::Syntax(_))));
    }
}
