//! How far the topics were read whose records are published through exchanges.
//!
//! A position is moved in the group that puts the copies of records into queues, so each record comes to them exactly once,
//! whatever happens. All positions share a log. An entry says which moved; when the entries behind the last snapshot have
//! become longer than all positions are, the next entry is a snapshot, and the log is trimmed to it.
//!
//! An entry is a version, 1, then 1 for a snapshot or 0, then positions until its end: the number of the source, the log of the
//! partition, the offset of the record to be read next, all LEB128.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::DecodeError;
use crate::codec::{Reader, Writer};

const VERSION: u8 = 1;
/// Entries behind a snapshot may take so many bytes, or twice as many as the snapshot did, before the next one.
const SNAPSHOT_AFTER_MIN: usize = 64 << 10;
/// The most bytes of one position.
const POSITION: usize = 30;

/// One partition of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePartition {
    /// The number of the source.
    pub source: u64,
    /// The log of the partition, which no other partition ever had.
    pub log: u64,
}

/// One entry of the log of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionsEntry {
    /// Its offset.
    pub offset: u64,
    /// What it says.
    pub payload: Bytes,
    /// It holds all positions: the log can be trimmed to it.
    pub is_snapshot: bool,
}

/// All positions, as they were decided.
///
/// ```
/// use annals_queues::positions::{Positions, SourcePartition};
/// let mut positions = Positions::default();
/// let partition = SourcePartition { source: 7, log: 64 };
/// let entry = positions.advance(&[(partition, 100)]);
/// let mut found = Positions::default();
/// found.recover(entry.payload).unwrap();
/// assert_eq!(found.get(partition), Some(100));
/// ```
#[derive(Debug, Default)]
pub struct Positions {
    next: BTreeMap<SourcePartition, u64>,
    end: u64,
    since_snapshot: usize,
    snapshot_len: usize,
}

impl Positions {
    /// The offset of the record to be read next, if the partition has been read.
    pub fn get(&self, partition: SourcePartition) -> Option<u64> {
        self.next.get(&partition).copied()
    }

    /// The most bytes that [`Positions::advance`] gives for so many partitions.
    pub fn entry_len_max(&self, partitions: usize) -> usize {
        16 + POSITION * (self.next.len() + partitions)
    }

    /// Moves positions. Returns what is to be journaled.
    pub fn advance(&mut self, moved: &[(SourcePartition, u64)]) -> PositionsEntry {
        self.next.extend(moved.iter().copied());
        let is_snapshot = self.since_snapshot > SNAPSHOT_AFTER_MIN.max(2 * self.snapshot_len);
        let payload = if is_snapshot {
            write(true, self.next.iter().map(|(partition, next)| (*partition, *next)))
        } else {
            write(false, moved.iter().copied())
        };
        self.since_snapshot += payload.len();
        if is_snapshot {
            (self.snapshot_len, self.since_snapshot) = (payload.len(), 0);
        }
        let offset = self.end;
        self.end += 1;
        PositionsEntry { offset, payload, is_snapshot }
    }

    /// Sources that are gone have no positions: the next snapshot is without them.
    pub fn retain(&mut self, is_known: impl Fn(u64) -> bool) {
        self.next.retain(|partition, _| is_known(partition.source));
    }

    /// In recovery: the next entry.
    ///
    /// # Errors
    /// [`DecodeError`] if it is damaged, or from a newer program.
    pub fn recover(&mut self, payload: Bytes) -> Result<(), DecodeError> {
        const WHAT: &str = "positions";
        let len = payload.len();
        let mut input = Reader::start(payload, WHAT, VERSION)?;
        if input.bool(WHAT)? {
            self.next.clear();
            (self.snapshot_len, self.since_snapshot) = (len, 0);
        }
        while !input.is_empty() {
            let (source, log) = (input.number(WHAT)?, input.number(WHAT)?);
            self.next.insert(SourcePartition { source, log }, input.number(WHAT)?);
        }
        self.since_snapshot += len;
        Ok(())
    }

    /// In recovery: where the log goes on.
    pub fn recovered(&mut self, end: u64) {
        self.end = end;
    }
}

fn write(is_snapshot: bool, positions: impl Iterator<Item = (SourcePartition, u64)>) -> Bytes {
    let mut out = Writer::start(VERSION);
    out.bool(is_snapshot);
    for (SourcePartition { source, log }, next) in positions {
        out.number(source).number(log).number(next);
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_trimmed_at_each_snapshot_tells_all_positions() {
        let mut positions = Positions::default();
        let mut log = Vec::new();
        let mut longest = 0;
        for step in 0..40_000_u64 {
            let partition = SourcePartition { source: step % 7, log: 64 + step % 3 };
            let entry = positions.advance(&[(partition, step)]);
            assert_eq!(entry.offset, step);
            if entry.is_snapshot {
                log.clear();
            }
            log.push(entry.payload);
            longest = longest.max(log.len());
        }
        assert!(longest < 20_000, "{longest} entries");
        let mut found = Positions::default();
        log.into_iter().for_each(|payload| found.recover(payload).unwrap());
        assert_eq!(found.next, positions.next);
        found.retain(|source| source == 3);
        assert_eq!(found.get(SourcePartition { source: 3, log: 64 }), Some(39_987));
        assert_eq!(found.get(SourcePartition { source: 4, log: 64 }), None);
    }
}
