//! The partitions that are there, by topic and by log, and who waits for their next record.
//!
//! A partition's state is owned by its lock, which is held only to decide or to apply, never across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use annals_clock::Uuid;
use annals_journal::LogId;
use annals_topics::catalogue::Topic;
use annals_topics::partition::Partition;
use tokio::sync::Notify;

use crate::api::topics::TopicRef;

/// One topic with its partitions.
pub(crate) struct TopicEntry {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partitions: Vec<Arc<PartitionEntry>>,
}

/// One partition.
pub(crate) struct PartitionEntry {
    pub(crate) log: LogId,
    state: Mutex<Partition>,
    waiters: Mutex<Waiters>,
    /// Where the last read from disk ended.
    read_up_to: AtomicU64,
    /// Something of it could not be read when its length had been told.
    unreadable: AtomicBool,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    waiting: HashMap<u64, Arc<Notify>>,
}

/// A place among those who wait for a partition; given up when dropped.
pub(crate) struct Waiting {
    partition: Arc<PartitionEntry>,
    key: u64,
}

impl PartitionEntry {
    pub(crate) fn new(log: LogId, partition: Partition) -> Self {
        Self {
            log,
            state: Mutex::new(partition),
            waiters: Mutex::default(),
            read_up_to: AtomicU64::new(0),
            unreadable: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Partition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a read from disk. Returns whether it went on from where the one before it had ended, or from the beginning.
    pub(crate) fn goes_on(&self, from: u64, to: u64) -> bool {
        self.read_up_to.swap(to, Ordering::Relaxed) == from
    }

    /// From now on what is read is read before anything is said of it.
    pub(crate) fn set_unreadable(&self) {
        self.unreadable.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Has `notify` told when the partition gets records.
    pub(crate) fn wait(self: &Arc<Self>, notify: &Arc<Notify>) -> Waiting {
        let mut waiters = self.waiters();
        let key = waiters.next;
        waiters.next += 1;
        waiters.waiting.insert(key, Arc::clone(notify));
        Waiting { partition: Arc::clone(self), key }
    }

    /// Tells everybody who waits.
    pub(crate) fn wake(&self) {
        for notify in self.waiters().waiting.values() {
            notify.notify_one();
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.partition.waiters().waiting.remove(&self.key);
    }
}

/// All topics and partitions.
#[derive(Default)]
pub(crate) struct Table {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    by_name: HashMap<Arc<str>, Arc<TopicEntry>>,
    by_id: HashMap<Uuid, Arc<TopicEntry>>,
    by_log: HashMap<LogId, Arc<PartitionEntry>>,
}

impl Table {
    pub(crate) fn topic(&self, topic: &TopicRef) -> Option<Arc<TopicEntry>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match topic {
            TopicRef::Name(name) => state.by_name.get(name).cloned(),
            TopicRef::Id(id) => state.by_id.get(id).cloned(),
        }
    }

    pub(crate) fn partition(&self, topic: &TopicRef, partition: i32) -> Option<Arc<PartitionEntry>> {
        let entry = self.topic(topic)?;
        entry.partitions.get(usize::try_from(partition).ok()?).cloned()
    }

    pub(crate) fn by_log(&self, log: LogId) -> Option<Arc<PartitionEntry>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_log.get(&log).cloned()
    }

    /// All topics, in no order.
    pub(crate) fn topics(&self) -> Vec<Arc<TopicEntry>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// Puts a topic in, or its new definition in the place of the old. Partitions that are there already stay.
    pub(crate) fn put(&self, topic: &Arc<Topic>, open: impl Fn(LogId) -> Partition) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let partition = |&log: &u64| {
            let log = LogId(log);
            state.by_log.get(&log).cloned().unwrap_or_else(|| Arc::new(PartitionEntry::new(log, open(log))))
        };
        let partitions: Vec<_> = topic.logs.iter().map(partition).collect();
        for partition in &partitions {
            state.by_log.insert(partition.log, Arc::clone(partition));
        }
        let entry = Arc::new(TopicEntry { topic: Arc::clone(topic), partitions });
        state.by_name.insert(Arc::clone(&topic.name), Arc::clone(&entry));
        state.by_id.insert(topic.id, entry);
    }

    /// Takes a topic out and wakes whoever waits for it.
    pub(crate) fn remove(&self, topic: &Topic) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.by_name.remove(&topic.name);
        let Some(entry) = state.by_id.remove(&topic.id) else { return };
        for partition in &entry.partitions {
            state.by_log.remove(&partition.log);
            partition.wake();
        }
    }
}
