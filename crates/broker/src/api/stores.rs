//! Event stores: create them, append to streams, read, subscribe.
//!
//! A store is also a topic of the same name with one partition, which consumers read as any other; only the store itself
//! writes to it. The [`Position`] of an event in its store is its offset there.

use std::sync::Arc;

use annals_clock::{TimestampMs, Uuid};
use annals_event::Event;
pub use annals_eventstore::append::{
    APPEND_BYTES_MAX, Counted, EVENT_BYTES_MAX, EventPlace, Guard, InvalidAppend,
};
pub use annals_eventstore::index::Direction;
pub use annals_eventstore::metadata::{MetadataError, StreamMetadata};
pub use annals_eventstore::query::{Condition, Query, QueryError, QueryItem};
pub use annals_eventstore::record::RecordedEvent;
pub use annals_eventstore::{Expected, NameError, Position, Revision, StreamName, StreamState};

/// A store, as seen from outside; see `Broker::stores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, and that of its topic.
    pub id: Uuid,
    /// The position that the next event gets: how many events were ever appended.
    pub end: Position,
    /// The first position that can still be read.
    pub start: Position,
    /// How many streams there are or were.
    pub streams: u64,
    /// The index holds everything below. It follows the end of the store, and is further behind while it is rebuilt.
    pub indexed: Position,
}

/// Why a store was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateStoreError {
    /// There is a store or topic of that name.
    #[error("there is a store or topic {0} already")]
    AlreadyExists(Arc<str>),
    /// Not a legal name.
    #[error("store name {name:?} is not allowed: {reason}")]
    InvalidName {
        /// The refused name.
        name: Arc<str>,
        /// Which rule it breaks.
        reason: String,
    },
    /// The caller may not create stores.
    #[error("not authorized to create store {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("store {name} could not be created: {reason}")]
    Unavailable {
        /// The store.
        name: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// Why a store was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteStoreError {
    /// No such store.
    #[error("store {0} does not exist")]
    UnknownStore(Arc<str>),
    /// The caller may not delete it.
    #[error("not authorized to delete store {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("the store could not be deleted: {0}")]
    Unavailable(String),
}

/// An atomic append to any number of streams of one store; see `Broker::append_events`.
#[derive(Clone, Debug)]
pub struct AppendEvents {
    /// The store.
    pub store: Arc<str>,
    /// The events, by stream; a stream occurs once.
    pub writes: Vec<WriteStream>,
    /// Streams that are only read, and must still be as they were.
    pub guards: Vec<Guard>,
    /// Queries that must not find anything new.
    pub conditions: Vec<Condition>,
}

impl AppendEvents {
    /// Events for one stream.
    pub fn to_stream(store: &str, stream: StreamName, expected: Expected, events: Vec<NewEvent>) -> Self {
        let writes = vec![WriteStream { stream, expected, events }];
        Self { store: store.into(), writes, guards: Vec::new(), conditions: Vec::new() }
    }
}

/// The events of one stream.
#[derive(Clone, Debug)]
pub struct WriteStream {
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
    /// The event. Its id makes the append idempotent within its stream: what is sent again is answered as the first time. For
    /// how long, `Broker::append_events` tells.
    pub event: Event,
    /// What it can be found by, apart from its stream and type. At most 32, of at most 256 bytes.
    pub tags: Vec<Arc<str>>,
    /// Encrypts the data with the key of this subject (a person, say), so that `Broker::shred_subject` makes it unreadable
    /// for good. The other attributes and the tags stay readable.
    pub encrypt_for: Option<Arc<str>>,
}

impl From<Event> for NewEvent {
    /// Without tags, not encrypted.
    fn from(event: Event) -> Self {
        Self { event, tags: Vec::new(), encrypt_for: None }
    }
}

/// Events that are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first event.
    pub first_position: Position,
    /// Position of the last event.
    pub last_position: Position,
    /// Revision of the last event of each stream, in the request's order.
    pub last_revisions: Vec<Revision>,
    /// The same append was made before; the places are those of the first time.
    pub repeated: bool,
}

/// Why events were not appended. None of them is there then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendEventsError {
    /// No such store.
    #[error("store {0} does not exist")]
    UnknownStore(Arc<str>),
    /// The request can never go through.
    #[error(transparent)]
    Invalid(#[from] InvalidAppend),
    /// A stream is not as it was expected. What it is like is durable: reading it again shows it.
    #[error("stream {stream} was expected to be at {expected}, but {actual}")]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// What was expected.
        expected: Expected,
        /// What it is like.
        actual: StreamState,
    },
    /// A condition does not hold. The event that it looked for is durable.
    #[error("condition {index} does not hold: an event that it looks for is at position {position}")]
    ConditionFailed {
        /// Which condition, from zero.
        index: usize,
        /// Where the event is.
        position: Position,
    },
    /// Some of the events were appended before, and some were not.
    #[error(
        "event {index} of stream {stream} has the id of an event that was appended before, at revision {revision}"
    )]
    IdTaken {
        /// The stream.
        stream: StreamName,
        /// Which event of it, from zero.
        index: usize,
        /// The revision of the event that has the id.
        revision: Revision,
    },
    /// The caller may not write there.
    #[error("not authorized to append to store {0}")]
    NotAuthorized(Arc<str>),
    /// The index, which is needed for a condition, cannot be read. It is being built again.
    #[error("the store's index cannot be read: {0}")]
    Index(String),
    /// The disk is full. Appending resumes by itself when there is space.
    #[error("the disk is full")]
    DiskFull,
    /// The server takes no writes: it is shutting down, or its storage failed.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}

/// Which events of a store are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// Those of one stream.
    Stream(StreamName),
    /// Those of all streams whose names start so.
    StreamPrefix(Arc<str>),
    /// Those of all streams of a category: what stands before the first `-` of a stream's name.
    Category(Arc<str>),
    /// Those of one type.
    Type(Arc<str>),
    /// Those whose types start so.
    TypePrefix(Arc<str>),
    /// Those with one tag.
    Tag(Arc<str>),
    /// Those that a query describes.
    Query(Query),
}

/// A place to begin reading at, or to stop at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An event of the stream, by revision. Only for a selection of one stream.
    Revision(Revision),
    /// An event of the store, by position.
    Position(Position),
    /// A moment, by when events were recorded, in milliseconds since the Unix epoch.
    Time(TimestampMs),
}

/// Asks for events; see `Broker::read_events`.
#[derive(Clone, Debug)]
pub struct ReadEvents {
    /// The store.
    pub store: Arc<str>,
    /// Which events.
    pub selection: Selection,
    /// In which order.
    pub direction: Direction,
    /// The first event that may be given. `None` is the first of all, or the last if read backward. For a time: forward, the
    /// first event recorded then or later; backward, the last one recorded then or earlier.
    pub from: Option<Place>,
    /// The last event that may be given, itself included: with a time, the state as of then.
    pub until: Option<Place>,
    /// At most so many events, from 1 to 10,000.
    pub limit: usize,
    /// Stop when the events have this many bytes. The first is given even if it is larger.
    pub bytes_max: usize,
    /// Gives the events of Annals' own as well: the store's (`$`: metadata, ends of streams) and the library's (`~`: snapshots,
    /// views, schemas). They are always given to who asks for their stream, category or type by name.
    pub with_system: bool,
}

impl ReadEvents {
    /// All events of `selection` from the first on, at most 1,000 and 4 MiB at a time.
    pub fn new(store: &str, selection: Selection) -> Self {
        Self {
            store: store.into(),
            selection,
            direction: Direction::Forward,
            from: None,
            until: None,
            limit: 1000,
            bytes_max: 4 << 20,
            with_system: false,
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct EventsRead {
    /// The events, in the order asked for. Perhaps none although there are more: what is rare is looked for a second at a time.
    pub events: Vec<RecordedEvent>,
    /// Where to go on: [`ReadEvents::from`] of the next request. `None` if nothing follows at present.
    pub next: Option<Place>,
    /// The position behind the last durable event of the store when this was read.
    pub end: Position,
    /// Of one stream, what it is like.
    pub stream: Option<StreamState>,
}

/// Why events could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadEventsError {
    /// No such store.
    #[error("store {0} does not exist")]
    UnknownStore(Arc<str>),
    /// The stream was never written to, or is deleted.
    #[error("stream {stream} cannot be read: {state}")]
    NoStream {
        /// The stream.
        stream: StreamName,
        /// What it is like.
        state: StreamState,
    },
    /// The request makes no sense.
    #[error("the request is not possible: {reason}")]
    Invalid {
        /// The path of what is wrong: `limit`, `tag`, `query.items[0].types[1]`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller may not read it.
    #[error("not authorized to read store {0}")]
    NotAuthorized(Arc<str>),
    /// The stored bytes are damaged. What lies after them can be read.
    #[error("stored events are corrupt: {0}")]
    Corrupt(String),
    /// The storage or the index could not be read.
    #[error("storage cannot be read: {0}")]
    Storage(String),
}

/// Asks for everything from a place on, and for what comes; see `Broker::subscribe_events`.
#[derive(Clone, Debug)]
pub struct SubscribeEvents {
    /// The store.
    pub store: Arc<str>,
    /// Which events.
    pub selection: Selection,
    /// The last event that was seen; the subscription goes on behind it. `None` begins with the first event. A time that is
    /// still to come is where the store ends.
    pub after: Option<Place>,
    /// Gives the store's own events as well.
    pub with_system: bool,
}

/// What a subscription gives.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Events, in the order of the store. None is left out, none comes twice.
    Events(Vec<RecordedEvent>),
    /// Everything up to this position was looked at and given: what comes now is live. Also a good place to note
    /// down where to go on if few events are selected.
    CaughtUp {
        /// Where to go on: [`SubscribeEvents::after`] of a later subscription. `None` if the store is empty.
        after: Option<Position>,
    },
}

/// One stream; see `Broker::stream`.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamDescription {
    /// Its name.
    pub name: StreamName,
    /// What it is like.
    pub state: StreamState,
    /// The first revision that is shown, if there is any. Older ones were truncated, or are too many.
    pub first: Revision,
    /// Its metadata; empty if it never got any.
    pub metadata: StreamMetadata,
    /// How often its metadata was set: the revision of the latest.
    pub metadata_revision: Option<Revision>,
}

/// Asks for the names of streams, categories or types, in order; see `Broker::list_names`.
#[derive(Clone, Debug)]
pub struct ListNames {
    /// The store.
    pub store: Arc<str>,
    /// What names.
    pub names: Names,
    /// Only those that start so.
    pub prefix: String,
    /// Only those behind this one, to go on from page to page.
    pub after: Option<String>,
    /// At most so many. Fewer are given only where there are no more.
    pub limit: usize,
    /// Lists the names of Annals' own as well, which start with `$` or `~`. They are always given to who asks for a prefix that
    /// starts so.
    pub with_system: bool,
}

pub use annals_eventstore::index::Names;

/// Why a stream's metadata was not set, or the stream not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeStreamError {
    /// The metadata is not possible.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// There is nothing to delete.
    #[error("stream {stream} cannot be deleted: {state}")]
    NoStream {
        /// The stream.
        stream: StreamName,
        /// What it is like.
        state: StreamState,
    },
    /// It was not appended.
    #[error(transparent)]
    Append(#[from] AppendEventsError),
}

/// What a scavenge gave back; see `Broker::scavenge_store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scavenged {
    /// Bytes of the store's log before.
    pub bytes_before: u64,
    /// Bytes of the store's log after.
    pub bytes_after: u64,
}

/// Why the key of a subject was not deleted; see `Broker::shred_subject`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShredError {
    /// No such store.
    #[error("store {0} does not exist")]
    UnknownStore(Arc<str>),
    /// The caller may not do that.
    #[error("not authorized to shred subjects of store {0}")]
    NotAuthorized(Arc<str>),
    /// The deletion was not written: the key is as it was.
    #[error("the key could not be deleted: {0}")]
    Unavailable(String),
    /// The key is deleted and nobody can use it any more, but its bytes may still be on the disk. Trying again does the rest.
    #[error(
        "the key is deleted, but its bytes may still be on the disk: {0}; try again to have them removed"
    )]
    StillOnDisk(String),
}
