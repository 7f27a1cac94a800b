//! Properties of record batches: what goes in comes out, and no bytes make the reader panic or grow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use annals_topics::ErrorKind;
use annals_topics::batch::{
    AcceptRules, Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, Compression, CompressionError,
    CompressionPolicy, ExpandLimits, HEADER_LEN, NewRecord, Producer, RecordCheck, TimestampRules,
    TimestampType, accept, compress, expand,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const LIMITS: ExpandLimits = ExpandLimits { size_bytes_max: 4 << 20, ratio_max: 200 };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn rules() -> AcceptRules {
    AcceptRules {
        batch_bytes_max: 1 << 20,
        batches_max: 3,
        key_required: false,
        transactional_allowed: false,
        timestamps: TimestampRules {
            timestamp_type: TimestampType::Create,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        },
        compression: CompressionPolicy::Producer,
        record_check: RecordCheck::Always,
        expand: LIMITS,
    }
}

type Header = (String, Option<Vec<u8>>);

#[derive(Clone, Debug)]
struct Model {
    gap: u8,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

fn model() -> impl Strategy<Value = Model> {
    let bytes = || proptest::option::of(vec(any::<u8>(), 0..60));
    let headers = vec(("[a-zé]{0,3}", proptest::option::of(vec(any::<u8>(), 0..5))), 0..4);
    (any::<u8>(), NOW - 1_000_000..NOW + 1_000_000, bytes(), bytes(), headers)
        .prop_map(|(gap, timestamp, key, value, headers)| Model { gap, timestamp, key, value, headers })
}

fn push(builder: &mut BatchBuilder, offset: i64, record: &Model) {
    let headers: Vec<_> =
        record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    builder
        .push_at(offset, &NewRecord { timestamp_ms: record.timestamp, key, value, headers: &headers })
        .unwrap();
}

fn options(base_offset: i64, compression: Compression) -> BatchOptions {
    BatchOptions { base_offset, codec: compression.into(), ..BatchOptions::default() }
}

fn dense(records: &[Model], compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new(options(0, compression));
    for (offset, record) in (0..).zip(records) {
        push(&mut builder, offset, record);
    }
    builder.build().unwrap()
}

proptest! {
    #[test]
    fn records_come_back(records in vec(model(), 1..20), codec in 0_usize..5, base: u32) {
        let base = i64::from(base);
        let mut builder = BatchBuilder::new(options(base, CODECS[codec]));
        let mut offset = base;
        let mut offsets = Vec::new();
        for record in &records {
            offset += i64::from(record.gap) + 1;
            offsets.push(offset);
            push(&mut builder, offset, record);
        }
        let batch = Batch::parse(builder.build().unwrap().encode()).unwrap();
        prop_assert_eq!(batch.verify(), Ok(()));
        prop_assert_eq!(batch.header.last_offset(), offset);
        prop_assert_eq!(batch.header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap());
        for ((record, expected), offset) in batch.records(&LIMITS).unwrap().zip(&records).zip(offsets) {
            let record = record.unwrap();
            prop_assert_eq!((record.offset, record.timestamp_ms), (offset, expected.timestamp));
            prop_assert_eq!(record.key.as_deref(), expected.key.as_deref());
            prop_assert_eq!(record.value.as_deref(), expected.value.as_deref());
            let headers: Vec<Header> = record.headers.iter()
                .map(|h| (String::from_utf8(h.key.to_vec()).unwrap(), h.value.as_ref().map(|v| v.to_vec())))
                .collect();
            prop_assert_eq!(&headers, &expected.headers);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, codec in 0_usize..5) {
        let _ = accept(bytes.clone().into(), &rules(), NOW);
        if let Ok(expanded) = expand(CODECS[codec], &bytes, &LIMITS) {
            prop_assert!(expanded.len() <= LIMITS.size_bytes_max);
        }
    }

    /// The checksum is made right again after the damage, so that the damage reaches the code behind it.
    #[test]
    fn damaged_batches_never_panic(
        records in vec(model(), 1..5),
        codec in 0_usize..5,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = dense(&records, CODECS[codec]).encode().to_vec();
        for (index, byte) in damage {
            let index = index.index(bytes.len() - 21) + 21;
            bytes[index] = byte;
        }
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let bytes = Bytes::from(bytes);
        let _ = accept(bytes.clone(), &rules(), NOW);
        if let Ok(batch) = Batch::parse(bytes)
            && let Ok(records) = batch.records(&LIMITS)
        {
            let read = records.count();
            prop_assert!(read <= 1_000_000);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen(records in vec(model(), 1..5), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = dense(&records, Compression::None).encode().to_vec();
        let at = at.index(bytes.len() - 16) + 16;
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(accept(bytes.into(), &rules(), NOW).is_err());
    }

    #[test]
    fn every_cut_is_seen(records in vec(model(), 1..5), cut: prop::sample::Index) {
        let bytes = dense(&records, Compression::None).encode();
        let cut = bytes.slice(..cut.index(bytes.len()));
        let error = accept(cut.clone(), &rules(), NOW).unwrap_err();
        if cut.is_empty() {
            prop_assert_eq!(error, BatchError::Empty);
        } else {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn the_stored_checksum_is_that_of_all_bytes(records in vec(model(), 1..5), base: i64, epoch: i32, time: i64) {
        let mut batch = dense(&records, Compression::Lz4);
        batch.header.assign(base, epoch);
        prop_assert_eq!(batch.header.stored_crc(), crc32c::crc32c(&batch.encode()));
        batch.header.stamp_append_time(time);
        prop_assert_eq!(batch.verify(), Ok(()));
        prop_assert_eq!(batch.header.stored_crc(), crc32c::crc32c(&batch.encode()));
    }
}

fn one(record: &NewRecord<'_>) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(record).unwrap();
    builder.build().unwrap()
}

fn plain() -> Batch {
    one(&NewRecord { key: Some(b"k"), value: Some(b"v"), ..NewRecord::at(NOW) })
}

/// The batch with a changed header and a right checksum, as a client could send it.
fn forged(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut batch = plain();
    change(&mut batch.header);
    let mut bytes = batch.encode().to_vec();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn refusal(bytes: Bytes) -> BatchError {
    accept(bytes, &rules(), NOW).unwrap_err()
}

#[test]
fn what_a_client_may_not_send() {
    use BatchError as E;
    let with = |bits: i16| forged(|header| header.attributes.0 |= bits);
    assert_eq!(refusal(Bytes::new()), E::Empty);
    assert_eq!(refusal(with(1 << 5)), E::ControlFromClient);
    assert_eq!(refusal(with(1 << 4)), E::TransactionalNotAllowed);
    assert_eq!(refusal(with(1 << 3)), E::AppendTimeFromClient);
    assert_eq!(refusal(with(7)), E::UnknownCompression { code: 7 });
    assert_eq!(refusal(forged(|header| header.base_offset = 9)), E::BaseOffsetNotZero { base_offset: 9 });
    assert_eq!(refusal(forged(|header| header.record_count = 0)), E::NoRecords);
    assert_eq!(refusal(forged(|header| header.record_count = 2)), E::CountMismatch { count: 2, span: 1 });
    assert_eq!(
        refusal(forged(|header| header.last_offset_delta = 4)),
        E::CountMismatch { count: 1, span: 5 }
    );
    assert!(matches!(refusal(forged(|header| header.record_count = -1)), E::NegativeCount { count: -1, .. }));
    assert!(matches!(refusal(forged(|header| header.length = 48)), E::LengthTooSmall { length: 48 }));
    assert!(matches!(refusal(forged(|header| header.length = u32::MAX)), E::LengthTooSmall { length: -1 }));
    assert!(matches!(refusal(forged(|header| header.length = 1 << 30)), E::TooLarge { .. }));
    let sequence = forged(|header| (header.producer_id, header.producer_epoch) = (5, 0));
    assert!(matches!(refusal(sequence), E::InvalidSequence { producer_id: 5, .. }));
}

#[test]
fn a_lie_about_the_count_stops_at_the_bytes() {
    let bytes = forged(|header| (header.record_count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1));
    assert!(matches!(refusal(bytes), BatchError::MalformedRecord { index: 1, .. }));
}

#[test]
fn old_formats_are_named() {
    for magic in [0, 1] {
        // A message of the format before 0.11: 8 bytes offset, 4 size, 4 CRC, magic, attributes, key, value.
        let mut message = vec![0; 26];
        message[11] = 14;
        message[16] = magic;
        assert_eq!(refusal(message.into()), BatchError::UnsupportedMagic { magic: magic as i8 });
    }
}

#[test]
fn size_limit_counts_the_whole_batch() {
    let batch = plain().encode();
    let at = |batch_bytes_max| accept(batch.clone(), &AcceptRules { batch_bytes_max, ..rules() }, NOW);
    assert!(at(batch.len()).is_ok());
    assert!(matches!(at(batch.len() - 1), Err(BatchError::TooLarge { .. })));
}

#[test]
fn several_batches_up_to_the_limit() {
    let three = [plain().encode(), plain().encode(), plain().encode()].concat();
    let four = [three.clone(), plain().encode().to_vec()].concat();
    assert_eq!(accept(three.into(), &rules(), NOW).unwrap().len(), 3);
    assert_eq!(refusal(four.into()), BatchError::TooManyBatches { max: 3 });
}

#[test]
fn compacted_topics_need_keys_also_inside_compressed_batches() {
    let rules = AcceptRules { key_required: true, record_check: RecordCheck::WhenNeeded, ..rules() };
    for codec in CODECS {
        let mut builder = BatchBuilder::new(options(0, codec));
        builder.push(&NewRecord { key: Some(b""), ..NewRecord::at(NOW) }).unwrap();
        builder.push(&NewRecord::at(NOW)).unwrap();
        builder.push(&NewRecord { key: Some(b"k"), ..NewRecord::at(NOW) }).unwrap();
        builder.push(&NewRecord::at(NOW)).unwrap();
        let bytes = builder.build().unwrap().encode();
        let all = BatchError::MissingKey { indexes: vec![1, 3] };
        assert_eq!(accept(bytes, &rules, NOW), Err(all), "{codec}");
    }
}

#[test]
fn timestamps_outside_the_range_are_refused() {
    let timestamps = TimestampRules { before_max_ms: 1_000, ..rules().timestamps };
    let rules = AcceptRules { timestamps, ..rules() };
    let send = |rules: &AcceptRules, times: &[i64]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for time in times {
            builder.push(&NewRecord::at(*time)).unwrap();
        }
        accept(builder.build().unwrap().encode(), rules, NOW)
    };
    assert!(send(&rules, &[NOW - 1_000, NOW + 3_600_000, -1]).is_ok());
    assert!(matches!(send(&rules, &[NOW, NOW - 1_001]), Err(BatchError::TimestampOutOfRange { .. })));
    assert!(matches!(send(&rules, &[NOW + 3_600_001]), Err(BatchError::TimestampOutOfRange { .. })));
    let timestamps = TimestampRules { timestamp_type: TimestampType::LogAppend, ..timestamps };
    assert!(send(&AcceptRules { timestamps, ..rules }, &[NOW + 3_600_001]).is_ok());
}

#[test]
fn a_wrong_largest_timestamp_is_corrected() {
    let batch = accept(forged(|header| header.max_timestamp = NOW + 77), &rules(), NOW).unwrap().remove(0);
    assert_eq!((batch.header.max_timestamp, batch.verify()), (NOW, Ok(())));
}

#[test]
fn bombs_are_bounded() {
    let zeros = vec![0; 32 << 20];
    for codec in &CODECS[1..] {
        let bomb = compress((*codec).into(), &zeros).unwrap();
        let error = expand(*codec, &bomb, &LIMITS).unwrap_err();
        assert!(
            matches!(error, CompressionError::TooLarge { max_bytes, .. } if max_bytes <= 4 << 20),
            "{codec}"
        );
    }
    // A bare Snappy block that claims 4 GiB in five bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let error =
        expand(Compression::Snappy, &claim, &ExpandLimits { size_bytes_max: usize::MAX, ratio_max: 1 << 40 });
    assert!(matches!(error, Err(CompressionError::Malformed { .. })));
}

#[test]
fn small_batches_may_compress_very_well() {
    let zeros = vec![0; 1 << 20];
    for codec in &CODECS[1..] {
        let packed = compress((*codec).into(), &zeros).unwrap();
        assert_eq!(expand(*codec, &packed, &LIMITS).unwrap().len(), zeros.len(), "{codec}");
    }
}

#[test]
fn corrupt_compressed_records_are_stored_unless_something_looks_inside() {
    let mut batch = plain();
    batch.header.attributes = batch.header.attributes.with_compression(Compression::Zstd);
    let mut bytes = batch.encode().to_vec();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let bytes = Bytes::from(bytes);
    let lenient = AcceptRules { record_check: RecordCheck::WhenNeeded, ..rules() };
    assert!(accept(bytes.clone(), &lenient, NOW).is_ok());
    assert!(matches!(refusal(bytes), BatchError::Compression(_)));
}

#[test]
fn an_emptied_batch_keeps_its_producer() {
    let producer = Some(Producer { id: 7, epoch: 2, base_sequence: 40 });
    let mut builder =
        BatchBuilder::new(BatchOptions { base_offset: 100, producer, ..options(100, Compression::Lz4) });
    builder.push(&NewRecord::at(NOW)).unwrap();
    builder.push(&NewRecord::at(NOW + 5)).unwrap();
    let empty = Batch::parse(builder.build().unwrap().emptied().encode()).unwrap();
    assert_eq!(empty.verify(), Ok(()));
    assert_eq!(empty.header.size_bytes(), HEADER_LEN);
    assert_eq!((empty.header.base_offset, empty.header.last_offset()), (100, 101));
    assert_eq!(
        (empty.header.producer_id, empty.header.producer_epoch, empty.header.last_sequence()),
        (7, 2, 41)
    );
    assert_eq!((empty.header.record_count, empty.header.max_timestamp), (0, NOW + 5));
    assert_eq!(empty.records(&LIMITS).unwrap().count(), 0);
}
