//! The raw disk, beside which the figures of a log mean something.

use std::path::{Path, PathBuf};

use annals_clock::Clock;
use anyhow::Result;

use super::report::Disk;
use crate::disk::{Probe, Syncs};

const LARGE_BYTES: u64 = 1 << 20;
const SMALL_BYTES: u64 = 4 << 10;
const LARGE_COUNT: u64 = 64;
/// Enough of them that the p99 of both halves stands on ten.
const SMALL_COUNT: u64 = 500;

/// Options of the disk alone.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory on the disk to measure
    #[arg(long, value_name = "DIR", default_value = ".")]
    disk_dir: PathBuf,
}

/// A baseline that is being measured.
pub(crate) struct Baseline {
    directory: PathBuf,
    clock: Clock,
    large: Syncs,
    small: Syncs,
}

impl Baseline {
    /// Measures a first half.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let (large, small) = (Syncs::default(), Syncs::default());
        let mut baseline = Self { directory: directory.to_owned(), clock: Clock::system(), large, small };
        baseline.measure()?;
        Ok(baseline)
    }

    /// Measures once more. The scratch file exists only meanwhile, so that it does not take part in the load.
    pub(crate) fn measure(&mut self) -> Result<()> {
        let probe = Probe::new(&self.directory, &self.clock)?;
        self.large.merge(probe.sync_writes(LARGE_BYTES, LARGE_COUNT)?);
        self.small.merge(probe.sync_writes(SMALL_BYTES, SMALL_COUNT)?);
        Ok(())
    }

    /// The figures of everything that was measured.
    pub(crate) fn finish(self) -> Disk {
        Disk::new(&self.directory, &self.large, &self.small)
    }
}

/// Measures the disk alone.
pub(crate) fn run(args: &Args) -> Result<Disk> {
    let mut baseline = Baseline::start(&args.disk_dir)?;
    baseline.measure()?;
    Ok(baseline.finish())
}
