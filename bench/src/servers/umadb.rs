//! UmaDB, an event store in Rust whose appends carry conditions on queries. Each commit is synced (`fdatasync`), and several
//! appends share one.
//!
//! It is a gRPC server; its client is that of its own crate. Both are built from `bench/umadb`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Ports, Protocol, Subject, SubjectRef, Tools};
use crate::command::output;

/// UmaDB with its defaults.
pub(crate) const UMADB: SubjectRef = &UmaDb;

const VERSION: &str = "0.7.8";
const MANIFEST: &str = include_str!("../../umadb/manifest.toml");
const PROGRAM: &str = include_str!("../../umadb/main.rs");

struct UmaDb;

impl Subject for UmaDb {
    fn key(&self) -> &'static str {
        "umadb"
    }

    fn name(&self) -> &'static str {
        "UmaDB"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Http2
    }

    fn prepare(&self, tools: &Tools) -> Result<String> {
        if !program(tools).exists() {
            build(tools).context("cannot build UmaDB")?;
        }
        Ok(VERSION.to_owned())
    }

    fn command(&self, tools: &Tools, data: &Path, ports: &Ports) -> Command {
        let (mut command, port) = (Command::new(program(tools)), ports.clients);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--db-path"])
            .arg(data.join("uma.db"));
        command
    }
}

/// A load of conditional appends on the server at `address`.
pub(crate) fn append(
    tools: &Tools,
    address: &str,
    in_flight: u64,
    streams: u64,
    lasting: Duration,
) -> Command {
    let mut command = Command::new(program(tools));
    command.args(["append", &format!("http://{address}")]);
    command.args([in_flight, streams, 500, lasting.as_millis() as u64].map(|number| number.to_string()));
    command
}

fn root(tools: &Tools) -> PathBuf {
    tools.target.join("tools/umadb")
}

fn program(tools: &Tools) -> PathBuf {
    root(tools).join(format!("umadb-bench-{VERSION}"))
}

fn build(tools: &Tools) -> Result<()> {
    let protoc = Command::new("protoc").arg("--version").output();
    let has_protoc = protoc.is_ok_and(|output| output.status.success());
    ensure!(has_protoc, "it needs protoc (Debian: apt-get install protobuf-compiler)");
    println!("building UmaDB {VERSION}, which takes some minutes");
    let sources = root(tools).join("source");
    fs::create_dir_all(&sources)?;
    fs::write(sources.join("Cargo.toml"), MANIFEST)?;
    fs::write(sources.join("main.rs"), PROGRAM)?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--target-dir"]).arg(root(tools).join("build")).current_dir(&sources);
    output(&mut command)?;
    fs::copy(root(tools).join("build/release/umadb-bench"), program(tools))?;
    fs::remove_dir_all(root(tools).join("build")).context("cannot remove the build folder")
}
