//! Whether the clock can be believed: record timestamps, retention and ids depend on it.

use std::time::Duration;

use annals_clock::{Clock, TimestampMs};

use super::Check;
use crate::moment;

/// 2026-01-01, before which this program was not there.
const EARLIEST_MS: TimestampMs = 1_767_225_600_000;

/// 2100-01-01.
const LATEST_MS: TimestampMs = 4_102_444_800_000;

const WATCH: Duration = Duration::from_millis(200);

/// How far wall clock and elapsed time may drift apart meanwhile. A clock that is slewed does so by far less.
const DRIFT_MAX_MS: i64 = 20;

/// Looks at the date, and whether the clock runs evenly.
pub(crate) fn checks() -> Vec<Check> {
    let clock = Clock::system();
    let (wall_ms, elapsed) = (clock.now_ms(), clock.monotonic());
    std::thread::sleep(WATCH);
    let passed = (clock.monotonic() - elapsed).as_millis() as i64;
    vec![date(wall_ms), pace(clock.now_ms() - wall_ms - passed)]
}

fn date(now_ms: TimestampMs) -> Check {
    const NAME: &str = "date";
    let found = moment::format(now_ms);
    if (EARLIEST_MS..LATEST_MS).contains(&now_ms) {
        return Check::ok(NAME, found);
    }
    Check::fail(NAME, found, "set the clock, and keep it set with chrony or systemd-timesyncd")
}

fn pace(drift_ms: i64) -> Check {
    const NAME: &str = "clock pace";
    if drift_ms.abs() <= DRIFT_MAX_MS {
        return Check::ok(NAME, "steady");
    }
    let found = format!("jumped by {drift_ms} ms in {} ms", WATCH.as_millis());
    Check::warn(NAME, found, "something sets the clock in steps; let one time daemon slew it")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{date, pace};

    #[test]
    fn a_dead_battery_is_noticed() {
        assert_eq!(date(0).verdict, Verdict::Fail);
        assert_eq!(date(1_800_000_000_000).verdict, Verdict::Ok);
    }

    #[test]
    fn a_jump_is_noticed_and_jitter_is_not() {
        assert_eq!(pace(1).verdict, Verdict::Ok);
        assert_eq!(pace(-3_600_000).verdict, Verdict::Warn);
    }
}
