//! One partition: where its log starts and ends, which of it is durable, and what its producers have sent.
//!
//! A partition decides ahead of the disk. [`Partition::append`] assigns offsets to what the caller then journals, so
//! that many appends can be in flight; [`Partition::apply`] follows when they are durable. Between the two lies what
//! is *decided but not applied*.
//!
//! Invariants:
//! - `log_start <= high_watermark <= next_offset`. Readers see nothing at or beyond the high watermark.
//! - Decided batches are applied in order, all of them or, after a failure, none of the rest
//!   ([`Partition::abandon_in_flight`]).
//! - Recovery calls the same `apply` for every stored batch; there is no second path.
//!
//! There is one replica, so the leader epoch is always 0 and the last stable offset is the high watermark until
//! transactions exist.

mod entry;
pub mod producer;
pub mod retention;
mod snapshot;

use std::collections::HashMap;
use std::ops::Range;

pub use entry::Entry;
pub use producer::{ProducerState, SequenceError};
use producer::{Producers, Verdict};
pub use snapshot::SnapshotError;

use crate::batch::{Batch, BatchHeader, Found, TimestampType};
use crate::{ErrorKind, NO_TIMESTAMP, Offset, TimestampMs};

/// The epoch of every partition's leader: with one replica there has never been another.
pub const LEADER_EPOCH: i32 = 0;

/// What became of an append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Append {
    /// New records: journal the entries, then call [`Partition::apply`] for each.
    New {
        /// The offsets that the records got.
        offsets: Range<Offset>,
        /// What to journal, in order.
        entries: Vec<Entry>,
        /// The time that every record was stamped with, if the topic stamps them.
        append_time_ms: Option<TimestampMs>,
    },
    /// The producer sent this batch before: nothing to journal. Acknowledge it with these offsets once
    /// [`Partition::high_watermark`] has reached their end; the first sending may still be in flight.
    Duplicate {
        /// The offsets that the records got the first time.
        offsets: Range<Offset>,
        /// The time that every record was stamped with, if the topic stamps them.
        append_time_ms: Option<TimestampMs>,
    },
}

/// Why an append was refused. Nothing has changed then.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The producer's sequence number or epoch is wrong.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The partition has used all offsets.
    #[error("offset {next_offset} leaves no room for more records")]
    OffsetsExhausted {
        /// The next offset.
        next_offset: Offset,
    },
}

impl AppendError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sequence(error) => error.kind(),
            Self::OffsetsExhausted { .. } => ErrorKind::Unavailable,
        }
    }
}

/// An offset that the partition does not hold.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("offset {offset} is out of range: the partition holds {log_start} to {high_watermark}")]
pub struct OffsetOutOfRange {
    /// The offset asked for.
    pub offset: Offset,
    /// The first offset held.
    pub log_start: Offset,
    /// The offset after the last.
    pub high_watermark: Offset,
}

impl OffsetOutOfRange {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::FixInput
    }
}

/// A leader epoch that this partition never had.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("leader epoch {epoch} is unknown: the partition is at epoch {LEADER_EPOCH}")]
pub struct UnknownLeaderEpoch {
    /// The epoch that the client believes in.
    pub epoch: i32,
}

impl UnknownLeaderEpoch {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Retry
    }
}

/// The state of one partition.
///
/// ```
/// use annals_topics::batch::{BatchBuilder, NewRecord, TimestampType};
/// use annals_topics::partition::{Append, Partition};
///
/// let mut partition = Partition::default();
/// let mut builder = BatchBuilder::new(Default::default());
/// builder.push(&NewRecord { value: Some(b"paid"), ..NewRecord::at(1_700_000_000_000) })?;
/// let batches = vec![builder.build()?];
///
/// let Append::New { offsets, entries, .. } = partition.append(batches, 0, TimestampType::Create)? else {
///     unreachable!("no producer id, so never a duplicate")
/// };
/// assert_eq!((offsets, partition.high_watermark()), (0..1, 0));
/// // ... the entries become durable ...
/// for entry in &entries {
///     partition.apply(&entry.header, 0);
/// }
/// assert_eq!(partition.high_watermark(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Partition {
    log_start: Offset,
    high_watermark: Offset,
    next_offset: Offset,
    applied_bytes: u64,
    max_timestamp: Option<Found>,
    producers: Producers,
}

impl Partition {
    /// An empty partition whose next record gets `log_start`.
    pub fn starting_at(log_start: Offset) -> Self {
        Self { log_start, high_watermark: log_start, next_offset: log_start, ..Self::default() }
    }

    /// Offset of the first record that can still be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset after the last durable record.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Up to where readers of committed transactions may read: the high watermark, until transactions exist.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// The offset that the next record gets, counting what is in flight.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Bytes of all batches applied since this state began, trimmed or not.
    pub fn applied_bytes(&self) -> u64 {
        self.applied_bytes
    }

    /// The largest timestamp applied, with the base offset of the first batch that has it.
    ///
    /// `None` when nothing was applied, when no record had a timestamp, or when that batch has been trimmed: then the
    /// rest of the log has to be asked.
    pub fn max_timestamp(&self) -> Option<Found> {
        self.max_timestamp
    }

    /// Gives `batches` their offsets and says what to journal. They must have passed [`crate::batch::accept`].
    ///
    /// Constant time for each batch; the records are not touched. With [`TimestampType::LogAppend`] all are stamped
    /// with `now_ms`.
    ///
    /// # Errors
    /// [`AppendError`]; the state is then as before.
    pub fn append(
        &mut self,
        batches: Vec<Batch>,
        now_ms: TimestampMs,
        timestamp_type: TimestampType,
    ) -> Result<Append, AppendError> {
        let append_time = |time| (timestamp_type == TimestampType::LogAppend).then_some(time);
        if let Some(sent) = self.duplicate(&batches) {
            let append_time_ms = append_time(sent.timestamp_ms);
            return Ok(Append::Duplicate { offsets: sent.offsets, append_time_ms });
        }
        let start = self.next_offset;
        let mut entries = Vec::with_capacity(batches.len());
        for batch in batches {
            match self.decide(batch, now_ms, timestamp_type) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    self.take_back(&entries, start);
                    return Err(error);
                }
            }
        }
        let offsets = start..self.next_offset;
        Ok(Append::New { offsets, entries, append_time_ms: append_time(now_ms) })
    }

    /// Where the records are, if every one of the batches was sent before.
    fn duplicate(&self, batches: &[Batch]) -> Option<Sent> {
        let mut sent: Option<Sent> = None;
        for batch in batches {
            let Ok(Verdict::Duplicate { offsets, timestamp_ms }) = self.producers.judge(&batch.header) else {
                return None;
            };
            let start = sent.map_or(offsets.start, |sent| sent.offsets.start);
            sent = Some(Sent { offsets: start..offsets.end, timestamp_ms });
        }
        sent
    }

    fn decide(
        &mut self,
        batch: Batch,
        now_ms: TimestampMs,
        timestamp_type: TimestampType,
    ) -> Result<Entry, AppendError> {
        let Batch { mut header, body } = batch;
        // A duplicate behind a new batch is out of order: the producer went back.
        if let Verdict::Duplicate { .. } = self.producers.judge(&header)? {
            return Err(self.producers.out_of_order(&header).into());
        }
        let next_offset = self.next_offset;
        let span = i64::from(header.last_offset_delta) + 1;
        let end = next_offset.checked_add(span).ok_or(AppendError::OffsetsExhausted { next_offset })?;
        header.assign(next_offset, LEADER_EPOCH);
        if timestamp_type == TimestampType::LogAppend {
            header.stamp_append_time(now_ms);
        }
        self.producers.push(&header, now_ms);
        self.next_offset = end;
        Ok(Entry::new(header, body))
    }

    fn take_back(&mut self, entries: &[Entry], start: Offset) {
        for entry in entries {
            self.producers.forget(entry.header.producer_id, start);
        }
        self.next_offset = start;
    }

    /// Makes a durable batch visible: the one path for live appends and for recovery.
    ///
    /// `now_ms` dates the producer's last activity. Returns false, and changes nothing, for a batch that has been
    /// applied before, as happens when recovery replays from before a checkpoint.
    pub fn apply(&mut self, header: &BatchHeader, now_ms: TimestampMs) -> bool {
        if header.next_offset() <= self.high_watermark {
            return false;
        }
        self.high_watermark = header.next_offset();
        self.next_offset = self.next_offset.max(self.high_watermark);
        self.applied_bytes += header.size_bytes() as u64;
        self.note_timestamp(header);
        self.producers.apply(header, self.high_watermark, now_ms);
        true
    }

    fn note_timestamp(&mut self, header: &BatchHeader) {
        let largest = self.max_timestamp.map_or(NO_TIMESTAMP, |found| found.timestamp_ms);
        if header.record_count > 0 && header.max_timestamp > largest {
            self.max_timestamp =
                Some(Found { offset: header.base_offset, timestamp_ms: header.max_timestamp });
        }
    }

    /// Forgets everything decided but not applied, after the journal refused or lost it. The offsets are given out
    /// again, and a producer that retries is not taken for a duplicate.
    pub fn abandon_in_flight(&mut self) {
        self.next_offset = self.high_watermark;
        self.producers.forget_all(self.high_watermark);
    }

    /// In recovery: the journal knows that the log reaches to `next_offset`, though its last records are trimmed or
    /// compacted away.
    pub fn advance_to(&mut self, next_offset: Offset) {
        self.high_watermark = self.high_watermark.max(next_offset);
        self.next_offset = self.next_offset.max(self.high_watermark);
    }

    /// Checks an offset that a client wants to read from. The high watermark itself is fine: more may come.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`].
    pub fn check_readable(&self, offset: Offset) -> Result<(), OffsetOutOfRange> {
        let Self { log_start, high_watermark, .. } = *self;
        if (log_start..=high_watermark).contains(&offset) {
            Ok(())
        } else {
            Err(OffsetOutOfRange { offset, log_start, high_watermark })
        }
    }

    /// The log start that deleting the records before `up_to` leads to (DeleteRecords). -1 stands for the high
    /// watermark. Equal to [`Partition::log_start`] if there is nothing to delete.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`] beyond the high watermark.
    pub fn decide_trim(&self, up_to: Offset) -> Result<Offset, OffsetOutOfRange> {
        let Self { log_start, high_watermark, .. } = *self;
        match up_to {
            -1 => Ok(high_watermark),
            0.. if up_to <= high_watermark => Ok(up_to.max(log_start)),
            offset => Err(OffsetOutOfRange { offset, log_start, high_watermark }),
        }
    }

    /// Records before `log_start` are gone: after retention or DeleteRecords, and in recovery.
    pub fn apply_trim(&mut self, log_start: Offset) {
        self.log_start = self.log_start.max(log_start);
        self.advance_to(self.log_start);
        self.max_timestamp = self.max_timestamp.filter(|found| found.offset >= self.log_start);
    }

    /// Checks the leader epoch that a client sends along; -1 means that it sends none.
    ///
    /// # Errors
    /// [`UnknownLeaderEpoch`] for one that is still to come.
    pub fn check_leader_epoch(&self, epoch: i32) -> Result<(), UnknownLeaderEpoch> {
        if epoch > LEADER_EPOCH { Err(UnknownLeaderEpoch { epoch }) } else { Ok(()) }
    }

    /// The epoch and the end offset that answer OffsetForLeaderEpoch; `None` for an epoch that never was.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, Offset)> {
        (epoch == LEADER_EPOCH).then_some((LEADER_EPOCH, self.high_watermark))
    }

    /// The idempotent producers, by id (DescribeProducers).
    pub fn producers(&self) -> Vec<ProducerState> {
        self.producers.states()
    }

    /// The offset of each producer's last durable record: compaction keeps the batches that end there, even empty.
    pub fn producer_tails(&self) -> HashMap<i64, Offset> {
        self.producers.tails(self.high_watermark)
    }

    /// Forgets producers that were last active at or before `idle_since_ms` and have nothing in flight.
    ///
    /// A producer that comes back later goes on where it likes: an unknown producer may start at any sequence number.
    pub fn expire_producers(&mut self, idle_since_ms: TimestampMs) {
        self.producers.expire(idle_since_ms, self.high_watermark);
    }
}

/// Where a batch went the first time.
struct Sent {
    offsets: Range<Offset>,
    timestamp_ms: TimestampMs,
}
