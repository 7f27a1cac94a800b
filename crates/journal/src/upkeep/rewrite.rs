//! Rewriting: neighbouring sealed segments become one, in which the entries of a log lie together and nothing is left
//! that nobody needs.
//!
//! It gives back the space of trimmed and compacted records, keeps the number of files in bounds, and lets a reader take
//! large pieces. The new file is complete and synced before it gets its name, and it has its name before the old ones go.
//! Offsets do not change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::{Pace, STEP_BYTES};
use crate::entry::{EntryHeader, EntryKind};
use crate::error::ReadError;
use crate::files::OpenMode;
use crate::frame::{FrameHeader, FrameKind, padded};
use crate::id::{LogId, Sequence};
use crate::index::row::Row;
use crate::index::{Extent, Rows};
use crate::machine::Keep;
use crate::piece::{Planned, runs, split};
use crate::read::EntryRead;
use crate::segment::footer::{self, Control, Footer, LogRows};
use crate::segment::{DATA_START, Segment, SegmentHeader, SegmentName};
use crate::shared::Shared;

/// Payload bytes in one frame of a rewritten segment.
const FRAME_BYTES: usize = 1 << 20;
/// So much is written before it is synced: a large sync at the end would hold up those of the writer.
const UNSYNCED_MAX: u64 = 4 << 20;

/// Why a rewrite was given up. The old segments stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("something more urgent came")]
    GaveWay,
}

/// Rewrites `run`, neighbouring sealed segments, into one.
pub(super) fn rewrite(shared: &Shared, run: Vec<Arc<Segment>>, pace: Pace) -> Result<(), RewriteError> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    if shared.queue.stopped().is_some() {
        return Err(stopped().into());
    }
    let (first, last) = (first.name.first, last.name.last);
    let highest = run.iter().map(|segment| segment.name.generation).max();
    // Also above those that should be gone from between them: or both would count at the next start.
    let generation = highest.max(shared.retired.generation_left(first..=last)).unwrap_or(0) + 1;
    let name = SegmentName { first, last, generation };
    let temporary = format!("{name}.tmp");
    check_room(shared, &run)?;
    let done = Output::create(shared, name, pace, &temporary)
        .and_then(|output| fill(shared, &run, output))
        .and_then(|written| Ok(publish(shared, run, written, &temporary)?));
    if done.is_err() {
        // Whatever was written has no name that counts.
        let _ = shared.files.remove(&temporary);
    }
    done
}

fn stopped() -> io::Error {
    io::Error::other("the journal has stopped")
}

/// A file that will not fit is not begun: until it failed it would take the last space from others.
fn check_room(shared: &Shared, run: &[Arc<Segment>]) -> io::Result<()> {
    let live: u64 = run.iter().map(|segment| segment.live()).sum();
    if shared.files.free_bytes()? < live { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

fn fill(shared: &Shared, run: &[Arc<Segment>], mut output: Output<'_>) -> Result<Written, RewriteError> {
    let footers: Result<Vec<Footer>, _> =
        run.iter().map(|segment| Footer::read(segment.file.as_ref())).collect();
    let footers = footers.map_err(io::Error::other)?;
    let logs: BTreeSet<LogId> =
        footers.iter().flat_map(|footer| footer.directory.iter().map(|row| row.log)).collect();
    output.sequences = (
        footers.iter().map(|footer| footer.place.first_sequence).min().unwrap_or_default(),
        footers.iter().map(|footer| footer.place.last_sequence).max().unwrap_or_default(),
    );
    let is_secret = logs.iter().any(|log| shared.machine().is_secret(*log));
    for log in logs {
        copy_log(shared, run, log, &mut output)?;
    }
    output.write_controls(valid_controls(shared, run, &footers))?;
    let (segment, footer) = output.finish()?;
    Ok(Written { segment, footer, replaces_secrets: is_secret })
}

/// Copies what is still needed of one log.
fn copy_log(
    shared: &Shared,
    run: &[Arc<Segment>],
    log: LogId,
    output: &mut Output<'_>,
) -> Result<(), RewriteError> {
    let Some(slot) = shared.index.log(log) else { return Ok(()) };
    let (start, end, extents) = {
        let state = slot.lock();
        let inside = |extent: &&Extent| run.iter().any(|segment| Arc::ptr_eq(segment, &extent.segment));
        (state.start, state.end, state.extents.iter().filter(inside).cloned().collect::<Vec<_>>())
    };
    output.summary = extents.last().map(summary_of).unwrap_or_default();
    for extent in &extents {
        let rows = shared.rows(log, extent)?;
        let live = rows.iter().filter(|row| row.end_offset() > start);
        let plan: Vec<Planned> = live.map(|row| (Arc::clone(&extent.segment), *row)).collect();
        for piece in runs(&plan) {
            let mut bytes = Vec::new();
            shared.read_run(log, piece, &mut bytes).map_err(ReadError::from)?;
            let mut entries = Vec::with_capacity(piece.len());
            split(log, piece, &bytes, &mut entries);
            for entry in entries {
                output.copy(shared, entry, end)?;
            }
        }
    }
    output.end_log(log)?;
    Ok(())
}

fn summary_of(extent: &Extent) -> Vec<u8> {
    match &extent.rows {
        Rows::Resident(_) => Vec::new(),
        Rows::Stored { place, row } => {
            place.read_summary(extent.segment.file.as_ref(), row).unwrap_or_default().into()
        }
    }
}

/// The trims and deletions in these segments that nothing newer has replaced.
fn valid_controls(shared: &Shared, run: &[Arc<Segment>], footers: &[Footer]) -> Vec<Control> {
    let valid = shared.controls.lock().unwrap_or_else(PoisonError::into_inner);
    let is_valid = |control: &Control, place: u64| valid.get(&control.log) == Some(&(*control, place));
    let mut kept = BTreeMap::new();
    for (segment, footer) in run.iter().zip(footers) {
        for control in &footer.controls {
            if is_valid(control, segment.name.first) {
                kept.insert(control.log, *control);
            }
        }
    }
    kept.into_values().collect()
}

/// The file being written.
struct Output<'a> {
    shared: &'a Shared,
    pace: Pace,
    file: Arc<dyn crate::files::File>,
    header: SegmentHeader,
    position: u64,
    /// Up to here it is synced.
    synced: u64,
    /// From here on nothing was looked at but this rewrite.
    attended: u64,
    sequences: (Sequence, Sequence),
    /// Entries of the present log that wait for their frame.
    waiting: Vec<(EntryHeader, Bytes)>,
    waiting_bytes: usize,
    rows: Vec<Row>,
    summary: Vec<u8>,
    logs: Vec<(LogId, Vec<Row>, Vec<u8>)>,
    controls: Vec<Control>,
}

struct Written {
    segment: Arc<Segment>,
    footer: Footer,
    /// What it replaces has to be off the disk.
    replaces_secrets: bool,
}

impl<'a> Output<'a> {
    fn create(
        shared: &'a Shared,
        name: SegmentName,
        pace: Pace,
        temporary: &str,
    ) -> Result<Self, RewriteError> {
        if shared.files.list()?.iter().any(|file| file == temporary) {
            shared.files.remove(temporary)?;
        }
        let file = shared.files.open(temporary, OpenMode::CreateNew)?;
        let (salt, created_ms) = (shared.clock.random(), shared.clock.now_ms());
        Ok(Self {
            shared,
            pace,
            file,
            header: SegmentHeader { name, salt, created_ms, data_end: 0, reused: false },
            position: DATA_START,
            synced: DATA_START,
            attended: DATA_START,
            sequences: Default::default(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            rows: Vec::new(),
            summary: Vec::new(),
            logs: Vec::new(),
            controls: Vec::new(),
        })
    }

    /// Takes over one entry, as far as its machine wants it. The last one of a log stays: it tells where the log ends.
    fn copy(&mut self, shared: &Shared, entry: EntryRead, log_end: u64) -> Result<(), RewriteError> {
        let mut header = entry.header;
        let payload = match shared.machine().keep(&header, &entry.payload) {
            Keep::Drop if header.end_offset() < log_end => return Ok(()),
            Keep::Drop | Keep::All => entry.payload,
            Keep::Replace { payload, timestamp_ms } => {
                header.len = payload.len() as u32;
                header.crc = crc32c::crc32c(&payload);
                header.timestamp_ms = timestamp_ms;
                payload
            }
        };
        self.waiting_bytes += payload.len();
        self.waiting.push((header, payload));
        if self.waiting_bytes >= FRAME_BYTES { self.write_frame() } else { Ok(()) }
    }

    fn end_log(&mut self, log: LogId) -> Result<(), RewriteError> {
        self.write_frame()?;
        let (rows, summary) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.summary));
        if !rows.is_empty() {
            self.logs.push((log, rows, summary));
        }
        Ok(())
    }

    fn write_controls(&mut self, controls: Vec<Control>) -> Result<(), RewriteError> {
        for control in &controls {
            let header = EntryHeader {
                log: control.log,
                kind: control.kind,
                base_offset: control.offset,
                records: 0,
                timestamp_ms: 0,
                len: 0,
                crc: 0,
            };
            self.waiting.push((header, Bytes::new()));
        }
        self.controls = controls;
        self.write_frame()
    }

    fn write_frame(&mut self) -> Result<(), RewriteError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let payloads: usize = waiting.iter().map(|(_, payload)| payload.len()).sum();
        let mut header = FrameHeader {
            kind: FrameKind::Extent,
            entries: waiting.len() as u32,
            len: 0,
            sequence: self.sequences.1,
            durable_before: self.sequences.1,
            written_ms: self.header.created_ms,
            salt: self.header.salt,
            position: self.position,
        };
        header.len = (header.table_end() + payloads) as u64;
        let mut bytes = Vec::with_capacity(padded(header.len) as usize);
        header.encode(waiting.iter().map(|(entry, _)| entry), &mut bytes);
        for (entry, payload) in &waiting {
            if entry.kind == EntryKind::Data {
                self.rows.push(Row::new(entry, self.position + bytes.len() as u64));
            }
            bytes.extend_from_slice(payload);
        }
        bytes.resize(padded(header.len) as usize, 0);
        self.file.write_at(self.position, &bytes)?;
        self.position += bytes.len() as u64;
        self.waiting_bytes = 0;
        self.look_up()
    }

    /// Now and then: syncs, and lets others have their turn.
    fn look_up(&mut self) -> Result<(), RewriteError> {
        if self.position - self.synced >= UNSYNCED_MAX {
            self.file.sync_data()?;
            self.synced = self.position;
        }
        if self.position - self.attended >= STEP_BYTES {
            self.attended = self.position;
            self.shared.upkeep.attend(self.shared, self.pace)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Arc<Segment>, Footer)> {
        let logs: Vec<LogRows<'_>> =
            self.logs.iter().map(|(log, rows, summary)| LogRows { log: *log, rows, summary }).collect();
        let footer = footer::encode(&logs, &self.controls, self.position, self.sequences, false);
        self.header.data_end = self.position;
        self.file.write_at(0, &self.header.encode())?;
        self.file.write_at(self.position, &footer)?;
        self.file.sync_data()?;
        let footer = Footer::read(self.file.as_ref()).map_err(io::Error::other)?;
        let segment = Arc::new(Segment::new(&self.header, self.file, self.position, true));
        Ok((segment, footer))
    }
}

/// Gives the new file its name and puts it in the place of the old ones. What it leaves out is then replaced on disk, too.
fn publish(shared: &Shared, run: Vec<Arc<Segment>>, written: Written, temporary: &str) -> io::Result<()> {
    let Written { segment, footer, replaces_secrets } = written;
    let name = segment.name;
    if !shared.make_durable() {
        return Err(stopped());
    }
    let follows = |pair: &[Arc<Segment>]| pair[0].name.last + 1 == pair[1].name.first;
    if !run.windows(2).all(follows) {
        // A segment between them that came back after a power failure would be one that this name covers, and not count; or be
        // of a higher generation, and its entries would stand behind younger ones.
        shared.files.sync_directory()?;
    }
    shared.files.rename(temporary, &name.to_string())?;
    if let Err(error) = shared.files.sync_directory() {
        // Nobody knows which name is there after a power failure. What is rewritten next could stand beside it.
        shared.stop(&format!("syncing the directory failed: {error}"));
        return Err(error);
    }
    let covered = name.first..name.last + 1;
    let mut rows: BTreeMap<LogId, _> = footer.directory.into_iter().map(|row| (row.log, row)).collect();
    for old in &run {
        shared.index.remove_segment(old.name.first);
    }
    shared.index.add_segment(Arc::clone(&segment));
    for log in shared.index.all_ids() {
        let rewritten = rows.remove(&log).map(|row| Extent::stored(&segment, footer.place, row));
        if let Some(slot) = shared.index.log(log) {
            slot.lock().replace(&covered, rewritten);
        }
    }
    move_controls(shared, &covered, name.first);
    if replaces_secrets {
        shared.retired.remove(shared.files.as_ref(), run.into_iter().map(|old| old.name));
        return Ok(());
    }
    for old in run {
        if let Err(error) = shared.retired.retire(shared.files.as_ref(), old) {
            tracing::warn!(%error, "cannot remove a segment that was replaced; it is tried again");
        }
    }
    Ok(())
}

fn move_controls(shared: &Shared, covered: &std::ops::Range<u64>, place: u64) {
    let mut controls = shared.controls.lock().unwrap_or_else(PoisonError::into_inner);
    for (_, at) in controls.values_mut() {
        if covered.contains(at) {
            *at = place;
        }
    }
}
