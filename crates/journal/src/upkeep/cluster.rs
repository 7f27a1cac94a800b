//! Which segments are too scattered to read well, and when bringing the entries of a log together pays.
//!
//! Groups are written as they come, so the entries of many logs lie mixed. Whoever reads one log from the disk then pays
//! one small read a *stretch*: the entries of a log up to the next one of another log. Rewritten, a log has one
//! stretch a segment. That costs one more write of everything, so it is done only where there is much to gain:
//!
//! - A segment is *scattered* if its stretches are shorter than [`STRETCH_MIN`] on average, and many logs share
//!   it: at least [`LOGS_MIN`], weighed by their bytes. Beside few others a log is found by reading on.
//! - Neighbours are brought together until a log's share of them is [`SHARE_WANTED`]; more does not make reads longer.
//!   At most [`BATCH_SEGMENTS`] segments become one.
//! - It must leave at most half of the stretches.
//!
//! Each byte is brought together at most once: only segments that were never rewritten are candidates.
//! It gives way to everything else: see [`super::Pace`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::index::row::Row;
use crate::options::SEGMENT_BYTES_MAX;
use crate::piece::PIECE_LEN_MAX;
use crate::segment::Segment;
use crate::segment::footer::{Footer, FooterError};
use crate::shared::Shared;

/// A read of this many bytes costs a disk about twice as much as a read of none.
const STRETCH_MIN: u64 = 32 << 10;
/// The number of logs from which on a segment counts as shared by many.
const LOGS_MIN: u128 = 4;
/// What a log should have in one piece.
const SHARE_WANTED: u64 = 256 << 10;
/// So many segments of the usual size become at most one.
const BATCH_SEGMENTS: u64 = 4;
/// The rows of a batch are in memory while it is rewritten: 32 bytes each, about three times.
const BATCH_ROWS_MAX: u64 = 512 << 10;
/// The new file may take this part of the free space.
const FREE_PART: u64 = 4;

/// How the entries of a segment lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Scatter {
    logs: u64,
    rows: u64,
    bytes: u64,
    stretches: u64,
    /// The sum of the squares of the logs' bytes.
    squares: u128,
}

impl Scatter {
    /// Measures a segment from the rows of its logs.
    pub(super) fn of<'a>(logs: impl Iterator<Item = &'a [Row]>) -> Self {
        let mut scatter = Self::default();
        let mut places = Vec::new();
        for rows in logs {
            let bytes: u64 = rows.iter().map(|row| u64::from(row.len)).sum();
            places.extend(rows.iter().map(|row| (row.position, scatter.logs)));
            scatter.logs += 1;
            scatter.bytes += bytes;
            scatter.squares += u128::from(bytes) * u128::from(bytes);
        }
        places.sort_unstable();
        scatter.rows = places.len() as u64;
        scatter.stretches = places.chunk_by(|a, b| a.1 == b.1).count() as u64;
        scatter
    }

    fn is_scattered(&self) -> bool {
        let total = u128::from(self.bytes);
        let many_logs = self.bytes > 0 && total * total >= LOGS_MIN * self.squares;
        many_logs && self.bytes < self.stretches * STRETCH_MIN
    }
}

/// What is known of the segments that were never rewritten, by their first id.
#[derive(Default)]
pub(super) struct Measured(Mutex<HashMap<u64, Scatter>>);

impl Measured {
    /// Remembers a segment that was just sealed.
    pub(super) fn note(&self, first: u64, scatter: Scatter) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(first, scatter);
    }

    /// The batch that begins with this segment would not pay: it is not looked at again.
    fn refuse(&self, first: u64) {
        self.note(first, Scatter::default());
    }

    /// What is known of `segments`. Measures one more, if there is one that the last process left.
    fn all(&self, segments: &[Arc<Segment>]) -> HashMap<u64, Scatter> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates: HashMap<u64, &Arc<Segment>> = segments
            .iter()
            .filter(|segment| is_candidate(segment))
            .map(|segment| (segment.name.first, segment))
            .collect();
        known.retain(|first, _| candidates.contains_key(first));
        let unknown = candidates
            .iter()
            .filter(|(first, _)| !known.contains_key(first))
            .min_by_key(|(first, _)| **first);
        if let Some((&first, segment)) = unknown {
            // Without a readable index it stays as it is.
            known.insert(first, measure(segment).unwrap_or_default());
        }
        known.clone()
    }
}

fn is_candidate(segment: &Segment) -> bool {
    segment.is_sealed() && !segment.is_damaged() && segment.name.generation == 0
}

fn measure(segment: &Segment) -> Result<Scatter, FooterError> {
    let file = segment.file.as_ref();
    let footer = Footer::read(file)?;
    let rows = footer.directory.iter().map(|row| footer.place.read_rows(file, row));
    let rows: Vec<Vec<Row>> = rows.collect::<Result<_, _>>()?;
    Ok(Scatter::of(rows.iter().map(Vec::as_slice)))
}

/// The oldest neighbours that are worth being brought together.
pub(super) fn choose(shared: &Shared) -> Option<Vec<Arc<Segment>>> {
    let segments = shared.index.segments();
    let known = shared.upkeep.measured.all(&segments);
    let room = shared.files.free_bytes().map_or(0, |free| free / FREE_PART);
    for (from, first) in segments.iter().map(|segment| segment.name.first).enumerate() {
        if shared.upkeep.patience.waits_for(first, shared) {
            continue;
        }
        let batch = Batch::from(&segments[from..], &known, shared.options.segment_bytes);
        let Some(batch) = batch.filter(|batch| batch.live <= room) else { continue };
        if batch.pays() {
            return Some(batch.segments);
        }
        shared.upkeep.measured.refuse(first);
    }
    None
}

/// Neighbours that may be brought together.
#[derive(Default)]
struct Batch {
    segments: Vec<Arc<Segment>>,
    live: u64,
    rows: u64,
    stretches: u64,
    /// The most logs that one of them holds. Neighbours mostly hold the same.
    logs: u64,
}

impl Batch {
    /// The batch that begins with the first of `segments`; `None` if there is none, or if it may still grow.
    fn from(segments: &[Arc<Segment>], known: &HashMap<u64, Scatter>, usual: u64) -> Option<Self> {
        let bytes_max = (BATCH_SEGMENTS * usual).min(SEGMENT_BYTES_MAX / 2);
        let mut batch = Self::default();
        for segment in segments {
            if batch.live >= SHARE_WANTED.saturating_mul(batch.logs.max(1)) {
                return Some(batch);
            }
            let follows = batch.segments.last().is_none_or(|last| last.name.last + 1 == segment.name.first);
            if !follows || segment.is_damaged() || segment.name.generation > 0 {
                return batch.if_any();
            }
            // Not sealed or not measured yet: whether it belongs here is not known.
            let scatter = known.get(&segment.name.first).filter(|_| segment.is_sealed())?;
            let live = batch.live + segment.live();
            let too_large = live > bytes_max || batch.rows + scatter.rows > BATCH_ROWS_MAX;
            if !scatter.is_scattered() || (too_large && !batch.segments.is_empty()) {
                return batch.if_any();
            }
            batch.add(segment, scatter);
            if batch.segments.len() as u64 >= BATCH_SEGMENTS {
                return Some(batch);
            }
        }
        // The next segment may belong here too, unless this is enough.
        (batch.live >= SHARE_WANTED.saturating_mul(batch.logs.max(1))).then_some(batch)
    }

    fn add(&mut self, segment: &Arc<Segment>, scatter: &Scatter) {
        self.segments.push(Arc::clone(segment));
        self.live += segment.live();
        self.rows += scatter.rows;
        self.stretches += scatter.stretches;
        self.logs = self.logs.max(scatter.logs);
    }

    fn if_any(self) -> Option<Self> {
        (!self.segments.is_empty()).then_some(self)
    }

    /// Whether at most half of the stretches would be left.
    fn pays(&self) -> bool {
        let mut logs = HashSet::new();
        for segment in &self.segments {
            let Ok(footer) = Footer::read(segment.file.as_ref()) else { return false };
            logs.extend(footer.directory.iter().map(|row| row.log));
        }
        let left = logs.len() as u64 + self.live / PIECE_LEN_MAX;
        self.stretches >= 2 * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryHeader, EntryKind};
    use crate::id::LogId;

    /// The rows of `logs` logs whose entries of `len` bytes take turns.
    fn taking_turns(logs: usize, len: u32, rounds: u32) -> Vec<Vec<Row>> {
        let mut rows = vec![Vec::new(); logs];
        let mut position = 4096;
        for round in 0..rounds {
            for rows in &mut rows {
                rows.push(row(u64::from(round), position, len));
                position += u64::from(len) + 100;
            }
        }
        rows
    }

    fn row(offset: u64, position: u64, len: u32) -> Row {
        let kind = EntryKind::Data;
        let header = EntryHeader {
            log: LogId(1),
            kind,
            base_offset: offset,
            records: 1,
            timestamp_ms: 0,
            len,
            crc: 0,
        };
        Row::new(&header, position)
    }

    fn scatter(rows: &[Vec<Row>]) -> Scatter {
        Scatter::of(rows.iter().map(Vec::as_slice))
    }

    #[test]
    fn many_logs_in_short_stretches_are_scattered() {
        let measured = scatter(&taking_turns(10, 1000, 50));
        assert_eq!(
            (measured.logs, measured.rows, measured.stretches, measured.bytes),
            (10, 500, 500, 500_000)
        );
        assert!(measured.is_scattered());
    }

    #[test]
    fn long_stretches_and_few_logs_are_not() {
        assert!(!scatter(&taking_turns(10, 40_000, 50)).is_scattered(), "each read is long enough");
        assert!(!scatter(&taking_turns(3, 1000, 50)).is_scattered(), "a reader finds every third entry");
        assert!(!scatter(&[]).is_scattered());
        let mut one_large = taking_turns(10, 100, 50);
        one_large[0] = (0..50).map(|n| row(n, 4096 + n * 200_000, 100_000)).collect();
        assert!(!scatter(&one_large).is_scattered(), "nearly all of it is one log");
    }

    #[test]
    fn neighbours_of_one_log_are_one_stretch() {
        let clustered: Vec<Vec<Row>> = (0..10)
            .map(|log| (0..50).map(|n| row(n, 4096 + log * 60_000 + n * 1100, 1000)).collect())
            .collect();
        assert_eq!(scatter(&clustered).stretches, 10);
        assert!(!scatter(&clustered).is_scattered());
    }
}
