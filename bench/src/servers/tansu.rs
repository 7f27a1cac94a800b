//! Tansu, a broker of the Kafka protocol in Rust, with its SQLite storage: the one that keeps data on this disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Subject, SubjectRef, Tools};
use crate::command::output;

/// The release that is installed.
const VERSION: &str = "0.6.0";

/// Tansu over SQLite.
pub(crate) const TANSU: SubjectRef = &Tansu;

struct Tansu;

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
        "tansu"
    }

    fn name(&self) -> &'static str {
        "Tansu, SQLite"
    }

    fn prepare(&self, tools: &Tools) -> Result<String> {
        if !Self::program(tools).exists() {
            install(tools).context("cannot install Tansu")?;
        }
        Ok(VERSION.to_owned())
    }

    fn command(&self, tools: &Tools, data: &Path, port: u16) -> Command {
        let mut command = Command::new(Self::program(tools));
        let address = format!("tcp://127.0.0.1:{port}");
        command.args(["broker", "--kafka-cluster-id", "bench", "--kafka-listener-url", &address]);
        command.args(["--kafka-advertised-listener-url", &address]);
        command.arg("--storage-engine").arg(format!("sqlite://{}/tansu.db", data.display()));
        command.env("RUST_LOG", "error").current_dir(data);
        command
    }
}

fn install(tools: &Tools) -> Result<()> {
    println!("installing Tansu {VERSION}: this builds it, which takes a while");
    let build = tools.target.join("tools/tansu-build");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "tansu", "--locked", "--version", VERSION, "--features", "libsql", "--root"]);
    command.arg(Tansu::root(tools)).env("CARGO_TARGET_DIR", &build);
    output(&mut command)?;
    std::fs::remove_dir_all(build).context("cannot remove the build folder")
}
