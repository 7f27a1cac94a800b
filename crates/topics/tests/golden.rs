//! Batches that other implementations wrote; `data/make_batches.py` says which, and how to write them again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use annals_topics::batch::{
    AcceptRules, Batch, BatchBuilder, BatchOptions, Codec, Compression, CompressionPolicy, ExpandLimits,
    Marker, NewRecord, Producer, Record, RecordCheck, TimestampRules, TimestampType, accept,
    find_at_or_after, find_max_timestamp,
};
use bytes::Bytes;

const NOW: i64 = 1_700_000_000_000;

fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/data/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<_>>().into()
}

/// One record of `sample()` in make_batches.py: timestamp, key, value, headers.
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

fn sample(i: usize) -> Sample {
    let headers = [("trace", Some(i.to_string().into_bytes())), ("trace", None), ("ünï", Some(vec![]))];
    Sample {
        timestamp: NOW + 10 * i as i64 - if i == 4 { 1000 } else { 0 },
        key: (!i.is_multiple_of(5)).then(|| format!("key-{i}").into_bytes()),
        value: (i % 7 != 3).then(|| format!("value-{i};").repeat(8).into_bytes()),
        headers: if i.is_multiple_of(3) { headers.to_vec() } else { vec![] },
    }
}

fn assert_is_sample(records: &[Record]) {
    assert_eq!(records.len(), 20);
    for (i, record) in records.iter().enumerate() {
        let expected = sample(i);
        assert_eq!((record.offset, record.timestamp_ms), (i as i64, expected.timestamp));
        assert_eq!(record.key.as_deref(), expected.key.as_deref());
        assert_eq!(record.value.as_deref(), expected.value.as_deref());
        let headers = record.headers.iter();
        let headers: Vec<_> = headers
            .map(|h| (std::str::from_utf8(&h.key).unwrap(), h.value.as_ref().map(|v| v.to_vec())))
            .collect();
        assert_eq!(headers, expected.headers);
    }
}

fn rules() -> AcceptRules {
    AcceptRules {
        batch_bytes_max: 1 << 20,
        batches_max: 1,
        key_required: false,
        transactional_allowed: false,
        timestamps: TimestampRules {
            timestamp_type: TimestampType::Create,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        },
        compression: CompressionPolicy::Producer,
        record_check: RecordCheck::Always,
        expand: ExpandLimits::default(),
    }
}

fn read_all(batch: &Batch) -> Vec<Record> {
    batch.records(&ExpandLimits::default()).unwrap().collect::<Result<_, _>>().unwrap()
}

const GOLDEN: [(&str, Compression); 13] = [
    ("kafka-python-none", Compression::None),
    ("kafka-python-gzip", Compression::Gzip),
    ("kafka-python-snappy", Compression::Snappy),
    ("kafka-python-lz4", Compression::Lz4),
    ("kafka-python-zstd", Compression::Zstd),
    ("aiokafka-none", Compression::None),
    ("aiokafka-gzip", Compression::Gzip),
    ("aiokafka-snappy", Compression::Snappy),
    ("aiokafka-lz4", Compression::Lz4),
    ("aiokafka-zstd", Compression::Zstd),
    ("kafka-python-idempotent", Compression::None),
    ("bare-snappy", Compression::Snappy),
    ("independent-lz4", Compression::Lz4),
];

#[test]
fn every_golden_batch_is_accepted_and_read() {
    for (name, compression) in GOLDEN {
        let bytes = golden(name);
        let batches = accept(bytes.clone(), &rules(), NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [batch] = &batches[..] else { panic!("{name}: one batch") };
        assert_eq!(batch.header.attributes.compression(), Ok(compression), "{name}");
        assert_eq!(batch.encode(), bytes, "{name}: stored as it came");
        assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (NOW, NOW + 190), "{name}");
        assert_is_sample(&read_all(batch));
    }
}

#[test]
fn producer_fields_are_read() {
    let batch = Batch::parse(golden("kafka-python-idempotent")).unwrap();
    let header = batch.header;
    assert_eq!((header.producer_id, header.producer_epoch), (4711, 3));
    // 20 records from 2^31 - 5: five up to 2^31 - 1, then 0 to 14.
    assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX - 4, 14));
}

#[test]
fn our_uncompressed_batch_is_theirs_byte_for_byte() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    push_sample(&mut builder);
    assert_eq!(builder.build().unwrap().encode(), golden("kafka-python-none"));
}

fn push_sample(builder: &mut BatchBuilder) {
    for i in 0..20 {
        let Sample { timestamp, key, value, headers } = sample(i);
        let headers: Vec<_> = headers.iter().map(|(key, value)| (*key, value.as_deref())).collect();
        let (key, value) = (key.as_deref(), value.as_deref());
        builder.push(&NewRecord { timestamp_ms: timestamp, key, value, headers: &headers }).unwrap();
    }
}

#[test]
fn a_topic_with_its_own_compression_stores_the_same_records() {
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let rules = AcceptRules { compression: CompressionPolicy::Codec(codec.into()), ..rules() };
        for (name, _) in GOLDEN {
            let batch = accept(golden(name), &rules, NOW).unwrap().remove(0);
            assert_eq!(batch.header.attributes.compression(), Ok(codec), "{name}");
            assert_eq!(batch.verify(), Ok(()), "{name}");
            assert_is_sample(&read_all(&Batch::parse(batch.encode()).unwrap()));
        }
    }
}

#[test]
fn lz4_frames_are_of_the_kind_that_java_reads() {
    let frame = annals_topics::batch::compress(Compression::Lz4.into(), &[7; 200_000]).unwrap();
    // Flags of the LZ4 frame format: version 1 in the high two bits, then "blocks are independent".
    assert_eq!(frame[4] & 0b1110_0000, 0b0110_0000);
}

#[test]
fn levels_are_taken() {
    for (compression, level) in [(Compression::Gzip, 9), (Compression::Zstd, 19), (Compression::Zstd, -5)] {
        let codec = Codec { compression, level: Some(level) };
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        push_sample(&mut builder);
        assert_is_sample(&read_all(&builder.build().unwrap()));
    }
}

#[test]
fn our_marker_is_the_packed_one() {
    let producer = Producer { id: 4711, epoch: 3, base_sequence: 0 };
    let mut marker = Batch::marker(0, producer, Marker::Commit, 5, NOW).unwrap();
    let expected = Batch::parse(golden("control")).unwrap();
    // The packed one borrows timestamps and sequence from another batch; all else is the same.
    assert_eq!(marker.body, expected.body);
    marker.header.base_sequence = expected.header.base_sequence;
    marker.header.max_timestamp = expected.header.max_timestamp;
    marker.header.leader_epoch = expected.header.leader_epoch;
    marker.header.crc = expected.header.crc;
    assert_eq!(marker.header, expected.header);
}

#[test]
fn timestamps_are_found() {
    for (name, _) in GOLDEN {
        let batch = Batch::parse(golden(name)).unwrap();
        let find = |timestamp, from| {
            let found = find_at_or_after(&batch, timestamp, from, &ExpandLimits::default()).unwrap();
            found.map(|found| (found.offset, found.timestamp_ms - NOW))
        };
        assert_eq!(find(0, 0), Some((0, 0)));
        assert_eq!(find(NOW + 31, 0), Some((5, 50)), "record 4 is a second early");
        assert_eq!(find(NOW + 31, 7), Some((7, 70)));
        assert_eq!(find(NOW + 190, 0), Some((19, 190)));
        assert_eq!(find(NOW + 191, 0), None);
        assert_eq!(find(0, 20), None);
        let latest = |from| {
            let found = find_max_timestamp(&batch, from, &ExpandLimits::default()).unwrap();
            found.map(|found| (found.offset, found.timestamp_ms - NOW))
        };
        assert_eq!((latest(0), latest(19), latest(20)), (Some((19, 190)), Some((19, 190)), None));
    }
}

#[test]
fn append_time_counts_for_every_record() {
    let mut batch = Batch::parse(golden("aiokafka-zstd")).unwrap();
    batch.header.stamp_append_time(NOW + 5_000);
    assert_eq!(batch.verify(), Ok(()));
    assert!(read_all(&batch).iter().all(|record| record.timestamp_ms == NOW + 5_000));
    let found = find_max_timestamp(&batch, 0, &ExpandLimits::default()).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp_ms), (0, NOW + 5_000));
}
