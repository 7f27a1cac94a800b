//! What lies underneath: a log of events in streams, behind one narrow trait.
//!
//! A [`Store`] appends atomically under conditions, reads, tells its head, and says when there is more. Everything else in
//! this crate is built from that, so it works the same in memory, embedded and over the network. All implementations pass
//! one suite (`conformance`, behind the feature of that name).
//!
//! Invariants of every store: revisions of a stream and positions of the store only grow; what is visible at a position stays;
//! nothing ever appears at a position before one that was already read; `recorded_ms` never goes backwards along positions.

mod append;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod memory;
mod name;
mod read;
#[cfg(feature = "client")]
mod remote;
mod subscription;

use async_trait::async_trait;

pub(crate) use append::is_subject;
pub use append::{Append, Appended, Condition, Expected, Metadata, NewEvent, StreamWrite};
#[cfg(feature = "embedded")]
pub(crate) use embedded::EmbeddedStore;
pub use error::{AppendError, InvalidAppend, ReadError, ShredError};
pub use memory::MemoryStore;
pub use name::{NameError, StreamName};
pub use read::{Direction, Page, Query, QueryItem, Read, Recorded, Source};
#[cfg(feature = "client")]
pub(crate) use remote::RemoteStore;
pub(crate) use subscription::Batch;
pub use subscription::{Signal, Subscription};

/// The longest name of a stream, in bytes.
pub const STREAM_NAME_BYTES_MAX: usize = 512;
/// The longest name of an event type, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 256;
/// The longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 256;
/// The longest name of a subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// The most tags of one event.
pub const TAGS_MAX: usize = 32;
/// The most data of one event, in bytes.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// The most events of one append, over all its streams.
pub const APPEND_EVENTS_MAX: usize = 4096;
/// The most events of one page.
pub const PAGE_EVENTS_MAX: usize = 4096;

/// The most types and tags of one item of a query, as the server and the engine take it.
#[cfg(any(feature = "embedded", feature = "client"))]
const QUERY_TERMS_MAX: usize = 64;

/// An event's place in its stream, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// An event's place among all events of its store, from 0. Later is larger; not every number need be used.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

macro_rules! number {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl $name {
            /// The place after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
    )*};
}

number!(Revision, Position);

/// A log of events in streams.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Appends to any number of streams: all of it or nothing. Durable when it returns, as far as the store is durable at
    /// all.
    ///
    /// An append whose events are all stored already, by stream and id, changes nothing and returns what the first one
    /// returned. A store may forget the ids of long ago, unless the append expects an exact state of its streams.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is appended then. Only after [`AppendError::Unknown`] it may have been: repeat it with
    /// the same event ids.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// Reads one page.
    ///
    /// # Errors
    /// [`ReadError`]. A stream that does not exist is no error but an empty page.
    async fn read(&self, read: Read) -> Result<Page, ReadError>;

    /// The position of the last event; none if there is no event.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]
    async fn head(&self) -> Result<Option<Position>, ReadError>;

    /// Waits until there is an event behind `position`, or any event at all.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], also when the store is closed meanwhile.
    async fn beyond(&self, position: Option<Position>) -> Result<(), ReadError>;

    /// Names of streams that start with `prefix` and come behind `after`, in order, at most `limit`: fewer only if there are no
    /// more. Those of Annals' own are left out, unless the prefix starts as their names do.
    ///
    /// # Errors
    /// [`ReadError`]
    async fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamName>, ReadError>;

    /// Deletes the key of a subject: the data of all events that were encrypted for it is unreadable from now on, for everybody and
    /// wherever copies of it are. Says whether there was a key. Durable when it returns, as far as the store is durable at all.
    ///
    /// An event that is encrypted for the same subject later gets a new key.
    ///
    /// # Errors
    /// [`ShredError`]; the data may be unreadable all the same.
    async fn shred(&self, subject: &str) -> Result<bool, ShredError>;

    /// Whether nobody outside of this process can look into it.
    fn is_private(&self) -> bool {
        false
    }

    /// Says that only the last `count` events of `stream` matter from now on: those before may be forgotten at any time, or
    /// never. Said of streams whose last events tell everything, such as those of snapshots.
    ///
    /// # Errors
    /// [`AppendError`]
    async fn keep_last(&self, stream: &StreamName, count: u64) -> Result<(), AppendError> {
        let _ = (stream, count);
        Ok(())
    }
}
