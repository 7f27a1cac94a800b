//! Apache Kafka as one node that is broker and KRaft controller, fetched and started by `cargo xtask kafka`.
//!
//! Its heap and garbage collector are those of its own start scripts. At its defaults it acknowledges what the operating
//! system has; `log.flush.interval.messages=1` (a topic's `flush.messages=1`) makes it sync every batch before that,
//! which is the promise of Annals.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Ports, Subject, SubjectRef, Tools};
use crate::command::output;

/// Kafka as it comes: nothing is synced before it is acknowledged.
pub(crate) const KAFKA: SubjectRef = &Kafka { key: "kafka", name: "Apache Kafka, defaults", settings: &[] };

/// Kafka with an fdatasync before each acknowledgement.
pub(crate) const KAFKA_FLUSH: SubjectRef = &Kafka {
    key: "kafka-flush",
    name: "Apache Kafka, flush.messages=1",
    settings: &["log.flush.interval.messages=1"],
};

/// The heap of `kafka-server-start.sh`.
const HEAP: &str = "1g";

struct Kafka {
    key: &'static str,
    name: &'static str,
    settings: &'static [&'static str],
}

impl Subject for Kafka {
    fn key(&self) -> &'static str {
        self.key
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn prepare(&self, tools: &Tools) -> Result<String> {
        let text = output(Command::new(&tools.xtask).args(["kafka", "--fetch"]))?;
        let Some(version) = text.split_whitespace().last() else {
            bail!("xtask does not say which Kafka it has")
        };
        Ok(version.to_owned())
    }

    fn command(&self, tools: &Tools, data: &Path, ports: &Ports) -> Command {
        let mut command = Command::new(&tools.xtask);
        command.args(["kafka", "--keep", "--heap", HEAP, "--port", &ports.clients.to_string()]);
        command.arg("--data-dir").arg(data);
        self.settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command
    }
}

/// Removes the indexes of all partitions in `data`, and the checkpoint that says up to where the log need not be read.
///
/// # Errors
/// If a file cannot be removed.
pub(crate) fn drop_indexes(data: &Path) -> Result<u64> {
    let logs = data.join("logs");
    let mut dropped = 0;
    for partition in fs::read_dir(&logs)? {
        let partition = partition?.path();
        if partition.is_dir() {
            dropped += drop_files(&partition, &["index", "timeindex", "txnindex", "snapshot"])?;
        }
    }
    for name in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"] {
        let _absent = fs::remove_file(logs.join(name));
    }
    Ok(dropped)
}

fn drop_files(folder: &Path, extensions: &[&str]) -> Result<u64> {
    let mut dropped = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_go_and_the_log_stays() {
        let data = tempfile::TempDir::new().unwrap();
        let partition = data.path().join("logs/orders-0");
        fs::create_dir_all(&partition).unwrap();
        for name in ["0.log", "0.index", "0.timeindex", "partition.metadata"] {
            fs::write(partition.join(name), "x").unwrap();
        }
        assert_eq!(drop_indexes(data.path()).unwrap(), 2);
        assert!(partition.join("0.log").exists());
    }
}
