//! One fresh `annals serve` for one suite of clients.
//!
//! The server gets free ports and a scratch data directory. Its log stays behind, the data does not. Each stop checks
//! what an operator relies on: a SIGTERM ends the server, in time and with success.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A running server that ends with this value.
pub(crate) struct Broker {
    child: Child,
    addresses: Addresses,
    /// What the server wrote to standard error.
    pub(crate) log: PathBuf,
    _data: TempDir,
}

/// Where the server takes clients, as `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) kafka: String,
    pub(crate) http: Option<String>,
    pub(crate) amqp: Option<String>,
}

impl Broker {
    /// Starts `binary` and waits until it is ready. Its output goes to `NAME.out` and `NAME.log` in `logs`.
    pub(crate) fn start(binary: &Path, logs: &Path, name: &str) -> Result<Self> {
        Self::start_with(binary, logs, name, &[])
    }

    /// As [`Broker::start`], with settings of the server as `NAME=VALUE`.
    pub(crate) fn start_with(binary: &Path, logs: &Path, name: &str, settings: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(logs)?;
        let (out, log) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.log")));
        let data = TempDir::with_prefix("annals-")?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data-dir").arg(data.path());
        command.args(["--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
        command.args(["--amqp-addr", "127.0.0.1:0"]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.stdout(File::create(&out)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let nowhere = Addresses { kafka: String::new(), http: None, amqp: None };
        let mut broker = Self { child, addresses: nowhere, log, _data: data };
        broker.addresses = broker.wait_until_ready(&out)?;
        Ok(broker)
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    fn wait_until_ready(&mut self, out: &Path) -> Result<Addresses> {
        let clock = Clock::system();
        while clock.monotonic() < READY_WITHIN {
            if let Some(addresses) = std::fs::read_to_string(out)?.lines().find_map(Addresses::parse) {
                return Ok(addresses);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it was ready ({status}); its log is {}", self.log.display());
            }
            std::thread::sleep(POLL_EVERY);
        }
        bail!("the server was not ready within {READY_WITHIN:?}; its log is {}", self.log.display())
    }

    /// Asks the server to end. Fails if it had ended before, takes too long, or reports failure.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself ({status}); its log is {}", self.log.display());
        }
        kill_process(pid(&self.child)?, Signal::TERM)?;
        match self.wait_for_end()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                bail!("the server ended with {status} on SIGTERM; its log is {}", self.log.display())
            }
            None => {
                bail!("the server was still there {END_WITHIN:?} after SIGTERM; log: {}", self.log.display())
            }
        }
    }

    fn wait_for_end(&mut self) -> Result<Option<ExitStatus>> {
        let clock = Clock::system();
        while clock.monotonic() < END_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(None)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Either fails only if the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Addresses {
    /// Reads the line `annals ready kafka=HOST:PORT http=HOST:PORT amqp=HOST:PORT`. Front-ends unknown here are passed over.
    fn parse(line: &str) -> Option<Self> {
        let fields = line.strip_prefix("annals ready ")?;
        let address = |front_end: &str| {
            fields
                .split(' ')
                .find_map(|field| Some(field.strip_prefix(front_end)?.strip_prefix('=')?.to_owned()))
        };
        Some(Self { kafka: address("kafka")?, http: address("http"), amqp: address("amqp") })
    }
}

fn pid(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_the_addresses() {
        let ready = "annals ready kafka=127.0.0.1:4711 http=127.0.0.1:4712 amqp=127.0.0.1:4713 sqs=x";
        let addresses = Addresses::parse(ready).unwrap();
        assert_eq!(addresses.kafka, "127.0.0.1:4711");
        assert_eq!(addresses.http.as_deref(), Some("127.0.0.1:4712"));
        assert_eq!(addresses.amqp.as_deref(), Some("127.0.0.1:4713"));
        assert_eq!(Addresses::parse("annals is getting ready kafka=x"), None);
    }

    /// Starts a shell script in the place of the server.
    fn start(folder: &TempDir, script: &str) -> Result<Broker> {
        use std::os::unix::fs::PermissionsExt as _;

        let binary = folder.path().join("annals");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            match Broker::start(&binary, folder.path(), "server") {
                // A child that another test has just forked still holds the script open for writing.
                Err(error) if is_busy(&error) => std::thread::sleep(POLL_EVERY),
                started => return started,
            }
        }
    }

    fn is_busy(error: &anyhow::Error) -> bool {
        let cause = error.root_cause().downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ExecutableFileBusy)
    }

    const READY: &str = "echo 'annals ready kafka=127.0.0.1:1 http=127.0.0.1:2'";
    const WAIT: &str = "while :; do sleep 0.05; done";

    #[test]
    fn a_server_that_ends_on_request_is_fine() {
        let folder = TempDir::new().unwrap();
        let script = format!("trap 'exit 0' TERM\n[ -d \"$3\" ] || exit 9\n{READY}\n{WAIT}");
        let broker = start(&folder, &script).unwrap();
        assert_eq!(broker.addresses().kafka, "127.0.0.1:1");
        broker.stop().unwrap();
    }

    #[test]
    fn a_server_that_ends_badly_is_reported() {
        let folder = TempDir::new().unwrap();
        let broker = start(&folder, &format!("trap 'exit 3' TERM\n{READY}\n{WAIT}")).unwrap();
        let error = broker.stop().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_log() {
        let logs = TempDir::new().unwrap();
        let error = Broker::start(Path::new("/bin/false"), logs.path(), "early").err().unwrap().to_string();
        assert!(error.contains("ended before it was ready") && error.contains("early.log"), "{error}");
    }
}
