//! Reading from the disk, on the blocking pool, a bounded number at a time: first come, first served.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annals_journal::{Limit, LogId, Read, ReadError, ReadPlan};
use bytes::Bytes;
use tokio::task::JoinError;

use crate::Inner;
use crate::table::PartitionEntry;

/// What is read at once of records that are read piece by piece: enough to be worth a read.
const PART_BYTES: usize = 1 << 20;

/// Records of one partition that are on the disk, and are read part by part, when their reader has room for them.
///
/// What they are is settled: they can be read also when they are deleted meanwhile.
#[derive(Clone)]
pub struct StoredRecords {
    inner: Arc<Inner>,
    parts: Arc<[ReadPlan]>,
    bytes: usize,
    /// What the reader may see behind them, and how much of it the next request may be given.
    rest: Range<u64>,
    next_bytes_max: usize,
    topic: Arc<str>,
    partition: Arc<PartitionEntry>,
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
    /// What is planned of one partition, of which the reader may see all in front of `end`, and the next request so much more.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        topic: &Arc<str>,
        partition: &Arc<PartitionEntry>,
        plan: ReadPlan,
        end: u64,
        next_bytes_max: usize,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            bytes: plan.bytes(),
            rest: plan.next_offset()..end,
            next_bytes_max,
            parts: plan.split(PART_BYTES).into(),
            topic: Arc::clone(topic),
            partition: Arc::clone(partition),
        }
    }

    /// Bytes of all their batches.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset to go on from after them.
    #[cfg(test)]
    pub(crate) fn next_offset(&self) -> u64 {
        self.rest.start
    }

    /// The parts: where each begins, and how many bytes it has.
    pub fn parts(&self) -> impl Iterator<Item = (i64, usize)> {
        self.parts.iter().map(|part| (part.offset().cast_signed(), part.bytes()))
    }

    /// Reads all of one part: whole batches, cut anywhere between chunks. `None` if there is no such part or if it cannot be read;
    /// why is logged. Whoever asks for the same offsets anew is given what is in front of that, and then told of it.
    pub async fn read(&self, part: usize) -> Option<Vec<Bytes>> {
        let Self { inner, partition, .. } = self;
        let plan = self.parts.get(part)?;
        let wanted = plan.bytes();
        let read = match inner.ahead.take_planned(partition.log, plan).await {
            Some(read) => Ok(read),
            None => {
                let (journal, parts) = (inner.journal.clone(), Arc::clone(&self.parts));
                inner.blocking(move || journal.read_planned(&parts[part])).await
            }
        };
        let why = match read {
            Ok(read) if read.bytes == wanted => {
                inner.metrics.fetched(&self.topic, &read.pieces);
                return Some(read.pieces);
            }
            Ok(read) => format!("only {} of {wanted} bytes could be read", read.bytes),
            Err(error) => error.to_string(),
        };
        tracing::error!(topic = %self.topic, log = %partition.log, "stored records cannot be read: {why}");
        partition.set_unreadable();
        None
    }

    /// Begins to read what follows each of these, in their order: their reader will come for that next. Up to so many bytes, and
    /// as far as there is memory; what nobody comes for is soon given up.
    pub fn read_following(all: Vec<Self>, bytes_max: usize) {
        let Some(Self { inner, .. }) = all.first() else { return };
        let inner = Arc::clone(inner);
        inner.read_planned(bytes_max, all.into_iter().flat_map(Self::following));
    }

    /// The parts that the next request will be given.
    fn following(self) -> impl Iterator<Item = (LogId, ReadPlan)> {
        let Self { inner, rest, next_bytes_max, partition, .. } = self;
        let limit = Limit { bytes: next_bytes_max, first_always: false };
        let plan = inner.journal.plan_read(partition.log, rest, limit);
        let plan = plan.ok().filter(|plan| !plan.is_suspect());
        let parts = plan.into_iter().flat_map(|plan| plan.split(PART_BYTES));
        parts.map(move |part| (partition.log, part))
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
        // The semaphore is never closed; without a permit the work is merely not counted.
        let permit = Arc::clone(&self.disk_reads).acquire_owned().await.ok();
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
}
