//! What an append demands of a stream, and what a stream can be like.

use std::fmt;

use crate::Revision;

/// What must be true of a stream for an append to go through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Expected {
    /// Anything, but for a stream that is deleted for good.
    Any,
    /// It has no events, or was deleted (and may come back).
    NoStream,
    /// It has events.
    Exists,
    /// Its last event has this revision.
    Exact(Revision),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("a stream that exists"),
            Self::Exact(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// What a stream is like.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StreamState {
    /// Nothing was ever appended to it.
    Missing,
    /// Its last event has this revision.
    At(Revision),
    /// It was deleted; an append brings it back, and goes on counting behind this revision, if it had any event.
    Deleted(Option<Revision>),
    /// It was deleted for good.
    Tombstoned,
}

impl StreamState {
    /// Whether `expected` is true of it.
    pub fn meets(self, expected: Expected) -> bool {
        match expected {
            Expected::Any => self != Self::Tombstoned,
            Expected::NoStream => matches!(self, Self::Missing | Self::Deleted(_)),
            Expected::Exists => matches!(self, Self::At(_)),
            Expected::Exact(revision) => {
                matches!(self, Self::At(last) | Self::Deleted(Some(last)) if last == revision)
            }
        }
    }

    /// The revision of its last event.
    pub fn last(self) -> Option<Revision> {
        match self {
            Self::At(revision) => Some(revision),
            Self::Deleted(revision) => revision,
            Self::Missing | Self::Tombstoned => None,
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it does not exist"),
            Self::At(revision) => write!(f, "it is at revision {revision}"),
            Self::Deleted(_) => f.write_str("it is deleted"),
            Self::Tombstoned => f.write_str("it is deleted for good"),
        }
    }
}
