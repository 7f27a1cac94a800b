//! Which stores there are.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use annals_clock::{Clock, Uuid};
use annals_journal::LogId;
use annals_topics::catalogue::Topic;
use tokio::sync::Notify;

use super::keys::Keys;
use super::persistent::Groups;
use super::{StoreEntry, Tables};
use crate::table::PartitionEntry;

/// All stores, by name and by log.
pub(crate) struct Stores {
    state: RwLock<State>,
    pub(super) tables: Tables,
    pub(crate) keys: Keys,
    pub(crate) groups: Groups,
    /// Told when a store has so much in memory that its index should be written.
    pub(super) flush_wanted: Notify,
}

#[derive(Default)]
struct State {
    by_name: HashMap<Arc<str>, Arc<StoreEntry>>,
    by_log: HashMap<LogId, Arc<StoreEntry>>,
}

impl Stores {
    pub(crate) fn new(tables: Tables) -> Self {
        let (keys, groups) = (Keys::default(), Groups::default());
        Self { state: RwLock::default(), tables, keys, groups, flush_wanted: Notify::new() }
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<StoreEntry>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    pub(crate) fn by_log(&self, log: LogId) -> Option<Arc<StoreEntry>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_log.get(&log).cloned()
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<Arc<StoreEntry>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.by_name.values().find(|store| store.id == id).cloned()
    }

    /// All stores, by name.
    pub(super) fn all(&self) -> Vec<Arc<StoreEntry>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = state.by_name.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Takes in the store of a topic, unless it is known already.
    pub(crate) fn put(&self, topic: &Topic, partition: Option<Arc<PartitionEntry>>, clock: &Clock) {
        let Some(partition) = partition.filter(|_| topic.store) else { return };
        if self.by_log(partition.log).is_some() {
            return;
        }
        let name = Arc::clone(&topic.name);
        self.adopt(Arc::new(StoreEntry::new(topic.id, name, partition, seed(clock))));
    }

    pub(super) fn adopt(&self, entry: Arc<StoreEntry>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.by_log.insert(entry.log, Arc::clone(&entry));
        state.by_name.insert(Arc::clone(&entry.name), entry);
    }

    pub(crate) fn remove(&self, topic: &Topic) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = state.by_name.remove(&topic.name) {
            state.by_log.remove(&entry.log);
            entry.deleted.store(true, Ordering::Release);
            entry.flushed.notify_waiters();
        }
    }

    /// Everything of a log below `end` is durable.
    pub(crate) fn apply(&self, log: LogId, end: u64) {
        if self.by_log(log).is_some_and(|store| store.apply(end)) {
            self.flush_wanted.notify_one();
        }
    }
}

/// A seed for the keys of a new index.
pub(super) fn seed(clock: &Clock) -> [u8; 16] {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&clock.random().to_le_bytes());
    seed[8..].copy_from_slice(&clock.random().to_le_bytes());
    seed
}
