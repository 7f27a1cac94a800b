//! What a stream keeps of its events, and what users want to remember about it.
//!
//! Stored as the JSON data of an event of type [`METADATA_TYPE`] in the stream `$$name`, with the member names that
//! KurrentDB uses: `$maxAge` (seconds), `$maxCount`, `$tb` (truncate before). Everything else in the object is the user's.
//! A `$tb` of 9223372036854775807 says that the stream was deleted; the next append brings it back without its past.

use serde_json::{Map, Value};

use crate::{Position, Revision};

/// The type of events that hold metadata.
pub const METADATA_TYPE: &str = "$metadata";
/// The type of the event that ends a stream for good.
pub const TOMBSTONE_TYPE: &str = "$streamDeleted";
/// Bytes of metadata.
pub const METADATA_BYTES_MAX: usize = 64 << 10;

/// The `$tb` of a deleted stream.
const DELETED: u64 = i64::MAX.cast_unsigned();
const MAX_AGE: &str = "$maxAge";
const MAX_COUNT: &str = "$maxCount";
const TRUNCATE_BEFORE: &str = "$tb";

/// The metadata of one stream. Replaced as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StreamMetadata {
    /// Events older than so many seconds are not shown, and removed when the store is scavenged.
    pub max_age_seconds: Option<u64>,
    /// Only so many of the latest events are shown. At least 1.
    pub max_count: Option<u64>,
    /// Events before this revision are not shown. What was truncated once does not come back; a revision beyond the end of the
    /// stream is taken as its end, so that events that come later are shown.
    pub truncate_before: Option<Revision>,
    /// What users want to remember about the stream. Names that start with `$` are reserved.
    pub custom: Map<String, Value>,
}

/// Why metadata cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is no JSON object.
    #[error("metadata must be a JSON object: {0}")]
    NotAnObject(String),
    /// A number is none, or too small.
    #[error("{member} must be a whole number of at least {min}")]
    Number {
        /// Which member.
        member: &'static str,
        /// The least that makes sense.
        min: u64,
    },
    /// A member that starts with `$` and is not known.
    #[error("{0:?} is not known: names that start with '$' are reserved")]
    Reserved(String),
    /// It is too large.
    #[error("metadata of {bytes} bytes is larger than {METADATA_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl StreamMetadata {
    /// Reads metadata from JSON.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn from_json(json: &[u8]) -> Result<Self, MetadataError> {
        if json.len() > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLarge { bytes: json.len() });
        }
        let parsed = serde_json::from_slice::<Map<String, Value>>(json);
        let mut members = parsed.map_err(|error| MetadataError::NotAnObject(error.to_string()))?;
        let metadata = Self {
            max_age_seconds: take_number(&mut members, MAX_AGE, 1)?,
            max_count: take_number(&mut members, MAX_COUNT, 1)?,
            truncate_before: take_number(&mut members, TRUNCATE_BEFORE, 0)?.map(Revision),
            custom: members,
        };
        match metadata.custom.keys().find(|name| name.starts_with('$')) {
            Some(name) => Err(MetadataError::Reserved(name.clone())),
            None => Ok(metadata),
        }
    }

    /// Writes it as JSON.
    pub fn to_json(&self) -> String {
        let mut members = self.custom.clone();
        let numbers = [
            (MAX_AGE, self.max_age_seconds),
            (MAX_COUNT, self.max_count),
            (TRUNCATE_BEFORE, self.truncate_before.map(|revision| revision.0)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                members.insert(name.to_owned(), number.into());
            }
        }
        Value::Object(members).to_string()
    }

    /// The same, saying that the stream is deleted.
    #[must_use]
    pub fn deleting(mut self) -> Self {
        self.truncate_before = Some(Revision(DELETED));
        self
    }

    /// Whether it truncates what a stream that goes on at `next` does not have yet, though it does not say that it is deleted.
    pub(crate) fn truncates_beyond(&self, next: u64) -> bool {
        !self.is_deletion() && self.truncate_before.is_some_and(|revision| revision.0 > next)
    }

    /// Whether it says that the stream is deleted.
    pub fn is_deletion(&self) -> bool {
        self.truncate_before == Some(Revision(DELETED))
    }
}

fn take_number(
    members: &mut Map<String, Value>,
    member: &'static str,
    min: u64,
) -> Result<Option<u64>, MetadataError> {
    match members.remove(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| *number >= min) {
            Some(number) => Ok(Some(number)),
            None => Err(MetadataError::Number { member, min }),
        },
    }
}

/// What an event does beyond being one more of its stream.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Effect {
    /// It is the metadata of another stream.
    Metadata { of: crate::TermKey, metadata: std::sync::Arc<StreamMetadata> },
    /// It ends its stream for good.
    Tombstone,
}

/// What is shown of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visible {
    /// The first revision.
    pub first: Revision,
    /// The revision behind the last.
    pub next: Revision,
    /// Events that were recorded before this moment are not shown.
    pub recorded_from_ms: Option<i64>,
    /// Where the store ended when this was found out.
    pub end: Position,
}

impl Visible {
    /// Whether an event of the stream is shown.
    pub fn shows(&self, revision: Revision, recorded_ms: i64) -> bool {
        (self.first..self.next).contains(&revision)
            && self.recorded_from_ms.is_none_or(|from| recorded_ms >= from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_both_ways() {
        let text = r#"{"$maxAge":60,"$maxCount":5,"$tb":17,"owner":"sales"}"#;
        let metadata = StreamMetadata::from_json(text.as_bytes()).unwrap();
        assert_eq!((metadata.max_age_seconds, metadata.max_count), (Some(60), Some(5)));
        assert_eq!(metadata.truncate_before, Some(Revision(17)));
        assert_eq!(metadata.custom["owner"], json!("sales"));
        assert_eq!(StreamMetadata::from_json(metadata.to_json().as_bytes()), Ok(metadata.clone()));
        assert!(!metadata.is_deletion());
        assert!(StreamMetadata::from_json(metadata.deleting().to_json().as_bytes()).unwrap().is_deletion());
    }

    #[test]
    fn nonsense_is_named() {
        let refused = |json: &str| StreamMetadata::from_json(json.as_bytes()).expect_err("refused");
        assert_eq!(refused(r#"{"$maxCount":0}"#), MetadataError::Number { member: "$maxCount", min: 1 });
        assert_eq!(refused(r#"{"$maxAge":-1}"#), MetadataError::Number { member: "$maxAge", min: 1 });
        assert_eq!(refused(r#"{"$acl":{}}"#), MetadataError::Reserved("$acl".into()));
        assert!(matches!(refused("[]"), MetadataError::NotAnObject(_)));
    }
}
