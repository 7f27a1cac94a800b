//! Load from `annals bench`: librdkafka, the same client with the same settings against every server.
//!
//! The generator is a process of its own, so that the processor time of the server is its own. Values are random and do
//! not repeat, and the client compresses nothing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::command::output;
use crate::servers::{Running, Tools};

/// One call of the generator. Each scenario sets what it is about.
#[derive(Clone)]
pub(crate) struct Load {
    test: &'static str,
    arguments: Vec<String>,
    has_topic: bool,
    beside_disk: bool,
}

/// What one load has measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) records_per_s: f64,
    pub(crate) mb_per_s: f64,
    /// Acknowledgements of a producer, or the whole way; none for a consumer.
    pub(crate) latency_ms: Option<Times>,
    /// The raw disk, half before and half after; only if the load asked for it.
    pub(crate) disk: Option<Disk>,
    /// Processor seconds that the server took for 1,000,000,000 bytes of values.
    pub(crate) cpu_s_per_gb: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
}

/// What the disk does without a server.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Disk {
    /// 1 MiB writes, each with fdatasync.
    #[serde(rename = "sync_1mib_mb_per_s")]
    pub(crate) large_mb_per_s: f64,
    /// 4 KiB writes, each with fdatasync.
    #[serde(rename = "sync_4kib_ms")]
    pub(crate) small_ms: Times,
}

#[derive(Deserialize)]
struct Report {
    runs: Vec<Run>,
    disk: Option<Disk>,
}

#[derive(Deserialize)]
struct Run {
    bytes: f64,
    records_per_s: f64,
    mb_per_s: f64,
    latency_ms: Option<Times>,
}

impl Load {
    /// Writes 1 KiB records with acks=all.
    pub(crate) fn produce() -> Self {
        Self::of("produce")
    }

    /// Reads a topic from its start, once.
    pub(crate) fn consume() -> Self {
        Self::of("consume")
    }

    /// Writes and reads at the same time, and times the whole way.
    pub(crate) fn end_to_end() -> Self {
        Self::of("e2e")
    }

    fn of(test: &'static str) -> Self {
        Self { test, arguments: Vec::new(), has_topic: false, beside_disk: false }
    }

    fn with(mut self, option: &str, value: impl Into<String>) -> Self {
        self.arguments.extend([format!("--{option}"), value.into()]);
        self
    }

    /// Producers, each with its own connection.
    pub(crate) fn producers(self, count: u64) -> Self {
        self.with("producers", count.to_string())
    }

    /// Partitions of the topic, if this load creates it.
    pub(crate) fn partitions(self, count: u64) -> Self {
        self.with("partitions", count.to_string())
    }

    /// How long to send.
    pub(crate) fn lasting(self, duration: Duration) -> Self {
        self.with("duration", format!("{}ms", duration.as_millis()))
    }

    /// How many records to send or to read.
    pub(crate) fn records(self, count: u64) -> Self {
        self.with("count", count.to_string())
    }

    /// Records a second, of all producers together.
    pub(crate) fn rate(self, per_second: u64) -> Self {
        self.with("rate", per_second.max(1).to_string())
    }

    /// How long a batch waits for more.
    pub(crate) fn linger_ms(self, millis: u64) -> Self {
        self.with("linger", format!("{millis}ms"))
    }

    /// Records that each producer leaves unacknowledged.
    pub(crate) fn window(self, records: u64) -> Self {
        self.with("window", records.to_string())
    }

    /// Uses this topic, and leaves it there.
    pub(crate) fn into_topic(mut self, name: &str) -> Self {
        self.arguments.push("--keep".into());
        self.has_topic = true;
        self.with("topic", name)
    }

    /// Uses a topic named after `case` if none was chosen, and leaves it there: deleting gigabytes would disturb what is
    /// measured next.
    pub(crate) fn or_into_topic_of(self, case: &str) -> Self {
        if self.has_topic {
            return self;
        }
        let name: String = case.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.into_topic(&name)
    }

    /// Measures the raw disk just before and just after it.
    pub(crate) fn beside_disk(mut self) -> Self {
        self.beside_disk = true;
        self
    }

    /// Puts the load on `server` and waits for its end.
    ///
    /// # Errors
    /// If the generator fails, which it does if a record cannot be written or read.
    pub(crate) fn run(&self, tools: &Tools, server: &Running) -> Result<Outcome> {
        let before = server.cpu_seconds()?;
        let text = output(&mut self.command(tools, server)).with_context(|| format!("load: {self}"))?;
        let cpu = server.cpu_seconds()? - before;
        let report: Report = serde_json::from_str(&text).context("annals bench printed other JSON")?;
        let [run] = &report.runs[..] else { bail!("annals bench reported {} runs", report.runs.len()) };
        Ok(Outcome {
            records_per_s: run.records_per_s,
            mb_per_s: run.mb_per_s,
            latency_ms: run.latency_ms,
            disk: report.disk,
            cpu_s_per_gb: cpu / (run.bytes / 1e9).max(1e-9),
        })
    }

    /// What runs it; the caller starts and awaits it if it is to run beside something.
    pub(crate) fn command(&self, tools: &Tools, server: &Running) -> Command {
        let mut command = Command::new(&tools.annals);
        command.args(["bench", self.test, "-o", "json", "--bootstrap-server", server.address()]);
        command.args(&self.arguments);
        if self.beside_disk {
            command.arg("--disk-dir").arg(server.data());
        }
        command
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.test, self.arguments.join(" "))
    }
}

/// Measures the raw disk under `directory`.
///
/// # Errors
/// If the directory cannot be written to.
pub(crate) fn raw_disk(tools: &Tools, directory: &std::path::Path) -> Result<Disk> {
    let mut command = Command::new(&tools.annals);
    command.args(["bench", "disk", "-o", "json", "--disk-dir"]).arg(directory);
    let report: Report = serde_json::from_str(&output(&mut command)?)?;
    report.disk.context("annals bench reported no disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_the_generator_is_read() {
        let text = r#"{"runs": [{"test": "produce", "records": 2, "bytes": 2048, "seconds": 1.0,
            "records_per_s": 2.0, "mb_per_s": 0.002,
            "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "p99.9": 4.0, "max": 5.0}}],
            "disk": {"directory": ".", "sync_1mib_mb_per_s": 800.0,
            "sync_1mib_ms": {"p50": 1, "p95": 1, "p99": 1, "p99.9": 1, "max": 1},
            "sync_4kib_ms": {"p50": 0.1, "p95": 0.2, "p99": 0.3, "p99.9": 0.4, "max": 0.5}}}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(report.runs[0].latency_ms.unwrap().p999, 4.0);
        assert_eq!(report.disk.unwrap().small_ms.p99, 0.3);
    }

    #[test]
    fn a_topic_is_named_after_its_case_unless_it_has_a_name() {
        let load = Load::produce().or_into_topic_of("at 70 %, linger 5");
        assert_eq!(load.to_string(), "produce --keep --topic at-70----linger-5");
        assert_eq!(
            Load::consume().into_topic("t").or_into_topic_of("case").to_string(),
            "consume --keep --topic t"
        );
    }

    #[test]
    fn options_become_arguments() {
        let load = Load::produce().producers(4).lasting(Duration::from_secs(2)).into_topic("t");
        assert_eq!(load.to_string(), "produce --producers 4 --duration 2000ms --keep --topic t");
    }
}
