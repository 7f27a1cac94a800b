//! One running server: how long it took to get ready, what it costs, and its end.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Ports, Protocol, SubjectRef, Tools, usage};
use crate::amqp;

/// Recovery of a large directory is part of what is measured, so this is long.
const READY_WITHIN: Duration = Duration::from_secs(600);
const END_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// ApiVersions, version 0, correlation id 7, no client id: the first thing that any client asks.
const FIRST_REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// The startup message of PostgreSQL. One that is still starting answers with an error (`E`), one that is ready asks for
/// authentication, or says that none is wanted (`R`).
const POSTGRES_REQUEST: &[u8] = b"\0\0\0\x26\0\x03\0\0user\0bench\0database\0postgres\0\0";

/// The preface of HTTP/2 and settings without any; the server answers with its own.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A server that is ready. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    _companion: Option<Companion>,
    protocol: Protocol,
    ports: Ports,
    address: String,
    data: PathBuf,
    clock: Clock,
    /// From the start of the process to the first answer.
    pub(crate) ready_after: Duration,
}

impl Running {
    /// Starts `subject` in `data`, which may hold what an earlier start has left, and waits until it answers.
    ///
    /// # Errors
    /// If it ends, or does not answer in time; the message names its log.
    pub(crate) fn start(subject: SubjectRef, tools: &Tools, data: &Path) -> Result<Self> {
        fs::create_dir_all(data)?;
        subject.before_start(data)?;
        let log = data.with_extension("log");
        let ports = free_ports()?;
        let companion = subject.companion(&ports).map(Companion::start).transpose()?;
        let mut command = subject.command(tools, data, &ports);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let clock = Clock::system();
        let begin = clock.monotonic();
        let child = command.spawn().with_context(|| format!("cannot start {}", subject.name()))?;
        let address = format!("127.0.0.1:{}", ports.clients);
        let (protocol, data) = (subject.protocol(), data.into());
        let ready_after = Duration::ZERO;
        let mut running =
            Self { child, _companion: companion, protocol, ports, address, data, clock, ready_after };
        running
            .wait_until_ready(begin)
            .with_context(|| format!("{}: log {}", subject.name(), log.display()))?;
        Ok(running)
    }

    fn wait_until_ready(&mut self, begin: Duration) -> Result<()> {
        loop {
            let answered = answers(&self.address, self.protocol);
            self.ready_after = self.clock.monotonic() - begin;
            if answered {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it was ready ({status})");
            }
            if self.ready_after > READY_WITHIN {
                bail!("the server was not ready within {READY_WITHIN:?}");
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// What its clients speak.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where it takes clients, as `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where a server of ours answers HTTP, as `HOST:PORT`.
    pub(crate) fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.others[0])
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Processor time of all its threads and children so far, in user and kernel.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        usage::cpu_seconds(self.pid())
    }

    /// Resident memory now, in MiB.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        usage::status_mib(&self.proc("status")?, "VmRSS").context("/proc/PID/status lacks VmRSS")
    }

    /// Bytes that it has sent to the disk so far.
    ///
    /// # Errors
    /// If the process is gone, or belongs to another user.
    pub(crate) fn written_bytes(&self) -> Result<u64> {
        let text = self.proc("io")?;
        let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        value.and_then(|value| value.parse().ok()).context("/proc/PID/io lacks write_bytes")
    }

    /// The largest resident memory so far, in MiB.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn resident_peak_mib(&self) -> Result<f64> {
        usage::status_mib(&self.proc("status")?, "VmHWM").context("/proc/PID/status lacks VmHWM")
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the server ended?"))
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// If it had ended before.
    pub(crate) fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself ({status})");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it had ended before, or does not end in time.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself ({status})");
        }
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
        kill_process(pid, Signal::TERM)?;
        let begin = self.clock.monotonic();
        while self.child.try_wait()?.is_none() {
            if self.clock.monotonic() - begin > END_WITHIN {
                bail!("the server was still there {END_WITHIN:?} after SIGTERM");
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only if the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that ends with the server that it is for.
struct Companion(Child);

impl Companion {
    fn start(mut command: std::process::Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.spawn().with_context(|| format!("cannot start {program}"))?))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports that nobody uses now.
fn free_ports() -> Result<Ports> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener.as_ref().map_err(|error| anyhow::anyhow!("no port is free: {error}"))?;
        *port = listener.local_addr()?.port();
    }
    Ok(Ports { clients: ports[0], others: [ports[1], ports[2]] })
}

/// Whether whatever listens at `address` answers what a client says first. One that is not ready may take it and say nothing
/// yet.
fn answers(address: &str, protocol: Protocol) -> bool {
    let (first, answer_len): (&[u8], usize) = match protocol {
        Protocol::Kafka => (&FIRST_REQUEST, 8),
        Protocol::Amqp { .. } => (amqp::PROTOCOL_HEADER, 8),
        Protocol::Postgres => (POSTGRES_REQUEST, 1),
        Protocol::Http2 => (HTTP2_PREFACE, 9),
    };
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(first)?;
        let mut answer = vec![0; answer_len];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| protocol != Protocol::Postgres || answer == b"R")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::Builder::new().spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut request = [0; 14];
            first.read_exact(&mut request).unwrap();
            drop(first);
            let (mut second, _) = listener.accept().unwrap();
            second.read_exact(&mut request).unwrap();
            second.write_all(&[0, 0, 0, 10, 0, 0, 0, 7]).unwrap();
            request
        });
        assert!(!answers(&address, Protocol::Kafka));
        assert!(answers(&address, Protocol::Kafka));
        assert_eq!(thread.unwrap().join().unwrap(), FIRST_REQUEST);
    }
}
