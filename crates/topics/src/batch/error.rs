//! What can be wrong with a batch, and with compressed data.

use super::{Compression, HEADER_LEN, LENGTH_END};
use crate::{ErrorKind, TimestampMs};

/// Why bytes were not accepted, or could not be read, as record batches.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// A produce request without a batch for the partition.
    #[error("no record batch: a produce request carries at least one for each partition")]
    Empty,
    /// More batches than the caller allows at once.
    #[error("more than {max} record batches for one partition in one request")]
    TooManyBatches {
        /// The most that is allowed.
        max: usize,
    },
    /// The batch is longer than the bytes at hand.
    #[error("record batch is cut short: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes that the batch says it has.
        needed: usize,
        /// Bytes that were there.
        left: usize,
    },
    /// The length field cannot hold even a header.
    #[error("record batch length is {length}, but its header alone takes {}", HEADER_LEN - LENGTH_END)]
    LengthTooSmall {
        /// The length field.
        length: i32,
    },
    /// A message format from before Kafka 0.11, or an unknown one.
    #[error("message format {magic} is not supported: send record batches of magic 2 (Kafka 0.11 and later)")]
    UnsupportedMagic {
        /// The format's number.
        magic: i8,
    },
    /// The bytes are not those that the checksum was computed over.
    #[error("record batch checksum is {computed:#010x}, but its header says {stored:#010x}")]
    ChecksumMismatch {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Larger than `max.message.bytes`.
    #[error("record batch of {size_bytes} bytes is larger than max.message.bytes={max_bytes}")]
    TooLarge {
        /// Bytes of the whole batch.
        size_bytes: usize,
        /// The topic's limit.
        max_bytes: usize,
    },
    /// A count or delta below zero.
    #[error("record batch has {count} records and last offset delta {last_offset_delta}")]
    NegativeCount {
        /// The record count.
        count: i32,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// A client's batch without a record.
    #[error("record batch holds no record")]
    NoRecords,
    /// The offsets do not match the number of records.
    #[error("record batch has {count} records, but its offsets span {span}")]
    CountMismatch {
        /// The record count.
        count: i32,
        /// Last offset delta plus one.
        span: i64,
    },
    /// A client chose an offset; that is the broker's to do.
    #[error("record batch has base offset {base_offset}, but a producer sends 0")]
    BaseOffsetNotZero {
        /// The offset sent.
        base_offset: i64,
    },
    /// A client sent a control batch.
    #[error("control batches are written by the broker, not by clients")]
    ControlFromClient,
    /// A transactional batch where no transaction can be open.
    #[error("transactional batch outside a transaction")]
    TransactionalNotAllowed,
    /// A producer id with an epoch or a sequence number below zero.
    #[error(
        "producer {producer_id} sent epoch {epoch} and base sequence {base_sequence}; neither may be negative"
    )]
    InvalidSequence {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The batch's first sequence number.
        base_sequence: i32,
    },
    /// A compression code that no codec has.
    #[error("unknown compression code {code}: use gzip, snappy, lz4 or zstd")]
    UnknownCompression {
        /// The code.
        code: u8,
    },
    /// The compressed records could not be expanded.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record's bytes make no sense.
    #[error("record {index} of the batch is malformed: {what}")]
    MalformedRecord {
        /// Which record, from 0.
        index: i32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Records without a key for a compacted topic.
    #[error("record {} has no key, but the topic is compacted (cleanup.policy=compact)", join(.indexes))]
    MissingKey {
        /// Which records, from 0: the first [`super::MISSING_KEYS_MAX`] of them.
        indexes: Vec<i32>,
    },
    /// A producer claimed that its timestamps are the broker's.
    #[error("producers may not set the timestamp type LogAppendTime")]
    AppendTimeFromClient,
    /// A timestamp too far from the broker's clock.
    #[error("timestamp {timestamp} is outside {earliest}..={latest}, the range that this topic accepts now")]
    TimestampOutOfRange {
        /// The record's timestamp.
        timestamp: TimestampMs,
        /// The earliest that is accepted.
        earliest: TimestampMs,
        /// The latest that is accepted.
        latest: TimestampMs,
    },
}

impl BatchError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Truncated { .. } | Self::LengthTooSmall { .. } | Self::ChecksumMismatch { .. } => {
                ErrorKind::Corrupt
            }
            Self::Compression(error) => error.kind(),
            Self::Empty
            | Self::TooManyBatches { .. }
            | Self::UnsupportedMagic { .. }
            | Self::TooLarge { .. }
            | Self::NegativeCount { .. }
            | Self::NoRecords
            | Self::CountMismatch { .. }
            | Self::BaseOffsetNotZero { .. }
            | Self::ControlFromClient
            | Self::TransactionalNotAllowed
            | Self::InvalidSequence { .. }
            | Self::UnknownCompression { .. }
            | Self::MalformedRecord { .. }
            | Self::MissingKey { .. }
            | Self::AppendTimeFromClient
            | Self::TimestampOutOfRange { .. } => ErrorKind::FixInput,
        }
    }

    /// The first record of the batch that is at fault, where one is.
    pub fn record_index(&self) -> Option<i32> {
        match self {
            Self::MalformedRecord { index, .. } => Some(*index),
            Self::MissingKey { indexes } => indexes.first().copied(),
            _ => None,
        }
    }
}

/// The first few of `indexes`, for people.
fn join(indexes: &[i32]) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<_> = indexes.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    let more = if indexes.len() > SHOWN_MAX { ", …" } else { "" };
    shown.join(", ") + more
}

/// Why data could not be compressed or expanded.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CompressionError {
    /// The data would expand beyond the caller's limit.
    #[error("{compression} data of {compressed_bytes} bytes expands beyond the limit of {max_bytes} bytes")]
    TooLarge {
        /// The codec.
        compression: Compression,
        /// Bytes before expansion.
        compressed_bytes: usize,
        /// The limit that applied.
        max_bytes: usize,
    },
    /// The data is not what its codec writes.
    #[error("{compression} data is malformed: {reason}")]
    Malformed {
        /// The codec.
        compression: Compression,
        /// What the codec said.
        reason: String,
    },
    /// The codec could not compress.
    #[error("cannot compress with {compression}: {reason}")]
    Compress {
        /// The codec.
        compression: Compression,
        /// What the codec said.
        reason: String,
    },
}

impl CompressionError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::FixInput,
            Self::Malformed { .. } => ErrorKind::Corrupt,
            Self::Compress { .. } => ErrorKind::Bug,
        }
    }
}
