//! Writing down what queues have settled.
//!
//! Settlements take effect in memory and are collected per queue. One group at a time carries those of all queues that have
//! any; while it is being written, the next ones collect. So the busier it is, the more settlements share an entry.
//!
//! No protocol tells a consumer that its acknowledgement is on disk, so mostly nobody waits for that, while publishers do wait for
//! the disk: settlements stay back for [`GATHER`], to share an entry, and then for [`LINGER`], to share the write and the sync of
//! the next message. Without one they are written and not synced; the journal does that at the end of its interval. Whoever
//! waits is served at once.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use annals_journal::{Durability, Group, Permit, Purpose, Ticket};
use annals_queues::routing::QueueId;

use super::QueueEntry;
use super::entry::QueueState;
use super::logs::lane_log;
use super::publish::push_state;
use crate::Inner;
use crate::storage::Unavailable;

/// Queues whose settlements share a group.
const QUEUES_MAX: usize = 256;
/// What a queue may add between being measured and being written.
const SLACK: usize = 4 << 10;
/// How long settlements may wait for others. What a killed process has not written yet is delivered again, as any message whose
/// acknowledgement did not arrive; after a power failure also what was not synced.
const GATHER: Duration = Duration::from_millis(2);
/// How long they then wait for something that is to be synced, to be written with it instead of taking a write of their own.
const LINGER: Duration = Duration::from_millis(5);
/// How long a full disk is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// Whether settlements have their own write and sync.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Somebody waits.
    None,
    /// The next one will do.
    Next,
}

/// Works until it is dropped or the journal stops.
pub(super) async fn run(inner: &Inner) {
    let work = &inner.queues().work;
    loop {
        work.flush.any().await;
        let patience = tokio::select! {
            () = tokio::time::sleep(GATHER) => Patience::Next,
            () = work.flush_awaited.notified() => Patience::None,
        };
        let waiting = work.flush.take(QUEUES_MAX);
        let mut flushing = std::pin::pin!(inner.flush_with(&waiting, false, patience));
        let flushed = tokio::select! {
            flushed = &mut flushing => flushed,
            () = work.flush_awaited.notified() => {
                inner.journal.hurry();
                flushing.await
            }
        };
        match flushed {
            Ok(()) => {}
            Err(Unavailable::DiskFull) => {
                waiting.iter().for_each(|queue| work.flush.put(*queue));
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(Unavailable::Stopped(reason)) => {
                tracing::warn!(reason, "settlements are not written any more");
                return inner.queues().stop();
            }
        }
    }
}

/// Writes what is left at the end. All queues are asked: [`run`] may have ended, or be about to, with some that it had taken and
/// not written.
pub(crate) async fn finish(inner: &Inner) {
    let entries = inner.queues().all_entries();
    let changed = entries.iter().filter(|entry| entry.lock().queue.has_changes());
    let changed: Vec<QueueId> = changed.map(|entry| entry.id()).collect();
    for queues in changed.chunks(QUEUES_MAX) {
        if let Err(error) = inner.flush(queues, false).await {
            tracing::warn!(%error, "the last settlements are not written: their messages will be delivered again");
            return;
        }
    }
}

impl Inner {
    /// Writes what these queues settled. Durable on return. With `eager` their logs are trimmed also where it frees little.
    pub(super) async fn flush(&self, ids: &[QueueId], eager: bool) -> Result<(), Unavailable> {
        self.flush_with(ids, eager, Patience::None).await
    }

    async fn flush_with(&self, ids: &[QueueId], eager: bool, patience: Patience) -> Result<(), Unavailable> {
        let entries = self.queues().entries_of(ids);
        let bound = |entry: &Arc<QueueEntry>| len_max(&entry.lock()) + SLACK;
        let bytes: usize = 128 + entries.iter().map(bound).sum::<usize>();
        let purpose = if eager { Purpose::Control } else { Purpose::State };
        let permit = self.journal.admit(bytes, purpose).await?;
        if let Some(ticket) = self.submit_changes(&entries, permit, bytes, eager, patience) {
            ticket.await?;
        }
        Ok(())
    }

    fn submit_changes(
        &self,
        entries: &[Arc<QueueEntry>],
        permit: Permit,
        bytes: usize,
        eager: bool,
        patience: Patience,
    ) -> Option<Ticket> {
        let mut left = bytes - 128;
        let mut group = match patience {
            Patience::None => Group::new(),
            Patience::Next => Group::new().with_durability(Durability::Async).with_linger(LINGER),
        };
        let mut locked: Vec<MutexGuard<'_, QueueState>> = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut state = entry.lock();
            let needed = len_max(&state);
            if needed > left && !state.gone {
                // It grew meanwhile: it has its turn in the next group.
                self.queues().work.flush.put(entry.id());
                continue;
            }
            left = left.saturating_sub(needed);
            put_changes(entry.id(), &mut state, &mut group, eager);
            locked.push(state);
        }
        (!group.is_empty()).then(|| self.journal.submit(permit, group))
    }
}

/// The most that a queue writes now: an entry, and a trim for each lane and for its state log.
fn len_max(state: &QueueState) -> usize {
    const ENTRY: usize = 48;
    state.queue.entry_len_max() + ENTRY * (state.queue.lanes().count() + 2)
}

fn put_changes(queue: QueueId, state: &mut QueueState, group: &mut Group, eager: bool) {
    if state.gone {
        return;
    }
    for (lane, start) in state.queue.take_trims(eager) {
        group.trim(lane_log(queue, lane), start);
    }
    if let Some(entry) = state.queue.take_entry() {
        push_state(group, queue, &entry);
    }
}
