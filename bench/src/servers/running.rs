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

use super::{SubjectRef, Tools};

/// Recovery of a large directory is part of what is measured, so this is long.
const READY_WITHIN: Duration = Duration::from_secs(600);
const END_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// ApiVersions, version 0, correlation id 7, no client id: the first thing that any client asks.
const FIRST_REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// A server that is ready. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
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
        let log = data.with_extension("log");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = subject.command(tools, data, port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let clock = Clock::system();
        let begin = clock.monotonic();
        let child = command.spawn().with_context(|| format!("cannot start {}", subject.name()))?;
        let address = format!("127.0.0.1:{port}");
        let mut running = Self { child, address, data: data.into(), clock, ready_after: Duration::ZERO };
        running
            .wait_until_ready(begin)
            .with_context(|| format!("{}: log {}", subject.name(), log.display()))?;
        Ok(running)
    }

    fn wait_until_ready(&mut self, begin: Duration) -> Result<()> {
        loop {
            let answered = answers(&self.address);
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

    /// Where it takes clients of the Kafka protocol, as `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Processor time of all its threads so far, in user and kernel.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let ticks = cpu_ticks(&self.proc("stat")?).context("/proc/PID/stat lacks its times")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory now, in MiB.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        status_mib(&self.proc("status")?, "VmRSS").context("/proc/PID/status lacks VmRSS")
    }

    /// The largest resident memory so far, in MiB.
    ///
    /// # Errors
    /// If the process is gone.
    pub(crate) fn resident_peak_mib(&self) -> Result<f64> {
        status_mib(&self.proc("status")?, "VmHWM").context("/proc/PID/status lacks VmHWM")
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

/// Whether whatever listens at `address` answers a first request. One that is not ready may take it and say nothing yet.
fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(&FIRST_REQUEST)?;
        stream.read_exact(&mut [0; 8])
    };
    ask().is_ok()
}

/// Fields 14 and 15 of `/proc/PID/stat`, together. The name in field 2 may have spaces in it, but is in parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn status_mib(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 10";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn memory_is_in_mib() {
        let status = "Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(status_mib(status, "VmHWM"), Some(4.0));
        assert_eq!(status_mib(status, "VmRSS"), Some(2.0));
        assert_eq!(status_mib(status, "VmSwap"), None);
    }

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
        assert!(!answers(&address));
        assert!(answers(&address));
        assert_eq!(thread.unwrap().join().unwrap(), FIRST_REQUEST);
    }
}
