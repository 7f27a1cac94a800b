//! What a process costs, by `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// Processor time of a process in user and kernel: all its threads, its children that are there, and those that have ended.
///
/// # Errors
/// If the process is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the server ended?"))?;
    let own = with_ended(&stat).context("/proc/PID/stat lacks its times")?;
    // A child may end meanwhile; then its time is among those of the ended.
    let of_child = |child| with_ended(&fs::read_to_string(format!("/proc/{child}/stat")).ok()?);
    Ok(seconds(own + children(pid).into_iter().filter_map(of_child).sum::<u64>()))
}

/// Processor time of this process so far, without its children.
///
/// # Errors
/// If the system does not tell.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let [user, kernel, ..] = cpu_ticks(&stat).context("/proc/self/stat lacks its times")?;
    Ok(seconds(user + kernel))
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids = |list: String| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>();
    lists.flat_map(ids).collect()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn with_ended(stat: &str) -> Option<u64> {
    cpu_ticks(stat).map(|ticks| ticks.into_iter().sum())
}

/// Fields 14 to 17 of `/proc/PID/stat`: user and kernel, its own and of children that have ended. The name in field 2 may
/// have spaces in it, but is in parentheses.
fn cpu_ticks(stat: &str) -> Option<[u64; 4]> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some([next()?, next()?, next()?, next()?])
}

/// A line of `/proc/PID/status` that is in kB, in MiB.
pub(crate) fn status_mib(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 10 5 20 0 4 0 12345 1000 10";
        assert_eq!(cpu_ticks(stat), Some([250, 50, 10, 5]));
    }

    #[test]
    fn memory_is_in_mib() {
        let status = "Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(status_mib(status, "VmHWM"), Some(4.0));
        assert_eq!(status_mib(status, "VmRSS"), Some(2.0));
        assert_eq!(status_mib(status, "VmSwap"), None);
    }

    #[test]
    fn children_count() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let known = children(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(known.contains(&child.id()), "{known:?}");
    }
}
