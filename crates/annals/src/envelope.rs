//! An event with what the store knows about it.

use crate::store::{Metadata, Position, Recorded, Revision, StreamName};
use crate::{Tag, Time, TimestampMs};

/// A stored event, read as the Rust type `E`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<E> {
    /// What happened.
    pub event: E,
    /// The name under which it was stored.
    pub name: String,
    /// The version in which it was stored, whatever it was upcast to.
    pub version: u32,
    /// What tells it from all others of its stream; the idempotency key for whatever is done because of it.
    pub id: String,
    /// The stream that it is in.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its place among all events of the store.
    pub position: Position,
    /// When it was stored.
    pub recorded_ms: TimestampMs,
    /// What it can be found by.
    pub tags: Vec<Tag>,
    /// What it was caused by, and what else was stored beside it.
    pub metadata: Metadata,
    /// Whether its data is stored encrypted.
    pub encrypted: bool,
    /// Whether its key was shredded, so that the event is what [`crate::Event::shredded`] says in its place.
    pub shredded: bool,
}

impl<E> Envelope<E> {
    pub(crate) fn new(event: E, recorded: Recorded) -> Self {
        let Recorded { name, version, id, stream, revision, position, recorded_ms, tags, metadata, .. } =
            recorded;
        let Recorded { encrypted, shredded, .. } = recorded;
        Self {
            event,
            name,
            version,
            id,
            stream,
            revision,
            position,
            recorded_ms,
            tags,
            metadata,
            encrypted,
            shredded,
        }
    }

    /// When it was stored, as a time.
    pub fn recorded_at(&self) -> Time {
        Time::from_unix_ms(self.recorded_ms)
    }
}
