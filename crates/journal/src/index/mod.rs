//! The index in memory: for each log, where it starts and ends and which segments hold it.
//!
//! Derived from footers and frames, never evidence. A log costs one small allocation plus [`Extent`] a segment that
//! holds some of it; the rows of sealed segments are read from their footers when wanted and kept in a bounded cache.
//!
//! Readers see an entry only once it is in here, and it gets here only when its group is acknowledged.

pub(crate) mod row;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::id::LogId;
use crate::segment::Segment;
use crate::segment::footer::{DirectoryRow, Footer, Place};
use row::Row;
pub(crate) use rows::RowCache;

/// All logs and segments.
pub(crate) struct Index {
    logs: RwLock<HashMap<LogId, Arc<LogSlot>>>,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) rows: RowCache,
}

/// One log, shared by those who read or extend it.
pub(crate) struct LogSlot {
    state: Mutex<LogState>,
}

/// What is known of one log.
#[derive(Default)]
pub(crate) struct LogState {
    /// The first offset that may be read.
    pub(crate) start: u64,
    /// The offset after the last acknowledged record.
    pub(crate) end: u64,
    /// In the order of offsets.
    pub(crate) extents: Vec<Extent>,
    pub(crate) deleted: bool,
}

/// One log's share of one segment.
#[derive(Clone)]
pub(crate) struct Extent {
    pub(crate) segment: Arc<Segment>,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) rows: Rows,
}

/// The rows of an extent.
#[derive(Clone)]
pub(crate) enum Rows {
    /// In memory: the segment is being written, or its footer is.
    Resident(Vec<Row>),
    /// In the segment's footer.
    Stored { place: Place, row: Box<DirectoryRow> },
}

impl LogState {
    pub(crate) fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.bytes).sum()
    }

    /// The extents that may hold offsets at or after `from`.
    pub(crate) fn extents_from(&self, from: u64) -> &[Extent] {
        let first = self.extents.partition_point(|extent| extent.end <= from);
        &self.extents[first..]
    }

    /// Adds an acknowledged entry. Returns whether it is the log's first in this segment. Of a deleted log it takes nothing: who
    /// appended did not know yet, and nobody will read it.
    pub(crate) fn append(&mut self, segment: &Arc<Segment>, row: Row) -> bool {
        if self.deleted {
            return false;
        }
        self.end = self.end.max(row.end_offset());
        segment.add_live(u64::from(row.len));
        if let Some(last) = self.extents.last_mut()
            && Arc::ptr_eq(&last.segment, segment)
            && let Rows::Resident(rows) = &mut last.rows
        {
            last.end = row.end_offset();
            last.bytes += u64::from(row.len);
            last.max_timestamp_ms = last.max_timestamp_ms.max(row.timestamp_ms);
            rows.push(row);
            return false;
        }
        self.extents.push(Extent {
            segment: Arc::clone(segment),
            first: row.base_offset,
            end: row.end_offset(),
            bytes: u64::from(row.len),
            max_timestamp_ms: row.timestamp_ms,
            rows: Rows::Resident(vec![row]),
        });
        true
    }

    /// The latest summary that the log's owner left, with the offset up to which it speaks.
    pub(crate) fn summary(&self) -> Option<(Extent, u64)> {
        let has_summary = |extent: &&Extent| match &extent.rows {
            Rows::Resident(_) => false,
            Rows::Stored { row, .. } => row.has_summary(),
        };
        self.extents.iter().rev().find(has_summary).map(|extent| (extent.clone(), extent.end))
    }

    /// Adds a sealed segment's share.
    pub(crate) fn append_stored(&mut self, segment: &Arc<Segment>, place: Place, row: DirectoryRow) {
        if self.deleted {
            return;
        }
        self.end = self.end.max(row.end_offset);
        segment.add_live(row.bytes);
        self.extents.push(Extent::stored(segment, place, row));
    }

    /// Forgets everything below `start`; extents that are wholly below no longer count as live in their segments.
    pub(crate) fn trim(&mut self, start: u64) {
        if start <= self.start {
            return;
        }
        self.start = start;
        self.end = self.end.max(start);
        let keep = self.extents.partition_point(|extent| extent.end <= start);
        for extent in self.extents.drain(..keep) {
            extent.segment.remove_live(extent.bytes);
        }
    }

    /// Forgets everything.
    pub(crate) fn delete(&mut self) {
        self.deleted = true;
        for extent in self.extents.drain(..) {
            extent.segment.remove_live(extent.bytes);
        }
    }

    /// Replaces the extents in the segments `covered` by those of their rewrite.
    pub(crate) fn replace(&mut self, covered: &Range<u64>, rewritten: Option<Extent>) {
        let inside = |extent: &Extent| covered.contains(&extent.segment.name.first);
        let from = self.extents.partition_point(|extent| extent.segment.name.first < covered.start);
        let to = from + self.extents[from..].iter().take_while(|extent| inside(extent)).count();
        let rewritten = rewritten.filter(|extent| extent.end > self.start && !self.deleted);
        if let Some(extent) = &rewritten {
            extent.segment.add_live(extent.bytes);
        }
        self.extents.splice(from..to, rewritten);
    }
}

impl Extent {
    pub(crate) fn stored(segment: &Arc<Segment>, place: Place, row: DirectoryRow) -> Self {
        Self {
            segment: Arc::clone(segment),
            first: row.first_offset,
            end: row.end_offset,
            bytes: row.bytes,
            max_timestamp_ms: row.max_timestamp_ms,
            rows: Rows::Stored { place, row: Box::new(row) },
        }
    }
}

impl LogSlot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogState> {
        // A panic while holding it would be a bug that already stopped the writer; readers go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    pub(crate) fn new(row_cache_bytes: usize) -> Self {
        Self { logs: RwLock::default(), segments: RwLock::default(), rows: RowCache::new(row_cache_bytes) }
    }

    /// The log, if it was ever written to.
    pub(crate) fn log(&self, id: LogId) -> Option<Arc<LogSlot>> {
        self.logs_read().get(&id).cloned()
    }

    /// The log, made if it is new.
    pub(crate) fn log_or_new(&self, id: LogId) -> Arc<LogSlot> {
        if let Some(slot) = self.log(id) {
            return slot;
        }
        let slot = || Arc::new(LogSlot { state: Mutex::default() });
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logs.entry(id).or_insert_with(slot))
    }

    /// The ids of all logs that are not deleted, in no order.
    pub(crate) fn ids(&self) -> Vec<LogId> {
        let logs = self.logs_read();
        logs.iter().filter(|(_, slot)| !slot.lock().deleted).map(|(&id, _)| id).collect()
    }

    /// The ids of all logs, deleted ones included.
    pub(crate) fn all_ids(&self) -> Vec<LogId> {
        self.logs_read().keys().copied().collect()
    }

    /// Forgets a deleted log whose last entries are gone from the disk.
    pub(crate) fn forget(&self, id: LogId) {
        self.logs.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Takes in a sealed segment.
    pub(crate) fn adopt(&self, segment: &Arc<Segment>, footer: Footer) {
        self.add_segment(Arc::clone(segment));
        for row in footer.directory {
            self.log_or_new(row.log).lock().append_stored(segment, footer.place, row);
        }
    }

    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        self.segments_write().insert(segment.name.first, segment);
    }

    pub(crate) fn remove_segment(&self, first: u64) {
        self.segments_write().remove(&first);
    }

    /// All segments in the order of their ids.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments_read().values().cloned().collect()
    }

    fn logs_read(&self) -> RwLockReadGuard<'_, HashMap<LogId, Arc<LogSlot>>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }
}
