//! What users want to append, checked and made ready to be decided.
//!
//! Everything that takes time is done here, by whoever asks: names are checked and hashed, events are encoded. The decision
//! itself ([`crate::store::Store::decide`]) only compares numbers, and [`Prepared::finish`] puts the revisions in.

use std::collections::HashSet;
use std::sync::Arc;

use annals_event::Event;
use bytes::Bytes;

use crate::metadata::{Effect, METADATA_TYPE, StreamMetadata, TOMBSTONE_TYPE};
use crate::name::{check_tag, check_type};
use crate::query::{Condition, PreparedQuery, QueryError};
use crate::record::RecordWriter;
use crate::{Expected, NameError, Position, StreamName, TermKey, Terms};

/// Events of one append.
pub const APPEND_EVENTS_MAX: usize = 10_000;
/// Bytes of one append, as stored.
pub const APPEND_BYTES_MAX: usize = 16 << 20;
/// Bytes of one event, as stored.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// Tags of one event.
pub const TAGS_MAX: usize = 32;
/// Streams that one append looks at or writes to.
pub const STREAMS_MAX: usize = 1000;
/// Conditions of one append.
pub const CONDITIONS_MAX: usize = 16;

/// An atomic append: everything of it happens, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// The events, by stream; a stream occurs once.
    pub writes: Vec<StreamWrite>,
    /// Streams that were only read, and must still be as they were.
    pub guards: Vec<Guard>,
    /// Queries that must not find anything new.
    pub conditions: Vec<Condition>,
}

/// The events of one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamName,
    /// What must be true of it.
    pub expected: Expected,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event. Its id makes the append idempotent, while ids are known: see [`crate::store::Options::ids_remembered`].
    pub event: Event,
    /// What it can be found by, apart from stream and type.
    pub tags: Vec<Arc<str>>,
    /// Its data encrypted, to be stored in the place of the event's own.
    pub sealed: Option<Sealed>,
}

/// Encrypted data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Names the key.
    pub key: Arc<str>,
    /// The ciphertext.
    pub data: Bytes,
}

/// What must be true of a stream that is not written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The stream.
    pub stream: StreamName,
    /// What must be true.
    pub expected: Expected,
}

/// The place of an event in an append: the number of its write, and its own in that, from zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPlace {
    /// Which write.
    pub write: usize,
    /// Which event of it.
    pub event: usize,
}

/// Why an append cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAppend {
    /// It holds no event, or one of its writes does not.
    #[error("an append holds at least one event, and so does each of its writes")]
    Empty {
        /// The write that holds none; `None` if there is no write.
        write: Option<usize>,
    },
    /// A stream is named twice.
    #[error("stream {0} occurs twice in one append")]
    Twice(StreamName),
    /// An event's id occurs twice in one stream.
    #[error("event id {id:?} occurs twice in the events of stream {stream}")]
    IdTwice {
        /// The second event that has it.
        at: EventPlace,
        /// The id.
        id: String,
        /// The stream.
        stream: StreamName,
    },
    /// Too many of something.
    #[error("{count} {what} in one append, and {max} are the most")]
    TooMany {
        /// Of what.
        what: Counted,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// An event has too many tags.
    #[error("an event has {count} tags, and {TAGS_MAX} are the most")]
    TooManyTags {
        /// The event.
        at: EventPlace,
        /// How many.
        count: usize,
    },
    /// All events together are too large.
    #[error("an append of {bytes} bytes or more is larger than {APPEND_BYTES_MAX}")]
    TooLarge {
        /// The size as stored, up to the first event that is too much.
        bytes: usize,
    },
    /// An event is too large.
    #[error("an event of {bytes} bytes is larger than {EVENT_BYTES_MAX}")]
    EventTooLarge {
        /// The event.
        at: EventPlace,
        /// Its size as stored.
        bytes: usize,
    },
    /// A type is not possible.
    #[error("event type {name:?} is not possible: {reason}")]
    Type {
        /// The event.
        at: EventPlace,
        /// The type.
        name: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A tag is not possible.
    #[error("tag {tag:?} is not possible: {reason}")]
    Tag {
        /// The event.
        at: EventPlace,
        /// Which of its tags, from zero.
        index: usize,
        /// The tag.
        tag: Arc<str>,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A condition's query is not possible.
    #[error("condition {index} is not possible: {reason}")]
    Condition {
        /// Its place, from zero.
        index: usize,
        /// What is wrong with it.
        reason: QueryError,
    },
}

/// What an append has a limited number of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Events.
    Events,
    /// Streams that it looks at or writes to.
    Streams,
    /// Conditions.
    Conditions,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Events => "events",
            Self::Streams => "streams",
            Self::Conditions => "conditions",
        })
    }
}

/// An append that is ready to be decided.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) guards: Vec<(StreamName, TermKey, Expected)>,
    pub(crate) conditions: Vec<(PreparedQuery, Option<Position>)>,
    records: RecordWriter,
}

/// The events of one stream, by their keys.
#[derive(Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) stream: StreamName,
    pub(crate) key: TermKey,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<PreparedEvent>,
}

/// One event, by its keys.
#[derive(Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) id: TermKey,
    /// Category, type and tags.
    pub(crate) terms: Box<[TermKey]>,
    pub(crate) type_name: Arc<str>,
    pub(crate) effect: Option<Effect>,
}

impl Append {
    /// Checks everything that needs no look at the store, and encodes the events.
    ///
    /// # Errors
    /// [`InvalidAppend`].
    pub fn prepare(&self, terms: &Terms) -> Result<Prepared, InvalidAppend> {
        self.check_counts()?;
        self.check_streams()?;
        let mut prepared = Prepared::new();
        for (number, write) in self.writes.iter().enumerate() {
            prepared.add(number, write, terms)?;
        }
        let guard =
            |guard: &Guard| (guard.stream.clone(), terms.stream(guard.stream.as_str()), guard.expected);
        prepared.guards = self.guards.iter().map(guard).collect();
        for (index, condition) in self.conditions.iter().enumerate() {
            let query = condition.query.prepare(terms);
            let query = query.map_err(|reason| InvalidAppend::Condition { index, reason })?;
            prepared.conditions.push((query, condition.after));
        }
        Ok(prepared)
    }

    fn check_counts(&self) -> Result<(), InvalidAppend> {
        let events: usize = self.writes.iter().map(|write| write.events.len()).sum();
        let write = self.writes.iter().position(|write| write.events.is_empty());
        if events == 0 || write.is_some() {
            return Err(InvalidAppend::Empty { write });
        }
        check_count(Counted::Events, events, APPEND_EVENTS_MAX)?;
        check_count(Counted::Streams, self.writes.len() + self.guards.len(), STREAMS_MAX)?;
        check_count(Counted::Conditions, self.conditions.len(), CONDITIONS_MAX)
    }

    fn check_streams(&self) -> Result<(), InvalidAppend> {
        if self.writes.len() + self.guards.len() == 1 {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let written = self.writes.iter().map(|write| &write.stream);
        for stream in written.chain(self.guards.iter().map(|guard| &guard.stream)) {
            if !seen.insert(stream) {
                return Err(InvalidAppend::Twice(stream.clone()));
            }
        }
        Ok(())
    }
}

fn check_count(what: Counted, count: usize, max: usize) -> Result<(), InvalidAppend> {
    if count > max { Err(InvalidAppend::TooMany { what, count, max }) } else { Ok(()) }
}

impl Prepared {
    fn new() -> Self {
        let records = RecordWriter::default();
        Self { writes: Vec::new(), guards: Vec::new(), conditions: Vec::new(), records }
    }

    /// New metadata of `stream`, in an event with the attributes of `event` (of type [`METADATA_TYPE`], whose data is
    /// [`StreamMetadata::to_json`]). `expected` is about the stream `$$name`; `guard` about the stream itself.
    pub fn metadata(
        (stream, guard): (&StreamName, Expected),
        expected: Expected,
        metadata: StreamMetadata,
        event: &Event,
        terms: &Terms,
    ) -> Self {
        debug_assert_eq!(event.type_name(), METADATA_TYPE);
        let described = terms.stream(stream.as_str());
        let effect = Effect::Metadata { of: described, metadata: Arc::new(metadata) };
        let mut prepared = Self::system(&stream.metadata(), expected, event, effect, terms);
        prepared.guards.push((stream.clone(), described, guard));
        prepared
    }

    /// The end of `stream` for good, in an event of type [`TOMBSTONE_TYPE`].
    pub fn tombstone(stream: &StreamName, expected: Expected, event: &Event, terms: &Terms) -> Self {
        debug_assert_eq!(event.type_name(), TOMBSTONE_TYPE);
        Self::system(stream, expected, event, Effect::Tombstone, terms)
    }

    fn system(stream: &StreamName, expected: Expected, event: &Event, effect: Effect, terms: &Terms) -> Self {
        let mut prepared = Self::new();
        prepared.records.push(stream.as_str(), event, &[], None);
        let key = terms.stream(stream.as_str());
        let event = PreparedEvent {
            id: terms.id(key, event.id()),
            terms: keys(stream, event.type_name(), &[], terms),
            type_name: event.type_name().into(),
            effect: Some(effect),
        };
        prepared.writes.push(PreparedWrite { stream: stream.clone(), key, expected, events: vec![event] });
        prepared
    }

    fn add(&mut self, number: usize, write: &StreamWrite, terms: &Terms) -> Result<(), InvalidAppend> {
        let key = terms.stream(write.stream.as_str());
        let mut events = Vec::with_capacity(write.events.len());
        let mut seen = HashSet::new();
        for (index, new) in write.events.iter().enumerate() {
            let at = EventPlace { write: number, event: index };
            check_event(at, new)?;
            let event = self.add_event(at, (&write.stream, key), new, terms)?;
            if write.events.len() > 1 && !seen.insert(event.id) {
                let (id, stream) = (new.event.id().to_owned(), write.stream.clone());
                return Err(InvalidAppend::IdTwice { at, id, stream });
            }
            events.push(event);
        }
        self.writes.push(PreparedWrite {
            stream: write.stream.clone(),
            key,
            expected: write.expected,
            events,
        });
        Ok(())
    }

    fn add_event(
        &mut self,
        at: EventPlace,
        (stream, key): (&StreamName, TermKey),
        new: &NewEvent,
        terms: &Terms,
    ) -> Result<PreparedEvent, InvalidAppend> {
        let (event, before) = (&new.event, self.records.len());
        self.records.push(stream.as_str(), event, &new.tags, new.sealed.as_ref());
        let bytes = self.records.len() - before;
        if bytes > EVENT_BYTES_MAX {
            return Err(InvalidAppend::EventTooLarge { at, bytes });
        }
        if self.records.len() > APPEND_BYTES_MAX {
            return Err(InvalidAppend::TooLarge { bytes: self.records.len() });
        }
        Ok(PreparedEvent {
            id: terms.id(key, event.id()),
            terms: keys(stream, event.type_name(), &new.tags, terms),
            type_name: event.type_name().into(),
            effect: None,
        })
    }

    /// Bytes of the records.
    pub fn body_len(&self) -> usize {
        self.records.len()
    }

    /// How many events there are.
    pub fn event_count(&self) -> usize {
        self.records.count()
    }

    /// The streams that are written to, in order, with the number of events of each.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamName, usize)> {
        self.writes.iter().map(|write| (&write.stream, write.events.len()))
    }

    /// What is expected of the stream at `index`.
    pub fn expected(&self, index: usize) -> Option<Expected> {
        self.writes.get(index).map(|write| write.expected)
    }

    /// The ids of the events in their order, each with the number of its stream. Compare them with [`Terms::id_of`].
    pub fn ids(&self) -> impl Iterator<Item = (usize, TermKey)> {
        let writes = self.writes.iter().enumerate();
        writes.flat_map(|(number, write)| write.events.iter().map(move |event| (number, event.id)))
    }

    /// The conditions: a query, and where its events may start to be.
    pub fn conditions(&self) -> impl Iterator<Item = (&PreparedQuery, Position)> {
        self.conditions.iter().map(|(query, after)| (query, first_behind(*after)))
    }

    /// The records of the batch, once it is decided which revision each stream's first event gets.
    pub fn finish(self, first_revisions: &[u64]) -> Vec<u8> {
        let streams = self.writes.iter().zip(first_revisions);
        let revisions: Vec<u64> =
            streams.flat_map(|(write, &first)| (first..).take(write.events.len())).collect();
        self.records.finish(revisions.into_iter())
    }
}

pub(crate) fn first_behind(after: Option<Position>) -> Position {
    after.map_or(Position(0), |position| Position(position.0.saturating_add(1)))
}

fn check_event(at: EventPlace, new: &NewEvent) -> Result<(), InvalidAppend> {
    let name = new.event.type_name();
    check_type(name).map_err(|reason| InvalidAppend::Type { at, name: name.to_owned(), reason })?;
    if new.tags.len() > TAGS_MAX {
        return Err(InvalidAppend::TooManyTags { at, count: new.tags.len() });
    }
    for (index, tag) in new.tags.iter().enumerate() {
        let wrong = |reason| InvalidAppend::Tag { at, index, tag: Arc::clone(tag), reason };
        check_tag(tag).map_err(wrong)?;
    }
    Ok(())
}

fn keys(stream: &StreamName, type_name: &str, tags: &[Arc<str>], terms: &Terms) -> Box<[TermKey]> {
    let category = stream.category().map(|category| terms.category(category));
    let tags = tags.iter().map(|tag| terms.tag(tag));
    category.into_iter().chain([terms.type_name(type_name)]).chain(tags).collect()
}
