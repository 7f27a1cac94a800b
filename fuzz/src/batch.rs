//! Record batches: from a producer, who may send anything, and from the disk, where checksums were verified once.
//!
//! The first byte chooses the topic's rules, the second whether lengths and checksums are made right before the batch is
//! offered: random bytes would rarely get past them. The rest is the records field of a produce request.
//!
//! Promised: a batch that was accepted can be read back, looked up and stored without an error, unless its records are
//! compressed and nothing made the gate look inside.

use annals_topics::batch::{
    AcceptRules, Batch, BatchHeader, Compression, CompressionPolicy, ExpandLimits, HEADER_LEN, LENGTH_END,
    PREFIX_LEN, RecordCheck, TimestampRules, TimestampType, accept, find_at_or_after, find_max_timestamp,
};
use bytes::Bytes;

use crate::input::Input;

/// 2026-01-01, the time at which everything here happens.
const NOW_MS: i64 = 1_767_225_600_000;
/// Small, so that a bomb shows itself.
const EXPAND: ExpandLimits = ExpandLimits { size_bytes_max: 8 << 20, ratio_max: 1000 };
/// Where the checksum of a batch lies.
const CRC_AT: usize = 17;

/// Offers `data` as produced records and reads it as stored ones.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let rules = rules(input.byte());
    let is_repaired = input.byte() & 1 == 1;
    let mut records = input.rest().to_vec();
    if is_repaired {
        repair(&mut records);
    }
    let records = Bytes::from(records);
    if let Ok(batches) = accept(records.clone(), &rules, NOW_MS) {
        batches.iter().for_each(|batch| check_accepted(batch, &rules));
    }
    if let Ok(batch) = Batch::parse(records) {
        read_stored(&batch);
    }
}

fn rules(choice: u8) -> AcceptRules {
    let codec =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let compression = match codec.get(usize::from(choice >> 4)) {
        Some(codec) => CompressionPolicy::Codec((*codec).into()),
        None => CompressionPolicy::Producer,
    };
    let is_append = choice & 2 == 2;
    AcceptRules {
        batch_bytes_max: 1 << 20,
        batches_max: 2,
        key_required: choice & 1 == 1,
        transactional_allowed: choice & 4 == 4,
        timestamps: TimestampRules {
            timestamp_type: if is_append { TimestampType::LogAppend } else { TimestampType::Create },
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        },
        compression,
        record_check: if choice & 8 == 8 { RecordCheck::Always } else { RecordCheck::WhenNeeded },
        expand: EXPAND,
    }
}

/// Makes the length and the checksum of the first batch those of all bytes that there are.
fn repair(records: &mut [u8]) {
    if records.len() < HEADER_LEN {
        return;
    }
    let length = u32::try_from(records.len() - LENGTH_END).unwrap_or(u32::MAX);
    records[LENGTH_END - 4..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&records[PREFIX_LEN..]);
    records[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

fn check_accepted(batch: &Batch, rules: &AcceptRules) {
    let header = &batch.header;
    let stored = Batch::parse(batch.encode());
    assert_eq!(stored.as_ref(), Ok(batch), "an accepted batch is stored as it is");
    assert_eq!(batch.verify(), Ok(()), "an accepted batch has the right checksum");
    assert!(header.size_bytes() <= rules.batch_bytes_max);
    assert_eq!(i64::from(header.record_count), i64::from(header.last_offset_delta) + 1);
    let is_walked = header.attributes.compression() == Ok(Compression::None)
        || rules.key_required
        || rules.record_check == RecordCheck::Always;
    if is_walked {
        check_records(batch);
    }
}

fn check_records(batch: &Batch) {
    let mut next = batch.header.base_offset;
    for record in
        batch.records(&EXPAND).unwrap_or_else(|error| panic!("accepted, and cannot be read: {error}"))
    {
        let record = record.unwrap_or_else(|error| panic!("accepted, and a record cannot be read: {error}"));
        assert_eq!(record.offset, next, "the offsets of accepted records are dense");
        next += 1;
    }
    assert_eq!(next, batch.header.next_offset(), "all records are there");
    let found = find_max_timestamp(batch, batch.header.base_offset, &EXPAND);
    assert!(found.is_ok(), "accepted, and cannot be looked up: {found:?}");
}

/// Stored bytes are not checked again, so they may be anything too; nothing is promised but to end.
fn read_stored(batch: &Batch) {
    let _ = batch.verify();
    if let Ok(records) = batch.records(&EXPAND) {
        let _ = records.take(1 << 16).filter(Result::is_ok).count();
    }
    let _ = find_max_timestamp(batch, batch.header.base_offset, &EXPAND);
    let _ = find_at_or_after(batch, NOW_MS, batch.header.base_offset, &EXPAND);
    let mut header: BatchHeader = batch.header;
    let _ = (header.last_offset(), header.next_offset(), header.last_sequence());
    header.stamp_append_time(NOW_MS);
    let _ = header.stored_crc();
}
