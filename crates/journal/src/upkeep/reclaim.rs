//! Which segments to delete or rewrite, and when it pays.
//!
//! - A segment in which nothing is live is deleted. Trims and deletions that it records and that still count are
//!   appended again first, and whatever made it dead is on disk first.
//! - A run of neighbours is rewritten when at least half of it is dead, or when many small files become one. Where segments
//!   between them are gone, those on both sides are neighbours.
//! - A log's segments are rewritten on demand of its owner ([`crate::Journal::rewrite`]), for compaction.
//! - Otherwise, segments in which the entries of many logs lie mixed are brought in order: see [`super::cluster`].
//! - Damaged segments are left alone, for whoever wants to look at them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use super::rewrite::{RewriteError, rewrite};
use super::{Pace, cluster};
use crate::entry::{EntryKind, Group};
use crate::error::NotRewritten;
use crate::id::LogId;
use crate::index::Extent;
use crate::segment::footer::{Control, Footer};
use crate::segment::{DATA_START, Segment};
use crate::shared::Shared;
use crate::space::{Admission, Purpose, reservation};
use crate::writer::queue::Pending;

/// A segment below this share of the usual size counts as small.
const SMALL_SHARE: u64 = 8;
/// So many small neighbours are worth becoming one.
const SMALL_RUN: usize = 8;

/// Why a segment is left alone on a full disk.
const NO_ROOM: &str = "the disk has no room for it";

/// One round of tidying. Returns whether there may be more to do at once.
pub(crate) fn round(shared: &Shared) -> bool {
    let deleted = delete_dead(shared);
    let patience = &shared.upkeep.patience;
    if patience.waits_for_space(shared) {
        return deleted;
    }
    if let Some(run) = choose_run(shared) {
        return rewrite_run(shared, run, Pace::Needed).is_ok() | deleted;
    }
    if shared.space.is_full() || patience.clustering_waits(shared) {
        return deleted;
    }
    let scattered = cluster::choose(shared);
    scattered.is_some_and(|run| rewrite_run(shared, run, Pace::Leisure).is_ok()) | deleted
}

/// Rewrites the segments whose entries of `log` are all within `offsets`, one by one, up to the first that has to be left alone.
pub(crate) fn rewrite_log(shared: &Shared, log: LogId, offsets: &Range<u64>) -> Result<(), NotRewritten> {
    let Some(slot) = shared.index.log(log) else { return Ok(()) };
    let wanted: Vec<(Arc<Segment>, Range<u64>)> = {
        let state = slot.lock();
        let inside = |extent: &&Extent| offsets.start <= extent.first && extent.end <= offsets.end;
        let wanted = state.extents.iter().filter(inside);
        wanted.map(|extent| (Arc::clone(&extent.segment), extent.first..extent.end)).collect()
    };
    for (segment, offsets) in wanted {
        let name = segment.name;
        let left = |reason: String, is_damaged| {
            let (segment, offsets) = (name.to_string(), offsets.clone());
            NotRewritten { segment, offsets, reason, is_damaged }
        };
        let patience = &shared.upkeep.patience;
        if segment.is_damaged() {
            return Err(left("it is damaged".to_owned(), true));
        }
        if !segment.is_sealed() {
            return Err(left("it is not closed yet".to_owned(), false));
        }
        if patience.waits_for_space(shared) {
            return Err(left(NO_ROOM.to_owned(), false));
        }
        if patience.waits_for(name.first, shared) {
            return Err(left("that failed a moment ago".to_owned(), false));
        }
        if let Err(error) = rewrite_run(shared, vec![segment], Pace::Needed) {
            let reason = match &error {
                RewriteError::Io(full) if full.kind() == ErrorKind::StorageFull => NO_ROOM.to_owned(),
                other => other.to_string(),
            };
            return Err(left(reason, matches!(error, RewriteError::Read(_))));
        }
        if !shared.retired.all_gone() {
            return Err(left("a file that was replaced cannot be removed".to_owned(), false));
        }
    }
    Ok(())
}

fn rewrite_run(shared: &Shared, run: Vec<Arc<Segment>>, pace: Pace) -> Result<(), RewriteError> {
    let Some(first) = run.first().map(|segment| segment.name) else { return Ok(()) };
    let segments = run.len();
    let rewritten = rewrite(shared, run, pace);
    match &rewritten {
        Ok(()) => {
            tracing::debug!(%first, segments, ?pace, "rewrote segments");
            shared.upkeep.patience.succeeded(first.first);
        }
        Err(error) => {
            shared.upkeep.patience.failed(first.first, error, shared);
            if !matches!(error, RewriteError::GaveWay) {
                tracing::warn!(%first, segments, %error, "cannot rewrite segments; they stay as they are");
            }
        }
    }
    rewritten
}

/// The oldest run of neighbours that is worth a rewrite.
fn choose_run(shared: &Shared) -> Option<Vec<Arc<Segment>>> {
    let usual = shared.options.segment_bytes;
    let free = shared.files.free_bytes().unwrap_or(0);
    let segments = shared.index.segments();
    for from in 0..segments.len() {
        if shared.upkeep.patience.waits_for(segments[from].name.first, shared) {
            continue;
        }
        let mut run: Vec<Arc<Segment>> = Vec::new();
        let (mut size, mut live) = (0, 0);
        for segment in &segments[from..] {
            let more = segment.live();
            let too_large = !run.is_empty() && live + more > usual;
            if !segment.is_sealed() || segment.is_damaged() || too_large {
                break;
            }
            (size, live) = (size + segment.data_end() - DATA_START, live + more);
            run.push(Arc::clone(segment));
            let small = usual / SMALL_SHARE;
            let many_small = run.len() >= SMALL_RUN && size / (run.len() as u64) < small;
            let mostly_dead = live * 2 <= size && size - live >= small;
            // On a full disk an older one that does not fit must not hold up a newer one that does.
            if (mostly_dead || many_small) && live <= free {
                return Some(run);
            }
        }
    }
    None
}

fn delete_dead(shared: &Shared) -> bool {
    let mut deleted = false;
    if let Err(error) = shared.retired.remove_left(shared.files.as_ref()) {
        tracing::debug!(%error, "there are still segments that cannot be removed");
    }
    for segment in shared.index.segments() {
        if segment.live() > 0 || !segment.is_sealed() || segment.is_damaged() {
            continue;
        }
        if shared.retired.is_covered_by(segment.name) {
            continue;
        }
        let controls = controls_in(shared, &segment);
        if !controls.is_empty() && !append_again(shared, &controls) {
            continue;
        }
        if !shared.make_durable() {
            break;
        }
        shared.index.remove_segment(segment.name.first);
        let name = segment.name;
        match shared.retired.retire(shared.files.as_ref(), segment) {
            Ok(()) => tracing::debug!(segment = %name, "a segment without live data is gone"),
            Err(error) => tracing::warn!(segment = %name, %error, "cannot delete a dead segment"),
        }
        shared.spare.wake();
        deleted = true;
    }
    if deleted {
        shared.upkeep.patience.space_freed();
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
    if shared.space.try_admit(reservation, Purpose::Control) != Admission::Admitted {
        return false;
    }
    let (done, ticket) = tokio::sync::oneshot::channel();
    let submitted = shared.clock.monotonic();
    shared.queue.push(Pending { group, reservation, submitted, done, _memory: memory });
    matches!(ticket.blocking_recv(), Ok(Ok(_)))
}

/// A deletion has to be remembered only as long as some file still holds entries of the log.
fn forget_deleted_logs(shared: &Shared) {
    if !shared.retired.all_gone() {
        return;
    }
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
