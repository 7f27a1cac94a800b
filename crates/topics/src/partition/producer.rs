//! Idempotent producers of one partition: who has sent which sequence numbers (KIP-98, KIP-360).
//!
//! Rules, as in Apache Kafka 4:
//! - A batch with the epoch, first and last sequence number of one of the producer's last five batches is a duplicate.
//! - Otherwise it continues where the last batch ended; sequence numbers wrap from `i32::MAX` to 0.
//! - A newer epoch starts at 0; an older one is fenced.
//! - An unknown producer may start anywhere. It may be known no more because it was idle for long, or because its
//!   records are trimmed; refusing it would break a producer that did nothing wrong.
//!
//! One list for each producer holds decided and durable batches alike: those below the high watermark are durable, the
//! rest is in flight. So giving up what is in flight only cuts the list's end, and the last five durable batches are
//! still there. Epochs are kept with the batches for the same reason.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::batch::{BatchHeader, NO_SEQUENCE, sequence_plus};
use crate::{ErrorKind, Offset, TimestampMs};

/// How many durable batches of a producer are remembered. Clients keep at most five in flight.
pub(super) const BATCHES_KEPT: usize = 5;

/// The most producers that one partition remembers. Beyond it, those idle longest are forgotten first.
pub(super) const PRODUCERS_MAX: usize = 10_000;

/// Why a producer's batch was refused.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceError {
    /// Records are missing before this batch, or it is an old one that is no longer remembered.
    #[error(
        "producer {producer_id} (epoch {epoch}) sent sequence number {sequence} where {expected} comes next at offset {next_offset}"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// The epoch it sent.
        epoch: i16,
        /// The sequence number it sent.
        sequence: i32,
        /// The sequence number that continues its log.
        expected: i32,
        /// Where its last batch ended.
        next_offset: Offset,
    },
    /// A newer instance of the producer has taken over.
    #[error("producer {producer_id} sent epoch {epoch}, but epoch {current} has taken over")]
    Fenced {
        /// The producer.
        producer_id: i64,
        /// The epoch it sent.
        epoch: i16,
        /// The epoch that counts.
        current: i16,
    },
}

impl SequenceError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfOrder { .. } => ErrorKind::FixInput,
            Self::Fenced { .. } => ErrorKind::Fenced,
        }
    }
}

/// An idempotent producer, as DescribeProducers shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its current epoch.
    pub epoch: i16,
    /// The last sequence number, or -1 when its epoch has none yet.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch.
    pub last_timestamp_ms: TimestampMs,
}

/// What to do with a batch.
pub(super) enum Verdict {
    /// Append it.
    New,
    /// It is there already.
    Duplicate { offsets: Range<Offset>, timestamp_ms: TimestampMs },
}

/// One remembered batch. The sequence numbers are [`NO_SEQUENCE`] for a marker that began a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sequenced {
    pub(super) epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) timestamp_ms: TimestampMs,
}

impl Sequenced {
    fn of(header: &BatchHeader) -> Self {
        let marker = header.attributes.is_control();
        Self {
            epoch: header.producer_epoch,
            base_sequence: if marker { NO_SEQUENCE } else { header.base_sequence },
            last_sequence: if marker { NO_SEQUENCE } else { header.last_sequence() },
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp_ms: header.max_timestamp,
        }
    }

    fn is_same_sending(&self, header: &BatchHeader) -> bool {
        self.epoch == header.producer_epoch
            && self.base_sequence == header.base_sequence
            && self.last_sequence == header.last_sequence()
    }

    fn next_sequence(&self) -> i32 {
        if self.last_sequence == NO_SEQUENCE { 0 } else { sequence_plus(self.last_sequence, 1) }
    }
}

/// One producer. Its list is never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Producer {
    pub(super) last_active_ms: TimestampMs,
    pub(super) batches: VecDeque<Sequenced>,
}

impl Producer {
    /// Lower for a producer that was idle for longer. Never equal for two: recovery dates all to one moment.
    fn idle_order(&self) -> (TimestampMs, Option<Offset>) {
        (self.last_active_ms, self.batches.back().map(|last| last.last_offset))
    }

    fn in_flight(&self, high_watermark: Offset) -> bool {
        self.batches.back().is_some_and(|last| last.last_offset >= high_watermark)
    }

    /// Keeps the last five durable batches, and everything in flight.
    fn prune(&mut self, high_watermark: Offset) {
        let durable = self.batches.partition_point(|batch| batch.last_offset < high_watermark);
        self.batches.drain(..durable.saturating_sub(BATCHES_KEPT));
    }
}

/// All producers of a partition, by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Producers {
    pub(super) by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Judges a batch against everything decided so far.
    pub(super) fn judge(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let Some((producer, last)) = self.find(header) else { return Ok(Verdict::New) };
        if let Some(sent) = producer.batches.iter().find(|batch| batch.is_same_sending(header))
            && sent.epoch == last.epoch
        {
            let offsets = sent.base_offset..sent.last_offset + 1;
            return Ok(Verdict::Duplicate { offsets, timestamp_ms: sent.timestamp_ms });
        }
        let (producer_id, epoch, current) = (header.producer_id, header.producer_epoch, last.epoch);
        if epoch < current {
            return Err(SequenceError::Fenced { producer_id, epoch, current });
        }
        let expected = if epoch == current { last.next_sequence() } else { 0 };
        if header.base_sequence == expected { Ok(Verdict::New) } else { Err(self.out_of_order(header)) }
    }

    /// The refusal of a batch that does not continue its producer's log.
    pub(super) fn out_of_order(&self, header: &BatchHeader) -> SequenceError {
        let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
        let last = self.find(header).map(|(_, last)| last);
        let same_epoch = last.filter(|last| last.epoch == epoch);
        SequenceError::OutOfOrder {
            producer_id: header.producer_id,
            epoch,
            sequence,
            expected: same_epoch.map_or(0, |last| last.next_sequence()),
            next_offset: last.map_or(0, |last| last.last_offset + 1),
        }
    }

    fn find(&self, header: &BatchHeader) -> Option<(&Producer, Sequenced)> {
        let producer = self.by_id.get(&header.producer_id).filter(|_| header.has_producer())?;
        producer.batches.back().map(|last| (producer, *last))
    }

    /// Remembers a decided batch.
    pub(super) fn push(&mut self, header: &BatchHeader, now_ms: TimestampMs) {
        if !header.has_producer() {
            return;
        }
        let new = Producer { last_active_ms: now_ms, batches: VecDeque::new() };
        let producer = self.by_id.entry(header.producer_id).or_insert(new);
        producer.last_active_ms = producer.last_active_ms.max(now_ms);
        let goes_on = producer.batches.back().is_some_and(|last| last.epoch == header.producer_epoch);
        // A marker within an epoch changes nothing about the sequence.
        if !(header.attributes.is_control() && goes_on) {
            producer.batches.push_back(Sequenced::of(header));
        }
    }

    /// A batch is durable up to `high_watermark`: remembers it, if it was not decided here, and prunes.
    pub(super) fn apply(&mut self, header: &BatchHeader, high_watermark: Offset, now_ms: TimestampMs) {
        if !header.has_producer() {
            return;
        }
        let decided = self.find(header).is_some_and(|(_, last)| last.last_offset >= header.last_offset());
        if !decided {
            self.push(header, now_ms);
        }
        if let Some(producer) = self.by_id.get_mut(&header.producer_id) {
            producer.prune(high_watermark);
        }
        if self.by_id.len() > PRODUCERS_MAX {
            self.make_room(high_watermark);
        }
    }

    /// Forgets the tenth of the producers that was idle longest, so that the next call is far off.
    fn make_room(&mut self, high_watermark: Offset) {
        let mut idle: Vec<_> = self.by_id.values().map(Producer::idle_order).collect();
        let (_, &mut longest, _) = idle.select_nth_unstable(PRODUCERS_MAX / 10);
        self.by_id
            .retain(|_, producer| producer.in_flight(high_watermark) || producer.idle_order() > longest);
    }

    /// Forgets what `producer_id` sent at `from` or later.
    pub(super) fn forget(&mut self, producer_id: i64, from: Offset) {
        if let Some(producer) = self.by_id.get_mut(&producer_id) {
            cut(producer, from);
            if producer.batches.is_empty() {
                self.by_id.remove(&producer_id);
            }
        }
    }

    /// Forgets what all producers sent at `from` or later.
    pub(super) fn forget_all(&mut self, from: Offset) {
        self.by_id.retain(|_, producer| {
            cut(producer, from);
            !producer.batches.is_empty()
        });
    }

    pub(super) fn expire(&mut self, idle_since_ms: TimestampMs, high_watermark: Offset) {
        self.by_id.retain(|_, producer| {
            producer.in_flight(high_watermark) || producer.last_active_ms > idle_since_ms
        });
    }

    pub(super) fn states(&self) -> Vec<ProducerState> {
        let state = |(id, producer): (&i64, &Producer)| {
            producer.batches.back().map(|last| ProducerState {
                producer_id: *id,
                epoch: last.epoch,
                last_sequence: last.last_sequence,
                last_timestamp_ms: last.timestamp_ms,
            })
        };
        let mut states: Vec<_> = self.by_id.iter().filter_map(state).collect();
        states.sort_unstable_by_key(|state| state.producer_id);
        states
    }

    pub(super) fn tails(&self, high_watermark: Offset) -> HashMap<i64, Offset> {
        let tail = |(id, producer): (&i64, &Producer)| {
            let last = producer.batches.iter().rev().find(|batch| batch.last_offset < high_watermark);
            last.map(|last| (*id, last.last_offset))
        };
        self.by_id.iter().filter_map(tail).collect()
    }
}

fn cut(producer: &mut Producer, from: Offset) {
    let keep = producer.batches.partition_point(|batch| batch.base_offset < from);
    producer.batches.truncate(keep);
}
