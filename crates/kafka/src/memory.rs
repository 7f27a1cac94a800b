//! Memory as a quota: taken before bytes are read, given back when they are answered.
//!
//! Who waits for memory is served in the order of coming. Whoever holds memory without getting on (an answer whose client
//! does not read) can ask to be told when it is wanted, and gives back what it can do without: [`Share::wanted`] tells
//! one holder at a time, the one that has asked for longest first, until nobody waits any more.
//!
//! Source: the quota on memory in flight of Apache Kafka's `queued.max.request.bytes` (KIP-72). A request that is larger
//! than a whole quota takes all of it, so it waits until it is alone, rather than for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_broker::{MemoryGuard, ProtocolMetrics};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The unit of account. Also what a request costs at least, for what surrounds it.
const UNIT_BYTES: usize = 1024;

/// A number of bytes that requests share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Quota>);

#[derive(Debug)]
struct Quota {
    units: Arc<Semaphore>,
    units_max: usize,
    /// How many wait for a share.
    waiting: AtomicUsize,
    /// Tells holders that somebody waits.
    wanted: Notify,
}

/// A share of a [`Memory`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    quota: Arc<Quota>,
}

/// Counts one who waits.
struct Wait<'a>(&'a Quota);

impl<'a> Wait<'a> {
    fn begin(quota: &'a Quota) -> Self {
        quota.waiting.fetch_add(1, Ordering::SeqCst);
        quota.wanted.notify_one();
        Self(quota)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Quota {
    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Asks the next holder, if what was given back is not enough.
    fn ask_next(&self) {
        if self.is_wanted() {
            self.wanted.notify_one();
        }
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
        let (units, wanted) = (Arc::new(Semaphore::new(units_max)), Notify::new());
        Self(Arc::new(Quota { units, units_max, waiting: AtomicUsize::new(0), wanted }))
    }

    /// Waits for memory. First come, first served.
    pub(crate) async fn take(&self, bytes: usize) -> Share {
        if let Some(share) = self.try_take(bytes) {
            return share;
        }
        let _wait = Wait::begin(&self.0);
        // The semaphore is never closed; without a permit the bytes are merely not counted.
        let permit = Arc::clone(&self.0.units).acquire_many_owned(self.units(bytes)).await;
        self.share(permit.ok())
    }

    /// Takes memory if it is there now and nobody waits for it.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        let permit = Arc::clone(&self.0.units).try_acquire_many_owned(self.units(bytes)).ok()?;
        Some(self.share(Some(permit)))
    }

    /// Whether this much is there now.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        !self.0.is_wanted() && self.0.units.available_permits() >= self.units(bytes) as usize
    }

    fn share(&self, permit: Option<OwnedSemaphorePermit>) -> Share {
        Share { permit, quota: Arc::clone(&self.0) }
    }

    /// The bytes that are taken.
    #[cfg(test)]
    pub(crate) fn taken_bytes(&self) -> usize {
        (self.0.units_max - self.0.units.available_permits()) * UNIT_BYTES
    }

    fn units(&self, bytes: usize) -> u32 {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.0.units_max);
        u32::try_from(units).unwrap_or(u32::MAX >> 3)
    }
}

impl Share {
    /// Whether somebody waits for a share of the same memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.quota.is_wanted()
    }

    /// Waits until somebody waits for a share of the same memory. Cancel safe.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let quota = Arc::clone(&self.quota);
        async move {
            while !quota.is_wanted() {
                quota.wanted.notified().await;
            }
        }
    }

    /// Whether all of it was given back.
    pub(crate) fn is_empty(&self) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.num_permits() == 0)
    }

    /// Gives back all but `bytes`. What is less than a unit is not counted any more.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let Some(permit) = &mut self.permit else { return };
        let surplus = permit.num_permits().saturating_sub(bytes / UNIT_BYTES);
        drop(permit.split(surplus));
        self.quota.ask_next();
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        match (&mut self.permit, other.permit.take()) {
            (Some(own), Some(other)) => own.merge(other),
            (own, other) => *own = own.take().or(other),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.quota.ask_next();
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
    async fn holders_are_asked_one_after_another_until_nobody_waits() {
        let memory = Memory::new(4096);
        let (mut first, mut second) = (memory.take(2048).await, memory.take(2048).await);
        assert!(first.wanted().now_or_never().is_none() && second.wanted().now_or_never().is_none());
        let mut next = Box::pin(memory.take(3072));
        assert!(next.as_mut().now_or_never().is_none());
        first.wanted().await;
        first.shrink(1500);
        assert!(next.as_mut().now_or_never().is_none(), "one is not enough");
        second.wanted().await;
        second.shrink(0);
        let next = next.await;
        assert!(!first.is_wanted() && second.wanted().now_or_never().is_none());
        assert_eq!(memory.taken_bytes(), 4096);
        drop((first, next));
        assert!(memory.has(4096));
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
