//! Memory as a quota: taken before bytes are read, given back when they are answered.
//!
//! Source: the quota on memory in flight of Apache Kafka's `queued.max.request.bytes` (KIP-72). A request that is larger
//! than a whole quota takes all of it, so it waits until it is alone, rather than for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_broker::{MemoryGuard, ProtocolMetrics};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of account. Also what a request costs at least, for what surrounds it.
const UNIT_BYTES: usize = 1024;

/// A number of bytes that requests share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    units_max: usize,
    /// How many wait for a share.
    waiting: Arc<AtomicUsize>,
}

/// A share of a [`Memory`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one who waits.
struct Wait<'a>(&'a AtomicUsize);

impl<'a> Wait<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the requests of one connection may take: from its own quota, and from the one of all.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionMemory {
    own: Memory,
    all: Memory,
    metrics: ProtocolMetrics,
}

/// What one request holds, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    own: Share,
    all: Share,
    bytes: usize,
    counted: MemoryGuard,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        // What one acquisition can take is a 32-bit number.
        let units_max = (bytes / UNIT_BYTES).clamp(1, (u32::MAX >> 3) as usize);
        Self { units: Arc::new(Semaphore::new(units_max)), units_max, waiting: Arc::default() }
    }

    /// Waits for memory. First come, first served.
    pub(crate) async fn take(&self, bytes: usize) -> Share {
        let _wait = Wait::begin(&self.waiting);
        // The semaphore is never closed; without a permit the bytes are merely not counted.
        let permit = Arc::clone(&self.units).acquire_many_owned(self.units(bytes)).await;
        self.share(permit.ok())
    }

    /// Takes memory if it is there now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(self.units(bytes)).ok()?;
        Some(self.share(Some(permit)))
    }

    fn share(&self, permit: Option<OwnedSemaphorePermit>) -> Share {
        Share { permit, waiting: Arc::clone(&self.waiting) }
    }

    /// The bytes that are taken.
    #[cfg(test)]
    pub(crate) fn taken_bytes(&self) -> usize {
        (self.units_max - self.units.available_permits()) * UNIT_BYTES
    }

    fn units(&self, bytes: usize) -> u32 {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.units_max);
        u32::try_from(units).unwrap_or(u32::MAX >> 3)
    }
}

impl Share {
    /// Whether somebody waits for a share of the same memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn merge(&mut self, other: Self) {
        match (&mut self.permit, other.permit) {
            (Some(own), Some(other)) => own.merge(other),
            (own, other) => *own = own.take().or(other),
        }
    }
}

impl ConnectionMemory {
    /// The memory of one more connection, which takes from `all` too.
    pub(crate) fn new(bytes: usize, all: &Memory, metrics: ProtocolMetrics) -> Self {
        Self { own: Memory::new(bytes), all: all.clone(), metrics }
    }

    /// Waits for memory: first until the connection's earlier requests leave enough, then until all others do.
    pub(crate) async fn take(&self, bytes: usize) -> Held {
        let own = self.own.take(bytes).await;
        let all = self.all.take(bytes).await;
        Held { own, all, bytes, counted: self.metrics.memory(bytes) }
    }

    /// Raises what a request holds to `bytes`, if that much is there now. Waiting while holding could be for ever.
    pub(crate) fn grow(&self, held: &mut Held, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(held.bytes).filter(|more| *more > 0) else { return true };
        let (own, all) = (self.own.try_take(more), self.all.try_take(more));
        let (Some(own), Some(all)) = (own, all) else { return false };
        held.own.merge(own);
        held.all.merge(all);
        held.bytes = bytes;
        held.counted.resize(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_can_be_taken_again() {
        let memory = Memory::new(4096);
        let share = memory.take(3000).await;
        assert_eq!(memory.taken_bytes(), 3 * 1024);
        assert!(memory.try_take(2000).is_none());
        drop(share);
        assert!(memory.try_take(2000).is_some());
        assert_eq!(memory.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn a_share_is_wanted_while_somebody_waits() {
        let memory = Memory::new(4096);
        let share = memory.take(4096).await;
        assert!(!share.is_wanted());
        {
            let mut next = Box::pin(memory.take(1024));
            assert!(next.as_mut().now_or_never().is_none());
            assert!(share.is_wanted());
        }
        assert!(!share.is_wanted(), "nobody waits any more");
    }

    #[tokio::test]
    async fn a_request_beyond_the_quota_takes_all_of_it() {
        let memory = Memory::new(4096);
        let _all = memory.take(1 << 40).await;
        assert!(memory.try_take(1).is_none());
    }

    #[tokio::test]
    async fn a_request_takes_from_its_connection_and_from_all() {
        let all = Memory::new(8192);
        let connection =
            ConnectionMemory::new(4096, &all, annals_broker::Metrics::default().protocol("kafka"));
        let mut held = connection.take(1024).await;
        assert!(connection.grow(&mut held, 4096) && connection.grow(&mut held, 100));
        assert!(!connection.grow(&mut held, 5000), "the connection has no more");
        assert_eq!(all.taken_bytes(), 4096);
        drop(held);
        assert_eq!((all.taken_bytes(), connection.own.taken_bytes()), (0, 0));
    }
}
