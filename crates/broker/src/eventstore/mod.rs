//! Event stores: the engine joined to the journal.
//!
//! A store's log is the one partition of a topic. An append is decided, encoded as one record batch and submitted while the
//! store is locked, so the order of decisions is that of the journal; many may be in flight. When a batch is durable the
//! machine tells the store ([`StoreEntry::apply`]), and readers see it. The index follows behind (`flush`): what it does
//! not hold yet is in memory, and appends wait when that becomes too much.

mod admin;
mod append;
mod build;
mod find;
mod flush;
mod keys;
mod open;
mod persistent;
mod read;
mod registry;
mod scan;
mod scavenge;
mod streams;
mod subscribe;
mod tables;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use annals_clock::Uuid;
use annals_eventstore::index::Index;
use annals_eventstore::store::{Options, Store};
use annals_eventstore::{Position, Terms};
use annals_journal::LogId;
use tokio::sync::Notify;

use build::Begun;
pub(crate) use flush::run;
pub(crate) use keys::KEYS_LOG;
pub(crate) use open::recover;
pub use persistent::SubscriptionConsumer;
pub(crate) use persistent::{SUBSCRIPTIONS_LOG, keep as keep_subscriptions};
pub(crate) use registry::Stores;
pub use subscribe::Subscription;
pub(crate) use tables::Tables;

use crate::table::PartitionEntry;

/// Events in memory from which on the index is written at once. The more go together, the fewer pages of it are written for each:
/// a stream or term has one entry for all of its events in a flush.
const FLUSH_EVENTS: usize = 1 << 15;
/// Events in memory from which on appends wait for the index.
const TAIL_EVENTS_MAX: usize = 1 << 18;

/// One store.
pub(crate) struct StoreEntry {
    pub(crate) id: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) log: LogId,
    pub(crate) partition: Arc<PartitionEntry>,
    terms: Terms,
    state: Mutex<Store>,
    /// What finds events. Without one the log is read instead, and an index is built.
    index: RwLock<Option<Index>>,
    /// Held while the index is written or exchanged, and while events leave the memory.
    writing: Mutex<()>,
    /// An index that was begun when the store was opened. Held while one is built.
    begun: Mutex<Option<Begun>>,
    /// Up to where an index is built, while one is.
    built_to: AtomicU64,
    /// Told when events left the memory for the index.
    flushed: Notify,
    deleted: AtomicBool,
}

impl StoreEntry {
    fn new(id: Uuid, name: Arc<str>, partition: Arc<PartitionEntry>, seed: [u8; 16]) -> Self {
        let store = Store::new(Terms::new(seed), Options::default());
        Self::with(id, name, partition, store, None)
    }

    fn with(
        id: Uuid,
        name: Arc<str>,
        partition: Arc<PartitionEntry>,
        store: Store,
        index: Option<Index>,
    ) -> Self {
        Self {
            id,
            name,
            log: partition.log,
            partition,
            terms: *store.terms(),
            state: Mutex::new(store),
            index: RwLock::new(index),
            writing: Mutex::default(),
            begun: Mutex::default(),
            built_to: AtomicU64::new(u64::MAX),
            flushed: Notify::new(),
            deleted: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything below `end` is durable. Tells whether the index should be written soon.
    pub(crate) fn apply(&self, end: u64) -> bool {
        let mut store = self.lock();
        store.apply_to(Position(end));
        store.tail_len() >= FLUSH_EVENTS
    }

    fn index(&self) -> Option<Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_index(&self, index: Index) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index);
    }

    /// Up to where events are found by the index: while there is none, as far as it is built.
    fn found_to(&self) -> Position {
        let built_to = self.built_to.load(Ordering::Relaxed);
        match self.index() {
            Some(_) => self.lock().indexed(),
            None if built_to == u64::MAX => Position(0),
            None => Position(built_to),
        }
    }

    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }
}
