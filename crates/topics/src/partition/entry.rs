//! What a partition hands to the journal for one batch.

use bytes::Bytes;

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::{Offset, TimestampMs};

/// One batch to journal: the header as it is stored, and the producer's records untouched behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The stored header as a value; what [`super::Partition::apply`] takes.
    pub header: BatchHeader,
    /// The stored header as bytes.
    pub head: [u8; HEADER_LEN],
    /// The records, in the memory that they arrived in.
    pub body: Bytes,
    /// CRC-32C of `head` and `body` together.
    pub crc: u32,
}

impl Entry {
    pub(super) fn new(header: BatchHeader, body: Bytes) -> Self {
        Self { header, head: header.to_bytes(), body, crc: header.stored_crc() }
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// How many offsets the batch takes.
    pub fn offset_count(&self) -> u32 {
        self.header.last_offset_delta as u32 + 1
    }

    /// The largest timestamp of its records.
    pub fn max_timestamp(&self) -> TimestampMs {
        self.header.max_timestamp
    }

    /// Bytes of head and body together.
    pub fn size_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}
