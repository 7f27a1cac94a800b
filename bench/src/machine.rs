//! The machine that the figures are from.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::command::output;

/// What a reader needs to judge the figures.
#[derive(Serialize, Deserialize, Clone, Default, PartialEq, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) filesystem: String,
    pub(crate) java: String,
    /// The commit of Annals that was measured.
    pub(crate) commit: String,
}

impl Machine {
    /// Asks the system. What it does not tell stays empty.
    pub(crate) fn look(root: &Path, data: &Path) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let memory_kib = value(&memory, "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        let folder = fs::canonicalize(data).unwrap_or_else(|_| data.into());
        Self {
            cpu: value(&cpu, "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (memory_kib / 1024.0 / 102.4).round() / 10.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            filesystem: filesystem(&mounts, &folder),
            java: java(),
            commit: commit(root),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, filesystem, java, commit } = self;
        format!(
            "{cores} cores ({cpu}), {memory_gib} GiB of memory, {filesystem}, Linux {kernel}, Java {java}, \
             Annals at {commit}"
        )
    }
}

/// The value of the first line `KEY : VALUE`.
fn value(text: &str, key: &str) -> String {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
    values.next().unwrap_or_default()
}

/// The type of the filesystem that `folder` is on: that of the longest mount point above it.
fn filesystem(mounts: &str, folder: &Path) -> String {
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = points.filter(|(point, _)| folder.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

/// `java -version` writes to standard error: `openjdk version "17.0.15" 2025-04-15`.
fn java() -> String {
    let Ok(output) = Command::new("java").arg("-version").output() else { return "absent".into() };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.split('"').nth(1).unwrap_or("unknown").to_owned()
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(root).args(arguments));
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|_| "an unknown commit".into());
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "crates"]).unwrap_or_default();
    format!("{}{}", commit.trim(), if changed.is_empty() { "" } else { " with changes" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_point_decides() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/home")), "ext4");
    }

    #[test]
    fn values_are_found_by_their_key() {
        assert_eq!(value("MemTotal:   2048 kB\nMemFree: 1 kB", "MemTotal"), "2048 kB");
        assert_eq!(value("processor\t: 0\nmodel name\t: Some CPU\n", "model name"), "Some CPU");
    }
}
