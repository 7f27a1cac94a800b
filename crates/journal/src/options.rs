//! What a journal can be told.

use std::time::Duration;

use crate::entry::Durability;

/// The choices of one journal. The defaults suit a server; few need another.
#[derive(Debug, Clone)]
pub struct Options {
    /// When an append is acknowledged, unless its group says otherwise. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// The longest time that asynchronously acknowledged bytes stay unsynced. Shorter loses less in a power failure
    /// and costs more syncs. Default 100 ms.
    pub async_interval: Duration,
    /// Size of a new segment in bytes, at least 1 MiB, at most 1 GiB. Larger means fewer files, smaller means space
    /// returns sooner and a restart scans less. On a small disk the journal takes smaller ones by itself. Default
    /// 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of recently written data kept in memory for live readers. Default 64 MiB.
    pub tail_cache_bytes: usize,
    /// Bytes of row lists of sealed segments kept in memory. Default 16 MiB.
    pub row_cache_bytes: usize,
    /// Bytes of appends that may wait for the disk; beyond that callers wait. Default 64 MiB.
    pub in_flight_bytes_max: usize,
    /// The largest write before a sync. Larger favours throughput, smaller favours latency. Default 8 MiB.
    pub write_bytes_max: usize,
    /// A segment that is not full is closed after this time, so that its space can return. Default 10 minutes.
    pub segment_age_max: Duration,
    /// Background work looks for something to do this often. Default 1 s.
    pub upkeep_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            async_interval: Duration::from_millis(100),
            segment_bytes: 64 << 20,
            tail_cache_bytes: 64 << 20,
            row_cache_bytes: 16 << 20,
            in_flight_bytes_max: 64 << 20,
            write_bytes_max: 8 << 20,
            segment_age_max: Duration::from_secs(600),
            upkeep_interval: Duration::from_secs(1),
        }
    }
}

/// The smallest segment, also on the smallest disk.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// The largest segment: positions in it are stored in 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The largest group: it must fit into a segment of its own.
pub const GROUP_BYTES_MAX: usize = 512 << 20;

impl Options {
    /// The options with sizes moved into their ranges.
    pub(crate) fn bounded(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.write_bytes_max = self.write_bytes_max.clamp(64 << 10, 64 << 20);
        self.in_flight_bytes_max = self.in_flight_bytes_max.clamp(1 << 20, 1 << 30);
        self
    }
}
