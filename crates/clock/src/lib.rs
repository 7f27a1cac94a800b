//! Time and randomness, owned by whoever builds the process.
//!
//! Everything in Annals that needs the wall clock, elapsed time or a random number takes it from a [`Clock`]. The
//! server uses [`Clock::system`]; a test uses [`Clock::manual`] and decides itself when a second has passed, so that
//! a timeout, a retention period or an id is the same in every run.
//!
//! Invariants: [`Clock::monotonic`] never goes backwards, whatever the wall clock does. A clock made from the same
//! seed gives the same random numbers in the same order.

mod manual;
mod random;
mod system;

use std::sync::Arc;
use std::time::Duration;

pub use manual::ManualClock;
pub use uuid::Uuid;

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka and the journal store them.
pub type TimestampMs = i64;

/// What a clock can be asked. Implemented by the system clock and by [`ManualClock`].
trait Source: Send + Sync {
    fn wall_ms(&self) -> TimestampMs;
    fn elapsed(&self) -> Duration;
    fn random(&self) -> u64;
}

/// A cheap, cloneable handle to a source of time and randomness.
///
/// ```
/// use std::time::Duration;
/// use annals_clock::Clock;
///
/// let (clock, hand) = Clock::manual(1_700_000_000_000, 42);
/// let before = clock.monotonic();
/// hand.advance(Duration::from_secs(3));
/// assert_eq!(clock.now_ms(), 1_700_000_003_000);
/// assert_eq!(clock.monotonic() - before, Duration::from_secs(3));
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Source>);

impl Clock {
    /// The clock of the operating system, with randomness seeded by it.
    pub fn system() -> Self {
        Self(Arc::new(system::SystemClock::start()))
    }

    /// A clock that stands still at `wall_ms` until its hand is moved, with random numbers drawn from `seed`.
    pub fn manual(wall_ms: TimestampMs, seed: u64) -> (Self, ManualClock) {
        let hand = ManualClock::new(wall_ms, seed);
        (Self(Arc::new(hand.clone())), hand)
    }

    /// The wall clock, in milliseconds since the Unix epoch. May jump when an operator sets the clock.
    pub fn now_ms(&self) -> TimestampMs {
        self.0.wall_ms()
    }

    /// Time since this clock was made. Never goes backwards.
    pub fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    /// A random number. Good for ids and jitter, not for keys or secrets.
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// A UUID of version 7 (RFC 9562): ordered by time to the millisecond, random below that.
    ///
    /// ```
    /// let id = annals_clock::Clock::system().uuid_v7();
    /// assert_eq!(id.get_version_num(), 7);
    /// ```
    pub fn uuid_v7(&self) -> Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.random().to_le_bytes());
        random[8..].copy_from_slice(&self.random().to_le_bytes()[..2]);
        let millis = u64::try_from(self.now_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A random UUID (version 4), as Kafka uses for topic ids.
    pub fn uuid_v4(&self) -> Uuid {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.random().to_le_bytes());
        random[8..].copy_from_slice(&self.random().to_le_bytes());
        uuid::Builder::from_random_bytes(random).into_uuid()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("now_ms", &self.now_ms()).finish()
    }
}
