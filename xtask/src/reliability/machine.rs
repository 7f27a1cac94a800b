//! When, with what and on what a line was run.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::shell;
use crate::workspace::Workspace;

/// What a reader needs to judge a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) date: String,
    pub(super) version: String,
    pub(super) machine: String,
}

/// Asks the system.
pub(super) fn look(workspace: &Workspace) -> Result<Taken> {
    let date = shell::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?.trim().to_owned();
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short", "HEAD"]).current_dir(&workspace.root);
    let commit = shell::output(&mut git).unwrap_or_default();
    let version = format!("{} ({})", env!("CARGO_PKG_VERSION"), commit.trim());
    Ok(Taken { date, version, machine: machine() })
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Of a kernel's name only the number.
    let kernel = kernel.trim().split(['-', '+']).next().unwrap_or_default().to_owned();
    format!("{cores} cores, {} GiB of memory, Linux {kernel}", memory_gib(&memory))
}

/// `MemTotal:       24683516 kB`
fn memory_gib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    (kib + (1 << 19)) >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_rounded() {
        assert_eq!(memory_gib("MemTotal:       24683516 kB\nMemFree: 1 kB"), 24);
        assert_eq!(memory_gib(""), 0);
    }
}
