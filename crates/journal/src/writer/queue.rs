//! The queue between those who append and the writer thread. Its order is the order of the journal.
//!
//! Bounded by the admission that every group passes first: see [`crate::space`] and `in_flight_bytes_max`.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::entry::Group;
use crate::error::AppendError;
use crate::id::Sequence;
use crate::writer::gather::Wish;

/// A group that waits for the disk.
pub(crate) struct Pending {
    pub(crate) group: Group,
    pub(crate) reservation: u64,
    pub(crate) submitted: Duration,
    pub(crate) done: oneshot::Sender<Result<Sequence, AppendError>>,
    /// Gives the memory back when the group is done with.
    pub(crate) _memory: OwnedSemaphorePermit,
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// One of those that wait does not linger.
    hurried: bool,
    /// The writer wants to know when so many wait.
    awaited: Option<usize>,
    closed: bool,
    roll: bool,
    sync: bool,
    /// Once set, nothing is taken any more.
    stopped: Option<String>,
}

impl State {
    /// How long what waits may linger. `None` if nothing does or it is to be written now.
    fn linger(&self) -> Option<Duration> {
        let lingers = !self.hurried && !self.is_wanted();
        self.waiting.front().filter(|_| lingers).and_then(|pending| pending.group.linger)
    }

    /// Whether the writer is wanted for something else than groups.
    fn is_wanted(&self) -> bool {
        self.closed || self.roll || self.sync
    }
}

/// What the writer finds.
pub(crate) enum Taken {
    Groups(VecDeque<Pending>),
    /// Somebody wants the active segment closed.
    Roll,
    /// Somebody wants what is written to be durable: see [`Queue::take_sync`].
    Sync,
    /// Nothing came for as long as the writer was ready to wait.
    Nothing,
    /// Closed and empty: the writer may go.
    Closed,
}

impl Queue {
    /// Appends a group, or gives it back if the journal takes no more.
    pub(crate) fn push(&self, pending: Pending) {
        let mut state = self.lock();
        let refusal = match &state.stopped {
            Some(reason) => Some(reason.clone()),
            None if state.closed => Some("it was closed".to_owned()),
            None => None,
        };
        if let Some(reason) = refusal {
            drop(state);
            // The caller may have gone; then nobody wants to know.
            let _ = pending.done.send(Err(AppendError::Stopped { reason }));
            return;
        }
        let (was_empty, was_hurried) = (state.waiting.is_empty(), state.hurried);
        state.hurried |= pending.group.linger.is_none();
        state.waiting.push_back(pending);
        if was_empty || state.hurried != was_hurried || state.awaited == Some(state.waiting.len()) {
            self.filled.notify_one();
        }
    }

    /// Whether nothing waits that does not linger.
    pub(crate) fn is_idle(&self) -> bool {
        !self.lock().hurried
    }

    /// Has what lingers written now.
    pub(crate) fn hurry(&self) {
        let mut state = self.lock();
        state.hurried = !state.waiting.is_empty();
        self.filled.notify_one();
    }

    /// Waits for what is wished, and returns how many groups wait then.
    pub(crate) fn gather(&self, wish: &Wish) -> usize {
        let mut state = self.lock();
        state.awaited = Some(wish.waiting);
        let too_few = |state: &mut State| state.waiting.len() < wish.waiting && !state.is_wanted();
        let mut left = wish.wait;
        while !left.is_zero() && too_few(&mut state) {
            let (before, pause) = (state.waiting.len(), wish.pause.min(left));
            let waited = self.filled.wait_timeout_while(state, pause, too_few);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            // Nobody else seems to be coming.
            left = if state.waiting.len() > before { left - pause } else { Duration::ZERO };
        }
        state.awaited = None;
        state.waiting.len()
    }

    /// How many groups wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes everything that waits; if nothing does, waits up to `patience`.
    pub(crate) fn take(&self, patience: Duration) -> Taken {
        let mut state = self.lock();
        loop {
            let linger = state.linger();
            if linger.is_none() && !state.waiting.is_empty() {
                break;
            }
            if state.waiting.is_empty() {
                if state.closed {
                    return Taken::Closed;
                }
                if std::mem::take(&mut state.roll) {
                    return Taken::Roll;
                }
                if state.sync {
                    return Taken::Sync;
                }
            }
            let timeout = linger.unwrap_or(patience);
            let waited = self.filled.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            match (waited.1.timed_out(), linger) {
                (true, Some(_)) => break,
                (true, None) if state.waiting.is_empty() && !state.is_wanted() => return Taken::Nothing,
                _ => {}
            }
        }
        state.hurried = false;
        Taken::Groups(std::mem::take(&mut state.waiting))
    }

    /// Has the active segment closed when the groups that wait are written.
    pub(crate) fn request_roll(&self) {
        self.lock().roll = true;
        self.filled.notify_one();
    }

    /// Has what is written made durable soon, also where groups keep coming.
    pub(crate) fn request_sync(&self) {
        self.lock().sync = true;
        self.filled.notify_one();
    }

    /// Whether somebody wanted that. Then it must be done.
    pub(crate) fn take_sync(&self) -> bool {
        std::mem::take(&mut self.lock().sync)
    }

    /// No group is taken any more; what waits is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Refuses everything from now on and gives back what waits.
    pub(crate) fn stop(&self, reason: &str) -> VecDeque<Pending> {
        let mut state = self.lock();
        state.stopped.get_or_insert_with(|| reason.to_owned());
        std::mem::take(&mut state.waiting)
    }

    pub(crate) fn stopped(&self) -> Option<String> {
        self.lock().stopped.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
