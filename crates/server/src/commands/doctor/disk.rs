//! Whether the disk syncs, and how fast.

use std::path::Path;
use std::time::Duration;

use annals_clock::Clock;

use super::Check;
use crate::disk::{Probe, Syncs};
use crate::human;

const NAME: &str = "disk sync";
const WRITES: u64 = 200;
const WRITE_BYTES: u64 = 4096;

/// No disk that keeps what it was given is faster than this, not even one whose cache survives a power cut.
const HONEST_MIN: Duration = Duration::from_micros(8);

/// Slower than this, and a producer that waits for each record notices.
const GOOD_P99_MAX: Duration = Duration::from_millis(25);

/// Times small synced writes in `directory`.
pub(crate) fn sync(directory: &Path) -> Check {
    let clock = Clock::system();
    let measured = Probe::new(directory, &clock).and_then(|probe| probe.sync_writes(WRITE_BYTES, WRITES));
    match measured {
        Ok(syncs) => judge(&syncs),
        Err(error) => Check::fail(NAME, format!("{error:#}"), "give a data directory that can be written to"),
    }
}

fn judge(syncs: &Syncs) -> Check {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| syncs.quantile(share));
    let text = |time| human::duration(time);
    let found = format!("4 KiB write + fdatasync: p50 {}, p99 {}, max {}", text(p50), text(p99), text(max));
    if p50 < HONEST_MIN {
        return Check::warn(
            NAME,
            found,
            "this is faster than a disk can be: the sync is probably ignored (a RAM disk, a container layer or \
             a library that turns fdatasync off), and a power cut would lose acknowledged records",
        );
    }
    if p99 > GOOD_P99_MAX {
        return Check::warn(
            NAME,
            found,
            "acknowledgements wait for this; a local SSD or NVMe disk is faster, larger batches wait less often",
        );
    }
    Check::ok(NAME, found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Verdict;
    use super::{Syncs, judge};

    fn verdict(micros: u64) -> Verdict {
        judge(&Syncs { write_bytes: 4096, times: vec![Duration::from_micros(micros); 100] }).verdict
    }

    #[test]
    fn too_fast_is_as_suspicious_as_slow() {
        assert_eq!(verdict(2), Verdict::Warn);
        assert_eq!(verdict(120), Verdict::Ok);
        assert_eq!(verdict(40_000), Verdict::Warn);
    }
}
