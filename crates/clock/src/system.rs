//! The operating system's clock. The only place in the workspace that asks it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::random::SplitMix;
use crate::{Source, TimestampMs};

pub(crate) struct SystemClock {
    start: Instant,
    random: SplitMix,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub(crate) fn start() -> Self {
        // The standard library seeds its hasher from the system's randomness: no crate needed for one seed.
        let seed = RandomState::new().build_hasher().finish();
        Self { start: Instant::now(), random: SplitMix::new(seed) }
    }
}

impl Source for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn wall_ms(&self) -> TimestampMs {
        // A clock set before 1970 reads as the epoch itself: better than a panic at night.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self) -> u64 {
        self.random.next()
    }
}
