//! Keeping the indexes up with their logs, and having them built where there are none.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use annals_clock::Uuid;
use annals_eventstore::Position;
use annals_eventstore::index::TableError;
use tokio::task::JoinSet;

use super::build::BuildError;
use super::{StoreEntry, TAIL_EVENTS_MAX};
use crate::Inner;

/// How long an event stays out of the index at most, while there is little to do.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// How long to wait after an index could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Events that stay in memory where there is no index that they could go to.
const TAIL_EVENTS_WITHOUT_INDEX: usize = TAIL_EVENTS_MAX / 2;

/// Events that are let go of while the store is locked.
const EVENTS_LET_GO: u64 = 1024;

/// Writes the indexes of all stores, now and then and when there is much to write. One that has to be built is built beside
/// that, so that it keeps no other store waiting.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut building = JoinSet::new();
    let mut under_way: HashSet<Uuid> = HashSet::new();
    loop {
        let stores = &inner.state.stores;
        tokio::select! {
            () = stores.flush_wanted.notified() => {}
            () = tokio::time::sleep(FLUSH_INTERVAL) => {}
            Some(built) = building.join_next() => {
                if let Ok(store) = built {
                    under_way.remove(&store);
                }
            }
        }
        let mut failed = false;
        for store in stores.all() {
            if store.index().is_none() && under_way.insert(store.id) {
                building.spawn(build(Arc::clone(&inner), Arc::clone(&store)));
            }
            failed |= !inner.attend(&store).await;
        }
        if failed {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// Builds the index of a store. If that fails, the next try waits for a while.
async fn build(inner: Arc<Inner>, store: Arc<StoreEntry>) -> Uuid {
    let (builder, entry) = (Arc::clone(&inner), Arc::clone(&store));
    if let Err(error) = inner.blocking(move || builder.rebuild(&entry)).await {
        tracing::error!(store = %store.name, %error, "the index of a store could not be built");
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    store.id
}

impl Inner {
    /// Writes a store's index. Tells whether that worked.
    async fn attend(self: &Arc<Self>, store: &Arc<StoreEntry>) -> bool {
        if store.is_indexed() {
            return true;
        }
        let entry = Arc::clone(store);
        let done = self.blocking(move || entry.flush()).await;
        if let Err(error) = &done {
            tracing::error!(store = %store.name, %error, "the index of a store could not be written");
        }
        done.is_ok()
    }
}

impl StoreEntry {
    fn is_indexed(&self) -> bool {
        let state = self.lock();
        state.indexed() == state.applied()
    }

    /// Moves what is durable from the memory to the index. Without one, makes room in the memory: the log has everything.
    pub(super) fn flush(&self) -> Result<(), BuildError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = self.index() else {
            self.forget();
            return Ok(());
        };
        let flush = self.lock().flush();
        if flush.is_empty() {
            return Ok(());
        }
        if let Err(error) = index.write(&flush, self.id.into_bytes()) {
            self.set_broken(&error);
            return Err(error.into());
        }
        self.indexed_to(flush.end());
        Ok(())
    }

    /// Lets go of the memory below `end`, a little at a time: nothing is decided meanwhile.
    pub(super) fn indexed_to(&self, end: Position) {
        loop {
            let mut state = self.lock();
            let next = Position(end.0.min(state.indexed().0 + EVENTS_LET_GO));
            if next <= state.indexed() {
                break;
            }
            state.indexed_to(next);
        }
        self.flushed.notify_waiters();
    }

    fn forget(&self) {
        let (tail_len, applied) = {
            let state = self.lock();
            (state.tail_len(), state.applied())
        };
        if tail_len > TAIL_EVENTS_WITHOUT_INDEX {
            self.indexed_to(applied);
        }
    }

    /// Has the index built again.
    pub(super) fn set_broken(&self, error: &TableError) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.take().is_some() {
            tracing::warn!(store = %self.name, %error, "the index of a store is built again");
        }
    }
}
