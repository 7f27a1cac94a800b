//! Where one entry lies in its segment.

use crate::entry::EntryHeader;
use crate::frame::{u32_at, u64_at};

/// One entry of one log in one segment: 32 bytes in memory and in a footer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) base_offset: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) position: u32,
    pub(crate) len: u32,
    pub(crate) records: u32,
    pub(crate) crc: u32,
}

impl Row {
    pub(crate) const STORED_LEN: usize = 32;
    /// The position of a row whose entry was lost with an unreadable frame. No payload starts in the header block.
    const LOST: u32 = 0;

    pub(crate) fn new(entry: &EntryHeader, position: u64) -> Self {
        Self {
            base_offset: entry.base_offset,
            timestamp_ms: entry.timestamp_ms,
            // Segments are far below 4 GiB: see `Options::segment_bytes`.
            position: position as u32,
            len: entry.len,
            records: entry.records,
            crc: entry.crc,
        }
    }

    /// Stands for entries that are known to have been here and cannot be read any more.
    pub(crate) fn lost(base_offset: u64, records: u32) -> Self {
        Self { base_offset, timestamp_ms: -1, position: Self::LOST, len: 0, records, crc: 0 }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.position == Self::LOST
    }

    pub(crate) fn end_offset(&self) -> u64 {
        self.base_offset + u64::from(self.records)
    }

    pub(crate) fn end_position(&self) -> u64 {
        u64::from(self.position) + u64::from(self.len)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Self {
            base_offset: u64_at(bytes, 0),
            timestamp_ms: u64_at(bytes, 8).cast_signed(),
            position: u32_at(bytes, 16),
            len: u32_at(bytes, 20),
            records: u32_at(bytes, 24),
            crc: u32_at(bytes, 28),
        }
    }
}
