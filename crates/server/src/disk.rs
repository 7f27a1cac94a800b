//! What the disk itself can do: writes followed by fdatasync, without anything of Annals around them.
//!
//! The file is written and synced once before anything is measured, and then overwritten in order, as the
//! journal does with its preallocated segments. So neither allocation nor metadata is in the figures.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context, Result};

const FILE_BYTES: u64 = 64 << 20;

/// A scratch file that is measured and removed again.
#[derive(Debug)]
pub(crate) struct Probe {
    file: File,
    path: PathBuf,
    clock: Clock,
}

/// How long each write with its sync took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncs {
    /// Bytes of one write.
    pub(crate) write_bytes: u64,
    /// Time of each write and sync, in order of length.
    pub(crate) times: Vec<Duration>,
}

impl Probe {
    /// Makes the scratch file in `directory`.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub(crate) fn new(directory: &Path, clock: &Clock) -> Result<Self> {
        let name = format!("annals-probe-{}-{:x}", std::process::id(), clock.random());
        let path = directory.join(name);
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot write to {}", directory.display()))?;
        let probe = Self { file, path, clock: clock.clone() };
        probe.fill().with_context(|| format!("cannot write to {}", directory.display()))?;
        Ok(probe)
    }

    fn fill(&self) -> std::io::Result<()> {
        let chunk = self.noise(1 << 20);
        for position in (0..FILE_BYTES).step_by(chunk.len()) {
            self.file.write_all_at(&chunk, position)?;
        }
        self.file.sync_all()
    }

    /// Times `count` writes of `write_bytes`, each with its fdatasync.
    pub(crate) fn sync_writes(&self, write_bytes: u64, count: u64) -> Result<Syncs> {
        let data = self.noise(write_bytes as usize);
        let slots = FILE_BYTES / write_bytes;
        let mut times = Vec::with_capacity(count as usize);
        for turn in 0..count {
            let before = self.clock.monotonic();
            self.file.write_all_at(&data, turn % slots * write_bytes).context("cannot write to the disk")?;
            self.file.sync_data().context("cannot sync the disk")?;
            times.push(self.clock.monotonic() - before);
        }
        times.sort();
        Ok(Syncs { write_bytes, times })
    }

    /// Bytes that neither a filesystem nor a disk can compress away.
    fn noise(&self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.clock.random().to_le_bytes());
        words.take(length.div_ceil(8)).flatten().take(length).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            eprintln!("annals: cannot remove {}: {error}; remove it by hand", self.path.display());
        }
    }
}

impl Syncs {
    /// Adds what was measured in another round.
    pub(crate) fn merge(&mut self, other: Self) {
        self.write_bytes = other.write_bytes;
        self.times.extend(other.times);
        self.times.sort();
    }

    /// The time that `share` of all writes did not exceed; `share` is from 0 to 1.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        let rank = (share * self.times.len() as f64).ceil() as usize;
        self.times.get(rank.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    /// Bytes in a second, at the median time: one slow sync does not decide.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        self.write_bytes as f64 / self.quantile(0.5).as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use annals_clock::Clock;

    use super::{Probe, Syncs};

    #[test]
    fn a_probe_measures_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let probe = Probe::new(directory.path(), &Clock::system()).unwrap();
        let syncs = probe.sync_writes(4096, 3).unwrap();
        assert_eq!((syncs.times.len(), syncs.write_bytes), (3, 4096));
        drop(probe);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let syncs = Syncs { write_bytes: 1_000, times };
        assert_eq!(syncs.quantile(0.5), Duration::from_millis(50));
        assert_eq!(syncs.quantile(0.99), Duration::from_millis(99));
        assert_eq!(syncs.quantile(1.0), Duration::from_millis(100));
        assert_eq!(syncs.bytes_per_second(), 20_000.0);
        assert_eq!(Syncs::default().quantile(0.5), Duration::ZERO);
    }
}
