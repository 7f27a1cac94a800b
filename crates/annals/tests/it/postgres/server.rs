//! A PostgreSQL server in a directory of its own, reached by a socket in that directory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use annals::tokio_postgres::{Client, NoTls, connect};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The account that runs the server where the tests are run by root, whom PostgreSQL refuses.
const ACCOUNT: &str = "postgres";

pub(super) struct Server {
    pub(super) config: String,
    directory: TempDir,
    process: Option<Child>,
    drivers: std::sync::Mutex<JoinSet<()>>,
}

impl Server {
    /// Starts a server; none if PostgreSQL is not installed.
    pub(super) async fn start() -> Option<Self> {
        let installed = Command::new("initdb").arg("--version").stdout(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) {
            eprintln!("PostgreSQL is not installed: this test is passed over");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        give_away(directory.path());
        let data = directory.path().join("data");
        let mut initdb = command("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "annals",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success(), "initdb failed");
        let config =
            format!("host={} user=annals dbname=postgres connect_timeout=2", directory.path().display());
        let mut server = Self { config, directory, process: None, drivers: std::sync::Mutex::default() };
        server.resume().await;
        Some(server)
    }

    /// Starts it again and waits until it answers.
    pub(super) async fn resume(&mut self) {
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(self.directory.path().join("data"));
        postgres.arg("-k").arg(self.directory.path()).args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        self.process = Some(postgres.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        drop(self.client().await);
    }

    /// Ends it at once, with all its connections.
    pub(super) async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = Pid::from_child(&process);
        kill_process(id, Signal::QUIT).unwrap();
        tokio::task::spawn_blocking(move || process.wait()).await.unwrap().unwrap();
    }

    /// Connects, as soon as it answers.
    pub(super) async fn client(&self) -> Client {
        for _ in 0..600 {
            if let Some(client) = self.try_client().await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL does not answer");
    }

    async fn try_client(&self) -> Option<Client> {
        let (client, connection) = connect(&self.config, NoTls).await.ok()?;
        self.drivers.lock().unwrap().spawn(async move { drop(connection.await) });
        Some(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = kill_process(Pid::from_child(&process), Signal::QUIT);
            let _ = process.wait();
        }
    }
}

fn is_root() -> bool {
    geteuid().is_root()
}

/// A program of PostgreSQL, as another account where that is needed.
fn command(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let account = [format!("--reuid={ACCOUNT}"), format!("--regid={ACCOUNT}"), "--clear-groups".to_owned()];
    command.args(account).arg(program).current_dir("/");
    command
}

fn give_away(directory: &Path) {
    if is_root() {
        let given = Command::new("chown").arg(ACCOUNT).arg(directory).status();
        assert!(given.unwrap().success(), "chown failed");
    }
}
