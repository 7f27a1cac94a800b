//! How far the journal is on disk, for those who destroy what newer groups have replaced.
//!
//! A group may be applied before it is durable ([`crate::Durability::Async`]). What it trims, deletes or replaces must stay
//! until it is durable: otherwise a power failure could take both the old and the new.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::id::Sequence;

/// The last group that is known to be on disk.
pub(crate) struct Durable {
    last: Mutex<Sequence>,
    grown: Condvar,
    /// The same for tasks.
    told: Notify,
}

impl Durable {
    pub(crate) fn new(last: Sequence) -> Self {
        Self { last: Mutex::new(last), grown: Condvar::new(), told: Notify::new() }
    }

    pub(crate) fn reached(&self, sequence: Sequence) {
        let mut last = self.lock();
        if sequence > *last {
            *last = sequence;
            drop(last);
            self.grown.notify_all();
            self.told.notify_waiters();
        }
    }

    pub(crate) fn is_at(&self, sequence: Sequence) -> bool {
        *self.lock() >= sequence
    }

    /// Waits for it. `false` if `stopped` says that it will never be; whoever stops the journal calls [`Self::wake`].
    pub(crate) fn wait(&self, sequence: Sequence, stopped: impl Fn() -> bool) -> bool {
        let mut last = self.lock();
        while *last < sequence {
            if stopped() {
                return false;
            }
            last = self.grown.wait(last).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// The same for a task.
    pub(crate) async fn reaches(&self, sequence: Sequence, stopped: impl Fn() -> bool) -> bool {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            told.as_mut().enable();
            if self.is_at(sequence) {
                return true;
            }
            if stopped() {
                return false;
            }
            told.await;
        }
    }

    /// Has those who wait look again.
    pub(crate) fn wake(&self) {
        // With the lock nobody is between looking and waiting.
        let _last = self.lock();
        self.grown.notify_all();
        self.told.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Sequence> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
