//! The figures of a benchmark. MB are 1,000,000 bytes; latencies are in milliseconds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::disk::Syncs;
use crate::human;
use crate::output::{self, Align, Columns, Format};

/// Everything that one call has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The tests, in order.
    pub(crate) runs: Vec<Run>,
    /// The raw disk.
    pub(crate) disk: Option<Disk>,
}

/// The figures of one test.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    test: &'static str,
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_s: f64,
    mb_per_s: f64,
    latency_ms: Option<Times>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    p50: f64,
    p95: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// What the disk does without a log.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    directory: String,
    /// 1 MiB writes, each with fdatasync: bytes in a second at the median.
    sync_1mib_mb_per_s: f64,
    sync_1mib_ms: Times,
    /// 4 KiB writes, each with fdatasync.
    sync_4kib_ms: Times,
}

impl Run {
    /// The figures of `records` records of `size` bytes each.
    pub(crate) fn new(
        test: &'static str,
        records: u64,
        size: u64,
        elapsed: Duration,
        latency_ms: Option<Times>,
    ) -> Self {
        Self::of_bytes(test, records, records * size, elapsed, latency_ms)
    }

    /// The figures of `records` records of `bytes` bytes together.
    pub(crate) fn of_bytes(
        test: &'static str,
        records: u64,
        bytes: u64,
        elapsed: Duration,
        latency_ms: Option<Times>,
    ) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let (records_per_s, mb_per_s) = (records as f64 / seconds, bytes as f64 / seconds / 1e6);
        Self { test, records, bytes, seconds, records_per_s, mb_per_s, latency_ms }
    }
}

impl Times {
    /// The percentiles of a histogram of microseconds.
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        let at = |share: f64| micros.value_at_quantile(share) as f64 / 1e3;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: micros.max() as f64 / 1e3 }
    }

    fn of_syncs(syncs: &Syncs) -> Self {
        let at = |share: f64| syncs.quantile(share).as_secs_f64() * 1e3;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

impl Disk {
    /// The figures of large and small writes in `directory`.
    pub(crate) fn new(directory: &Path, large: &Syncs, small: &Syncs) -> Self {
        Self {
            directory: directory.display().to_string(),
            sync_1mib_mb_per_s: large.bytes_per_second() / 1e6,
            sync_1mib_ms: Times::of_syncs(large),
            sync_4kib_ms: Times::of_syncs(small),
        }
    }
}

impl Report {
    /// Prints the figures on standard output.
    pub(crate) fn print(&self, format: Format) -> Result<()> {
        if format == Format::Json {
            return output::json(self);
        }
        self.table().print()?;
        for line in self.comparison() {
            output::line(line)?;
        }
        Ok(())
    }

    fn table(&self) -> Columns {
        let headings = ["records", "MB/s", "records/s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms"];
        let mut all = vec![("test", Align::Left)];
        all.extend(headings.map(|heading| (heading, Align::Right)));
        let mut table = Columns::new(&all);
        for run in &self.runs {
            let (records, rate) = (human::count(run.records), human::count(run.records_per_s as u64));
            table.row(cells(run.test, records, Some(run.mb_per_s), rate, run.latency_ms));
        }
        if let Some(disk) = &self.disk {
            let dash = || "-".to_owned();
            let rate = Some(disk.sync_1mib_mb_per_s);
            table.row(cells("disk: 1 MiB + sync", dash(), rate, dash(), Some(disk.sync_1mib_ms)));
            table.row(cells("disk: 4 KiB + sync", dash(), None, dash(), Some(disk.sync_4kib_ms)));
        }
        table
    }

    /// What the figures are beside those of the disk.
    fn comparison(&self) -> Vec<String> {
        let produce = self.runs.iter().find(|run| run.test == "produce");
        let (Some(disk), Some(produce)) = (&self.disk, produce) else { return Vec::new() };
        let share = produce.mb_per_s / disk.sync_1mib_mb_per_s * 100.0;
        let mut lines =
            vec![String::new(), format!("produce is {share:.0} % of the raw disk's 1 MiB writes with sync")];
        if let Some(times) = produce.latency_ms {
            let factor = times.p99 / disk.sync_4kib_ms.p99;
            lines.push(format!("acknowledgement p99 is {factor:.1} times the raw 4 KiB sync p99"));
        }
        lines
    }
}

fn cells(
    test: &str,
    records: String,
    rate: Option<f64>,
    record_rate: String,
    times: Option<Times>,
) -> Vec<String> {
    let mut cells =
        vec![test.to_owned(), records, rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"))];
    cells.push(record_rate);
    match times {
        Some(t) => cells.extend([t.p50, t.p95, t.p99, t.p999, t.max].map(|ms| format!("{ms:.2}"))),
        None => cells.extend(std::iter::repeat_n("-".to_owned(), 5)),
    }
    cells
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::{Disk, Report, Run, Times};
    use crate::disk::Syncs;

    #[test]
    fn rates_come_from_counts_and_time() {
        let run = Run::new("produce", 2_000, 1_000, Duration::from_secs(2), None);
        assert_eq!((run.records_per_s, run.mb_per_s), (1_000.0, 1.0));
    }

    #[test]
    fn the_comparison_is_with_the_median_of_large_writes() {
        let mut acks = Histogram::<u64>::new(3).unwrap();
        acks.record(6_000).unwrap();
        // 1 MB in 5 ms is 200 MB/s; a small sync takes 2 ms.
        let large = Syncs { write_bytes: 1_000_000, times: vec![Duration::from_millis(5)] };
        let small = Syncs { write_bytes: 4_096, times: vec![Duration::from_millis(2)] };
        let run = Run::new("produce", 1_000, 100_000, Duration::from_secs(1), Some(Times::of(&acks)));
        let report = Report { runs: vec![run], disk: Some(Disk::new("/data".as_ref(), &large, &small)) };
        let text = report.comparison().join("\n");
        assert!(text.contains("produce is 50 % of") && text.contains("3.0 times"), "{text}");
    }
}
