//! The state of an aggregate: now, at a revision, or at a time. All three fold the same events; two stop earlier.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use crate::event_store::stream_of;
use crate::snapshot::Since;
use crate::store::{NameError, PAGE_EVENTS_MAX, Read, ReadError, Revision, StreamName};
use crate::{Decider, DecodeError, ErrorKind, EventStore, Time, TimestampMs};

/// Why a state could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The id makes no name of a stream.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store did not give the events.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// An event cannot be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl LoadError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) => ErrorKind::Input,
            Self::Store(error) => error.kind(),
            Self::Decode(error) => error.kind(),
        }
    }
}

/// Up to where events count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AsOf {
    #[default]
    Now,
    Revision(Revision),
    Time(TimestampMs),
}

impl AsOf {
    /// Whether a state that ends with the event at `revision` may be part of the answer.
    pub(crate) fn may_include(self, revision: Revision) -> bool {
        match self {
            Self::Revision(last) => revision <= last,
            Self::Now | Self::Time(_) => true,
        }
    }
}

/// A state and the events that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<S> {
    /// The state.
    pub state: S,
    /// The revision of the last event that counted; none if there was none. Of the state as it is now it is that of the
    /// stream's last event, also if that event is not shown any more.
    pub revision: Option<Revision>,
    /// How many events were read for it, those in a snapshot not among them.
    pub events_read: usize,
    pub(crate) since: Since,
}

impl<S> Loaded<S> {
    pub(crate) fn before_the_first(state: S) -> Self {
        Self { state, revision: None, events_read: 0, since: Since::default() }
    }

    pub(crate) fn from_snapshot(state: S, revision: Revision) -> Self {
        let since = Since { version: revision.0 + 1, ..Since::default() };
        Self { state, revision: Some(revision), events_read: 0, since }
    }

    /// Whether there is a revision: that any event counted, or at least was there.
    pub fn exists(&self) -> bool {
        self.revision.is_some()
    }

    /// How many events there were up to this state: the version, as the textbooks count.
    pub fn version(&self) -> u64 {
        self.revision.map_or(0, |revision| revision.0 + 1)
    }
}

/// A state that is being loaded; see [`EventStore::load`].
#[must_use = "a state is loaded by awaiting this"]
pub struct Load<D> {
    store: EventStore,
    id: String,
    as_of: AsOf,
    decider: PhantomData<fn() -> D>,
}

impl<D: Decider> Load<D> {
    pub(crate) fn new(store: EventStore, id: String) -> Self {
        Self { store, id, as_of: AsOf::Now, decider: PhantomData }
    }

    /// As it was after the event at this revision; a later revision than the last means now.
    pub fn at_revision(mut self, revision: impl Into<Revision>) -> Self {
        self.as_of = AsOf::Revision(revision.into());
        self
    }

    /// As it was at this time, events recorded at that very millisecond included.
    pub fn at_time(mut self, time: &Time) -> Self {
        self.as_of = AsOf::Time(time.unix_ms());
        self
    }

    async fn run(self) -> Result<Loaded<D::State>, LoadError> {
        let stream = stream_of::<D>(&self.id)?;
        self.store.load_state::<D>(&stream, self.as_of).await
    }
}

impl<D: Decider> IntoFuture for Load<D> {
    type Output = Result<Loaded<D::State>, LoadError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl EventStore {
    pub(crate) async fn load_state<D: Decider>(
        &self,
        stream: &StreamName,
        as_of: AsOf,
    ) -> Result<Loaded<D::State>, LoadError> {
        let start = self.start::<D>(stream, as_of).await?;
        self.replay::<D>(stream, as_of, start).await
    }

    /// Applies what follows `loaded` in `stream`.
    async fn replay<D: Decider>(
        &self,
        stream: &StreamName,
        as_of: AsOf,
        mut loaded: Loaded<D::State>,
    ) -> Result<Loaded<D::State>, LoadError> {
        let mut read = Read::stream(stream.clone());
        read.from = Some(loaded.version());
        if let AsOf::Time(time_ms) = as_of {
            read.until_ms = Some(time_ms);
        }
        loop {
            read.limit = match as_of {
                AsOf::Revision(last) if last.0 < loaded.version() => return Ok(loaded),
                AsOf::Revision(last) => {
                    ((last.0 - loaded.version()) as usize).saturating_add(1).min(PAGE_EVENTS_MAX)
                }
                AsOf::Now | AsOf::Time(_) => PAGE_EVENTS_MAX,
            };
            let page = self.inner.store.read(read.clone()).await?;
            for recorded in page.events {
                if !as_of.may_include(recorded.revision) {
                    // Earlier events are not shown, so the page reached further than was asked.
                    return Ok(loaded);
                }
                (loaded.revision, loaded.events_read) = (Some(recorded.revision), loaded.events_read + 1);
                loaded.since.add(&recorded);
                if let Some(envelope) = self.inner.codec.read_known::<D::Event>(recorded)? {
                    loaded.state = D::evolve(loaded.state, &envelope.event);
                }
            }
            match page.next {
                Some(next) => read.from = Some(next),
                None => {
                    if as_of == AsOf::Now {
                        // Events that are not shown are part of what a decision has seen.
                        loaded.revision = loaded.revision.max(page.last_revision);
                    }
                    return Ok(loaded);
                }
            }
        }
    }
}
