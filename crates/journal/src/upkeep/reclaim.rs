//! Which segments to delete or rewrite, and when it pays.
//!
//! - A segment in which nothing is live is deleted. Trims and deletions that it records and that still count are
//!   appended again first.
//! - A run of neighbours is rewritten when at least half of it is dead, or when many small files become one.
//! - A log's segments are rewritten on demand of its owner ([`crate::Journal::rewrite`]), for compaction.
//! - Damaged segments are left alone, for whoever wants to look at them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::rewrite::rewrite;
use crate::entry::{EntryKind, Group};
use crate::id::LogId;
use crate::segment::footer::{Control, Footer};
use crate::segment::{DATA_START, Segment};
use crate::shared::Shared;
use crate::space::{Admission, reservation};
use crate::writer::queue::Pending;

/// A segment below this share of the usual size counts as small.
const SMALL_SHARE: u64 = 8;
/// So many small neighbours are worth becoming one.
const SMALL_RUN: usize = 8;

/// One round of tidying. Returns whether there may be more to do at once.
pub(crate) fn round(shared: &Shared) -> bool {
    let mut worked = delete_dead(shared);
    if let Some(run) = choose_run(shared) {
        worked |= rewrite_run(shared, &run);
    }
    worked
}

/// Rewrites the segments that hold entries of `log` below `up_to`, one by one.
pub(crate) fn rewrite_log(shared: &Shared, log: LogId, up_to: u64) {
    let Some(slot) = shared.index.log(log) else { return };
    let segments: Vec<Arc<Segment>> = {
        let state = slot.lock();
        let wanted = state.extents.iter().filter(|extent| extent.end <= up_to && extent.segment.is_sealed());
        wanted.map(|extent| Arc::clone(&extent.segment)).filter(|segment| !segment.is_damaged()).collect()
    };
    for segment in segments {
        rewrite_run(shared, &[segment]);
    }
}

fn rewrite_run(shared: &Shared, run: &[Arc<Segment>]) -> bool {
    match rewrite(shared, run) {
        Ok(()) => true,
        Err(error) => {
            let first = run.first().map(|segment| segment.name.to_string());
            tracing::warn!(first, segments = run.len(), %error, "cannot rewrite segments; they stay as they are");
            false
        }
    }
}

/// The oldest run of neighbours that is worth a rewrite.
fn choose_run(shared: &Shared) -> Option<Vec<Arc<Segment>>> {
    let usual = shared.options.segment_bytes;
    let segments = shared.index.segments();
    for from in 0..segments.len() {
        let mut run: Vec<Arc<Segment>> = Vec::new();
        let (mut size, mut live) = (0, 0);
        for segment in &segments[from..] {
            let follows = run.last().is_none_or(|last| last.name.last + 1 == segment.name.first);
            let more = segment.live();
            if !segment.is_sealed() || segment.is_damaged() || !follows || live + more > usual {
                break;
            }
            (size, live) = (size + segment.data_end() - DATA_START, live + more);
            run.push(Arc::clone(segment));
            let small = usual / SMALL_SHARE;
            let many_small = run.len() >= SMALL_RUN && size / (run.len() as u64) < small;
            let mostly_dead = live * 2 <= size && size - live >= small;
            if mostly_dead || many_small {
                return Some(run);
            }
        }
    }
    None
}

fn delete_dead(shared: &Shared) -> bool {
    let mut deleted = false;
    for segment in shared.index.segments() {
        if segment.live() > 0 || !segment.is_sealed() || segment.is_damaged() {
            continue;
        }
        let controls = controls_in(shared, &segment);
        if !controls.is_empty() && !append_again(shared, &controls) {
            continue;
        }
        shared.index.remove_segment(segment.name.first);
        let name = segment.name.to_string();
        match shared.files.remove(&name).and_then(|()| shared.files.sync_directory()) {
            Ok(()) => tracing::debug!(segment = name, "deleted a segment without live data"),
            Err(error) => tracing::warn!(segment = name, %error, "cannot delete a dead segment"),
        }
        shared.spare.wake();
        deleted = true;
    }
    if deleted {
        forget_deleted_logs(shared);
    }
    deleted
}

/// The trims and deletions that count and are recorded in this segment.
fn controls_in(shared: &Shared, segment: &Segment) -> Vec<Control> {
    let controls = shared.controls.lock().unwrap_or_else(PoisonError::into_inner);
    let here = controls.values().filter(|(_, place)| *place == segment.name.first);
    here.map(|(control, _)| *control).collect()
}

/// Appends trims and deletions to the active segment, so that their old place may go. `false` if there is no room now.
fn append_again(shared: &Shared, controls: &[Control]) -> bool {
    let mut group = Group::new();
    for control in controls {
        match control.kind {
            EntryKind::Trim => group.trim(control.log, control.offset),
            EntryKind::Delete => group.delete(control.log),
            EntryKind::Data => {}
        }
    }
    let reservation = reservation(group.stored_len());
    let Ok(memory) = Arc::clone(&shared.memory).try_acquire_many_owned(1) else { return false };
    if shared.space.try_admit(reservation, true) != Admission::Admitted {
        return false;
    }
    let (done, ticket) = tokio::sync::oneshot::channel();
    let submitted = shared.clock.monotonic();
    shared.queue.push(Pending { group, reservation, submitted, done, _memory: memory });
    matches!(ticket.blocking_recv(), Ok(Ok(_)))
}

/// A deletion has to be remembered only as long as some file still holds entries of the log.
fn forget_deleted_logs(shared: &Shared) {
    let mut gone = deletions(shared);
    for segment in shared.index.segments() {
        if gone.is_empty() {
            return;
        }
        match Footer::read(segment.file.as_ref()) {
            Ok(footer) => footer.directory.iter().for_each(|row| {
                gone.remove(&row.log);
            }),
            // It cannot be asked. Entries of a log come before its deletion, so what was deleted earlier is not here.
            Err(_) => gone.retain(|_, place| *place < segment.name.first),
        }
    }
    let mut controls = shared.controls.lock().unwrap_or_else(PoisonError::into_inner);
    for log in gone.into_keys() {
        controls.remove(&log);
        shared.index.forget(log);
    }
}

/// The logs that are deleted, with the segment that records it.
fn deletions(shared: &Shared) -> HashMap<LogId, u64> {
    let controls = shared.controls.lock().unwrap_or_else(PoisonError::into_inner);
    let deletions = controls.values().filter(|(control, _)| control.kind == EntryKind::Delete);
    deletions.map(|(control, place)| (control.log, *place)).collect()
}
