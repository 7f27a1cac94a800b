//! Reading a log: from the tail cache where the bytes are still there, from its segment otherwise.
//!
//! Entries that lie next to each other are read in one piece and given in one piece, so that a consumer far behind
//! gets large stretches of a sealed segment with one read and no copy. What comes from disk is checked against its
//! checksum; what comes from memory never left it.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::EntryHeader;
use crate::error::ReadError;
use crate::id::LogId;
use crate::index::row::Row;
use crate::index::{Extent, Rows};
use crate::journal::Journal;
use crate::piece::{Planned, RunError, header_of, io_error, runs, spans};
use crate::segment::Segment;

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    /// The offsets that can be read; the end is the next offset.
    pub offsets: Range<u64>,
    /// Payload bytes.
    pub bytes: u64,
}

/// One log's share of one segment: the unit in which space is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentFacts {
    /// Its offsets.
    pub offsets: Range<u64>,
    /// Payload bytes.
    pub bytes: u64,
    /// The largest timestamp in it.
    pub max_timestamp_ms: i64,
    /// Nothing is added to it any more.
    pub sealed: bool,
}

/// How much a read may give. A number of bytes as it is allows the first entry to be larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Payload bytes.
    pub bytes: usize,
    /// Whether the first entry is given even if it is larger, so that every reader gets on.
    pub first_always: bool,
}

impl From<usize> for Limit {
    fn from(bytes: usize) -> Self {
        Self { bytes, first_always: true }
    }
}

/// What a read gave.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Payloads in the order of offsets. Each piece holds one or more whole payloads, or part of one.
    pub pieces: Vec<Bytes>,
    /// Bytes in all pieces.
    pub bytes: usize,
    /// The offset to go on from.
    pub next_offset: u64,
}

/// What a read is going to give, if nothing of it is damaged; see [`Journal::plan_read`].
#[derive(Debug)]
pub struct ReadPlan {
    log: LogId,
    from: u64,
    entries: Vec<Planned>,
}

impl ReadPlan {
    /// The offset to go on from after it.
    pub fn next_offset(&self) -> u64 {
        self.entries.last().map_or(self.from, |(_, row)| row.end_offset())
    }

    /// The offset that it begins with, or that lies within its first entry.
    pub fn offset(&self) -> u64 {
        self.from
    }

    /// Payload bytes.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, row)| row.len as usize).sum()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a file that it reads is known to be damaged somewhere.
    pub fn is_suspect(&self) -> bool {
        self.entries.iter().any(|(segment, row)| row.is_lost() || segment.is_damaged())
    }

    /// Cuts the plan into parts of at most so many bytes, or of one entry that is larger: to be read one after another or side by
    /// side.
    pub fn split(self, bytes_max: usize) -> Vec<Self> {
        let Self { log, mut from, mut entries } = self;
        let mut parts = Vec::new();
        loop {
            let mut bytes = 0;
            let fits = |(_, row): &&Planned| {
                let is_first = bytes == 0;
                bytes += row.len as usize;
                is_first || bytes <= bytes_max
            };
            let rest = entries.split_off(entries.iter().take_while(fits).count());
            let part = Self { log, from, entries };
            from = part.next_offset();
            parts.push(part);
            if rest.is_empty() {
                return parts;
            }
            entries = rest;
        }
    }
}

/// One entry read back.
#[derive(Debug, Clone)]
pub struct EntryRead {
    /// As it was appended.
    pub header: EntryHeader,
    /// Its payload; with [`Journal::read_heads`], only the first bytes of it.
    pub payload: Bytes,
}

impl Journal {
    /// What `log` holds, or `None` if it does not exist.
    pub fn log(&self, log: LogId) -> Option<LogFacts> {
        let slot = self.shared.index.log(log)?;
        let state = slot.lock();
        (!state.deleted).then(|| LogFacts { offsets: state.start..state.end, bytes: state.bytes() })
    }

    /// The ids of all logs, in no order.
    pub fn logs(&self) -> Vec<LogId> {
        self.shared.index.ids()
    }

    /// The shares of a log, oldest first.
    pub fn extents(&self, log: LogId) -> Vec<ExtentFacts> {
        let Some(slot) = self.shared.index.log(log) else { return Vec::new() };
        let state = slot.lock();
        let facts = |extent: &Extent| ExtentFacts {
            offsets: extent.first..extent.end,
            bytes: extent.bytes,
            max_timestamp_ms: extent.max_timestamp_ms,
            sealed: extent.segment.is_sealed(),
        };
        state.extents.iter().map(facts).collect()
    }

    /// Reads payloads from the entry that holds the first of `offsets`, or the next one, until an entry begins beyond them or
    /// `limit` would be exceeded. What does not fit is not read. May block on the disk.
    ///
    /// An entry can be read a moment before its [`crate::Machine`] has applied it: `offsets` ends where that matters.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside the log's offsets (its end is inside), [`ReadError::Damaged`] if the first
    /// entry is damaged; a damaged one further on ends the read before it.
    pub fn read(&self, log: LogId, offsets: Range<u64>, limit: impl Into<Limit>) -> Result<Read, ReadError> {
        let plan = self.plan_read(log, offsets, limit)?;
        self.read_planned(&plan)
    }

    /// Finds out what [`Journal::read`] would give, without reading it. May block on the disk, for a footer.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside the log's offsets, [`ReadError::Io`] if a footer cannot be read.
    pub fn plan_read(
        &self,
        log: LogId,
        offsets: Range<u64>,
        limit: impl Into<Limit>,
    ) -> Result<ReadPlan, ReadError> {
        let from = offsets.start;
        let entries = self.plan(log, from, Budget::new(limit.into(), offsets.end))?;
        Ok(ReadPlan { log, from, entries })
    }

    /// As [`Journal::plan_read`], if that needs no disk; `None` if it does, or if nothing can be read there.
    pub fn plan_cached(&self, log: LogId, offsets: Range<u64>, limit: impl Into<Limit>) -> Option<ReadPlan> {
        let budget = Budget::new(limit.into(), offsets.end);
        let cached = |extent: &Extent| Ok(self.shared.index.rows.cached(log, extent));
        let entries = self.plan_with(log, offsets.start, budget, cached).ok()??;
        Some(ReadPlan { log, from: offsets.start, entries })
    }

    /// Reads what was planned. What is planned stays readable, also when it is trimmed or rewritten meanwhile. May block
    /// on the disk.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_planned(&self, plan: &ReadPlan) -> Result<Read, ReadError> {
        let ReadPlan { log, from, entries } = plan;
        let mut read = Read { next_offset: *from, ..Read::default() };
        for run in runs(entries) {
            let result = self.shared.read_run(*log, run, &mut read.pieces);
            let given = given(run, &result);
            read.bytes += given.iter().map(|(_, row)| row.len as usize).sum::<usize>();
            read.next_offset = given.last().map_or(read.next_offset, |(_, row)| row.end_offset());
            match result {
                Ok(()) => {}
                Err(_) if read.bytes > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    /// As [`Journal::read`], if that needs no disk; `None` if it does.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside the log's offsets.
    pub fn read_cached(
        &self,
        log: LogId,
        offsets: Range<u64>,
        limit: impl Into<Limit>,
    ) -> Result<Option<Read>, ReadError> {
        let budget = Budget::new(limit.into(), offsets.end);
        let Some(plan) = self.plan_resident(log, offsets.start, budget)? else { return Ok(None) };
        let mut read = Read { next_offset: offsets.start, ..Read::default() };
        for (segment, row) in &plan {
            let place = (segment.salt, u64::from(row.position));
            if !self.shared.cache.read(place.0, place.1, row.len as usize, &mut read.pieces) {
                return Ok((read.bytes > 0).then_some(read));
            }
            read.bytes += row.len as usize;
            read.next_offset = row.end_offset();
        }
        Ok(Some(read))
    }

    /// Reads entries one by one, with their headers. Otherwise as [`Journal::read`].
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn entries(&self, log: LogId, from: u64, bytes_max: usize) -> Result<Vec<EntryRead>, ReadError> {
        let plan = self.plan(log, from, Budget { bytes: bytes_max, ..Budget::default() })?;
        let mut entries = Vec::with_capacity(plan.len());
        for span in spans(&plan) {
            match self.shared.read_span(log, span, &mut entries) {
                Ok(()) => {}
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Reads the first `head_len` bytes of every entry from `from` on, at most `entries_max` of them: for owners that
    /// rebuild their state from headers. What is shorter than its entry is not checked against the checksum.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_heads(
        &self,
        log: LogId,
        from: u64,
        head_len: usize,
        entries_max: usize,
    ) -> Result<Vec<EntryRead>, ReadError> {
        let plan = self.plan(log, from, Budget { entries: entries_max, ..Budget::default() })?;
        let read = |(segment, row): &Planned| {
            let len = (row.len as usize).min(head_len);
            let payload =
                segment.read(u64::from(row.position), len).map_err(|error| io_error(segment, error))?;
            Ok(EntryRead { header: header_of(log, row), payload })
        };
        plan.iter().filter(|(_, row)| !row.is_lost()).map(read).collect()
    }

    /// The first entry, from the one that holds offset `from` on, whose largest timestamp is at or after `timestamp_ms`:
    /// its base offset.
    ///
    /// # Errors
    /// [`ReadError::Io`] if a footer cannot be read.
    pub fn find_timestamp(&self, log: LogId, timestamp_ms: i64, from: u64) -> Result<Option<u64>, ReadError> {
        self.find_row(
            log,
            from,
            |extent| extent.max_timestamp_ms >= timestamp_ms,
            |row| row.timestamp_ms >= timestamp_ms,
        )
    }

    /// The entry with the largest timestamp among those that begin at offset `from` or later, the first of them if there are
    /// several: its base offset and timestamp.
    ///
    /// # Errors
    /// [`ReadError::Io`] if a footer cannot be read.
    pub fn find_max_timestamp(&self, log: LogId, from: u64) -> Result<Option<(u64, i64)>, ReadError> {
        let Some(slot) = self.shared.index.log(log) else { return Ok(None) };
        let (start, mut extents) = {
            let state = slot.lock();
            let start = state.start.max(from);
            (start, state.extents_from(start).to_vec())
        };
        // That of an extent that begins before the start may be one of an entry that does not count. It is the first, so of equal ones
        // it still comes first.
        extents.sort_by_key(|extent| Reverse(extent.max_timestamp_ms));
        let mut largest: Option<(u64, i64)> = None;
        for extent in extents {
            if largest.is_some_and(|(_, timestamp_ms)| extent.max_timestamp_ms <= timestamp_ms) {
                break;
            }
            for row in self.shared.rows(log, &extent)?.iter().filter(|row| row.base_offset >= start) {
                if largest.is_none_or(|(_, timestamp_ms)| row.timestamp_ms > timestamp_ms) {
                    largest = Some((row.base_offset, row.timestamp_ms));
                }
            }
        }
        Ok(largest)
    }

    /// What the owner of `log` left for its restart, with the offset up to which it speaks.
    pub fn summary(&self, log: LogId) -> Option<(Bytes, u64)> {
        let (extent, end) = self.shared.index.log(log)?.lock().summary()?;
        let Rows::Stored { place, row } = &extent.rows else { return None };
        match place.read_summary(extent.segment.file.as_ref(), row) {
            Ok(summary) => Some((summary, end)),
            Err(error) => {
                // Derived: the owner replays the log instead.
                tracing::warn!(%log, segment = %extent.segment.name, %error, "cannot use a summary");
                None
            }
        }
    }

    fn find_row(
        &self,
        log: LogId,
        from: u64,
        in_extent: impl Fn(&Extent) -> bool,
        wanted: impl Fn(&Row) -> bool,
    ) -> Result<Option<u64>, ReadError> {
        let Some(slot) = self.shared.index.log(log) else { return Ok(None) };
        let (start, extents) = {
            let state = slot.lock();
            let start = state.start.max(from);
            let candidates = state.extents_from(start).iter().filter(|extent| in_extent(extent));
            (start, candidates.cloned().collect::<Vec<_>>())
        };
        for extent in extents {
            let rows = self.shared.rows(log, &extent)?;
            if let Some(row) = rows.iter().find(|row| row.end_offset() > start && wanted(row)) {
                return Ok(Some(row.base_offset.max(start)));
            }
        }
        Ok(None)
    }

    /// Which entries to read, oldest first.
    fn plan(&self, log: LogId, from: u64, budget: Budget) -> Result<Vec<Planned>, ReadError> {
        let plan = self.plan_with(log, from, budget, |extent| self.shared.rows(log, extent).map(Some))?;
        Ok(plan.unwrap_or_default())
    }

    /// As [`Journal::plan`], if all of it is in the segment being written; `None` otherwise.
    fn plan_resident(
        &self,
        log: LogId,
        from: u64,
        budget: Budget,
    ) -> Result<Option<Vec<Planned>>, ReadError> {
        self.plan_with(log, from, budget, |_| Ok(None))
    }

    /// Plans with the rows of stored extents as they are given; `None` if some are not.
    fn plan_with(
        &self,
        log: LogId,
        from: u64,
        mut budget: Budget,
        rows: impl Fn(&Extent) -> Result<Option<Arc<[Row]>>, ReadError>,
    ) -> Result<Option<Vec<Planned>>, ReadError> {
        let mut plan = Vec::new();
        let mut next = from;
        loop {
            // The lock is not held while a footer is read.
            let extent = {
                let Some(slot) = self.shared.index.log(log) else {
                    return Err(out_of_range(log, from, 0..0));
                };
                let state = slot.lock();
                check_range(log, from, state.start..state.end, state.deleted)?;
                let mut stored = None;
                for extent in state.extents_from(next) {
                    let Rows::Resident(rows) = &extent.rows else {
                        stored = Some(extent.clone());
                        break;
                    };
                    if !take_rows(&extent.segment, rows, next, &mut budget, &mut plan) {
                        return Ok(Some(plan));
                    }
                    next = extent.end;
                }
                let Some(extent) = stored else { return Ok(Some(plan)) };
                extent
            };
            let Some(rows) = rows(&extent)? else { return Ok(None) };
            if !take_rows(&extent.segment, &rows, next, &mut budget, &mut plan) {
                return Ok(Some(plan));
            }
            next = extent.end;
        }
    }
}

/// The entries of a run that were read.
fn given<'a>(run: &'a [Planned], result: &Result<(), RunError>) -> &'a [Planned] {
    match result {
        Ok(()) => run,
        Err(error) => &run[..error.given],
    }
}

fn check_range(log: LogId, from: u64, available: Range<u64>, deleted: bool) -> Result<(), ReadError> {
    if deleted || from < available.start || from > available.end {
        return Err(out_of_range(log, from, available));
    }
    Ok(())
}

fn out_of_range(log: LogId, offset: u64, available: Range<u64>) -> ReadError {
    ReadError::OutOfRange { log, offset, available }
}

/// What a read may still take.
struct Budget {
    bytes: usize,
    entries: usize,
    /// Only entries that begin before this offset.
    end: u64,
    /// The first entry is taken whatever its size.
    first_always: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: usize::MAX, entries: usize::MAX, end: u64::MAX, first_always: true }
    }
}

impl Budget {
    fn new(limit: Limit, end: u64) -> Self {
        Self { bytes: limit.bytes, end, first_always: limit.first_always, ..Self::default() }
    }
}

/// Adds the rows from offset `from` on, within the budget. `false` when the budget is used up.
fn take_rows(
    segment: &Arc<Segment>,
    rows: &[Row],
    from: u64,
    budget: &mut Budget,
    plan: &mut Vec<Planned>,
) -> bool {
    let first = rows.partition_point(|row| row.end_offset() <= from);
    for row in &rows[first..] {
        if row.base_offset >= budget.end {
            return false;
        }
        let fits = row.len as usize <= budget.bytes && budget.entries > 0;
        let is_given = fits || (plan.is_empty() && budget.first_always);
        if !is_given {
            return false;
        }
        budget.bytes = budget.bytes.saturating_sub(row.len as usize);
        budget.entries = budget.entries.saturating_sub(1);
        plan.push((Arc::clone(segment), *row));
    }
    budget.bytes > 0 && budget.entries > 0
}
