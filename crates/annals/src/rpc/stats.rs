//! What happened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to the requests of a client since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Requests that wait for their reply now.
    pub waiting: u64,
    /// Requests that were put into a queue.
    pub sent: u64,
    /// Of those, the ones that were answered.
    pub replied: u64,
    /// Of those, the ones whose responder reported a failure.
    pub failed: u64,
    /// Requests that had no reply when their deadline passed.
    pub timed_out: u64,
    /// Replies that nobody waited for any more: the deadline had passed, the requester had given up, or somebody else had
    /// answered the same request before.
    pub late_replies: u64,
}

/// What happened in a responder since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponderStats {
    /// Requests that are worked on now.
    pub working: u64,
    /// Requests that were answered.
    pub replied: u64,
    /// Requests that were answered with a failure.
    pub failed: u64,
    /// Of those, the ones whose handler panicked.
    pub panicked: u64,
    /// Requests that were done and asked for no reply.
    pub one_way: u64,
    /// Requests that came late in spite of their time to live, and were not worked on.
    pub expired: u64,
    /// Requests that were handed out before, to somebody who did not finish them.
    pub redelivered: u64,
    /// Why no requests come now, if that is so. It is tried again.
    pub error: Option<String>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
