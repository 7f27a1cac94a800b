//! Rows of sealed segments that were read lately, bounded by bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::row::Row;
use super::{Extent, Rows};
use crate::id::LogId;
use crate::segment::SegmentName;
use crate::segment::footer::FooterError;

type Key = (SegmentName, LogId);

/// What a list takes beside its rows.
const ENTRY_BYTES: usize = 192;

fn bytes_of(rows: &[Row]) -> usize {
    size_of_val(rows) + ENTRY_BYTES
}

/// A least-recently-used cache of row lists.
pub(crate) struct RowCache {
    limit_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, (Arc<[Row]>, u64)>,
    /// Keys by the tick of their last use.
    by_use: BTreeMap<u64, Key>,
    tick: u64,
    bytes: usize,
}

impl RowCache {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, state: Mutex::default() }
    }

    /// The rows of an extent, wherever they are.
    pub(crate) fn rows(&self, log: LogId, extent: &Extent) -> Result<Arc<[Row]>, FooterError> {
        let (place, row) = match &extent.rows {
            Rows::Resident(rows) => return Ok(rows.as_slice().into()),
            Rows::Stored { place, row } => (place, row),
        };
        if let Some(rows) = self.cached(log, extent) {
            return Ok(rows);
        }
        let rows: Arc<[Row]> = place.read_rows(extent.segment.file.as_ref(), row)?.into();
        self.insert(log, extent, Arc::clone(&rows));
        Ok(rows)
    }

    /// The rows of a stored extent, if they were read lately.
    pub(crate) fn cached(&self, log: LogId, extent: &Extent) -> Option<Arc<[Row]>> {
        let key = (extent.segment.name, log);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let (rows, used) = state.entries.get_mut(&key)?;
        state.tick += 1;
        state.by_use.remove(used);
        *used = state.tick;
        state.by_use.insert(state.tick, key);
        Some(Arc::clone(rows))
    }

    /// Keeps the rows of an extent.
    pub(crate) fn insert(&self, log: LogId, extent: &Extent, rows: Arc<[Row]>) {
        let key = (extent.segment.name, log);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tick += 1;
        let tick = state.tick;
        state.bytes += bytes_of(&rows);
        if let Some((old, used)) = state.entries.insert(key, (rows, tick)) {
            state.bytes -= bytes_of(&old);
            state.by_use.remove(&used);
        }
        state.by_use.insert(tick, key);
        while state.bytes > self.limit_bytes {
            let Some((_, oldest)) = state.by_use.pop_first() else { break };
            if let Some((rows, _)) = state.entries.remove(&oldest) {
                state.bytes -= bytes_of(&rows);
            }
        }
    }
}
