//! Upkeep: the background thread that seals full segments, deletes dead ones and rewrites those that pay for it.
//!
//! It holds no lock while it reads or writes, and nobody waits for it. A rewrite may take long; between its frames the
//! thread looks up ([`Upkeep::attend`]): it seals what became full, gives the writer the disk, and ends at once when the
//! journal closes.

mod cluster;
mod patience;
mod reclaim;
mod rewrite;
mod seal;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::NotRewritten;
use crate::id::{LogId, Sequence};
use crate::segment::Segment;
use crate::segment::footer::Control;
use crate::shared::Shared;
use cluster::Measured;
use patience::Patience;
use rewrite::RewriteError;

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
    offsets: Range<u64>,
    done: oneshot::Sender<Result<(), NotRewritten>>,
}

/// The mailbox of the thread.
#[derive(Default)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes that the writer wrote since the last look.
    writer_bytes: AtomicU64,
    /// How the entries of segments lie.
    measured: Measured,
    /// What failed and when it is tried again.
    patience: Patience,
}

/// A rewrite looks up each time it has copied so much.
const STEP_BYTES: u64 = 1 << 20;

/// What a rewrite is for, and so how much it may be in the way of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// It gives back space, or its owner asked for it. When the writer wrote more than the rewrite did, it pauses shortly.
    Needed,
    /// It only makes later reads shorter. While anything is written at all it copies 2 MiB a second, which takes about
    /// one hundredth of a disk's time: less than the share of acknowledgements that a 99th percentile leaves out.
    /// It gives up when the disk is full or somebody asks for another rewrite.
    Leisure,
}

impl Pace {
    /// How long to leave the disk alone after copying a step, while the writer wrote so much.
    fn pause(self, written: u64) -> Duration {
        match self {
            Self::Needed if written > STEP_BYTES => Duration::from_millis(20),
            Self::Leisure if written > 0 => Duration::from_millis(500),
            Self::Needed | Self::Leisure => Duration::ZERO,
        }
    }
}

#[derive(Default)]
struct State {
    seals: VecDeque<SealJob>,
    /// Those that failed.
    unsealed: Vec<SealJob>,
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

    pub(crate) fn rewrite(
        &self,
        log: LogId,
        offsets: Range<u64>,
    ) -> oneshot::Receiver<Result<(), NotRewritten>> {
        let (done, finished) = oneshot::channel();
        let mut state = self.lock();
        // Once it is closed nobody takes it, and whoever waits learns that by `done` being gone.
        if !state.closed {
            state.rewrites.push_back(RewriteJob { log, offsets, done });
        }
        drop(state);
        self.changed.notify_all();
        finished
    }

    pub(crate) fn writer_wrote(&self, bytes: u64) {
        self.writer_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A rewrite copied a step: does what cannot wait for its end, and lets the writer have the disk.
    fn attend(&self, shared: &Shared, pace: Pace) -> Result<(), RewriteError> {
        let pause = pace.pause(self.writer_bytes.swap(0, Ordering::Relaxed));
        loop {
            let mut state = self.lock();
            if let Some(job) = state.seals.pop_front() {
                drop(state);
                seal::seal(shared, job);
                continue;
            }
            let urgent = pace == Pace::Leisure && (!state.rewrites.is_empty() || shared.space.is_full());
            if state.closed || urgent {
                return Err(RewriteError::GaveWay);
            }
            if pause.is_zero() || shared.queue.stopped().is_some() {
                return Ok(());
            }
            let waited = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
            if waited.1.timed_out() {
                return Ok(());
            }
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
            seal::seal(shared, job);
            continue;
        }
        if state.closed {
            state.rewrites.clear();
            drop(state);
            return seal::last_try(shared);
        }
        if let Some(job) = state.rewrites.pop_front() {
            drop(state);
            let rewritten = reclaim::rewrite_log(shared, job.log, &job.offsets);
            // Whoever wished for it may have stopped waiting.
            let _ = job.done.send(rewritten);
            continue;
        }
        if !std::mem::take(&mut state.awake) {
            let waited = shared.upkeep.changed.wait_timeout(state, shared.options.upkeep_interval);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        seal::try_again(shared);
        // A journal that stopped leaves its files to the next start.
        while !shared.upkeep.has_orders() && shared.queue.stopped().is_none() && reclaim::round(shared) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_for_readers_gives_way_to_any_write() {
        assert_eq!(Pace::Leisure.pause(0), Duration::ZERO);
        assert_eq!(Pace::Leisure.pause(1), Duration::from_millis(500));
        assert_eq!(Pace::Needed.pause(1), Duration::ZERO);
        assert_eq!(Pace::Needed.pause(STEP_BYTES + 1), Duration::from_millis(20));
    }
}
