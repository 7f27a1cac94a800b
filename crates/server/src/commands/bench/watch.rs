//! A clock that is not read for every record.
//!
//! At a million records a second, reading the clock for each takes the client a twentieth of a processor, which is then
//! missing in what is measured. So a sender without a rate reads it once for a few records, which are microseconds apart.
//! With a rate records may be far apart, and every one has a reading of its own.

use std::time::Duration;

use annals_clock::Clock;

/// Records that share one reading: less than 0.1 ms of a producer at full speed.
const RECORDS_SHARED: u32 = 16;

/// Tells the time of many records in a row.
pub(crate) struct Watch {
    clock: Clock,
    shared_by: u32,
    left: u32,
    now: Duration,
}

impl Watch {
    /// Reads the clock for every record if they come at a rate.
    pub(crate) fn new(clock: &Clock, has_rate: bool) -> Self {
        let shared_by = if has_rate { 1 } else { RECORDS_SHARED };
        Self { clock: clock.clone(), shared_by, left: 0, now: Duration::ZERO }
    }

    /// The time of the next record.
    pub(crate) fn read(&mut self) -> Duration {
        if self.left == 0 {
            self.now = self.clock.monotonic();
            self.left = self.shared_by;
        }
        self.left -= 1;
        self.now
    }

    /// Makes the next record read the clock, since time has passed.
    pub(crate) fn lapse(&mut self) {
        self.left = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use annals_clock::Clock;

    use super::{RECORDS_SHARED, Watch};

    #[test]
    fn records_without_a_rate_share_a_reading_until_it_lapses() {
        let (clock, manual) = Clock::manual(0, 1);
        let mut watch = Watch::new(&clock, false);
        let first = watch.read();
        manual.advance(Duration::from_millis(5));
        assert!((1..RECORDS_SHARED).all(|_| watch.read() == first));
        assert_eq!(watch.read() - first, Duration::from_millis(5));
        manual.advance(Duration::from_millis(2));
        watch.lapse();
        assert_eq!(watch.read() - first, Duration::from_millis(7));
    }

    #[test]
    fn records_with_a_rate_have_their_own() {
        let (clock, manual) = Clock::manual(0, 1);
        let mut watch = Watch::new(&clock, true);
        let first = watch.read();
        manual.advance(Duration::from_millis(1));
        assert_eq!(watch.read() - first, Duration::from_millis(1));
    }
}
