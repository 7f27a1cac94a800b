//! Pieces: stretches of neighbouring entries that are read together, and what is wrong when they cannot be.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{EntryHeader, EntryKind};
use crate::error::{Damage, ReadError};
use crate::id::LogId;
use crate::index::Extent;
use crate::index::row::Row;
use crate::read::EntryRead;
use crate::segment::footer::FooterError;
use crate::segment::scan::{Item, Scanner};
use crate::segment::{DATA_START, Segment};
use crate::shared::Shared;

/// The longest piece that is read from disk at once.
pub(crate) const PIECE_LEN_MAX: u64 = 1 << 20;

/// What may lie between entries that are read at once: frames of their own, and entries of other logs.
const GAP_LEN_MAX: u64 = 8 << 10;

/// How much is read at once where more than half of it is not wanted: little enough to come from the page cache.
const SPARSE_LEN_MAX: u64 = 48 << 10;

/// An entry and the segment it is in.
pub(crate) type Planned = (Arc<Segment>, Row);

/// Why a run was not read to its end.
pub(crate) struct RunError {
    /// How many entries, from the first, were given.
    pub(crate) given: usize,
    /// What is wrong with the one behind them.
    pub(crate) error: ReadError,
}

impl From<ReadError> for RunError {
    fn from(error: ReadError) -> Self {
        Self { given: 0, error }
    }
}

impl From<RunError> for ReadError {
    fn from(error: RunError) -> Self {
        error.error
    }
}

impl Shared {
    /// The rows of an extent. If its footer turns out to be damaged they are found again by reading the frames.
    pub(crate) fn rows(&self, log: LogId, extent: &Extent) -> Result<Arc<[Row]>, ReadError> {
        match self.index.rows.rows(log, extent) {
            Ok(rows) => Ok(rows),
            Err(FooterError::Io(error)) => Err(io_error(&extent.segment, error)),
            Err(FooterError::Missing | FooterError::Damaged) => {
                self.report(footer_damage(log, extent));
                let rows =
                    scan_rows(&extent.segment, log).map_err(|error| io_error(&extent.segment, error))?;
                let rows: Arc<[Row]> = rows.into();
                self.index.rows.insert(log, extent, Arc::clone(&rows));
                Ok(rows)
            }
        }
    }

    /// Reads neighbouring entries as one piece. If one of them is damaged, those before it are given all the same.
    pub(crate) fn read_run(&self, log: LogId, run: &[Planned], out: &mut Vec<Bytes>) -> Result<(), RunError> {
        let [(segment, first), ..] = run else { return Ok(()) };
        if first.is_lost() {
            let error = self.damaged(log, segment, first, "entries are lost with an unreadable frame");
            return Err(error.into());
        }
        let last = run.last().map_or(first, |(_, row)| row);
        let start = u64::from(first.position);
        let len = (last.end_position() - start) as usize;
        // Of nothing only the checksum tells whether it is what was written.
        if len > 0 && self.cache.read(segment.salt, start, len, out) {
            return Ok(());
        }
        let bytes = segment.read(start, len).map_err(|error| io_error(segment, error))?;
        for (index, (_, row)) in run.iter().enumerate() {
            let from = (u64::from(row.position) - start) as usize;
            if crc32c::crc32c(&bytes[from..from + row.len as usize]) != row.crc {
                let error = self.damaged(log, segment, row, "the checksum of an entry does not match");
                if index > 0 {
                    out.push(bytes.slice(..from));
                }
                return Err(RunError { given: index, error });
            }
        }
        out.push(bytes);
        Ok(())
    }

    /// Reads entries that lie close to each other at once, with what lies between them, and gives each its own payload. If one
    /// of them is damaged, those before it are given all the same.
    pub(crate) fn read_span(
        &self,
        log: LogId,
        span: &[Planned],
        out: &mut Vec<EntryRead>,
    ) -> Result<(), ReadError> {
        let [(segment, first), ..] = span else { return Ok(()) };
        if first.is_lost() {
            return Err(self.damaged(log, segment, first, "entries are lost with an unreadable frame"));
        }
        let start = u64::from(first.position);
        let len = (span.last().map_or(first, |(_, row)| row).end_position() - start) as usize;
        let mut pieces = Vec::new();
        let is_cached = len > 0 && self.cache.read(segment.salt, start, len, &mut pieces);
        let bytes = match &pieces[..] {
            [one] if is_cached => one.clone(),
            _ if is_cached => pieces.concat().into(),
            _ => segment.read(start, len).map_err(|error| io_error(segment, error))?,
        };
        for (_, row) in span {
            let from = (u64::from(row.position) - start) as usize;
            let payload = bytes.slice(from..from + row.len as usize);
            if !is_cached && crc32c::crc32c(&payload) != row.crc {
                return Err(self.damaged(log, segment, row, "the checksum of an entry does not match"));
            }
            out.push(EntryRead { header: header_of(log, row), payload });
        }
        Ok(())
    }

    fn damaged(&self, log: LogId, segment: &Segment, row: &Row, what: &str) -> ReadError {
        segment.set_damaged();
        let damage = Damage {
            file: segment.name.to_string(),
            bytes: u64::from(row.position)..row.end_position(),
            log: Some(log),
            offsets: Some(row.base_offset..row.end_offset()),
            what: what.to_owned(),
            data_lost: true,
        };
        self.report(damage.clone());
        ReadError::Damaged(damage)
    }
}

/// The rows of a log in a sealed segment, from its frames alone.
fn scan_rows(segment: &Segment, log: LogId) -> std::io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut scanner = Scanner::new(segment.file.as_ref(), segment.salt, DATA_START, segment.data_end());
    while let Some(item) = scanner.next()? {
        let Item::Frame(frame) = item else { continue };
        let of_log = frame.payloads().filter(|(entry, _)| entry.log == log && entry.kind == EntryKind::Data);
        rows.extend(of_log.map(|(entry, position)| Row::new(entry, position)));
    }
    Ok(rows)
}

fn footer_damage(log: LogId, extent: &Extent) -> Damage {
    Damage {
        file: extent.segment.name.to_string(),
        bytes: extent.segment.data_end()..extent.segment.data_end(),
        log: Some(log),
        offsets: Some(extent.first..extent.end),
        what: "the footer index is damaged; entries were found by reading the frames".to_owned(),
        data_lost: false,
    }
}

pub(crate) fn io_error(segment: &Segment, source: std::io::Error) -> ReadError {
    ReadError::Io { file: segment.name.to_string(), source }
}

/// Splits a plan into stretches that lie in one piece on disk.
pub(crate) fn runs(plan: &[Planned]) -> impl Iterator<Item = &[Planned]> {
    stretches(plan, 0)
}

/// Splits a plan into stretches whose entries lie close to each other.
pub(crate) fn spans(plan: &[Planned]) -> impl Iterator<Item = &[Planned]> {
    stretches(plan, GAP_LEN_MAX)
}

fn stretches(plan: &[Planned], gap_max: u64) -> impl Iterator<Item = &[Planned]> {
    let mut rest = plan;
    std::iter::from_fn(move || {
        let (segment, first) = rest.first()?;
        let mut wanted = u64::from(first.len);
        let neighbours = rest.windows(2).take_while(|pair| {
            let ((_, a), (next, b)) = (&pair[0], &pair[1]);
            let gap = u64::from(b.position).checked_sub(a.end_position());
            let near = Arc::ptr_eq(segment, next) && gap.is_some_and(|gap| gap <= gap_max);
            let lost = a.is_lost() || b.is_lost();
            wanted += u64::from(b.len);
            let len = b.end_position().saturating_sub(u64::from(first.position));
            let len_max = if 2 * wanted >= len { PIECE_LEN_MAX } else { SPARSE_LEN_MAX };
            near && !lost && len <= len_max
        });
        let len = 1 + neighbours.count();
        let (stretch, after) = rest.split_at(len);
        rest = after;
        Some(stretch)
    })
}

/// Gives each entry of a run its own payload.
pub(crate) fn split(log: LogId, run: &[Planned], pieces: &[Bytes], out: &mut Vec<EntryRead>) {
    let mut whole = if let [one] = pieces { one.clone() } else { pieces.concat().into() };
    for (_, row) in run {
        let payload = whole.split_to(row.len as usize);
        out.push(EntryRead { header: header_of(log, row), payload });
    }
}

pub(crate) fn header_of(log: LogId, row: &Row) -> EntryHeader {
    EntryHeader {
        log,
        kind: EntryKind::Data,
        base_offset: row.base_offset,
        records: row.records,
        timestamp_ms: row.timestamp_ms,
        len: row.len,
        crc: row.crc,
    }
}
