//! Catch-up subscriptions: everything from a place on, and then what comes.
//!
//! A subscription reads; nothing is pushed, so a slow subscriber holds nothing up and nothing is dropped. It registers with
//! the store's partition before it looks whether there is something, so no event falls between looking and waiting.

use std::sync::Arc;

use annals_eventstore::Position;
use tokio::sync::Notify;

use super::StoreEntry;
use super::read::Cursor;
use crate::api::Caller;
use crate::api::stores::{Delivery, Place, ReadEventsError, Selection, SubscribeEvents};
use crate::table::Waiting;
use crate::{Broker, Inner};

/// Events that are given at once.
const EVENTS_AT_ONCE: usize = 512;
/// Bytes of events that are given at once.
const BYTES_AT_ONCE: usize = 1 << 20;
/// A subscriber that finds nothing is told how far it came after so many events of others.
const CHECKPOINT_EVENTS: u64 = 10_000;

/// A subscription; see `Broker::subscribe_events`. Dropping it ends it.
pub struct Subscription {
    inner: Arc<Inner>,
    store: Arc<StoreEntry>,
    cursor: Cursor,
    /// How far the store was looked through.
    looked_to: Position,
    /// Up to where the subscriber was told that nothing is left out.
    told_to: Option<Position>,
    is_live: bool,
    notify: Arc<Notify>,
    _waiting: Waiting,
}

impl Broker {
    /// Subscribes to events of a store.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub async fn subscribe_events(
        &self,
        _caller: &Caller,
        request: SubscribeEvents,
    ) -> Result<Subscription, ReadEventsError> {
        let store = self.inner.store(&request.store)?;
        let notify = Arc::new(Notify::new());
        let waiting = store.partition.wait(&notify);
        let SubscribeEvents { selection, after, with_system, .. } = request;
        let start =
            move |inner: &Inner, store: &Arc<StoreEntry>| start(inner, store, &selection, after, with_system);
        let cursor = self.inner.read_blocking(&store, start).await?;
        Ok(Subscription {
            inner: Arc::clone(&self.inner),
            store,
            cursor,
            looked_to: Position(0),
            told_to: None,
            is_live: false,
            notify,
            _waiting: waiting,
        })
    }
}

fn start(
    inner: &Inner,
    store: &Arc<StoreEntry>,
    selection: &Selection,
    after: Option<Place>,
    with_system: bool,
) -> Result<Cursor, super::read::Failed> {
    let cursor = Cursor::from_position(store, selection, with_system, 0)?;
    let Some(after) = after else { return Ok(cursor) };
    let from = cursor.number(inner, store, after, true)?;
    Ok(Cursor::from_position(store, selection, with_system, from)?)
}

impl Subscription {
    /// The next events, or word that there are none at present. Waits for them.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// [`ReadEventsError`]. [`ReadEventsError::UnknownStore`] when the store was deleted; after others a later call goes
    /// on where this one stopped.
    pub async fn next(&mut self) -> Result<Delivery, ReadEventsError> {
        loop {
            if self.store.is_deleted() {
                return Err(ReadEventsError::UnknownStore(Arc::clone(&self.store.name)));
            }
            let end = self.store.lock().applied();
            if end > self.looked_to || self.cursor.place().is_some() {
                if let Some(delivery) = self.look(end).await? {
                    return Ok(delivery);
                }
                continue;
            }
            if !self.is_live || self.is_checkpoint_due() {
                self.is_live = true;
                self.told_to = Some(self.looked_to);
                let after = self.looked_to.0.checked_sub(1).map(Position);
                return Ok(Delivery::CaughtUp { after });
            }
            self.notify.notified().await;
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let told_to = self.told_to.map_or(0, |told| told.0);
        self.looked_to.0.saturating_sub(told_to) >= CHECKPOINT_EVENTS
    }

    /// Looks for events below `end`.
    async fn look(&mut self, end: Position) -> Result<Option<Delivery>, ReadEventsError> {
        let from = self.cursor.clone();
        let read = move |inner: &Inner, store: &Arc<StoreEntry>| {
            let now_ms = inner.clock.now_ms();
            let mut cursor = from.clone();
            cursor.extend(store, end, now_ms);
            let limits = (EVENTS_AT_ONCE, BYTES_AT_ONCE);
            let mut selected = cursor.read(inner, store, limits, now_ms)?;
            inner.state.stores.keys.open(&mut selected.events);
            Ok((cursor, selected))
        };
        let (moved, selected) = self.inner.read_blocking(&self.store, read).await?;
        self.cursor = moved;
        if selected.is_end {
            self.looked_to = end;
        }
        if selected.events.is_empty() {
            return Ok(None);
        }
        // Who lags behind is not live any more.
        self.is_live &= selected.is_end;
        if selected.is_end && self.is_live {
            self.told_to = Some(end);
        }
        Ok(Some(Delivery::Events(selected.events)))
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("store", &self.store.name).finish_non_exhaustive()
    }
}
