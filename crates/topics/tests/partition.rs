//! Partitions: offsets, durability, idempotent producers against a model, snapshots and recovery.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use annals_topics::batch::{
    Batch, BatchBuilder, BatchHeader, BatchOptions, Marker, NewRecord, Producer, TimestampType,
};
use annals_topics::partition::{Append, AppendError, Partition, SequenceError};
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

fn batch(producer: Option<Producer>, count: i32) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    for i in 0..count {
        builder.push(&NewRecord { value: Some(b"v"), ..NewRecord::at(NOW + i64::from(i)) }).unwrap();
    }
    builder.build().unwrap()
}

fn sent(id: i64, epoch: i16, base_sequence: i32, count: i32) -> Batch {
    batch(Some(Producer { id, epoch, base_sequence }), count)
}

fn append(partition: &mut Partition, batches: Vec<Batch>) -> Result<Append, AppendError> {
    partition.append(batches, NOW, TimestampType::Create)
}

/// Appends and makes durable.
fn store(partition: &mut Partition, batch: Batch) -> Result<i64, AppendError> {
    match append(partition, vec![batch])? {
        Append::New { offsets, entries, .. } => {
            assert!(entries.iter().all(|entry| partition.apply(&entry.header, NOW)));
            Ok(offsets.start)
        }
        Append::Duplicate { offsets, .. } => Ok(offsets.start),
    }
}

fn expected_sequence(result: Result<i64, AppendError>) -> i32 {
    match result {
        Err(AppendError::Sequence(SequenceError::OutOfOrder { expected, .. })) => expected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_run_ahead_of_the_disk() {
    let mut partition = Partition::starting_at(100);
    let Append::New { offsets, entries, append_time_ms } =
        append(&mut partition, vec![batch(None, 3), batch(None, 2)]).unwrap()
    else {
        panic!()
    };
    assert_eq!((offsets, append_time_ms), (100..105, None));
    assert_eq!((partition.high_watermark(), partition.next_offset()), (100, 105));
    for entry in &entries {
        let stored = [&entry.head[..], &entry.body].concat();
        assert_eq!(entry.crc, crc32c::crc32c(&stored));
        let read = Batch::parse(stored.into()).unwrap();
        assert_eq!((read.header, read.verify()), (entry.header, Ok(())));
        assert!(partition.apply(&entry.header, NOW));
    }
    assert_eq!((entries[1].base_offset(), entries[1].offset_count()), (103, 2));
    assert_eq!((partition.high_watermark(), partition.next_offset()), (105, 105));
    assert_eq!(partition.applied_bytes(), entries.iter().map(|entry| entry.size_bytes() as u64).sum::<u64>());
    assert!(!partition.apply(&entries[0].header, NOW), "applied before");
    let latest = partition.max_timestamp().unwrap();
    assert_eq!((latest.offset, latest.timestamp_ms), (100, NOW + 2));
}

#[test]
fn append_time_is_the_brokers() {
    let mut partition = Partition::default();
    let result = partition.append(vec![sent(1, 0, 0, 2)], NOW + 9, TimestampType::LogAppend).unwrap();
    let Append::New { entries, append_time_ms, .. } = result else { panic!() };
    assert_eq!((append_time_ms, entries[0].max_timestamp()), (Some(NOW + 9), NOW + 9));
    let stored = Batch { header: entries[0].header, body: entries[0].body.clone() };
    assert_eq!(stored.verify(), Ok(()));
    let again = partition.append(vec![sent(1, 0, 0, 2)], NOW + 50, TimestampType::LogAppend).unwrap();
    assert_eq!(again, Append::Duplicate { offsets: 0..2, append_time_ms: Some(NOW + 9) });
}

#[test]
fn a_retry_of_what_is_in_flight_waits_for_it() {
    let mut partition = Partition::default();
    let Append::New { entries, .. } = append(&mut partition, vec![sent(1, 0, 0, 3)]).unwrap() else {
        panic!()
    };
    let Append::Duplicate { offsets, .. } = append(&mut partition, vec![sent(1, 0, 0, 3)]).unwrap() else {
        panic!()
    };
    assert!(partition.high_watermark() < offsets.end, "not durable yet");
    partition.apply(&entries[0].header, NOW);
    assert!(partition.high_watermark() >= offsets.end);
}

#[test]
fn what_the_journal_lost_may_be_sent_again() {
    let mut partition = Partition::default();
    store(&mut partition, sent(1, 0, 0, 2)).unwrap();
    append(&mut partition, vec![sent(1, 0, 2, 2)]).unwrap();
    append(&mut partition, vec![sent(1, 1, 0, 2)]).unwrap();
    append(&mut partition, vec![sent(2, 0, 0, 2)]).unwrap();
    partition.abandon_in_flight();
    assert_eq!(partition.next_offset(), 2);
    assert_eq!(store(&mut partition, sent(1, 0, 2, 2)).unwrap(), 2);
    assert_eq!(store(&mut partition, sent(1, 0, 0, 2)).unwrap(), 0, "still known as a duplicate");
    assert_eq!(store(&mut partition, sent(2, 0, 7, 2)).unwrap(), 4, "never known");
}

#[test]
fn a_refused_request_leaves_no_trace() {
    let mut partition = Partition::default();
    store(&mut partition, sent(1, 0, 0, 2)).unwrap();
    let before = partition.clone();
    let mixed = vec![sent(1, 0, 2, 2), sent(2, 0, 0, 1), sent(1, 0, 9, 1)];
    assert!(append(&mut partition, mixed).is_err());
    let duplicate_behind_new = vec![sent(1, 0, 2, 2), sent(1, 0, 0, 2)];
    assert!(append(&mut partition, duplicate_behind_new).is_err());
    assert_eq!(partition, before);
}

#[test]
fn sequences_wrap_to_zero() {
    let mut partition = Partition::default();
    let max = i32::MAX;
    assert_eq!(store(&mut partition, sent(1, 0, max - 2, 2)).unwrap(), 0);
    assert_eq!(store(&mut partition, sent(1, 0, max, 1)).unwrap(), 2);
    assert_eq!(store(&mut partition, sent(1, 0, 0, 4)).unwrap(), 3);
    let mut partition = Partition::default();
    assert_eq!(
        store(&mut partition, sent(1, 0, max - 1, 5)).unwrap(),
        0,
        "wraps inside the batch, ends at 2"
    );
    assert_eq!(expected_sequence(store(&mut partition, sent(1, 0, 4, 1))), 3);
    assert_eq!(store(&mut partition, sent(1, 0, max - 1, 5)).unwrap(), 0, "a duplicate");
    assert_eq!(store(&mut partition, sent(1, 0, 3, 1)).unwrap(), 5);
}

#[test]
fn epochs() {
    let mut partition = Partition::default();
    assert_eq!(store(&mut partition, sent(1, 5, 1234, 1)).unwrap(), 0, "an unknown producer starts anywhere");
    assert_eq!(expected_sequence(store(&mut partition, sent(1, 6, 1235, 1))), 0, "a new epoch starts at 0");
    assert_eq!(store(&mut partition, sent(1, 6, 0, 1)).unwrap(), 1);
    let fenced = store(&mut partition, sent(1, 5, 1234, 1)).unwrap_err();
    let expected = SequenceError::Fenced { producer_id: 1, epoch: 5, current: 6 };
    assert_eq!(fenced, AppendError::Sequence(expected));
}

#[test]
fn a_marker_that_raises_the_epoch_starts_its_sequence() {
    let mut partition = Partition::default();
    store(&mut partition, sent(1, 0, 0, 3)).unwrap();
    let marker = |epoch, offset| {
        let producer = Producer { id: 1, epoch, base_sequence: -1 };
        Batch::marker(offset, producer, Marker::Commit, 0, NOW).unwrap().header
    };
    partition.apply(&marker(0, 3), NOW);
    assert_eq!(expected_sequence(store(&mut partition, sent(1, 0, 9, 1))), 3);
    partition.apply(&marker(1, 4), NOW);
    assert_eq!(partition.producers()[0].last_sequence, -1);
    assert_eq!(expected_sequence(store(&mut partition, sent(1, 1, 9, 1))), 0);
    assert_eq!(store(&mut partition, sent(1, 1, 0, 1)).unwrap(), 5);
}

#[test]
fn an_idle_producer_is_forgotten_and_welcome() {
    let mut partition = Partition::default();
    store(&mut partition, sent(1, 3, 0, 5)).unwrap();
    append(&mut partition, vec![sent(2, 0, 0, 1)]).unwrap();
    partition.expire_producers(NOW - 1);
    assert_eq!(partition.producers().len(), 2);
    partition.expire_producers(NOW);
    let ids: Vec<_> = partition.producers().iter().map(|producer| producer.producer_id).collect();
    assert_eq!(ids, [2], "the one with a batch in flight stays");
    partition.abandon_in_flight();
    assert_eq!(store(&mut partition, sent(1, 3, 5, 1)).unwrap(), 5, "goes on where it was");
}

#[test]
fn producers_are_bounded_even_when_all_came_at_once() {
    let mut partition = Partition::default();
    for id in 0..12_000 {
        store(&mut partition, sent(id, 0, 0, 1)).unwrap();
    }
    let producers = partition.producers();
    assert!((9_000..=10_000).contains(&producers.len()), "{}", producers.len());
    assert_eq!(producers.last().unwrap().producer_id, 11_999, "the newest stay");
    assert_eq!(Partition::restore(&partition.snapshot()), Ok(partition));
}

/// Version 1, written by hand from the description in `partition/snapshot.rs`. Kept for good.
#[test]
fn a_snapshot_of_version_1_is_read_and_written() {
    let mut partition = Partition::starting_at(2);
    store(&mut partition, sent(0x0a0b, 3, 7, 2)).unwrap();
    let number = |number: i64| number.to_be_bytes().to_vec();
    let bytes = partition.applied_bytes() as i64;
    let fields = [vec![1], number(2), number(4), number(bytes), number(2), number(NOW + 1), vec![0, 0, 0, 1]];
    let producer = [
        number(0x0a0b),
        number(NOW),
        vec![1, 0, 3, 0, 0, 0, 7, 0, 0, 0, 8],
        number(2),
        number(3),
        number(NOW + 1),
    ];
    let mut snapshot = [fields.concat(), producer.concat()].concat();
    snapshot.extend(crc32c::crc32c(&snapshot).to_be_bytes());
    assert_eq!(partition.snapshot(), snapshot);
    assert_eq!(Partition::restore(&snapshot), Ok(partition));
}

#[test]
fn trimming() {
    let mut partition = Partition::default();
    store(&mut partition, batch(None, 10)).unwrap();
    append(&mut partition, vec![batch(None, 10)]).unwrap();
    assert_eq!(partition.decide_trim(4), Ok(4));
    assert_eq!(partition.decide_trim(-1), Ok(10));
    assert!(partition.decide_trim(11).is_err(), "in flight");
    assert!(partition.decide_trim(-2).is_err());
    partition.apply_trim(4);
    assert_eq!((partition.log_start(), partition.decide_trim(2)), (4, Ok(4)));
    assert_eq!(partition.max_timestamp(), None, "its batch begins before the log");
    assert!(partition.check_readable(3).is_err() && partition.check_readable(4).is_ok());
    assert!(partition.check_readable(10).is_ok() && partition.check_readable(11).is_err());
}

#[test]
fn leader_epochs() {
    let partition = Partition::starting_at(7);
    assert_eq!(partition.end_of_epoch(0), Some((0, 7)));
    assert_eq!((partition.end_of_epoch(1), partition.end_of_epoch(-1)), (None, None));
    assert!(partition.check_leader_epoch(-1).is_ok() && partition.check_leader_epoch(0).is_ok());
    assert!(partition.check_leader_epoch(1).is_err());
}

#[test]
fn offsets_run_out_with_an_error() {
    let mut partition = Partition::starting_at(i64::MAX - 2);
    assert!(append(&mut partition, vec![batch(None, 2)]).is_ok());
    assert!(matches!(
        append(&mut partition, vec![batch(None, 1)]),
        Err(AppendError::OffsetsExhausted { .. })
    ));
}

#[derive(Clone, Debug)]
enum Step {
    /// Continue, or go `skew` steps wrong, from where the producer stands.
    Send {
        producer: usize,
        count: i32,
        skew: i32,
        epoch_skew: i16,
    },
    /// Send the n-th newest batch of the producer again.
    Retry {
        producer: usize,
        back: usize,
    },
    Sync {
        batches: usize,
    },
    Lose,
    Restart,
    Expire {
        producer: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let skew = prop_oneof![8 => Just(0), 1 => -3..4];
    let epoch_skew = prop_oneof![12 => Just(0_i16), 1 => -1..2_i16];
    prop_oneof![
        6 => (0_usize..3, 1..4, skew, epoch_skew).prop_map(|(producer, count, skew, epoch_skew)| {
            Step::Send { producer, count, skew, epoch_skew }
        }),
        4 => (0_usize..3, 0_usize..9).prop_map(|(producer, back)| Step::Retry { producer, back }),
        4 => (1_usize..5).prop_map(|batches| Step::Sync { batches }),
        1 => Just(Step::Lose),
        1 => Just(Step::Restart),
        1 => (0_usize..3).prop_map(|producer| Step::Expire { producer }),
    ]
}

/// One batch as the model knows it.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Known {
    producer: usize,
    epoch: i16,
    sequence: i32,
    count: i32,
    offset: i64,
}

#[derive(PartialEq, Debug)]
enum Answer {
    New(i64),
    Duplicate(i64),
    OutOfOrder,
    Fenced,
}

/// The rules in a few lines: everything ever decided, and how much of it is durable.
#[derive(Default)]
struct Model {
    log: Vec<Known>,
    durable: usize,
    /// Batches of each producer before this index are forgotten.
    forgotten: [usize; 3],
}

impl Model {
    fn next_offset(&self) -> i64 {
        self.log.last().map_or(0, |known| known.offset + i64::from(known.count))
    }

    fn last(&self, producer: usize) -> Option<Known> {
        let mut log = self.log.iter().skip(self.forgotten[producer]);
        log.rfind(|known| known.producer == producer).copied()
    }

    /// What is in flight, and the last five that are durable.
    fn remembered(&self, producer: usize) -> Vec<Known> {
        let of = |index: &usize| self.log[*index].producer == producer && *index >= self.forgotten[producer];
        let mut indexes: Vec<usize> = (0..self.log.len()).rev().filter(of).collect();
        let in_flight = indexes.iter().filter(|index| **index >= self.durable).count();
        indexes.truncate(in_flight + 5);
        indexes.into_iter().map(|index| self.log[index]).collect()
    }

    fn send(&mut self, producer: usize, epoch: i16, sequence: i32, count: i32) -> Answer {
        let new = Known { producer, epoch, sequence, count, offset: self.next_offset() };
        if let Some(last) = self.last(producer) {
            let same =
                |known: &&Known| (known.epoch, known.sequence, known.count) == (epoch, sequence, count);
            if let Some(known) = self.remembered(producer).iter().find(same).filter(|_| epoch == last.epoch) {
                return Answer::Duplicate(known.offset);
            }
            let expected = if epoch == last.epoch { after(last.sequence, last.count) } else { 0 };
            if epoch < last.epoch {
                return Answer::Fenced;
            }
            if sequence != expected {
                return Answer::OutOfOrder;
            }
        }
        self.log.push(new);
        Answer::New(new.offset)
    }
}

/// Sequence numbers count modulo 2^31.
fn after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)).rem_euclid(1 << 31)) as i32
}

struct Run {
    partition: Partition,
    model: Model,
    headers: Vec<BatchHeader>,
    now: i64,
    active: [i64; 3],
    start: i32,
}

impl Run {
    fn send(&mut self, producer: usize, epoch: i16, sequence: i32, count: i32) {
        self.now += 1;
        let expected = self.model.send(producer, epoch, sequence, count);
        let batch = sent(producer as i64, epoch, sequence, count);
        let answer = match self.partition.append(vec![batch], self.now, TimestampType::Create) {
            Ok(Append::New { offsets, entries, .. }) => {
                self.headers.extend(entries.iter().map(|entry| entry.header));
                self.active[producer] = self.now;
                Answer::New(offsets.start)
            }
            Ok(Append::Duplicate { offsets, .. }) => {
                assert_eq!(offsets.end - offsets.start, i64::from(count));
                Answer::Duplicate(offsets.start)
            }
            Err(AppendError::Sequence(SequenceError::OutOfOrder { .. })) => Answer::OutOfOrder,
            Err(AppendError::Sequence(SequenceError::Fenced { .. })) => Answer::Fenced,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answer, expected);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { producer, count, skew, epoch_skew } => {
                let last = self.model.last(producer);
                let epoch = (last.map_or(0, |known| known.epoch) + epoch_skew).max(0);
                let next =
                    if epoch_skew == 1 { 0 } else { last.map_or(self.start, |l| after(l.sequence, l.count)) };
                self.send(producer, epoch, after(next, skew), count);
            }
            Step::Retry { producer, back } => {
                let known = self.model.log.iter().rev().filter(|known| known.producer == producer).nth(back);
                if let Some(known) = known.copied() {
                    self.send(producer, known.epoch, known.sequence, known.count);
                }
            }
            Step::Sync { batches } => self.sync(batches),
            Step::Lose => self.lose(),
            Step::Restart => self.restart(),
            Step::Expire { producer } => self.expire(producer),
        }
    }

    fn sync(&mut self, batches: usize) {
        let end = (self.model.durable + batches).min(self.headers.len());
        for header in &self.headers[self.model.durable..end] {
            assert!(self.partition.apply(header, self.now));
        }
        self.model.durable = end;
        assert_eq!(
            self.partition.high_watermark(),
            self.headers[..end].last().map_or(0, BatchHeader::next_offset)
        );
    }

    fn lose(&mut self) {
        self.partition.abandon_in_flight();
        self.headers.truncate(self.model.durable);
        self.model.log.truncate(self.model.durable);
        self.model.forgotten = self.model.forgotten.map(|index| index.min(self.model.durable));
    }

    /// From the snapshot and from the log alone: both must give what a loss of all in flight gives.
    fn restart(&mut self) {
        let restored = Partition::restore(&self.partition.snapshot()).unwrap();
        self.lose();
        assert_eq!(restored, self.partition);
        let mut replayed = Partition::default();
        for header in &self.headers {
            replayed.apply(header, self.now);
        }
        if self.model.forgotten == [0; 3] {
            assert_eq!(replayed.producers(), self.partition.producers());
        }
        assert_eq!(replayed.high_watermark(), self.partition.high_watermark());
        self.partition = restored;
    }

    fn expire(&mut self, producer: usize) {
        let idle_since = self.active[producer];
        self.partition.expire_producers(idle_since);
        for other in 0..3 {
            let in_flight = self.model.log[self.model.durable..].iter().any(|known| known.producer == other);
            if self.active[other] <= idle_since && !in_flight {
                self.model.forgotten[other] = self.model.log.len();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn producers_follow_the_model(steps in vec(step(), 1..80), near_the_end: bool) {
        let start = if near_the_end { i32::MAX - 12 } else { 0 };
        let (partition, model) = (Partition::default(), Model::default());
        let mut run = Run { partition, model, headers: Vec::new(), now: NOW, active: [NOW; 3], start };
        for step in &steps {
            run.step(step);
        }
    }

    #[test]
    fn snapshots_of_anything_never_panic(bytes: Vec<u8>, damage: prop::sample::Index, byte: u8) {
        let _ = Partition::restore(&bytes);
        let mut partition = Partition::default();
        for id in 0..3 {
            store(&mut partition, sent(id, 0, 0, 1)).unwrap();
        }
        let mut snapshot = partition.snapshot();
        let at = damage.index(snapshot.len() - 5) + 1;
        snapshot[at] = byte;
        let end = snapshot.len() - 4;
        let crc = crc32c::crc32c(&snapshot[..end]);
        snapshot[end..].copy_from_slice(&crc.to_be_bytes());
        let _ = Partition::restore(&snapshot);
    }
}
