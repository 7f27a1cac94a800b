//! The process itself, under the names that Prometheus' client libraries agreed on. Told on Linux only, from `/proc`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::encode_gauge;

/// The unit of times in `/proc`: USER_HZ is 100 in the interface of every architecture that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector;

/// What `/proc` says.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
    start_seconds: f64,
    open_files: u64,
    open_files_max: Option<u64>,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(facts) = Facts::read() else { return Ok(()) };
        let help = "Processor time used, in seconds.";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&facts.cpu_seconds, None)?;
        let mut gauge = |name, help, value: u64| encode_gauge(&mut encoder, name, help, &value);
        gauge("process_resident_memory_bytes", "Memory that is in RAM.", facts.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Address space in use.", facts.virtual_bytes)?;
        gauge("process_threads", "Threads.", facts.threads)?;
        gauge("process_open_fds", "Open file descriptors.", facts.open_files)?;
        if let Some(max) = facts.open_files_max {
            gauge("process_max_fds", "The most file descriptors that may be open.", max)?;
        }
        let help = "When the process started, in seconds since the Unix epoch.";
        encode_gauge(&mut encoder, "process_start_time_seconds", help, &facts.start_seconds)
    }
}

impl Facts {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let facts = Self::parse(&stat, &status, &limits, &system)?;
        // The directory that is being read is a descriptor as well.
        Some(Self { open_files: open_files.saturating_sub(1), ..facts })
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Option<Self> {
        // The second field is the program's name in brackets and may hold blanks. What follows counts from the third.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let boot_seconds: f64 = number_after(system, "btime")? as f64;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: number_after(status, "VmRSS:")? * 1024,
            start_seconds: boot_seconds + field(22)? as f64 / TICKS_PER_SECOND,
            open_files: 0,
            open_files_max: number_after(limits, "Max open files"),
        })
    }
}

/// The number that follows `label` at the start of a line.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_its_manual_says() {
        // proc(5): 14 utime, 15 stime, 20 num_threads, 22 starttime, 23 vsize.
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1000 2097152 300 0";
        let status = "Name:\ta\nVmRSS:\t    1200 kB\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let facts = Facts::parse(stat, status, limits, "cpu 1 2\nbtime 1700000000\n");
        let expected = Facts {
            cpu_seconds: 3.0,
            threads: 7,
            virtual_bytes: 2_097_152,
            resident_bytes: 1_228_800,
            start_seconds: 1_700_000_010.0,
            open_files: 0,
            open_files_max: Some(1024),
        };
        assert_eq!(facts, Some(expected));
    }
}
