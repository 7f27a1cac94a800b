//! Upkeep: the background thread that seals full segments, deletes dead ones and rewrites those that pay for it.
//!
//! It holds no lock while it reads or writes, and nobody waits for it.

mod reclaim;
mod rewrite;
mod seal;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::id::{LogId, Sequence};
use crate::segment::Segment;
use crate::segment::footer::Control;
use crate::shared::Shared;

/// A segment that is full and whose groups are all applied.
pub(crate) struct SealJob {
    pub(crate) segment: Arc<Segment>,
    pub(crate) end: u64,
    /// The logs that have rows in it, sorted.
    pub(crate) logs: Vec<LogId>,
    /// What their machine wants to find again, in the order of `logs`.
    pub(crate) summaries: Vec<Vec<u8>>,
    pub(crate) controls: Vec<Control>,
    pub(crate) sequences: (Sequence, Sequence),
}

/// A wish to have a log's old segments rewritten.
struct RewriteJob {
    log: LogId,
    up_to: u64,
    done: oneshot::Sender<()>,
}

/// The mailbox of the thread.
#[derive(Default)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes that the writer wrote since the last look.
    writer_bytes: AtomicU64,
}

/// So many bytes written while a rewrite copied one frame mean that the writer is busy.
const BUSY_BYTES: u64 = 1 << 20;
/// Then the rewrite waits this long after each frame.
const YIELD: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    seals: VecDeque<SealJob>,
    rewrites: VecDeque<RewriteJob>,
    closed: bool,
    awake: bool,
}

impl Upkeep {
    pub(crate) fn seal(&self, job: SealJob) {
        self.lock().seals.push_back(job);
        self.changed.notify_all();
    }

    pub(crate) fn wake(&self) {
        self.lock().awake = true;
        self.changed.notify_all();
    }

    pub(crate) fn rewrite(&self, log: LogId, up_to: u64) -> oneshot::Receiver<()> {
        let (done, finished) = oneshot::channel();
        self.lock().rewrites.push_back(RewriteJob { log, up_to, done });
        self.changed.notify_all();
        finished
    }

    pub(crate) fn writer_wrote(&self, bytes: u64) {
        self.writer_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A rewrite copied some bytes: if the writer was busy meanwhile, it gets the disk for itself for a while.
    fn yield_to_writer(&self, shared: &Shared, copied: usize) {
        let written = self.writer_bytes.swap(0, Ordering::Relaxed);
        if written > BUSY_BYTES.max(copied as u64) && shared.queue.stopped().is_none() {
            std::thread::sleep(YIELD);
        }
    }

    /// Nothing new comes: the thread seals what is left and goes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn has_orders(&self) -> bool {
        let state = self.lock();
        state.closed || !state.seals.is_empty() || !state.rewrites.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until the journal closes.
pub(crate) fn run(shared: &Shared) {
    loop {
        let mut state = shared.upkeep.lock();
        if let Some(job) = state.seals.pop_front() {
            drop(state);
            seal::seal(shared, &job);
            continue;
        }
        if state.closed {
            return;
        }
        if let Some(job) = state.rewrites.pop_front() {
            drop(state);
            reclaim::rewrite_log(shared, job.log, job.up_to);
            // Whoever wished for it may have stopped waiting.
            let _ = job.done.send(());
            continue;
        }
        if !std::mem::take(&mut state.awake) {
            let waited = shared.upkeep.changed.wait_timeout(state, shared.options.upkeep_interval);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        while reclaim::round(shared) && !shared.upkeep.has_orders() {}
    }
}
