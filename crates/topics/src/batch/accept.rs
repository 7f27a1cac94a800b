//! The gate for produced bytes: what a client may send, checked before anything is decided.
//!
//! Runs outside the partition's owner, in parallel for many requests; needs only the topic's rules and the time.
//! Follows Kafka's `LogValidator`, with one choice of our own.
//!
//! **What is looked at inside a batch.** Each batch's length, magic, checksum, counts, flags and timestamps are checked
//! from its header. Uncompressed records are walked as well: a few varints each, no copy, no hash. Compressed records
//! are expanded and walked only where something depends on them: a compacted topic (every record needs a key) or a
//! topic that compresses anew. Elsewhere ([`RecordCheck::WhenNeeded`]) a compressed payload is stored as it came. Its
//! checksum was verified, so what is inside is exactly what the producer wrote; if the producer wrote nonsense, its
//! consumers meet the same bytes and fail on that batch, and an operator moves them past it or deletes up to it.
//! [`RecordCheck::Always`] refuses such a batch at the door, as Kafka does, at the price of expanding everything: for
//! each GB of records some 0.4 s of processor time with snappy, 0.5 s with zstd, 0.8 s with LZ4 and 2.5 s with gzip,
//! where storing as it comes takes 0.02 s. Walking uncompressed records of 100 bytes, checksum included, takes 0.25 s
//! for each GB. (Example `batch_speed`, one core of a rented server; the records compress to about half.)
//!
//! A producer whose header states a wrong largest timestamp is corrected, as in Kafka, since retention and lookups by
//! time rely on that field.

use bytes::Bytes;

use super::frame::Frames;
use super::{
    Batch, BatchError, BatchHeader, Codec, Compression, CompressionError, ExpandLimits, TimestampType,
    compress,
};
use crate::{NO_TIMESTAMP, TimestampMs};

/// How many records without a key a refusal names, at most.
pub const MISSING_KEYS_MAX: usize = 1_000;

/// What becomes of the producer's compression (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CompressionPolicy {
    /// It stays as it is.
    #[default]
    Producer,
    /// Batches compressed otherwise are compressed anew with this codec.
    Codec(Codec),
}

/// When compressed records are expanded and checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordCheck {
    /// When a rule depends on them.
    #[default]
    WhenNeeded,
    /// Always.
    Always,
}

/// Which timestamps a topic takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampRules {
    /// Whose clock counts. With [`TimestampType::LogAppend`] the producer's timestamps are not judged.
    pub timestamp_type: TimestampType,
    /// How far a timestamp may lie behind the broker's clock (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far a timestamp may lie ahead of the broker's clock (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
}

/// Everything about a topic that decides whether a batch may enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptRules {
    /// `max.message.bytes`: the most bytes of a whole batch.
    pub batch_bytes_max: usize,
    /// The most batches for one partition at once. Kafka's producers send one.
    pub batches_max: usize,
    /// Whether every record needs a key (`cleanup.policy` includes `compact`).
    pub key_required: bool,
    /// Whether transactional batches may enter.
    pub transactional_allowed: bool,
    /// Which timestamps may enter.
    pub timestamps: TimestampRules,
    /// What becomes of the compression.
    pub compression: CompressionPolicy,
    /// When compressed records are checked.
    pub record_check: RecordCheck,
    /// How far compressed records may expand, where they are expanded.
    pub expand: ExpandLimits,
}

/// Checks the records of one partition of a produce request and takes them apart into batches.
///
/// The batches share the memory of `records`, unless the topic's compression differs from the batch's.
///
/// # Errors
/// Any [`BatchError`]. Nothing of the request may then be stored.
pub fn accept(records: Bytes, rules: &AcceptRules, now_ms: TimestampMs) -> Result<Vec<Batch>, BatchError> {
    let mut rest = records;
    let mut batches = Vec::with_capacity(1);
    while !rest.is_empty() {
        if batches.len() == rules.batches_max {
            return Err(BatchError::TooManyBatches { max: rules.batches_max });
        }
        check_size(BatchHeader::parse(&rest)?.size_bytes(), rules)?;
        let batch = Batch::split_off(&mut rest)?;
        batches.push(accept_batch(batch, rules, now_ms)?);
    }
    if batches.is_empty() { Err(BatchError::Empty) } else { Ok(batches) }
}

fn accept_batch(mut batch: Batch, rules: &AcceptRules, now_ms: TimestampMs) -> Result<Batch, BatchError> {
    check_header(&batch.header, rules)?;
    batch.verify()?;
    let compression = batch.header.attributes.compression()?;
    let anew = match rules.compression {
        CompressionPolicy::Codec(codec) if codec.compression != compression => Some(codec),
        CompressionPolicy::Producer | CompressionPolicy::Codec(_) => None,
    };
    let look_inside = compression == Compression::None
        || rules.key_required
        || anew.is_some()
        || rules.record_check == RecordCheck::Always;
    let mut timestamps = Span { min: batch.header.base_timestamp, max: batch.header.max_timestamp };
    if look_inside {
        let body = batch.expanded_body(&rules.expand)?;
        timestamps = walk(&batch.header, &body, rules.key_required)?;
        if timestamps.max != batch.header.max_timestamp {
            batch.header.set_max_timestamp(timestamps.max);
        }
        if let Some(codec) = anew {
            batch = compressed_anew(&batch.header, body, codec)?;
            check_size(batch.header.size_bytes(), rules)?;
        }
    }
    check_timestamps(timestamps, &rules.timestamps, now_ms)?;
    Ok(batch)
}

fn check_size(size_bytes: usize, rules: &AcceptRules) -> Result<(), BatchError> {
    let max_bytes = rules.batch_bytes_max;
    if size_bytes > max_bytes { Err(BatchError::TooLarge { size_bytes, max_bytes }) } else { Ok(()) }
}

fn check_header(header: &BatchHeader, rules: &AcceptRules) -> Result<(), BatchError> {
    let (count, span) = (header.record_count, i64::from(header.last_offset_delta) + 1);
    if count == 0 {
        return Err(BatchError::NoRecords);
    }
    if i64::from(count) != span {
        return Err(BatchError::CountMismatch { count, span });
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffsetNotZero { base_offset: header.base_offset });
    }
    if header.attributes.is_control() {
        return Err(BatchError::ControlFromClient);
    }
    if header.attributes.is_transactional() && !rules.transactional_allowed {
        return Err(BatchError::TransactionalNotAllowed);
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppend {
        return Err(BatchError::AppendTimeFromClient);
    }
    check_producer(header)
}

fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let (producer_id, epoch, base_sequence) =
        (header.producer_id, header.producer_epoch, header.base_sequence);
    if header.has_producer() && (epoch < 0 || base_sequence < 0) {
        return Err(BatchError::InvalidSequence { producer_id, epoch, base_sequence });
    }
    Ok(())
}

/// The smallest and the largest timestamp of a batch.
#[derive(Clone, Copy)]
struct Span {
    min: TimestampMs,
    max: TimestampMs,
}

/// Walks the records: each well-formed, offsets dense, keys there if required.
fn walk(header: &BatchHeader, body: &[u8], key_required: bool) -> Result<Span, BatchError> {
    let mut span = Span { min: TimestampMs::MAX, max: NO_TIMESTAMP };
    let mut keyless = Vec::new();
    for (index, frame) in (0..).zip(Frames::new(body, header.record_count)) {
        let frame = frame?;
        if frame.offset_delta != index {
            return Err(BatchError::MalformedRecord { index, what: "its offset delta is not its index" });
        }
        if key_required && frame.key.is_none() && keyless.len() < MISSING_KEYS_MAX {
            keyless.push(index);
        }
        let timestamp = header.base_timestamp.wrapping_add(frame.timestamp_delta);
        if timestamp != NO_TIMESTAMP {
            span.min = span.min.min(timestamp);
            span.max = span.max.max(timestamp);
        }
    }
    if !keyless.is_empty() {
        return Err(BatchError::MissingKey { indexes: keyless });
    }
    // Without any timestamp, both ends are "none".
    span.min = span.min.min(span.max);
    Ok(span)
}

fn check_timestamps(span: Span, rules: &TimestampRules, now_ms: TimestampMs) -> Result<(), BatchError> {
    if rules.timestamp_type == TimestampType::LogAppend {
        return Ok(());
    }
    let earliest = now_ms.saturating_sub(rules.before_max_ms);
    let latest = now_ms.saturating_add(rules.after_max_ms);
    let outside = |timestamp| timestamp != NO_TIMESTAMP && !(earliest..=latest).contains(&timestamp);
    match [span.max, span.min].into_iter().find(|timestamp| outside(*timestamp)) {
        Some(timestamp) => Err(BatchError::TimestampOutOfRange { timestamp, earliest, latest }),
        None => Ok(()),
    }
}

/// The same records behind the same header, in another codec.
fn compressed_anew(header: &BatchHeader, body: Bytes, codec: Codec) -> Result<Batch, BatchError> {
    let compression = codec.compression;
    let body = match compression {
        Compression::None => body,
        _ => compress(codec, &body)?.into(),
    };
    let header = BatchHeader { attributes: header.attributes.with_compression(compression), ..*header };
    Batch::sealed(header, body)
        .map_err(|error| CompressionError::Compress { compression, reason: error.to_string() }.into())
}
