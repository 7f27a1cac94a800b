//! Compaction against a map of the latest values.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, HashMap};

use annals_topics::batch::{
    Batch, BatchBuilder, BatchHeader, BatchOptions, Compression, ExpandLimits, Marker, NewRecord, Producer,
    Record, TimestampType,
};
use annals_topics::compaction::{CleanRules, Cleaned, OffsetMap, clean, retain};
use annals_topics::partition::Partition;
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const LIMITS: ExpandLimits = ExpandLimits { size_bytes_max: 4 << 20, ratio_max: 1_000 };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn rules(now_ms: i64, delete_retention_ms: i64) -> CleanRules {
    CleanRules { now_ms, delete_retention_ms, keep_tombstones: false, expand: LIMITS }
}

fn read(batch: &Batch) -> Vec<Record> {
    batch.verify().unwrap();
    batch.records(&LIMITS).unwrap().collect::<Result<_, _>>().unwrap()
}

fn built(options: BatchOptions, records: &[(&str, Option<&str>)]) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for (index, (key, value)) in (0..).zip(records) {
        let headers = [("h", Some(key.as_bytes()))];
        let record = NewRecord {
            timestamp_ms: NOW + index,
            key: Some(key.as_bytes()).filter(|key| !key.is_empty()),
            value: value.map(str::as_bytes),
            headers: &headers,
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

fn batch(base_offset: i64, records: &[(&str, Option<&str>)]) -> Batch {
    built(BatchOptions { base_offset, ..BatchOptions::default() }, records)
}

fn map_of(batches: &[Batch]) -> OffsetMap {
    let mut map = OffsetMap::new(0, 1 << 16, [1; 16]);
    for batch in batches {
        assert!(map.add(batch, &LIMITS).unwrap());
    }
    map
}

fn offsets(cleaned: Cleaned) -> Vec<i64> {
    match cleaned {
        Cleaned::Replace(batch) => read(&batch).iter().map(|record| record.offset).collect(),
        other => panic!("{other:?}"),
    }
}

const NO_TAIL: fn(&BatchHeader) -> bool = |_| false;

#[test]
fn the_latest_of_each_key_stays_where_it_was() {
    let first = batch(0, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("c", Some("1"))]);
    let second = batch(4, &[("b", Some("2"))]);
    let map = map_of(&[first.clone(), second.clone()]);
    let Cleaned::Replace(after) = clean(&first, &map, &rules(NOW, 0), NO_TAIL).unwrap() else { panic!() };
    let (before, kept) = (read(&first), read(&after));
    assert_eq!(kept, [before[2].clone(), before[3].clone()], "offset, timestamp, key, value and headers");
    assert_eq!((after.header.base_offset, after.header.last_offset()), (0, 3), "the span of offsets stays");
    assert_eq!(clean(&second, &map, &rules(NOW, 0), NO_TAIL), Ok(Cleaned::Keep));
    let all_replaced = batch(0, &[("b", Some("0"))]);
    assert_eq!(clean(&all_replaced, &map, &rules(NOW, 0), NO_TAIL), Ok(Cleaned::Drop));
}

#[test]
fn records_without_keys_go_and_those_beyond_the_map_stay() {
    let keyless = batch(0, &[("", Some("x")), ("a", Some("1"))]);
    let beyond = batch(2, &[("a", Some("2")), ("a", Some("3"))]);
    let map = map_of(std::slice::from_ref(&keyless));
    assert_eq!(offsets(clean(&keyless, &map, &rules(NOW, 0), NO_TAIL).unwrap()), [1]);
    assert_eq!(clean(&beyond, &map, &rules(NOW, 0), NO_TAIL), Ok(Cleaned::Keep));
}

#[test]
fn a_map_that_fills_up_within_a_batch_covers_it_up_to_there() {
    let names: Vec<_> = (0..60).map(|i| format!("key-{i}")).collect();
    let mut records: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
    records[0] = ("key-1", None);
    records[58] = ("", Some("no key"));
    let first = batch(0, &records);
    let mut map = OffsetMap::new(0, 0, [1; 16]);
    assert!(!map.add(&first, &LIMITS).unwrap());
    assert_eq!((map.len(), map.complete_to()), (48, 49), "64 slots, a quarter of them free");
    let Cleaned::Replace(after) = clean(&first, &map, &rules(NOW, 0), NO_TAIL).unwrap() else { panic!() };
    assert_eq!(read(&after), read(&first)[1..], "the keyless record lies beyond what the pass covers");
    let mut map = OffsetMap::new(49, 0, [1; 16]);
    assert!(map.add(&after, &LIMITS).unwrap());
    assert_eq!((map.len(), map.complete_to()), (10, 60));
    let Cleaned::Replace(after) = clean(&after, &map, &rules(NOW, 0), NO_TAIL).unwrap() else { panic!() };
    assert_eq!(read(&after).len(), 58);
}

#[test]
fn a_tombstone_is_dated_then_dropped() {
    let tombstone = batch(0, &[("a", None), ("b", Some("1"))]);
    let map = map_of(std::slice::from_ref(&tombstone));
    let Cleaned::Replace(dated) = clean(&tombstone, &map, &rules(NOW, 500), NO_TAIL).unwrap() else {
        panic!()
    };
    assert_eq!(read(&dated), read(&tombstone), "the timestamps are the same over the new base");
    assert!(dated.header.attributes.has_delete_horizon());
    assert_eq!((dated.header.base_timestamp, dated.header.max_timestamp), (NOW + 500, NOW + 1));
    assert_eq!(clean(&dated, &map, &rules(NOW + 499, 500), NO_TAIL), Ok(Cleaned::Keep), "too early");
    let keeping = CleanRules { keep_tombstones: true, ..rules(NOW + 500, 500) };
    for batch in [&tombstone, &dated] {
        assert_eq!(clean(batch, &map, &keeping, NO_TAIL), Ok(Cleaned::Keep), "it may be needed");
    }
    let Cleaned::Replace(after) = clean(&dated, &map, &rules(NOW + 500, 500), NO_TAIL).unwrap() else {
        panic!()
    };
    assert_eq!(read(&after), read(&tombstone)[1..]);
    assert_eq!(clean(&after, &map, &rules(NOW + 900, 500), NO_TAIL), Ok(Cleaned::Keep));
}

#[test]
fn the_last_batch_of_a_producer_stays_without_records() {
    let producer = Some(Producer { id: 7, epoch: 1, base_sequence: 0 });
    let options = BatchOptions { producer, ..BatchOptions::default() };
    let first = built(options, &[("a", Some("1")), ("a", Some("2"))]);
    let map = map_of(&[first.clone(), batch(2, &[("a", Some("3"))])]);
    let mut partition = Partition::default();
    partition.apply(&first.header, NOW);
    let tails = partition.producer_tails();
    let is_tail = |header: &BatchHeader| tails.get(&header.producer_id) == Some(&header.last_offset());
    let Cleaned::Replace(empty) = clean(&first, &map, &rules(NOW, 0), is_tail).unwrap() else { panic!() };
    assert_eq!((empty.header.record_count, empty.header.last_sequence()), (0, 1));
    let mut replayed = Partition::default();
    replayed.apply(&empty.header, NOW);
    assert_eq!(replayed.producers(), partition.producers(), "the empty batch tells as much");
    assert_eq!(clean(&empty, &map, &rules(NOW, 0), is_tail), Ok(Cleaned::Keep));
    assert_eq!(clean(&empty, &map, &rules(NOW, 0), NO_TAIL), Ok(Cleaned::Drop));
}

#[test]
fn markers_stay() {
    let producer = Producer { id: 7, epoch: 1, base_sequence: -1 };
    let marker = Batch::marker(0, producer, Marker::Commit, 0, NOW).unwrap();
    let map = map_of(std::slice::from_ref(&marker));
    assert_eq!((map.len(), map.complete_to()), (0, 1));
    assert_eq!(clean(&marker, &map, &rules(i64::MAX, 0), NO_TAIL), Ok(Cleaned::Keep));
}

#[test]
fn append_time_survives_a_rewrite() {
    let mut first = batch(0, &[("a", Some("1")), ("b", None), ("a", Some("2"))]);
    first.header.stamp_append_time(NOW + 77);
    let map = map_of(std::slice::from_ref(&first));
    let Cleaned::Replace(after) = clean(&first, &map, &rules(NOW, 10), NO_TAIL).unwrap() else { panic!() };
    assert_eq!(after.header.attributes.timestamp_type(), TimestampType::LogAppend);
    assert!(read(&after).iter().all(|record| record.timestamp_ms == NOW + 77));
    assert_eq!(read(&after), read(&first)[1..]);
}

#[test]
fn a_batch_that_cannot_be_read_is_passed_over() {
    let mut broken = batch(0, &[("a", Some("1"))]);
    broken.header.attributes = broken.header.attributes.with_compression(Compression::Gzip);
    let mut map = OffsetMap::new(0, 1 << 10, [1; 16]);
    assert!(map.add(&broken, &LIMITS).is_err());
    assert_eq!(map.complete_to(), 1);
    assert!(clean(&broken, &map, &rules(NOW, 0), NO_TAIL).is_err());
}

#[test]
fn keyed_logs_of_our_own() {
    let first = batch(0, &[("a", Some("1")), ("b", None), ("a", Some("2"))]);
    let latest = HashMap::from([(b"a".to_vec(), 2_i64), (b"b".to_vec(), 1)]);
    let keep = |offset: i64, key: Option<&[u8]>, has_value: bool| has_value && latest[key.unwrap()] == offset;
    assert_eq!(offsets(retain(&first, &LIMITS, keep).unwrap()), [2]);
    assert_eq!(retain(&first, &LIMITS, |_, _, _| true), Ok(Cleaned::Keep));
    assert_eq!(retain(&first, &LIMITS, |_, _, _| false), Ok(Cleaned::Drop));
}

#[derive(Clone, Debug)]
enum Step {
    Append { records: Vec<(u8, Option<u8>)>, codec: usize, producer: Option<i64> },
    Pass { map_bytes: usize, bound: prop::sample::Index },
    Wait { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    // More keys than the smallest map holds, so that it fills up in the middle of a batch.
    let record = (0_u8..120, proptest::option::weighted(0.7, any::<u8>()));
    let producer = proptest::option::of(0_i64..3);
    prop_oneof![
        5 => (vec(record, 1..80), 0_usize..5, producer)
            .prop_map(|(records, codec, producer)| Step::Append { records, codec, producer }),
        2 => (1_usize..4_000, any::<prop::sample::Index>()).prop_map(|(map_bytes, bound)| Step::Pass { map_bytes, bound }),
        1 => (0_i64..2_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

const DELETE_RETENTION_MS: i64 = 1_000;

/// A log with everything that was ever in it.
struct Log {
    batches: Vec<Batch>,
    original: BTreeMap<i64, Record>,
    latest: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// When a tombstone was first certain to have outlived what it deletes.
    dated: HashMap<i64, i64>,
    partition: Partition,
    sequences: [i32; 3],
    clean_to: i64,
    now: i64,
}

impl Log {
    fn new() -> Self {
        Self {
            batches: Vec::new(),
            original: BTreeMap::new(),
            latest: HashMap::new(),
            dated: HashMap::new(),
            partition: Partition::default(),
            sequences: [0; 3],
            clean_to: 0,
            now: NOW,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append { records, codec, producer } => self.append(records, CODECS[*codec], *producer),
            Step::Pass { map_bytes, bound } => {
                let ends = self.batches.iter().map(|batch| batch.header.next_offset());
                let ends: Vec<_> = ends.filter(|end| *end > self.clean_to).collect();
                if !ends.is_empty() {
                    self.pass(*map_bytes, ends[bound.index(ends.len())]);
                }
            }
            Step::Wait { ms } => self.now += ms,
        }
    }

    fn append(&mut self, records: &[(u8, Option<u8>)], codec: Compression, producer: Option<i64>) {
        let base_offset = self.partition.next_offset();
        let producer = producer.map(|id| {
            let base_sequence = self.sequences[id as usize];
            self.sequences[id as usize] += records.len() as i32;
            Producer { id, epoch: 0, base_sequence }
        });
        let options = BatchOptions { base_offset, codec: codec.into(), producer, transactional: false };
        let mut builder = BatchBuilder::new(options);
        for (key, value) in records {
            let (key, value) = ([*key], value.map(|value| vec![value; usize::from(value % 9)]));
            self.now += 1;
            let record = NewRecord { key: Some(&key), value: value.as_deref(), ..NewRecord::at(self.now) };
            builder.push(&record).unwrap();
            self.latest.insert(key.to_vec(), value);
        }
        let batch = builder.build().unwrap();
        self.original.extend(read(&batch).into_iter().map(|record| (record.offset, record)));
        self.partition.apply(&batch.header, self.now);
        self.batches.push(batch);
    }

    fn pass(&mut self, map_bytes: usize, bound: i64) {
        let mut map = OffsetMap::new(self.clean_to, map_bytes, [9; 16]);
        for batch in &self.batches {
            let header = &batch.header;
            let new = header.next_offset() > self.clean_to && header.next_offset() <= bound;
            if new && !map.add(batch, &LIMITS).unwrap() {
                break;
            }
        }
        assert!(map.complete_to() > self.clean_to, "every pass gets on");
        assert!(map.complete_to() <= bound);
        let tails = self.partition.producer_tails();
        let is_tail = |header: &BatchHeader| tails.get(&header.producer_id) == Some(&header.last_offset());
        let rules = rules(self.now, DELETE_RETENTION_MS);
        self.batches = std::mem::take(&mut self.batches)
            .into_iter()
            .filter_map(|batch| match clean(&batch, &map, &rules, is_tail).unwrap() {
                Cleaned::Keep => Some(batch),
                Cleaned::Drop => None,
                Cleaned::Replace(with) => Some(with),
            })
            .collect();
        self.clean_to = map.complete_to();
        self.check(bound);
    }

    fn records(&self) -> Vec<Record> {
        self.batches.iter().flat_map(read).collect()
    }

    fn check(&mut self, bound: i64) {
        let kept = self.records();
        assert!(kept.is_sorted_by(|a, b| a.offset < b.offset));
        let mut latest: HashMap<_, _> = HashMap::new();
        for record in &kept {
            assert_eq!(Some(record), self.original.get(&record.offset), "what stays is as it was");
            latest.insert(
                record.key.clone().unwrap().to_vec(),
                record.value.as_ref().map(|value| value.to_vec()),
            );
        }
        // A key that is gone had a tombstone.
        let values = |map: &HashMap<Vec<u8>, Option<Vec<u8>>>| -> BTreeMap<_, _> {
            map.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
        };
        assert_eq!(values(&latest), values(&self.latest));
        self.check_tombstones(&kept);
        assert!(
            self.original
                .range(bound..)
                .all(|(offset, _)| kept.iter().any(|record| record.offset == *offset))
        );
        self.check_producers();
    }

    /// A latest record without a value stays for the delete retention after the first pass that could date it.
    fn check_tombstones(&mut self, kept: &[Record]) {
        let mut latest_offsets = HashMap::new();
        for record in self.original.values() {
            latest_offsets.insert(record.key.clone(), record.offset);
        }
        for record in self.original.values().filter(|record| record.value.is_none()) {
            let covered = record.offset < self.clean_to;
            if covered && latest_offsets[&record.key] == record.offset {
                let dated = *self.dated.entry(record.offset).or_insert(self.now);
                let there = kept.iter().any(|kept| kept.offset == record.offset);
                assert!(there || self.now >= dated + DELETE_RETENTION_MS, "dropped too early");
            }
        }
    }

    fn check_producers(&self) {
        let mut replayed = Partition::default();
        for batch in &self.batches {
            replayed.apply(&batch.header, NOW);
        }
        let sequences = |partition: &Partition| -> Vec<_> {
            let states = partition.producers();
            states.iter().map(|state| (state.producer_id, state.epoch, state.last_sequence)).collect()
        };
        assert_eq!(sequences(&replayed), sequences(&self.partition));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn readers_of_a_compacted_log_see_the_latest_values(steps in vec(step(), 1..30)) {
        let mut log = Log::new();
        for step in &steps {
            log.step(step);
        }
        // Two last passes over everything, with the delete retention between them and once more after it.
        for _ in 0..3 {
            log.append(&[(200, Some(1))], Compression::None, None);
            let end = log.partition.next_offset();
            log.pass(1 << 20, end);
            log.now += DELETE_RETENTION_MS + 1;
        }
        let kept = log.records();
        let live = log.latest.values().filter(|value| value.is_some()).count();
        prop_assert_eq!(kept.len(), live, "one record for each key that has a value, and no tombstone");
    }
}
