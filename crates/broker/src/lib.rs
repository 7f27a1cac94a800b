//! The one boundary between front-ends and engines: plain requests in, plain results out.
//!
//! [`Broker`] is a cheap handle. Everything that it can be asked is a method on it, with the types of [`api`]; each file
//! here is one kind of question. Behind it, an operation runs the same way everywhere: decide against the state,
//! append to the journal in one group, and let the machine (the `machine` module) apply what became durable.
//! Rights, limits and metrics live here, so that no front-end can forget them.
//!
//! ```
//! use std::sync::Arc;
//! use annals_broker::{Broker, Options};
//! use annals_broker::api::topics::{TopicQuery, TopicSelection};
//! use annals_broker::api::Caller;
//! use annals_clock::Clock;
//! use annals_journal::DiskFiles;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let files = Arc::new(DiskFiles::open(directory.path())?);
//! let broker = Broker::open(Options::default(), Default::default(), files, Clock::system())?;
//! let caller = Caller::internal();
//! let query = TopicQuery { selection: TopicSelection::All, create_missing: false };
//! assert!(broker.topics(&caller, query).await.is_empty());
//! broker.close();
//! # Ok(()) }
//! ```

pub mod access;
pub mod api;
mod configs;
mod connections;
mod disk;
mod eventstore;
mod fetch;
mod groups;
mod lookup;
mod machine;
mod metrics;
mod open;
mod options;
mod produce;
mod queues;
mod read_ahead;
mod state_log;
mod storage;
mod table;
mod topics;
mod upkeep;

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, RwLock};

use annals_clock::Clock;
use annals_journal::{Damage, Journal};
use annals_topics::catalogue::Catalogue;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use connections::{ConnectionQuestion, Desk};
pub use disk::StoredRecords;
pub use eventstore::{Subscription, SubscriptionConsumer};
pub use metrics::{ConnectionGuard, MemoryGuard, Metrics, ProtocolMetrics};
pub use open::OpenError;
pub use options::Options;
pub use produce::ProduceTicket;
pub use queues::{Consumer, ConsumerRef, PublishTicket, SettleTicket, SharedWindow};

use groups::Groups;
use read_ahead::ReadAhead;
use state_log::StateLog;
use table::Table;
use upkeep::compaction::Cleaning;

/// A cheap, cloneable handle to the broker.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

/// What all parts of the broker share.
struct Inner {
    options: Options,
    clock: Clock,
    journal: Journal,
    cluster_id: Arc<str>,
    /// Shared with the machine, which applies what is durable.
    state: Arc<State>,
    /// Held while the catalogue is changed: a change is decided against what the one before it left.
    changing: tokio::sync::Mutex<()>,
    catalogue_log: StateLog,
    offsets_log: StateLog,
    /// Keys of subjects in event stores.
    keys_log: StateLog,
    /// Persistent subscriptions to event stores.
    subscriptions_log: StateLog,
    groups: Groups,
    connections: connections::Connections,
    /// Ids for idempotent producers that are allocated and not yet given out: next and end.
    producer_ids: tokio::sync::Mutex<std::ops::Range<i64>>,
    disk_reads: Arc<Semaphore>,
    ahead: ReadAhead,
    metrics: Arc<Metrics>,
    draining: AtomicBool,
}

/// The applied state: what recovery builds and the machine changes.
struct State {
    clock: Clock,
    catalogue: RwLock<Catalogue>,
    table: Table,
    cleaning: Cleaning,
    queues: queues::Queues,
    stores: eventstore::Stores,
    /// When the machine last looked at the wall clock: exact enough for a producer's last activity.
    now_ms: AtomicI64,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("cluster_id", &self.inner.cluster_id).finish_non_exhaustive()
    }
}

impl Broker {
    /// The id of this server's data directory, given when it was created.
    pub fn cluster_id(&self) -> Arc<str> {
        Arc::clone(&self.inner.cluster_id)
    }

    /// What the broker counts and measures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// Why writes are not accepted for good, if they are not.
    pub fn stopped(&self) -> Option<String> {
        self.inner.journal.stopped()
    }

    /// Whether writes are refused until there is space on the disk.
    pub fn is_disk_full(&self) -> bool {
        self.inner.journal.is_full()
    }

    /// The damage found on disk since the start.
    pub fn damage(&self) -> Vec<Damage> {
        self.inner.journal.damage()
    }

    /// The journal under this broker.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Does the broker's background work (group timers, retention, compaction, the indexes and subscriptions of
    /// stores) until `shutdown` resolves.
    ///
    /// Groups are answered only while this runs.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(groups::write_offsets(Arc::clone(&self.inner)));
        tasks.spawn(groups::keep_time(Arc::clone(&self.inner)));
        tasks.spawn(read_ahead::run(Arc::clone(&self.inner)));
        tasks.spawn(upkeep::retention::run(Arc::clone(&self.inner)));
        tasks.spawn(upkeep::compaction::run(Arc::clone(&self.inner)));
        tasks.spawn(queues::run(Arc::clone(&self.inner)));
        tasks.spawn(eventstore::run(Arc::clone(&self.inner)));
        tasks.spawn(eventstore::keep_subscriptions(Arc::clone(&self.inner)));
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = tasks.join_next() => report(ended),
                else => break,
            }
        }
        self.inner.draining.store(true, std::sync::atomic::Ordering::Release);
        tasks.shutdown().await;
    }

    /// Writes and syncs what was accepted, the last settlements of queues included, and closes the journal. Blocks until done;
    /// nothing is accepted afterwards.
    pub fn close(&self) {
        if self.stopped().is_none() {
            // Only the journal's threads are waited for, so it may block whatever runs it.
            futures_executor::block_on(queues::flush::finish(&self.inner));
        }
        self.inner.journal.close();
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a background task of the broker failed");
    }
}
