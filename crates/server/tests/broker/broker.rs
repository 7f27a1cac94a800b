//! A broker for one test, and the commands run against it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A broker that is stopped when the test ends.
pub(crate) struct Broker {
    pub(crate) address: String,
    _server: Option<Server>,
    unique: String,
}

struct Server {
    child: Child,
    _directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a command has printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Standard output, after making sure that the command has succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Standard output as JSON, after making sure that the command has succeeded.
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Standard error, after making sure that the command has failed.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.stderr
    }
}

impl Broker {
    /// Starts a broker, or takes the one from the environment.
    pub(crate) fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        if let Ok(address) = std::env::var("ANNALS_TEST_BOOTSTRAP") {
            return Self { address, _server: None, unique };
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args([
                "serve",
                "--kafka-addr",
                "127.0.0.1:0",
                "--http-addr",
                "127.0.0.1:0",
                "--amqp-addr",
                "",
                "--data-dir",
            ])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("kafka="));
        let address = address.unwrap_or_else(|| panic!("no address in {ready:?}")).to_owned();
        Self { address, _server: Some(Server { child, _directory: directory }), unique }
    }

    /// A name that no other test and no other run uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.unique)
    }

    /// Creates a topic with a name of its own.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> String {
        let name = self.name(name);
        self.run(&["topic", "create", &name, "--partitions", &partitions.to_string()]).ok();
        name
    }

    /// Runs a command.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, "")
    }

    /// Runs a command with `input` on its standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Outcome {
        let mut child = self.spawn(args);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a command and leaves it running.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(args)
            .env("ANNALS_BOOTSTRAP_SERVER", &self.address)
            .env_remove("ANNALS_COMMAND_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}
