//! What a store answers when it cannot do what it is asked.

use super::{
    APPEND_EVENTS_MAX, EVENT_BYTES_MAX, EVENT_NAME_BYTES_MAX, Expected, Position, Revision,
    SUBJECT_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX,
};
use crate::ErrorKind;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A stream is not as expected.
    #[error("stream {stream} is not as expected: wanted {expected}, {}", found(*actual))]
    Conflict {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: Expected,
        /// The revision of its last event.
        actual: Option<Revision>,
    },
    /// An event matches a condition's query.
    #[error("an event that the decision did not know matches its query, at position {position}")]
    Condition {
        /// Its position.
        position: Position,
    },
    /// Some of the events are stored already and others are not, or in another stream.
    #[error(
        "event {id} is stored already, in another stream or without the others: use new ids for new events"
    )]
    IdReused {
        /// The event.
        id: String,
    },
    /// The stream was deleted for good.
    #[error("stream {stream} was deleted for good")]
    Tombstoned {
        /// The stream.
        stream: String,
    },
    /// No store accepts this.
    #[error(transparent)]
    Invalid(#[from] InvalidAppend),
    /// The store refuses writes for a while.
    #[error("the store accepts nothing at the moment: {reason}")]
    Busy {
        /// Why.
        reason: String,
    },
    /// The store does not accept writes any more.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The connection broke before the answer came. It may have been appended.
    #[error("no answer came: {reason}; repeat it with the same event ids")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

fn found(actual: Option<Revision>) -> String {
    actual.map_or_else(|| "found no stream".to_owned(), |revision| format!("found revision {revision}"))
}

impl AppendError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict { .. } | Self::Condition { .. } => ErrorKind::Conflict,
            Self::IdReused { .. } | Self::Tombstoned { .. } | Self::Invalid(_) => ErrorKind::Input,
            Self::Busy { .. } | Self::Unknown { .. } => ErrorKind::Retry,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }
}

/// An append that no store accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAppend {
    /// No events.
    #[error("an append needs at least one event")]
    Empty,
    /// Too many.
    #[error("an append has at most {APPEND_EVENTS_MAX} events, this one has {count}")]
    TooManyEvents {
        /// How many.
        count: usize,
    },
    /// One stream, two writes.
    #[error("stream {stream} is written twice in one append: put its events together")]
    StreamTwice {
        /// The stream.
        stream: String,
    },
    /// One id, two events.
    #[error("two events of one append have the id {id}")]
    IdTwice {
        /// The id.
        id: String,
    },
    /// An id that no event has.
    #[error("the id of an event has 1 to {EVENT_NAME_BYTES_MAX} bytes without control characters: {id:?}")]
    Id {
        /// Its beginning.
        id: String,
    },
    /// A name that no event type has.
    #[error(
        "the name of an event has 1 to {EVENT_NAME_BYTES_MAX} bytes without control characters: {name:?}"
    )]
    Name {
        /// Its beginning.
        name: String,
    },
    /// Version 0.
    #[error("the versions of event {name} count from 1")]
    Version {
        /// The event's name.
        name: String,
    },
    /// Too much data.
    #[error("an event holds at most {EVENT_BYTES_MAX} bytes, {name} has {len}")]
    TooLarge {
        /// The event's name.
        name: String,
        /// Its size in bytes.
        len: usize,
    },
    /// Too many tags.
    #[error("an event has at most {TAGS_MAX} tags, {name} has {count}")]
    TooManyTags {
        /// The event's name.
        name: String,
        /// How many.
        count: usize,
    },
    /// A tag that cannot be.
    #[error("a tag has 1 to {TAG_BYTES_MAX} bytes without control characters: {tag:?}")]
    Tag {
        /// Its beginning.
        tag: String,
    },
    /// A subject that cannot be. Its name is not told: it may say who somebody is.
    #[error("a subject has 1 to {SUBJECT_BYTES_MAX} bytes without control characters, this one has {len}")]
    Subject {
        /// Its length in bytes.
        len: usize,
    },
    /// A rule of the store that is stricter than those here.
    #[error("{reason}")]
    Refused {
        /// What the store says.
        reason: String,
    },
}

/// Why the key of a subject was not deleted for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShredError {
    /// A subject that no event can be encrypted for.
    #[error("a subject has 1 to {SUBJECT_BYTES_MAX} bytes without control characters, this one has {len}")]
    Subject {
        /// Its length in bytes.
        len: usize,
    },
    /// The key may still be there, at least on the disk.
    #[error("the key may still be there: {reason}; shred the subject again")]
    Incomplete {
        /// Why.
        reason: String,
    },
    /// The store cannot be reached, or is closed.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl ShredError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Subject { .. } => ErrorKind::Input,
            Self::Incomplete { .. } => ErrorKind::Retry,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The store cannot be reached, or is closed.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// An answer did not come; the next attempt may work.
    #[error("the store did not answer: {reason}")]
    Busy {
        /// Why.
        reason: String,
    },
    /// What is stored there is damaged.
    #[error("what is stored is damaged: {reason}")]
    Corrupt {
        /// Where, and how.
        reason: String,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Input,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Busy { .. } => ErrorKind::Retry,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}
