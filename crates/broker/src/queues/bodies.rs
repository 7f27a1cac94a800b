//! The log of bodies: what is routed to several queues is stored once, and each queue's own log refers to it.
//!
//! Nothing counts references. Within a lane the offsets of bodies rise with the offsets of the messages, since both are given
//! under the same locks; so the body of a lane's first live message is the lowest that it needs, and the log is trimmed to the
//! lowest of all lanes. Where a few old messages hold much that nobody needs, the bodies that are needed are looked up one by one,
//! and the segments are rewritten without the others. A body is referred to by nobody who comes later, so what was
//! not needed once never is again.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use annals_journal::{EntryHeader, Group, Keep, Purpose, ReadError};
use annals_queues::Message;
use annals_queues::routing::QueueId;
use bytes::Bytes;

use super::batch::{self, Kept, Stored, stored};
use super::load::read;
use super::logs::{BODIES_LOG, lane_log};
use super::{QueueEntry, lock};
use crate::Inner;

/// Smaller bodies are stored with each message: a reference would not be smaller.
pub(super) const SHARED_SIZE_MIN: usize = 128;
/// A log of bodies with fewer bytes is left alone.
const BYTES_MIN: u64 = 1 << 20;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// A lane with more live messages is taken to need all bodies that it may need.
const LOOKED_UP_MAX: u64 = 10_000;

/// What is known of the log of bodies.
#[derive(Default)]
pub(super) struct Bodies {
    pub(super) next_offset: Mutex<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Up to where each lane was looked through, and the lowest body that it may need.
    lanes: HashMap<(QueueId, u16), Looked>,
    /// The bodies of a segment that are needed, while it is rewritten.
    needed: Option<(Range<u64>, BTreeSet<u64>)>,
    /// The segments that were rewritten, by their first offset, with how many bodies were needed.
    rewritten: HashMap<u64, usize>,
}

#[derive(Clone, Copy, Default)]
struct Looked {
    /// The message whose body is `lowest`, if it was found; else where to look on.
    offset: u64,
    lowest: u64,
    found: bool,
}

impl Bodies {
    /// What a rewrite keeps of the log of bodies.
    pub(super) fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        let state = lock(&self.state);
        let Some((offsets, needed)) = &state.needed else { return Keep::All };
        if header.base_offset < offsets.start || header.end_offset() > offsets.end {
            return Keep::All;
        }
        match batch::keep(payload, |offset| !needed.contains(&offset)) {
            Kept::All => Keep::All,
            Kept::None => Keep::Drop,
            Kept::Some(payload) => Keep::Replace { payload, timestamp_ms: header.timestamp_ms },
        }
    }
}

/// Puts messages in the place of the references to them. What is lost is left out.
///
/// # Errors
/// [`ReadError::Io`]: they may be there still.
pub(super) async fn resolve(
    inner: &Inner,
    found: Vec<(u64, Stored)>,
) -> Result<Vec<(u64, Arc<Message>)>, ReadError> {
    let wanted: BTreeSet<u64> = found
        .iter()
        .filter_map(|(_, stored)| match stored {
            Stored::Shared(offset) => Some(*offset),
            Stored::Message(_) => None,
        })
        .collect();
    let bodies = if wanted.is_empty() { HashMap::new() } else { look_up(inner, &wanted).await? };
    let message = |(offset, stored)| match stored {
        Stored::Message(message) => Some((offset, message)),
        Stored::Shared(shared) => Some((offset, Arc::clone(bodies.get(&shared)?))),
    };
    Ok(found.into_iter().filter_map(message).collect())
}

async fn look_up(inner: &Inner, wanted: &BTreeSet<u64>) -> Result<HashMap<u64, Arc<Message>>, ReadError> {
    let mut bodies = HashMap::new();
    let mut next = 0;
    while let Some(&offset) = wanted.range(next..).next() {
        let end = wanted.last().map_or(offset, |last| *last) + 1;
        match read(inner, BODIES_LOG, offset..end, READ_BYTES).await {
            Ok((bytes, after)) => {
                for (offset, stored) in stored(bytes) {
                    if let (Stored::Message(message), true) = (stored, wanted.contains(&offset)) {
                        bodies.insert(offset, message);
                    }
                }
                next = after.max(offset + 1);
            }
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(error @ (ReadError::Damaged(_) | ReadError::OutOfRange { .. })) => {
                tracing::error!(offset, %error, "a message that queues share cannot be read");
                next = offset + 1;
            }
        }
    }
    Ok(bodies)
}

/// Gives back the space of bodies that nobody needs.
pub(super) async fn tidy(inner: &Inner) {
    let Some(facts) = inner.journal.log(BODIES_LOG) else { return };
    if facts.bytes < BYTES_MIN {
        return;
    }
    let end = *lock(&inner.queues().bodies.next_offset);
    let entries = inner.queues().all_entries();
    let mut lowest = end;
    for entry in &entries {
        lowest = lowest.min(lowest_needed(inner, entry, end).await);
    }
    let known = |(queue, _): &(QueueId, u16)| inner.queues().entry(*queue).is_some();
    lock(&inner.queues().bodies.state).lanes.retain(|lane, _| known(lane));
    if lowest > facts.offsets.start {
        trim(inner, lowest.min(facts.offsets.end)).await;
    }
    rewrite_sparse(inner, &entries, lowest).await;
}

async fn trim(inner: &Inner, start: u64) {
    let mut group = Group::new();
    group.trim(BODIES_LOG, start);
    if let Ok(permit) = inner.journal.admit(group.stored_len(), Purpose::Control).await {
        let _ = inner.journal.submit(permit, group).await;
    }
}

/// The lowest body that a queue may need; `end` if it needs none of those that are there now.
async fn lowest_needed(inner: &Inner, entry: &QueueEntry, end: u64) -> u64 {
    let lanes: Vec<u16> = {
        let state = entry.lock();
        if !state.queue.shares() {
            return end;
        }
        state.queue.lanes().collect()
    };
    let mut lowest = end;
    for lane in lanes {
        lowest = lowest.min(lowest_in_lane(inner, entry, lane, end).await);
    }
    lowest
}

async fn lowest_in_lane(inner: &Inner, entry: &QueueEntry, lane: u16, end: u64) -> u64 {
    let key = (entry.id(), lane);
    let looked = lock(&inner.queues().bodies.state).lanes.get(&key).copied().unwrap_or_default();
    let Some(first) = entry.lock().queue.first_live(lane, looked.offset) else { return end };
    if first == looked.offset && looked.found {
        return looked.lowest;
    }
    // One piece a round: what is not looked through yet may need what was needed before.
    let log = lane_log(entry.id(), lane);
    let Ok((bytes, after)) = read(inner, log, first..u64::MAX, READ_BYTES).await else {
        return looked.lowest;
    };
    let mut now = Looked { offset: after.max(first), lowest: looked.lowest, found: false };
    for (offset, stored) in stored(bytes) {
        if let Stored::Shared(shared) = stored
            && offset >= first
        {
            now = Looked { offset, lowest: shared, found: true };
            break;
        }
    }
    lock(&inner.queues().bodies.state).lanes.insert(key, now);
    now.lowest
}

/// Has segments rewritten in which most bodies are not needed any more, where that can be told.
async fn rewrite_sparse(inner: &Inner, entries: &[Arc<QueueEntry>], lowest: u64) {
    let extents = inner.journal.extents(BODIES_LOG);
    let sparse = extents.into_iter().filter(|extent| extent.sealed && extent.offsets.end > lowest);
    let Some(range) = sparse.map(|extent| extent.offsets).reduce(|all, next| all.start..next.end) else {
        return;
    };
    let Some(needed) = needed_in(inner, entries, range).await else { return };
    for extent in inner.journal.extents(BODIES_LOG).into_iter().filter(|extent| extent.sealed) {
        let live = needed.range(extent.offsets.clone()).count();
        let state = || lock(&inner.queues().bodies.state);
        let before = state().rewritten.get(&extent.offsets.start).copied();
        let all = before.unwrap_or((extent.offsets.end - extent.offsets.start) as usize);
        if extent.offsets.end > lowest && live * 2 <= all && live < all {
            let chosen = needed.range(extent.offsets.clone()).copied().collect();
            state().needed = Some((extent.offsets.clone(), chosen));
            let rewritten = inner.journal.rewrite_within(BODIES_LOG, extent.offsets.clone()).await;
            state().needed = None;
            match rewritten {
                Ok(()) => drop(state().rewritten.insert(extent.offsets.start, live)),
                Err(left) => tracing::debug!(%left, "the space of bodies cannot be given back now"),
            }
        }
    }
}

/// The bodies of `range` that are needed, if that can be told without reading too much. What is published meanwhile
/// refers only to bodies behind it.
async fn needed_in(inner: &Inner, entries: &[Arc<QueueEntry>], range: Range<u64>) -> Option<BTreeSet<u64>> {
    let mut needed = BTreeSet::new();
    for entry in entries {
        let lanes: Vec<(u16, u64)> = {
            let state = entry.lock();
            if !state.queue.shares() {
                continue;
            }
            state.queue.lanes().map(|lane| (lane, state.queue.live_count(lane))).collect()
        };
        for (lane, live) in lanes {
            let looked = lock(&inner.queues().bodies.state).lanes.get(&(entry.id(), lane)).copied();
            if live == 0 || looked.is_some_and(|looked| looked.lowest >= range.end) {
                continue;
            }
            if live > LOOKED_UP_MAX {
                return None;
            }
            needed_by_lane(inner, entry, lane, &range, &mut needed).await?;
        }
    }
    Some(needed)
}

async fn needed_by_lane(
    inner: &Inner,
    entry: &QueueEntry,
    lane: u16,
    range: &Range<u64>,
    needed: &mut BTreeSet<u64>,
) -> Option<()> {
    let log = lane_log(entry.id(), lane);
    let mut next = 0;
    loop {
        let first = entry.lock().queue.first_live(lane, next);
        let Some(first) = first else { return Some(()) };
        if first >= inner.journal.log(log).map_or(0, |facts| facts.offsets.end) {
            return Some(());
        }
        let (bytes, after) = read(inner, log, first..u64::MAX, READ_BYTES).await.ok()?;
        let found = stored(bytes);
        for (_, stored) in found.iter().filter(|(offset, _)| *offset >= first) {
            if let Stored::Shared(shared) = stored {
                if *shared >= range.end {
                    return Some(());
                }
                needed.insert(*shared);
            }
        }
        next = after.max(first + 1);
    }
}
