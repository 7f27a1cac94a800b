//! A clock that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::random::SplitMix;
use crate::{Source, TimestampMs};

/// The hand of a manual [`crate::Clock`]: moves its time forward, or makes its wall clock jump.
#[derive(Clone)]
pub struct ManualClock(Arc<State>);

struct State {
    wall_ms: AtomicI64,
    elapsed_ns: AtomicU64,
    random: SplitMix,
}

impl ManualClock {
    pub(crate) fn new(wall_ms: TimestampMs, seed: u64) -> Self {
        let (wall_ms, elapsed_ns) = (AtomicI64::new(wall_ms), AtomicU64::new(0));
        Self(Arc::new(State { wall_ms, elapsed_ns, random: SplitMix::new(seed) }))
    }

    /// Moves wall and elapsed time forward together. Parts of a millisecond move only the elapsed time.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.elapsed_ns.fetch_add(nanos, Ordering::SeqCst);
        self.0.wall_ms.fetch_add((nanos / 1_000_000) as i64, Ordering::SeqCst);
    }

    /// Sets the wall clock, as an operator or a time daemon may, in either direction. Elapsed time does not move.
    pub fn jump_to(&self, wall_ms: TimestampMs) {
        self.0.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Source for ManualClock {
    fn wall_ms(&self) -> TimestampMs {
        self.0.wall_ms.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.elapsed_ns.load(Ordering::SeqCst))
    }

    fn random(&self) -> u64 {
        self.0.random.next()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::Clock;

    #[test]
    fn a_wall_clock_jump_leaves_elapsed_time_alone() {
        let (clock, hand) = Clock::manual(5_000, 1);
        hand.advance(Duration::from_millis(10));
        hand.jump_to(100);
        assert_eq!((clock.now_ms(), clock.monotonic()), (100, Duration::from_millis(10)));
    }

    #[test]
    fn same_seed_same_ids() {
        let (a, b) = (Clock::manual(7, 9).0, Clock::manual(7, 9).0);
        assert_eq!((a.uuid_v7(), a.uuid_v4()), (b.uuid_v7(), b.uuid_v4()));
    }
}
