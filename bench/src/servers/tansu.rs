//! Tansu, a broker of the Kafka protocol in Rust, with two of its storages: SQLite, the one that keeps data on a local
//! disk, and memory, which keeps nothing.
//!
//! Tansu opens SQLite with a write-ahead log and `synchronous=normal`, so a commit is acknowledged before it is synced:
//! its promise is that of Kafka's defaults.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Ports, Subject, SubjectRef, Tools};
use crate::command::output;

/// The release that is installed.
const VERSION: &str = "0.6.0";

/// Tansu over SQLite. The path is taken from its working directory.
pub(crate) const TANSU: SubjectRef =
    &Tansu { key: "tansu", name: "Tansu, SQLite", storage: "sqlite://tansu.db" };

/// Tansu without a disk.
pub(crate) const TANSU_MEMORY: SubjectRef =
    &Tansu { key: "tansu-memory", name: "Tansu, memory", storage: "memory://tansu/" };

struct Tansu {
    key: &'static str,
    name: &'static str,
    storage: &'static str,
}

impl Tansu {
    fn root(tools: &Tools) -> PathBuf {
        tools.target.join("tools/tansu")
    }

    fn program(tools: &Tools) -> PathBuf {
        Self::root(tools).join("bin/tansu")
    }
}

impl Subject for Tansu {
    fn key(&self) -> &'static str {
        self.key
    }

    fn name(&self) -> &'static str {
        self.name
    }

    /// It is slow enough for single runs to take a minute.
    fn runs_max(&self) -> usize {
        2
    }

    fn prepare(&self, tools: &Tools) -> Result<String> {
        if !Self::program(tools).exists() {
            install(tools).context("cannot install Tansu")?;
        }
        Ok(VERSION.to_owned())
    }

    fn command(&self, tools: &Tools, data: &Path, ports: &Ports) -> Command {
        let mut command = Command::new(Self::program(tools));
        let address = format!("tcp://127.0.0.1:{}", ports.clients);
        command.args(["broker", "--kafka-cluster-id", "bench", "--kafka-listener-url", &address]);
        command.args(["--kafka-advertised-listener-url", &address]);
        command.args(["--storage-engine", self.storage]);
        command.env("RUST_LOG", "error").current_dir(data);
        command
    }
}

fn install(tools: &Tools) -> Result<()> {
    println!("installing Tansu {VERSION}: this builds it, which takes a quarter of an hour");
    let build = tools.target.join("tools/tansu-build");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "tansu", "--locked", "--version", VERSION]);
    command.args(["--features", "dynostore,libsql"]);
    command.arg("--root").arg(Tansu::root(tools)).env("CARGO_TARGET_DIR", &build);
    output(&mut command)?;
    std::fs::remove_dir_all(build).context("cannot remove the build folder")
}
