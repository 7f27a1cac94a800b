//! Reading records, and waiting for them.
//!
//! A fetch first takes what is there. If that is too little it puts its name down with every partition that it asked
//! for, looks again (something may have come in between), and sleeps until one of them gets records or its time is up.
//! What is in the journal's memory is given without a copy; what is not is read on the blocking pool, a bounded number
//! at a time, several partitions at once, and ahead of a reader that goes on from where it was ([`crate::read_ahead`]). Much of
//! it can stay where it is until its reader has room for it ([`crate::StoredRecords`]): then the disk, the network and the
//! client work at the same time, and an answer takes little memory however large it is.

use std::ops::Range;
use std::sync::Arc;

use annals_journal::{Limit, ReadError};
use annals_topics::partition::Partition;
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::api::Caller;
use crate::api::fetch::{FetchError, FetchPartition, FetchRequest, FetchResult, Fetched};
use crate::api::topics::{Isolation, TopicRef};
use crate::table::{PartitionEntry, TopicEntry};
use crate::{Broker, Inner, StoredRecords};

/// The part of a fetch's size that is worth asking the disk for, where a partition may have more.
const REST_SHARE: usize = 4;

/// Less than this from one partition is read before the answer begins.
const STORED_BYTES_MIN: usize = 256 << 10;

type Outcome = Result<Fetched, FetchError>;

/// How a fetch is to be read.
#[derive(Clone, Copy)]
struct How {
    max_bytes: usize,
    isolation: Isolation,
    /// Whether records may stay on the disk.
    stored: bool,
}

/// One partition of a request, found or not.
struct Asked {
    request: FetchPartition,
    found: Result<(Arc<TopicEntry>, Arc<PartitionEntry>), FetchError>,
}

/// How far one partition of a fetch is.
enum Step {
    Done(Outcome),
    /// What is wanted is on the disk.
    Stored(Stored),
}

/// Records to be read from the disk.
struct Stored {
    partition: Arc<PartitionEntry>,
    offsets: Range<u64>,
    limit: Limit,
    /// What the next fetch may be given.
    next_bytes_max: usize,
    /// What the partition says of itself.
    fetched: Fetched,
}

impl Broker {
    /// Reads records, waiting for them as the request says.
    pub async fn fetch(&self, _caller: &Caller, request: FetchRequest) -> FetchResult {
        let inner = &self.inner;
        let FetchRequest { max_wait, min_bytes, max_bytes, isolation, stored, partitions } = request;
        let how = How { max_bytes, isolation, stored };
        let asked: Vec<Asked> = partitions.into_iter().map(|partition| inner.find(partition)).collect();
        let mut partitions = inner.read_all(&asked, how).await;
        if max_wait.is_zero() || is_enough(&partitions, min_bytes) {
            return inner.answer(&asked, partitions);
        }
        let notify = Arc::new(Notify::new());
        let entries = asked.iter().filter_map(|asked| asked.found.as_ref().ok());
        let _waiting: Vec<_> = entries.map(|(_, partition)| partition.wait(&notify)).collect();
        let timeout = tokio::time::sleep(max_wait);
        tokio::pin!(timeout);
        loop {
            partitions = inner.read_all(&asked, how).await;
            if is_enough(&partitions, min_bytes) {
                return inner.answer(&asked, partitions);
            }
            tokio::select! {
                () = notify.notified() => {}
                () = &mut timeout => return inner.answer(&asked, partitions),
            }
        }
    }

    /// Reads once more what a fetch gave and was not sent. Takes what is there, and does not count it again.
    pub async fn fetch_again(&self, _caller: &Caller, request: FetchRequest) -> FetchResult {
        let inner = &self.inner;
        let FetchRequest { max_bytes, isolation, partitions, .. } = request;
        let how = How { max_bytes, isolation, stored: false };
        let asked: Vec<Asked> = partitions.into_iter().map(|partition| inner.find(partition)).collect();
        FetchResult { partitions: inner.read_all(&asked, how).await }
    }
}

fn is_enough(partitions: &[Outcome], min_bytes: usize) -> bool {
    partitions.iter().any(Result::is_err) || partitions.iter().map(bytes_of).sum::<usize>() >= min_bytes
}

fn bytes_of(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, Fetched::bytes)
}

impl Inner {
    fn find(&self, request: FetchPartition) -> Asked {
        let topic = self.state.table.topic(&request.topic);
        let found = topic.ok_or_else(|| unknown(&request.topic, request.partition)).and_then(|topic| {
            let index = usize::try_from(request.partition).ok();
            let partition = index.and_then(|index| topic.partitions.get(index).cloned());
            let known = || TopicRef::Name(Arc::clone(&topic.topic.name));
            let partition = partition.ok_or_else(|| unknown(&known(), request.partition))?;
            Ok((topic, partition))
        });
        Asked { request, found }
    }

    fn answer(&self, asked: &[Asked], partitions: Vec<Outcome>) -> FetchResult {
        for (asked, outcome) in asked.iter().zip(&partitions) {
            if let (Ok((topic, _)), Ok(fetched)) = (&asked.found, outcome) {
                self.metrics.fetched(&topic.topic.name, &fetched.records);
            }
        }
        FetchResult { partitions }
    }

    async fn read_all(self: &Arc<Self>, asked: &[Asked], how: How) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(asked.len());
        let mut reads = Vec::new();
        let mut left = how.max_bytes;
        let mut is_first = true;
        for one in asked {
            let mut step = self.read_one(one, left, is_first, how);
            if let Step::Stored(stored) = &step
                && how.stored
                && let Some(fetched) = self.leave(one, stored, asked.len() == 1).await
            {
                step = Step::Done(Ok(fetched));
            }
            let outcome = match step {
                Step::Done(outcome) => outcome,
                Step::Stored(stored) if is_first => self.read_stored(stored).await,
                // What it gives is not known yet: all that it may give is set aside.
                Step::Stored(stored) => {
                    let nothing = stored.fetched.clone();
                    left = left.saturating_sub(stored.limit.bytes);
                    reads.push((outcomes.len(), stored));
                    Ok(nothing)
                }
            };
            let bytes = bytes_of(&outcome);
            left = left.saturating_sub(bytes);
            is_first &= bytes == 0;
            outcomes.push(outcome);
        }
        let reads = reads.into_iter().map(|(at, stored)| async move { (at, self.read_stored(stored).await) });
        for (at, outcome) in join_all(reads).await {
            outcomes[at] = outcome;
        }
        outcomes
    }

    /// Reads from one partition what is in memory, with so much `left` of so much in all. Only the first that has anything
    /// may give a batch that is larger than what is left. The disk is not asked for a small rest.
    fn read_one(&self, asked: &Asked, left: usize, is_first: bool, how: How) -> Step {
        let How { max_bytes, isolation, .. } = how;
        let request = &asked.request;
        let partition = match &asked.found {
            Ok((_, partition)) => partition,
            Err(error) => return Step::Done(Err(error.clone())),
        };
        let (mut fetched, end) = match look(&partition.lock(), request.offset, isolation) {
            Ok(looked) => looked,
            Err(error) => return Step::Done(Err(error)),
        };
        if request.offset >= end || (left == 0 && !is_first) {
            return Step::Done(Ok(fetched));
        }
        let limit = Limit { bytes: request.max_bytes.min(left), first_always: is_first };
        // The journal shows what is durable a moment before it is applied: this ends where readers may read.
        let offsets = request.offset.cast_unsigned()..end.cast_unsigned();
        match self.journal.read_cached(partition.log, offsets.clone(), limit) {
            Ok(Some(read)) => fetched.records = read.pieces,
            Ok(None) if is_first || limit.bytes >= request.max_bytes.min(max_bytes / REST_SHARE) => {
                let next_bytes_max = request.max_bytes.min(max_bytes);
                let partition = Arc::clone(partition);
                return Step::Stored(Stored { partition, offsets, limit, next_bytes_max, fetched });
            }
            Ok(None) => {}
            Err(error) => return Step::Done(Err(read_error(error, &fetched))),
        }
        Step::Done(Ok(fetched))
    }

    /// Leaves on the disk what is much and was not read ahead, for the reader to take when it has room for it. What is read ahead of
    /// one partition is read from here on; of several, when their reader knows what it will be asked for.
    async fn leave(self: &Arc<Self>, asked: &Asked, stored: &Stored, is_alone: bool) -> Option<Fetched> {
        let (topic, _) = asked.found.as_ref().ok()?;
        let Stored { partition, offsets, limit, next_bytes_max, fetched } = stored;
        let (log, start, end) = (partition.log, offsets.start, offsets.end);
        let is_ahead = is_alone && self.ahead.has(log, start, *limit);
        if limit.bytes < STORED_BYTES_MIN || partition.is_unreadable() || is_ahead {
            return None;
        }
        let plan = match self.journal.plan_cached(log, offsets.clone(), *limit) {
            Some(plan) => plan,
            None => self.plan_log(log, offsets.clone(), *limit).await?,
        };
        let next = plan.next_offset();
        // Where something may be damaged, the answer ends in front of it; that has to be known before it begins.
        if plan.bytes() < STORED_BYTES_MIN || plan.is_suspect() {
            return None;
        }
        if partition.goes_on(start, next) && is_alone {
            self.read_ahead(log, next..end, *next_bytes_max);
        }
        let records = StoredRecords::new(self, &topic.topic.name, partition, plan, end, *next_bytes_max);
        Some(Fetched { stored: Some(records), ..fetched.clone() })
    }

    /// Reads from the disk, or takes what was read ahead.
    async fn read_stored(self: &Arc<Self>, stored: Stored) -> Outcome {
        let Stored { partition, offsets, limit, next_bytes_max, mut fetched } = stored;
        let (log, start, end) = (partition.log, offsets.start, offsets.end);
        let ahead = self.ahead.take(log, &offsets, limit).await;
        let was_ahead = ahead.is_some();
        let read = match ahead {
            Some(read) => read,
            None => {
                let read = self.read_log(log, offsets, limit).await;
                read.map_err(|error| read_error(error, &fetched))?
            }
        };
        if partition.goes_on(start, read.next_offset) || was_ahead {
            self.read_ahead(log, read.next_offset..end, next_bytes_max);
        }
        fetched.records = read.pieces;
        Ok(fetched)
    }
}

/// What the partition says of itself, and up to where the reader may read.
fn look(partition: &Partition, offset: i64, isolation: Isolation) -> Result<(Fetched, i64), FetchError> {
    let (high_watermark, log_start_offset) = (partition.high_watermark(), partition.log_start());
    if partition.check_readable(offset).is_err() {
        return Err(FetchError::OffsetOutOfRange { offset, log_start_offset, high_watermark });
    }
    let last_stable_offset = partition.last_stable_offset();
    let end = match isolation {
        Isolation::ReadUncommitted => high_watermark,
        Isolation::ReadCommitted => last_stable_offset,
    };
    let (records, aborted) = (Vec::new(), Vec::new());
    let fetched =
        Fetched { high_watermark, last_stable_offset, log_start_offset, records, stored: None, aborted };
    Ok((fetched, end))
}

fn unknown(topic: &TopicRef, partition: i32) -> FetchError {
    match topic {
        TopicRef::Name(topic) => FetchError::UnknownPartition { topic: Arc::clone(topic), partition },
        TopicRef::Id(id) => FetchError::UnknownTopicId(*id),
    }
}

fn read_error(error: ReadError, partition: &Fetched) -> FetchError {
    let Fetched { high_watermark, log_start_offset, .. } = *partition;
    match error {
        // Trimmed between the look and the read.
        ReadError::OutOfRange { offset, available, .. } => FetchError::OffsetOutOfRange {
            offset: offset.cast_signed(),
            log_start_offset: log_start_offset.max(available.start.cast_signed()),
            high_watermark,
        },
        ReadError::Damaged(damage) => FetchError::Corrupt(damage.to_string()),
        ReadError::Io { .. } => FetchError::Storage(error.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use annals_topics::batch::Batch;
    use bytes::Bytes;
    use tokio::task::JoinSet;

    use super::*;
    use crate::groups::tests::World;

    const RECORDS: i64 = 3000;

    /// The journal shows a batch just before the partition has it; what a reader gets must fit the answer's own offsets.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_at_the_end_sees_nothing_beyond_the_high_watermark() {
        let world = Arc::new(World::new());
        world.create("orders", 1).await;
        let (producing, mut producers) = (Arc::clone(&world), JoinSet::new());
        producers.spawn(async move {
            for at in 0..RECORDS {
                producing.produce("orders", 0, 1, at).await;
            }
        });
        let mut next = 0;
        while next < RECORDS {
            next = read_on(&world, next, 1 << 20).await;
        }
        producers.join_all().await;
    }

    /// Reads what is in "orders" from offset `next` on, and returns the offset to go on from.
    pub(crate) async fn read_on(world: &World, mut next: i64, bytes_max: usize) -> i64 {
        let fetched =
            fetch(world, next, bytes_max).await.unwrap_or_else(|error| panic!("at {next}: {error}"));
        let mut bytes: Bytes = fetched.records.concat().into();
        while !bytes.is_empty() {
            let batch = Batch::split_off(&mut bytes).unwrap();
            assert_eq!(batch.header.base_offset, next, "none is left out");
            next = batch.header.next_offset();
        }
        assert!(next <= fetched.high_watermark, "{next} beyond {}", fetched.high_watermark);
        next
    }

    async fn fetch(world: &World, offset: i64, bytes_max: usize) -> Outcome {
        let topic = TopicRef::Name("orders".into());
        let part = FetchPartition { topic, partition: 0, offset, max_bytes: bytes_max };
        let request = FetchRequest {
            max_wait: Duration::from_millis(100),
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
            stored: false,
            partitions: vec![part],
        };
        world.broker.fetch(&world.caller, request).await.partitions.remove(0)
    }
}
