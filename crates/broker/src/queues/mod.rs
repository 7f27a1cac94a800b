//! Exchanges and queues: joins the engine to the journal.
//!
//! Each queue is owned by its lock, held to decide or to apply and never across an await. Whoever changed a queue lets it
//! *advance* before letting go of the lock: it hands out what can be handed out, and says what has to be done elsewhere (a
//! message to be read, a change to be journaled, a departure to be made, a time to wake up). Tasks of the broker do that:
//! [`flush`], [`load`], [`depart`], [`timers`].
//!
//! Invariants: several queues are locked in the order of their numbers. What a publish decided is submitted under the locks,
//! so the order of deciding is the order of the journal. A message is handed out only when it is durable, where it is
//! to be. What a queue settled is ahead of the disk until it is flushed; a rewrite leaves out only what is on disk.

mod appends;
mod batch;
mod bodies;
mod consume;
mod definitions;
mod depart;
mod entry;
pub(crate) mod flush;
mod held_back;
mod info;
mod kept;
mod load;
mod logs;
mod plan;
mod publish;
mod record;
mod recover;
mod removal;
mod sessions;
mod settle;
mod sources;
mod space;
mod streams;
#[cfg(test)]
mod tests;
mod timers;
mod transfer;
mod vhosts;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use annals_clock::{Clock, TimestampMs};
use annals_journal::{EntryHeader, EntryKind, Keep};
use annals_queues::positions::Positions;
use annals_queues::routing::{QueueId, Topology};
use bytes::Bytes;
use tokio::sync::Notify;

use crate::api::queues::OwnerId;
use crate::{Broker, Inner};

pub use consume::{Consumer, ConsumerRef, SharedWindow};
pub(crate) use entry::QueueEntry;
pub(crate) use logs::{DEFINITIONS_LOG, is_queue_log};
pub use publish::PublishTicket;
pub use settle::SettleTicket;

use bodies::Bodies;
use entry::Calls;
use kept::Totals;
use logs::Part;

/// Bytes of messages that all queues together keep in memory so that they need not be read.
const HOT_BYTES_MAX: usize = 64 << 20;
/// Bytes of messages that are in memory only. Beyond it, what comes next is written to the journal.
const MEMORY_BYTES_MAX: usize = 256 << 20;
/// As much one queue may have in any case.
const MEMORY_SHARE_MIN: usize = 4 << 10;
/// As much one queue may have at most.
const MEMORY_SHARE_MAX: usize = 16 << 20;

/// All queues and what leads to them.
pub(crate) struct Queues {
    clock: Clock,
    topology: RwLock<Topology>,
    entries: RwLock<HashMap<QueueId, Arc<QueueEntry>>>,
    next_consumer: AtomicU64,
    next_owner: AtomicU64,
    /// Held while definitions are decided and submitted: a change is decided against what the one before it left.
    defining: tokio::sync::Mutex<DefinitionsLog>,
    /// Changes of definitions that are not durable yet.
    defining_in_flight: AtomicU64,
    bodies: Bodies,
    positions: Mutex<Positions>,
    work: Work,
    kept: Totals,
    stopped: AtomicBool,
}

/// Where the log of definitions goes on.
#[derive(Default)]
pub(crate) struct DefinitionsLog {
    next_offset: u64,
}

/// What has to be done elsewhere, by queue.
#[derive(Default)]
struct Work {
    /// Changes to be journaled.
    flush: Inbox,
    /// Somebody waits for changes to be durable.
    flush_awaited: Notify,
    /// Messages to be read.
    load: Inbox,
    /// Departures to be made.
    depart: Inbox,
    /// Queues that nobody used for too long.
    expire: Inbox,
    /// Oldest messages that somebody wants to know of.
    look: Inbox,
    /// Moves that go on.
    moves: Inbox,
    /// Exchanges that topics lead to came or went, or what they are bound to.
    sources_changed: Notify,
    timers: Mutex<BTreeSet<(TimestampMs, QueueId)>>,
    timers_changed: Notify,
}

/// Queues that wait for something to be done, each at most once.
#[derive(Default)]
struct Inbox {
    waiting: Mutex<BTreeSet<QueueId>>,
    filled: Notify,
}

impl Inbox {
    fn put(&self, queue: QueueId) {
        if lock(&self.waiting).insert(queue) {
            self.filled.notify_one();
        }
    }

    fn take(&self, max: usize) -> Vec<QueueId> {
        let mut waiting = lock(&self.waiting);
        let taken: Vec<QueueId> = waiting.iter().take(max).copied().collect();
        for queue in &taken {
            waiting.remove(queue);
        }
        if !waiting.is_empty() {
            self.filled.notify_one();
        }
        taken
    }

    /// Waits until there are some.
    async fn next(&self, max: usize) -> Vec<QueueId> {
        self.any().await;
        self.take(max)
    }

    /// Waits until there is one.
    async fn any(&self) {
        while lock(&self.waiting).is_empty() {
            self.filled.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queues {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            topology: RwLock::default(),
            entries: RwLock::default(),
            next_consumer: AtomicU64::new(1),
            next_owner: AtomicU64::new(1),
            defining: tokio::sync::Mutex::default(),
            defining_in_flight: AtomicU64::new(0),
            bodies: Bodies::default(),
            positions: Mutex::default(),
            work: Work::default(),
            kept: Totals::default(),
            stopped: AtomicBool::new(false),
        }
    }

    fn with_topology<T>(&self, look: impl FnOnce(&Topology) -> T) -> T {
        look(&self.topology.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn entry(&self, queue: QueueId) -> Option<Arc<QueueEntry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&queue).cloned()
    }

    /// The queues, in the order of their numbers. Those that are gone are left out.
    fn entries_of(&self, queues: &[QueueId]) -> Vec<Arc<QueueEntry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = queues.iter().filter_map(|queue| entries.get(queue).cloned()).collect();
        found.sort_unstable_by_key(|entry| entry.id());
        found.dedup_by_key(|entry| entry.id());
        found
    }

    fn all_entries(&self) -> Vec<Arc<QueueEntry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether messages may be kept in memory for a while.
    fn has_hot_room(&self) -> bool {
        self.kept.hot() < HOT_BYTES_MAX
    }

    /// Whether a queue with so many bytes of messages in memory only writes what comes next to the journal, to keep it out of
    /// memory.
    fn spills(&self, memory_bytes: usize) -> bool {
        let share = if self.kept.memory() < MEMORY_BYTES_MAX { MEMORY_SHARE_MAX } else { MEMORY_SHARE_MIN };
        memory_bytes > share
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Passes on what advancing a queue asked for.
    fn call(&self, queue: QueueId, calls: &Calls) {
        if calls.flush {
            self.work.flush.put(queue);
        }
        if calls.load {
            self.work.load.put(queue);
        }
        if calls.depart {
            self.work.depart.put(queue);
        }
        if let Some((before, after)) = calls.timer {
            self.set_timer(queue, before, after);
        }
    }

    fn set_timer(&self, queue: QueueId, before: Option<TimestampMs>, after: Option<TimestampMs>) {
        let mut timers = lock(&self.work.timers);
        if let Some(before) = before {
            timers.remove(&(before, queue));
        }
        if let Some(after) = after {
            timers.insert((after, queue));
            if timers.first() == Some(&(after, queue)) {
                self.work.timers_changed.notify_one();
            }
        }
    }

    /// An entry of a queue's log is durable.
    pub(crate) fn applied(&self, header: &EntryHeader) {
        let (EntryKind::Data, Some((queue, part))) = (header.kind, logs::owner_of(header.log)) else {
            return;
        };
        let Some(entry) = self.entry(queue) else { return };
        let mut state = entry.lock();
        match part {
            Part::Lane(lane) => state.queue.applied(lane, header.end_offset()),
            Part::State => {
                state.queue.state_applied(header.end_offset());
                entry.state_is_written(header.end_offset());
            }
        }
        if part != Part::State {
            entry.advance(&mut state, self);
        }
    }

    /// What a rewrite keeps of an entry.
    pub(crate) fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        space::keep(self, header, payload)
    }

    /// The journal takes nothing any more: those who wait for it are told.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.all_entries().iter().for_each(|entry| entry.wake());
    }
}

impl Broker {
    /// A number for a new connection.
    pub fn new_owner(&self) -> OwnerId {
        OwnerId(self.inner.state.queues.next_owner.fetch_add(1, Ordering::Relaxed))
    }
}

impl Inner {
    pub(crate) fn queues(&self) -> &Queues {
        &self.state.queues
    }
}

/// Does the background work of queues until it is dropped.
pub(crate) async fn run(inner: Arc<Inner>) {
    recover::delete_orphans(&inner).await;
    streams::delete_orphans(&inner).await;
    tokio::join!(
        flush::run(&inner),
        load::run(&inner),
        depart::run(&inner),
        timers::run(&inner),
        definitions::expire(&inner),
        info::run(&inner),
        transfer::run(&inner),
        sources::run(&inner),
        space::run(&inner),
    );
}
