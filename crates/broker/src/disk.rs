//! Reading from the disk, on the blocking pool, a bounded number at a time: first come, first served.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annals_journal::{Journal, Limit, LogId, Read, ReadError, ReadPlan};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::Inner;
use crate::metrics::Metrics;
use crate::table::PartitionEntry;

/// What is read at once of records that are read piece by piece: enough to be worth a read.
const PART_BYTES: usize = 1 << 20;

/// Records of one partition that are on the disk, and are read part by part, when their reader has room for them.
///
/// What they are is settled: they can be read also when they are deleted meanwhile.
#[derive(Clone)]
pub struct StoredRecords {
    journal: Journal,
    turns: Arc<Semaphore>,
    parts: Arc<[ReadPlan]>,
    bytes: usize,
    topic: Arc<str>,
    partition: Arc<PartitionEntry>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for StoredRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, parts, bytes, .. } = self;
        f.debug_struct("StoredRecords")
            .field("topic", topic)
            .field("parts", &parts.len())
            .field("bytes", bytes)
            .finish_non_exhaustive()
    }
}

impl StoredRecords {
    pub(crate) fn new(
        inner: &Inner,
        topic: &Arc<str>,
        partition: &Arc<PartitionEntry>,
        plan: ReadPlan,
    ) -> Self {
        Self {
            journal: inner.journal.clone(),
            turns: Arc::clone(&inner.disk_reads),
            bytes: plan.bytes(),
            parts: plan.split(PART_BYTES).into(),
            topic: Arc::clone(topic),
            partition: Arc::clone(partition),
            metrics: Arc::clone(&inner.metrics),
        }
    }

    /// Bytes of all their batches.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The parts: where each begins, and how many bytes it has.
    pub fn parts(&self) -> impl Iterator<Item = (i64, usize)> {
        self.parts.iter().map(|part| (part.offset().cast_signed(), part.bytes()))
    }

    /// Reads all of one part: whole batches, cut anywhere between chunks. `None` if there is no such part or if it cannot be read;
    /// why is logged. Whoever asks for the same offsets anew is given what is in front of that, and then told of it.
    pub async fn read(&self, part: usize) -> Option<Vec<Bytes>> {
        let wanted = self.parts.get(part)?.bytes();
        let (journal, parts) = (self.journal.clone(), Arc::clone(&self.parts));
        let read = blocking(&self.turns, move || journal.read_planned(&parts[part])).await;
        let why = match read {
            Ok(read) if read.bytes == wanted => {
                self.metrics.fetched(&self.topic, &read.pieces);
                return Some(read.pieces);
            }
            Ok(read) => format!("only {} of {wanted} bytes could be read", read.bytes),
            Err(error) => error.to_string(),
        };
        tracing::error!(topic = %self.topic, log = %self.partition.log, "stored records cannot be read: {why}");
        self.partition.set_unreadable();
        None
    }
}

impl Inner {
    /// As [`Journal::read`].
    pub(crate) async fn read_log(
        &self,
        log: LogId,
        offsets: Range<u64>,
        limit: Limit,
    ) -> Result<Read, ReadError> {
        let journal = self.journal.clone();
        self.blocking(move || journal.read(log, offsets, limit)).await
    }

    /// What [`Inner::read_log`] would give. `None` if that cannot be known.
    pub(crate) async fn plan_log(&self, log: LogId, offsets: Range<u64>, limit: Limit) -> Option<ReadPlan> {
        let journal = self.journal.clone();
        self.blocking(move || journal.plan_read(log, offsets, limit)).await.ok()
    }

    /// Runs `work` on the blocking pool, as one of a bounded number.
    pub(crate) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        blocking(&self.disk_reads, work).await
    }
}

async fn blocking<T: Send + 'static>(turns: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> T {
    // The semaphore is never closed; without a permit the work is merely not counted.
    let permit = Arc::clone(turns).acquire_owned().await.ok();
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match done.await.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is going, and whoever waits with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
