//! Annals itself, in both durabilities.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Ports, Protocol, Subject, SubjectRef, Tools};
use crate::command::output;

/// Acknowledges when the data is on disk: the default.
pub(crate) const ANNALS_SYNC: SubjectRef =
    &Annals { key: "annals-sync", name: "Annals, sync", durability: "sync", protocol: Protocol::Kafka };

/// Acknowledges when the operating system has the data.
pub(crate) const ANNALS_ASYNC: SubjectRef =
    &Annals { key: "annals-async", name: "Annals, async", durability: "async", protocol: Protocol::Kafka };

/// The default, with clients that speak AMQP.
pub(crate) const ANNALS_QUEUES: SubjectRef = &Annals {
    key: "annals-queues",
    name: "Annals, sync",
    durability: "sync",
    protocol: Protocol::Amqp { queue_type: None },
};

/// The trailer of a footer; see docs/format.md.
const TRAILER_BYTES: u64 = 80;
const TRAILER_MAGIC: &[u8; 8] = b"AnFooter";
const DATA_END_AT: usize = 24;

struct Annals {
    key: &'static str,
    name: &'static str,
    durability: &'static str,
    protocol: Protocol,
}

impl Subject for Annals {
    fn key(&self) -> &'static str {
        self.key
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn prepare(&self, tools: &Tools) -> Result<String> {
        let text = output(Command::new(&tools.annals).arg("--version"))?;
        Ok(text.trim().trim_start_matches("annals ").to_owned())
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn command(&self, tools: &Tools, data: &Path, ports: &Ports) -> Command {
        let clients = format!("127.0.0.1:{}", ports.clients);
        let (kafka, amqp) = match self.protocol {
            Protocol::Amqp { .. } => ("127.0.0.1:0", clients.as_str()),
            Protocol::Kafka | Protocol::Postgres | Protocol::Http2 => (clients.as_str(), ""),
        };
        let mut command = Command::new(&tools.annals);
        command.args(["serve", "--durability", self.durability]);
        command.args(["--http-addr", &format!("127.0.0.1:{}", ports.others[0])]);
        command.args(["--kafka-addr", kafka, "--amqp-addr", amqp, "--data-dir"]).arg(data);
        command
    }
}

/// Cuts the footer off every sealed segment in `data`, so that the next start has to read the frames. Returns how many.
///
/// # Errors
/// If a segment cannot be read or cut.
pub(crate) fn drop_footers(data: &Path) -> Result<u64> {
    let mut dropped = 0;
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "segment") {
            let cut = drop_footer(&path).with_context(|| format!("cannot cut {}", path.display()))?;
            dropped += u64::from(cut);
        }
    }
    Ok(dropped)
}

fn drop_footer(path: &Path) -> Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let Some(trailer_at) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(false) };
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let data_end = trailer[DATA_END_AT..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if !trailer.starts_with(TRAILER_MAGIC) || data_end > trailer_at {
        return Ok(false);
    }
    file.set_len(data_end)?;
    file.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_is_cut_where_its_trailer_says() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut sealed = b"frames, and then the directory".to_vec();
        let mut trailer = [0; 80];
        trailer[..8].copy_from_slice(b"AnFooter");
        trailer[24..32].copy_from_slice(&6_u64.to_le_bytes());
        sealed.extend_from_slice(&trailer);
        fs::write(folder.path().join("a.segment"), sealed).unwrap();
        fs::write(folder.path().join("b.segment"), [0; 100]).unwrap();
        assert_eq!(drop_footers(folder.path()).unwrap(), 1);
        assert_eq!(fs::read(folder.path().join("a.segment")).unwrap(), b"frames");
        assert_eq!(fs::read(folder.path().join("b.segment")).unwrap().len(), 100);
    }
}
