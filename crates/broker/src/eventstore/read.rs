//! Reading events.
//!
//! A selection becomes positions (from the index and the memory) or, where all events are asked for, a stretch of the log;
//! then the batches are read and the records taken out of them. All of it may block on the disk and runs on the blocking
//! pool.

mod log;
mod select;

use std::sync::Arc;

use annals_eventstore::record::RecordedEvent;
use annals_eventstore::{Position, StreamState};
use annals_journal::ReadError;

pub(super) use log::{LogReader, READ_BYTES, Stretch};
pub(super) use select::{Cursor, Selected};

use super::StoreEntry;
use crate::api::Caller;
use crate::api::stores::{EventsRead, ReadEvents, ReadEventsError, Selection};
use crate::{Broker, Inner};

/// The most events that one read gives.
const LIMIT_MAX: usize = 10_000;
/// The most bytes that one read gives.
const BYTES_MAX: usize = 64 << 20;

impl Broker {
    /// Reads events of a store that are durable.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub async fn read_events(
        &self,
        _caller: &Caller,
        request: ReadEvents,
    ) -> Result<EventsRead, ReadEventsError> {
        if request.limit == 0 || request.limit > LIMIT_MAX {
            let reason = format!("limit must be from 1 to {LIMIT_MAX}");
            return Err(ReadEventsError::Invalid { field: "limit".to_owned(), reason });
        }
        let store = self.inner.store(&request.store)?;
        self.inner.read_blocking(&store, move |inner, store| inner.read_request(store, &request)).await
    }
}

impl Inner {
    pub(super) fn store(&self, name: &Arc<str>) -> Result<Arc<StoreEntry>, ReadEventsError> {
        let store = self.state.stores.by_name(name);
        store.ok_or_else(|| ReadEventsError::UnknownStore(Arc::clone(name)))
    }

    /// Reads on the blocking pool.
    pub(super) async fn read_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        read: impl FnOnce(&Self, &Arc<StoreEntry>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, ReadEventsError> {
        let (inner, entry) = (Arc::clone(self), Arc::clone(store));
        self.blocking(move || read(&inner, &entry).map_err(ReadEventsError::from)).await
    }

    fn read_request(&self, store: &Arc<StoreEntry>, request: &ReadEvents) -> Result<EventsRead, Failed> {
        let now_ms = self.clock.now_ms();
        let (end, stream) = {
            let state = store.lock();
            let stream = match &request.selection {
                Selection::Stream(name) => Some((name.clone(), state.stream(name.as_str()))),
                _ => None,
            };
            (state.applied(), stream)
        };
        if let Some((stream, state)) = &stream
            && !matches!(state, StreamState::At(_))
        {
            return Err(ReadEventsError::NoStream { stream: stream.clone(), state: *state }.into());
        }
        let mut cursor = Cursor::start(self, store, request, end)?;
        let limits = (request.limit, request.bytes_max.min(BYTES_MAX));
        let Selected { mut events, is_end } = cursor.read(self, store, limits, now_ms)?;
        self.state.stores.keys.open(&mut events);
        let next = if is_end { None } else { cursor.place() };
        Ok(EventsRead { events, next, end, stream: stream.map(|(_, state)| state) })
    }
}

/// Why a read failed.
#[derive(Debug)]
pub(super) enum Failed {
    Log(ReadError),
    Request(ReadEventsError),
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Log(error)
    }
}

impl From<ReadEventsError> for Failed {
    fn from(error: ReadEventsError) -> Self {
        Self::Request(error)
    }
}

impl From<Failed> for ReadEventsError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Request(error) => error,
            Failed::Log(ReadError::Damaged(damage)) => Self::Corrupt(damage.to_string()),
            Failed::Log(error) => Self::Storage(error.to_string()),
        }
    }
}

/// Whether an event is given to somebody who did not ask for it by name.
fn is_shown(event: &RecordedEvent, with_system: bool) -> bool {
    with_system || !event.is_internal()
}

/// The position behind an event.
fn behind(event: &RecordedEvent) -> Position {
    Position(event.position().0 + 1)
}
