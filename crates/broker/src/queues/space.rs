//! Giving back the space of messages that are done with.
//!
//! A queue that is consumed in order has its logs trimmed, and the journal deletes segments that hold nothing else. Where one
//! old message stays among many that are gone, the segments that hold mostly such are rewritten without them, on this
//! module's wish. What a rewrite leaves out is only what an entry on disk says is settled.

use std::collections::HashMap;

use annals_journal::{EntryHeader, Keep, LogId};
use bytes::Bytes;

use super::batch::{self, Kept};
use super::logs::{BODIES_LOG, Part, lane_log, owner_of};
use super::{QueueEntry, Queues, bodies};
use crate::Inner;

/// A segment's share of a log is rewritten if so many bytes of it are done with.
const DEAD_BYTES_MIN: u64 = 1 << 20;

/// What a rewrite keeps of an entry of a queue's log.
pub(super) fn keep(queues: &Queues, header: &EntryHeader, payload: &Bytes) -> Keep {
    if header.log == BODIES_LOG {
        return queues.bodies.keep(header, payload);
    }
    let Some((queue, Part::Lane(lane))) = owner_of(header.log) else { return Keep::All };
    // Without its queue a log is deleted, or will be.
    let Some(entry) = queues.entry(queue) else { return Keep::All };
    let offsets = header.base_offset..header.end_offset();
    let dead = entry.lock().queue.settled_durably(lane, offsets.clone());
    if dead == 0 {
        return Keep::All;
    }
    if dead == offsets.end - offsets.start {
        return Keep::Drop;
    }
    let is_dead = |offset: u64| entry.lock().queue.is_settled_durably(lane, offset);
    match batch::keep(payload, is_dead) {
        Kept::All => Keep::All,
        Kept::None => Keep::Drop,
        Kept::Some(payload) => Keep::Replace { payload, timestamp_ms: header.timestamp_ms },
    }
}

/// Works until it is dropped.
pub(super) async fn run(inner: &Inner) {
    let mut rewritten = HashMap::new();
    loop {
        tokio::time::sleep(inner.options.retention_interval).await;
        let entries = inner.queues().all_entries();
        for entry in &entries {
            trim_what_is_idle(inner, entry).await;
            let lanes: Vec<u16> = entry.lock().queue.lanes().collect();
            for lane in lanes {
                rewrite_if_it_pays(inner, entry, lane, &mut rewritten).await;
            }
        }
        bodies::tidy(inner).await;
        let known =
            |log: &LogId| owner_of(*log).is_some_and(|(queue, _)| inner.queues().entry(queue).is_some());
        rewritten.retain(|(log, _), _| known(log));
    }
}

/// Small trims that busy queues make along with others are made for the rest here.
async fn trim_what_is_idle(inner: &Inner, entry: &QueueEntry) {
    let has_trims = entry.lock().queue.has_trims();
    if has_trims && let Err(error) = inner.flush(&[entry.id()], true).await {
        tracing::debug!(%error, "cannot trim the logs of a queue now");
    }
}

/// Has the shares of a log rewritten of which most is done with.
async fn rewrite_if_it_pays(
    inner: &Inner,
    entry: &QueueEntry,
    lane: u16,
    rewritten: &mut HashMap<(LogId, u64), u64>,
) {
    let log = lane_log(entry.id(), lane);
    for extent in inner.journal.extents(log).into_iter().filter(|extent| extent.sealed) {
        let dead = entry.lock().queue.settled_durably(lane, extent.offsets.clone());
        let before = rewritten.get(&(log, extent.offsets.start)).copied().unwrap_or(0);
        let all = extent.offsets.end - extent.offsets.start;
        // What was left out before is not in the extent's bytes any more.
        let (new, left) = (dead.saturating_sub(before), all.saturating_sub(before).max(1));
        let dead_bytes = extent.bytes.saturating_mul(new) / left;
        if new * 2 >= left && dead_bytes > 0 && dead_bytes >= DEAD_BYTES_MIN.min(extent.bytes / 2) {
            let start = extent.offsets.start;
            match inner.journal.rewrite_within(log, extent.offsets).await {
                Ok(()) => drop(rewritten.insert((log, start), dead)),
                Err(left) => tracing::debug!(%log, %left, "the space of messages cannot be given back now"),
            }
        }
    }
}
