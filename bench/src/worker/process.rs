//! What this process costs.

use anyhow::{Context as _, Result};

use crate::servers::usage;

/// Processor time so far, in microseconds.
pub(super) fn cpu_us() -> Result<f64> {
    usage::own_cpu_seconds().map(|seconds| seconds * 1e6)
}

/// Resident memory in MiB: now, and at its peak.
pub(super) fn resident_mib() -> Result<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let of = |key| usage::status_mib(&status, key).context("/proc/self/status lacks a line");
    Ok((of("VmRSS")?, of("VmHWM")?))
}
