//! What queues keep in memory, counted together.

use std::sync::atomic::{AtomicUsize, Ordering};

use annals_queues::queue::Queue;

/// Bytes of messages in the memory of one queue, as they were counted last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// Of those that are on disk as well.
    hot: usize,
    /// Of those that are nowhere else.
    memory: usize,
}

impl Kept {
    pub(super) fn of(queue: &Queue) -> Self {
        Self { hot: queue.hot_bytes(), memory: queue.memory_bytes() }
    }
}

/// The same of all queues.
#[derive(Debug, Default)]
pub(super) struct Totals {
    hot: AtomicUsize,
    memory: AtomicUsize,
}

impl Totals {
    pub(super) fn hot(&self) -> usize {
        self.hot.load(Ordering::Relaxed)
    }

    pub(super) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Counts what one queue keeps now.
    pub(super) fn count(&self, before: &mut Kept, now: Kept) {
        change(&self.hot, before.hot, now.hot);
        change(&self.memory, before.memory, now.memory);
        *before = now;
    }
}

fn change(total: &AtomicUsize, before: usize, now: usize) {
    if now >= before {
        total.fetch_add(now - before, Ordering::Relaxed);
    } else {
        total.fetch_sub(before - now, Ordering::Relaxed);
    }
}
