//! The 61-byte header of a record batch (Kafka protocol guide, "Record Batch", magic 2).
//!
//! | bytes | field | in the CRC |
//! |---|---|---|
//! | 0..8 | base offset | no |
//! | 8..12 | length of what follows | no |
//! | 12..16 | partition leader epoch | no |
//! | 16 | magic, always 2 | no |
//! | 17..21 | CRC-32C of bytes 21.. | no |
//! | 21..23 | attributes | yes |
//! | 23..27 | last offset delta | yes |
//! | 27..35 | base timestamp, or the delete horizon (KIP-534) | yes |
//! | 35..43 | max timestamp | yes |
//! | 43..51, 51..53, 53..57 | producer id, epoch, base sequence | yes |
//! | 57..61 | record count | yes |

use super::checksum::{replace_head, stored_crc};
use super::{BatchError, Compression};
use crate::{Offset, TimestampMs};

/// The bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;

/// The bytes of a batch before the range that its CRC covers.
pub const PREFIX_LEN: usize = 21;

/// The bytes before and including the length field, which that field does not count.
pub const LENGTH_END: usize = 12;

/// The producer id of a batch that was not sent by an idempotent producer.
pub const NO_PRODUCER_ID: i64 = -1;

/// The sequence number of a batch that carries none.
pub const NO_SEQUENCE: i32 = -1;

const MAGIC: u8 = 2;

/// A record batch's header, every field of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record, also when compaction has removed that record.
    pub base_offset: Offset,
    /// Bytes of the batch after the length field; see [`BatchHeader::size_bytes`].
    pub length: u32,
    /// Epoch of the partition leader that appended it.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record, less the base offset, also when compaction has removed that record.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas add to.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp of a record, or the append time.
    pub max_timestamp: TimestampMs,
    /// Id of the idempotent producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// How many records follow. Less than the span of offsets after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. Does not look behind byte 61 and does not check the CRC.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::UnsupportedMagic`], [`BatchError::LengthTooSmall`] and
    /// [`BatchError::NegativeCount`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic stands at the same place in all formats, and older ones can be shorter: judge it first.
        if let Some(&magic) = bytes.get(16).filter(|magic| **magic != MAGIC) {
            return Err(BatchError::UnsupportedMagic { magic: magic as i8 });
        }
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { needed: HEADER_LEN, left: bytes.len() });
        };
        let header = Self::read(head);
        if (header.length as usize) < HEADER_LEN - LENGTH_END || header.length > i32::MAX as u32 {
            return Err(BatchError::LengthTooSmall { length: header.length as i32 });
        }
        if header.last_offset_delta < 0 || header.record_count < 0 {
            let (count, delta) = (header.record_count, header.last_offset_delta);
            return Err(BatchError::NegativeCount { count, last_offset_delta: delta });
        }
        Ok(header)
    }

    fn read(head: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(at(head, 0)),
            length: u32::from_be_bytes(at(head, 8)),
            leader_epoch: i32::from_be_bytes(at(head, 12)),
            crc: u32::from_be_bytes(at(head, 17)),
            attributes: Attributes(i16::from_be_bytes(at(head, 21))),
            last_offset_delta: i32::from_be_bytes(at(head, 23)),
            base_timestamp: i64::from_be_bytes(at(head, 27)),
            max_timestamp: i64::from_be_bytes(at(head, 35)),
            producer_id: i64::from_be_bytes(at(head, 43)),
            producer_epoch: i16::from_be_bytes(at(head, 51)),
            base_sequence: i32::from_be_bytes(at(head, 53)),
            record_count: i32::from_be_bytes(at(head, 57)),
        }
    }

    /// The header's bytes, as they stand in front of the records.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        head[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&self.length.to_be_bytes());
        head[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        head[16] = MAGIC;
        head[17..21].copy_from_slice(&self.crc.to_be_bytes());
        head[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        head
    }

    /// The bytes of the whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        self.length as usize + LENGTH_END
    }

    /// The bytes of the records, as they are stored.
    pub fn body_len(&self) -> usize {
        self.size_bytes() - HEADER_LEN
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// Whether an idempotent producer sent it.
    pub fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }

    /// Sets the fields that the broker owns and the CRC leaves out.
    pub fn assign(&mut self, base_offset: Offset, leader_epoch: i32) {
        self.base_offset = base_offset;
        self.leader_epoch = leader_epoch;
    }

    /// Marks every record as appended at `now_ms` (`message.timestamp.type=LogAppendTime`) and corrects the CRC.
    pub fn stamp_append_time(&mut self, now_ms: TimestampMs) {
        self.rewrite_checked(|header| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppend);
            header.max_timestamp = now_ms;
        });
    }

    /// Sets the largest timestamp and corrects the CRC.
    pub(crate) fn set_max_timestamp(&mut self, max_timestamp: TimestampMs) {
        self.rewrite_checked(|header| header.max_timestamp = max_timestamp);
    }

    fn rewrite_checked(&mut self, change: impl FnOnce(&mut Self)) {
        let old = self.to_bytes();
        change(self);
        let new = self.to_bytes();
        let body_len = self.body_len() as u32;
        self.crc = replace_head(self.crc, &old[PREFIX_LEN..], &new[PREFIX_LEN..], body_len);
    }

    /// CRC-32C of the whole stored batch, derived from the batch's own CRC: the records are not read.
    pub fn stored_crc(&self) -> u32 {
        let head = self.to_bytes();
        let rest_len = (self.size_bytes() - PREFIX_LEN) as u32;
        stored_crc(&at(&head, 0), self.crc, rest_len)
    }
}

/// `sequence` moved on by `increment` (not negative), wrapping from `i32::MAX` to 0.
pub(crate) fn sequence_plus(sequence: i32, increment: i32) -> i32 {
    sequence.wrapping_add(increment) & i32::MAX
}

fn at<const N: usize>(head: &[u8; HEADER_LEN], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[start..start + N]);
    field
}

/// Whose clock a batch's timestamps came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    Create,
    /// The broker's: all records have the batch's largest timestamp.
    LogAppend,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for the codes 5 to 7.
    pub fn compression(self) -> Result<Compression, BatchError> {
        let code = (self.0 & Self::COMPRESSION) as u8;
        Compression::from_code(code).ok_or(BatchError::UnknownCompression { code })
    }

    /// Whose clock the timestamps came from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppend } else { TimestampType::Create }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// Whether the batch holds a control record (a transaction marker) in place of data.
    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// Whether the base timestamp is the time at which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    /// The same bits with another compression.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !Self::COMPRESSION | i16::from(compression.code()))
    }

    /// The same bits with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppend)
    }

    /// The same bits, marked as transactional or not.
    #[must_use]
    pub fn with_transactional(self, transactional: bool) -> Self {
        self.with(Self::TRANSACTIONAL, transactional)
    }

    /// The same bits, marked as control or not.
    #[must_use]
    pub fn with_control(self, control: bool) -> Self {
        self.with(Self::CONTROL, control)
    }

    /// The same bits, marked as carrying a delete horizon or not.
    #[must_use]
    pub fn with_delete_horizon(self, horizon: bool) -> Self {
        self.with(Self::DELETE_HORIZON, horizon)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}
