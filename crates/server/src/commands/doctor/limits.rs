//! Limits of the operating system.

use rustix::process::{Resource, getrlimit};

use super::Check;

/// Sockets and segments of a small server.
const FILES_MIN: u64 = 256;

/// Enough for thousands of clients.
const FILES_GOOD: u64 = 4_096;

/// How many files and sockets a process may have open.
pub(crate) fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    judge(limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

fn judge(current: u64, maximum: u64) -> Check {
    const NAME: &str = "open files";
    let text = |limit: u64| if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() };
    let found = format!("limit {} (may be raised to {})", text(current), text(maximum));
    let advice =
        "each client takes one; raise it with \"ulimit -n 65536\" or LimitNOFILE=65536 in a systemd unit";
    match current {
        ..FILES_MIN => Check::fail(NAME, found, advice),
        FILES_MIN..FILES_GOOD => Check::warn(NAME, found, advice),
        FILES_GOOD.. => Check::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;

    #[test]
    fn few_files_are_not_enough() {
        assert_eq!(judge(64, 64).verdict, Verdict::Fail);
        assert_eq!(judge(1_024, 65_536).verdict, Verdict::Warn);
        assert_eq!(judge(u64::MAX, u64::MAX).verdict, Verdict::Ok);
    }
}
