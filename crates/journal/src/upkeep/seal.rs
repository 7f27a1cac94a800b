//! Sealing: a full segment gets its footer index and gives back what it did not use.

use std::io;

use super::SealJob;
use super::cluster::Scatter;
use crate::index::Rows;
use crate::index::row::Row;
use crate::segment::footer::{self, Footer, LogRows};
use crate::shared::Shared;

/// Of a segment with more rows, none stay known: those of segments that were read would have to go for them.
const KNOWN_ROWS_MAX: usize = 4096;

/// Seals a segment. If that fails the segment stays as it is, readable, and it is tried again: until then none of its space
/// returns. A start before that scans it.
pub(super) fn seal(shared: &Shared, job: SealJob) {
    let name = job.segment.name;
    match try_seal(shared, &job) {
        Ok(()) => shared.upkeep.patience.sealed(name.first),
        Err(error) => {
            tracing::warn!(segment = %name, %error, "cannot seal a segment: it stays readable, and it is tried again");
            shared.upkeep.patience.not_sealed(name.first, shared);
            shared.upkeep.lock().unsealed.push(job);
        }
    }
}

/// Seals what could not be sealed before, where it may work now. In a segment in which nothing is live it mostly does: the
/// index that lets it be deleted is small.
pub(super) fn try_again(shared: &Shared) {
    let waits = |job: &SealJob| shared.upkeep.patience.waits_to_seal(&job.segment, shared);
    let unsealed = std::mem::take(&mut shared.upkeep.lock().unsealed);
    let (waiting, ready): (Vec<_>, Vec<_>) = unsealed.into_iter().partition(waits);
    shared.upkeep.lock().unsealed = waiting;
    ready.into_iter().for_each(|job| seal(shared, job));
}

/// The journal closes.
pub(super) fn last_try(shared: &Shared) {
    let unsealed = std::mem::take(&mut shared.upkeep.lock().unsealed);
    unsealed.into_iter().for_each(|job| seal(shared, job));
}

fn try_seal(shared: &Shared, job: &SealJob) -> io::Result<()> {
    let footer = encode_footer(shared, job);
    let file = job.segment.file.as_ref();
    footer::write(file, job.end, &footer)?;
    drop(footer);
    let footer = Footer::read(file).map_err(io::Error::other)?;
    job.segment.set_sealed();
    release_rows(shared, job, &footer);
    Ok(())
}

fn encode_footer(shared: &Shared, job: &SealJob) -> Vec<u8> {
    let rows: Vec<Vec<Row>> = job.logs.iter().map(|&log| resident_rows(shared, log, job)).collect();
    let scatter = Scatter::of(rows.iter().map(Vec::as_slice));
    shared.upkeep.measured.note(job.segment.name.first, scatter);
    let parts = job.logs.iter().zip(&rows).zip(&job.summaries);
    let logs: Vec<LogRows<'_>> = parts
        .filter(|((_, rows), _)| !rows.is_empty())
        .map(|((&log, rows), summary)| LogRows { log, rows, summary })
        .collect();
    footer::encode(&logs, &job.controls, job.end, job.sequences, job.segment.is_damaged())
}

/// From here on the rows are read from the footer. Few of them stay known: what was written last is most likely to be read.
fn release_rows(shared: &Shared, job: &SealJob, footer: &Footer) {
    let rows: usize = footer.directory.iter().map(|row| row.row_count as usize).sum();
    for row in &footer.directory {
        let Some(slot) = shared.index.log(row.log) else { continue };
        let mut state = slot.lock();
        let extent = state.extents.iter_mut().rev().find(|extent| extent.segment.name == job.segment.name);
        if let Some(extent) = extent {
            let stored = Rows::Stored { place: footer.place, row: Box::new(row.clone()) };
            if let Rows::Resident(resident) = std::mem::replace(&mut extent.rows, stored)
                && rows <= KNOWN_ROWS_MAX
            {
                shared.index.rows.insert(row.log, extent, resident.into());
            }
        }
    }
}

/// The rows of a log in the segment; none if the log was trimmed past them or deleted meanwhile.
fn resident_rows(shared: &Shared, log: crate::LogId, job: &SealJob) -> Vec<Row> {
    let Some(slot) = shared.index.log(log) else { return Vec::new() };
    let state = slot.lock();
    let extent = state.extents.iter().rev().find(|extent| extent.segment.name == job.segment.name);
    match extent.map(|extent| &extent.rows) {
        Some(Rows::Resident(rows)) => rows.clone(),
        _ => Vec::new(),
    }
}
