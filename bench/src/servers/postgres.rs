//! PostgreSQL as it comes, but for more connections than its default allows: `fsync`, `full_page_writes` and
//! `synchronous_commit` are on, so a commit is on disk when it is acknowledged.
//!
//! The cluster is private: made with `initdb` in the data directory, reached by TCP on loopback. PostgreSQL refuses to be run
//! by root, who hands it over to the account that the package brings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;

use super::{Ports, Protocol, Subject, SubjectRef, Tools};
use crate::command::output;

/// PostgreSQL with its defaults.
pub(crate) const POSTGRES: SubjectRef = &Postgres;

const ACCOUNT: &str = "postgres";
const USER: &str = "bench";
const CONNECTIONS_MAX: u32 = 300;

struct Postgres;

impl Subject for Postgres {
    fn key(&self) -> &'static str {
        "postgres"
    }

    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Postgres
    }

    fn prepare(&self, _: &Tools) -> Result<String> {
        let text = output(program("postgres")?.arg("--version"))?;
        // postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)
        let version = text.split_whitespace().nth(2).context("postgres says no version")?;
        Ok(version.to_owned())
    }

    fn before_start(&self, data: &Path) -> Result<()> {
        let cluster = cluster(data);
        if cluster.exists() {
            return Ok(());
        }
        fs::create_dir_all(data)?;
        give_away(data)?;
        let mut initdb = program("initdb")?;
        initdb.arg("-D").arg(&cluster).args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        output(&mut initdb).map(drop)
    }

    fn command(&self, _: &Tools, data: &Path, ports: &Ports) -> Command {
        // Without the programs there was no start.
        let mut command = program("postgres").unwrap_or_else(|_| Command::new("postgres"));
        command
            .arg("-D")
            .arg(cluster(data))
            .args(["-h", "127.0.0.1", "-k", "", "-p"])
            .arg(ports.clients.to_string());
        command.args(["-c", &format!("max_connections={CONNECTIONS_MAX}")]);
        command.args(["-c", "synchronous_commit=on", "-c", "fsync=on"]);
        command
    }
}

/// How a client connects to the server at `address`.
pub(crate) fn config(address: &str) -> String {
    let (host, port) = address.split_once(':').unwrap_or((address, "5432"));
    format!("host={host} port={port} user={USER} dbname=postgres")
}

fn cluster(data: &Path) -> PathBuf {
    data.join("cluster")
}

/// A program of PostgreSQL, as another account where that is needed.
fn program(name: &str) -> Result<Command> {
    let path = folder()?.join(name);
    if !geteuid().is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    let account = [format!("--reuid={ACCOUNT}"), format!("--regid={ACCOUNT}"), "--clear-groups".to_owned()];
    command.args(account).arg(path).current_dir("/");
    Ok(command)
}

/// Where the programs are: on the path, or where Debian has them, the newest version.
fn folder() -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = std::env::split_paths(&on_path).find(|folder| folder.join("initdb").exists()) {
        return Ok(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    match folders.pop() {
        Some(folder) => Ok(folder),
        None => bail!("PostgreSQL is not installed (Debian: apt-get install postgresql)"),
    }
}

/// Lets the other account write in `data`, and reach it.
fn give_away(data: &Path) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    output(Command::new("chown").arg(ACCOUNT).arg(data))?;
    let is_closed = |folder: &&Path| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    };
    match data.ancestors().skip(1).find(is_closed) {
        Some(closed) => bail!(
            "{} may not be entered by the account {ACCOUNT}: choose another --data-dir",
            closed.display()
        ),
        None => Ok(()),
    }
}
