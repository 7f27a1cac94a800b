//! One event store with the types of the domain: what applications hold.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use crate::codec::Codec;
use crate::projection::InlineProjections;
use crate::snapshot::Snapshots;
use crate::store::{
    Append, AppendError, Appended, Expected, Metadata, NameError, NewEvent, Position, Read, ReadError,
    ShredError, Store, StreamName, Subscription, is_subject,
};
use crate::{Clock, Decider, DecodeError, EncodeError, Envelope, ErrorKind, Event, Execute, Load, Tag};

/// A handle to one event store; cheap to clone. Made by [`crate::Annals::store`].
#[derive(Clone)]
pub struct EventStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) codec: Codec,
    pub(crate) snapshots: Snapshots,
    pub(crate) inline: InlineProjections,
}

impl std::fmt::Debug for EventStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStore").field("codec", &self.inner.codec).finish_non_exhaustive()
    }
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadEventsError {
    /// The store did not give them.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// One of them cannot be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl ReadEventsError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Decode(error) => error.kind(),
        }
    }
}

impl EventStore {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Carries out `command` on the aggregate `id`: load, decide, append, and again if somebody else was faster. Await it,
    /// after adding what else it should do.
    ///
    /// ```
    /// # use annals::{Decider, EventStore, Executed, ExecuteError};
    /// # async fn withdraw<Account: Decider>(store: EventStore, command: Account::Command)
    /// # -> Result<Executed<Account>, ExecuteError<Account::Error>> {
    /// store.execute::<Account>("123", command).idempotency_key("request-42").await
    /// # }
    /// ```
    pub fn execute<D: Decider>(&self, id: impl Into<String>, command: D::Command) -> Execute<D> {
        Execute::new(self.clone(), id.into(), command)
    }

    /// Loads the state of the aggregate `id`: now, or as of a revision or a time.
    pub fn load<D: Decider>(&self, id: impl Into<String>) -> Load<D> {
        Load::new(self.clone(), id.into())
    }

    /// Appends events as they are, without a decision. Await it, after saying what is expected.
    pub fn append<E: Event>(&self, stream: StreamName, events: Vec<E>) -> AppendEvents<E> {
        let (expected, metadata) = (Expected::Any, Metadata::default());
        AppendEvents { store: self.clone(), stream, events, expected, metadata }
    }

    /// Reads all events of `E` that `read` asks for, page after page, up to its limit if it is below a page.
    ///
    /// All of them are held in memory: for a whole store use [`EventStore::subscribe`]. What was shredded is left out, unless
    /// [`Event::shredded`] puts something in its place.
    ///
    /// # Errors
    /// [`ReadEventsError`]
    pub async fn read<E: Event>(&self, mut read: Read) -> Result<Vec<Envelope<E>>, ReadEventsError> {
        let mut found = Vec::new();
        let mut left = if read.limit < crate::store::PAGE_EVENTS_MAX { read.limit } else { usize::MAX };
        loop {
            read.limit = left.min(crate::store::PAGE_EVENTS_MAX);
            let page = self.inner.store.read(read.clone()).await?;
            left -= page.events.len();
            for recorded in page.events {
                found.extend(self.inner.codec.read(recorded)?);
            }
            match page.next {
                Some(next) if left > 0 => read.from = Some(next),
                _ => return Ok(found),
            }
        }
    }

    /// Follows the events that `read` asks for: those that are there, then those that come.
    pub fn subscribe(&self, read: Read) -> Subscription {
        Subscription::new(Arc::clone(&self.inner.store), read)
    }

    /// Reads an event, as a subscription gives it, as an `E`; `None` if it is none, or was shredded and nothing stands in for it.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode<E: Event>(
        &self,
        recorded: crate::store::Recorded,
    ) -> Result<Option<Envelope<E>>, DecodeError> {
        self.inner.codec.read(recorded)
    }

    /// Deletes the key of a subject: what was encrypted for it ([`Event::encrypt_for`]) cannot be read any more, by anybody. Says
    /// whether there was a key; if not, nothing was encrypted for a subject of that name, or it was shredded before.
    ///
    /// The events stay where they are, without their data. Aggregates and projections meet what [`Event::shredded`] puts in their
    /// place, or nothing. Snapshots and inline views never hold what is encrypted, so they need no care. A live view and a
    /// read model in a database have read it: see to it that they forget, by a rebuild or by an event that tells them to.
    ///
    /// ```
    /// use annals::{Annals, Event};
    /// use annals::store::{Read, StreamName};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// enum CustomerEvent {
    ///     CustomerMoved {
    ///         #[event(tag = "customer", encrypt_for)]
    ///         customer: u32,
    ///         address: String,
    ///     },
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Annals::in_memory().store("shop").await?;
    /// let moved = CustomerEvent::CustomerMoved { customer: 7, address: "Main Street 1".into() };
    /// store.append(StreamName::of("customer", "7")?, vec![moved]).await?;
    ///
    /// assert!(store.shred("customer:7").await?);
    /// assert!(store.read::<CustomerEvent>(Read::all()).await?.is_empty());
    /// let left = &store.raw().read(Read::all()).await?.events[0];
    /// assert!(left.shredded && left.data.is_empty() && left.name == "CustomerMoved");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ShredError`]; after [`ShredError::Incomplete`] do it again.
    pub async fn shred(&self, subject: &str) -> Result<bool, ShredError> {
        if !is_subject(subject) {
            return Err(ShredError::Subject { len: subject.len() });
        }
        self.inner.store.shred(subject).await
    }

    /// The position of the last event.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn head(&self) -> Result<Option<Position>, ReadError> {
        self.inner.store.head().await
    }

    /// What lies underneath, for appends over several streams and conditions on queries.
    pub fn raw(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The clock that this store goes by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Puts events into the form in which they are stored, with new ids.
    ///
    /// # Errors
    /// If one cannot be written as JSON.
    pub fn encode<E: Event>(&self, events: &[E], metadata: &Metadata) -> Result<Vec<NewEvent>, EncodeError> {
        self.encode_tagged(events, metadata, &[])
    }

    pub(crate) fn encode_tagged<E: Event>(
        &self,
        events: &[E],
        metadata: &Metadata,
        more_tags: &[Tag],
    ) -> Result<Vec<NewEvent>, EncodeError> {
        let encode = |event: &E| {
            let event_type = event.event_type();
            let mut tags = event.tags();
            tags.extend_from_slice(more_tags);
            Ok(NewEvent {
                id: self.new_id(),
                name: event_type.name.to_owned(),
                version: event_type.version,
                data: event.encode()?.into(),
                tags,
                metadata: metadata.clone(),
                encrypt_for: event.encrypt_for(),
            })
        };
        events.iter().map(encode).collect()
    }

    /// Lets a stream of the library's own forget what nobody asks for. What fails costs space and nothing else.
    pub(crate) async fn keep_last(&self, stream: &StreamName, count: u64) {
        if let Err(error) = self.inner.store.keep_last(stream, count).await {
            tracing::debug!(%stream, %error, "a stream keeps more than it needs");
        }
    }

    fn new_id(&self) -> String {
        self.inner.clock.uuid_v7().to_string()
    }
}

/// Why events could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendEventsError {
    /// One of them cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store did not take them.
    #[error(transparent)]
    Store(#[from] AppendError),
}

/// Events on their way to a stream; see [`EventStore::append`].
#[must_use = "events are appended by awaiting this"]
pub struct AppendEvents<E> {
    store: EventStore,
    stream: StreamName,
    events: Vec<E>,
    expected: Expected,
    metadata: Metadata,
}

impl<E: Event> AppendEvents<E> {
    /// What the stream must be like.
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// What is stored beside each event.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    async fn run(self) -> Result<Appended, AppendEventsError> {
        let events = self.store.encode(&self.events, &self.metadata)?;
        Ok(self.store.inner.store.append(Append::to(self.stream, self.expected, events)).await?)
    }
}

impl<E: Event> IntoFuture for AppendEvents<E> {
    type Output = Result<Appended, AppendEventsError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The stream of an aggregate.
pub(crate) fn stream_of<D: Decider>(id: &str) -> Result<StreamName, NameError> {
    StreamName::of(D::CATEGORY, id)
}
