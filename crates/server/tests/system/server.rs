//! `annals serve` as a child process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use annals_clock::Clock;
use rustix::process::{Pid, Resource, Rlimit};

/// Measures time.
pub(crate) struct Watch {
    clock: Clock,
    start: Duration,
}

impl Watch {
    pub(crate) fn start() -> Self {
        let clock = Clock::system();
        Self { start: clock.monotonic(), clock }
    }

    pub(crate) fn passed(&self) -> Duration {
        self.clock.monotonic() - self.start
    }
}

/// A server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    settings: Vec<String>,
    kafka: String,
    http: String,
    amqp: Option<String>,
    /// Whether it keeps its HTTP port when it is started again.
    keeps_http: bool,
    /// From the start of the process to its ready line.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    /// As [`Server::start`], with settings such as `journal.segment_bytes=1MiB`.
    pub(crate) fn start_with(directory: &Path, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::spawn(directory.to_owned(), settings, "127.0.0.1:0", "")
    }

    /// As [`Server::start_with`], on a port that no client of this machine takes while the server is away.
    pub(crate) fn start_on_lasting_port(directory: &Path, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::spawn(directory.to_owned(), settings, &lasting_port(), "")
    }

    /// As [`Server::start_on_lasting_port`], for clients of AMQP too.
    pub(crate) fn start_for_amqp(directory: &Path, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::spawn(directory.to_owned(), settings, &lasting_port(), &lasting_port())
    }

    /// As [`Server::start_with`], with more environment and with its log lines in a file.
    pub(crate) fn start_logging(
        directory: &Path,
        settings: &[&str],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut command = serve(directory, &settings, "127.0.0.1:0", "");
        command.envs(environment.iter().copied()).stderr(std::fs::File::create(log).unwrap());
        Self::run(command, directory.to_owned(), settings)
    }

    /// As [`Server::start`], with an HTTP port that no client of this machine takes while the server is away.
    pub(crate) fn start_on_lasting_http_port(directory: &Path) -> Self {
        Self::on_http_port(directory.to_owned(), Vec::new(), "127.0.0.1:0", &lasting_port())
    }

    fn on_http_port(directory: PathBuf, settings: Vec<String>, kafka: &str, http: &str) -> Self {
        let command = serve_at(&directory, &settings, [kafka, "", http]);
        let mut server = Self::run(command, directory, settings);
        server.keeps_http = true;
        server
    }

    fn spawn(directory: PathBuf, settings: Vec<String>, kafka: &str, amqp: &str) -> Self {
        Self::run(serve(&directory, &settings, kafka, amqp), directory, settings)
    }

    fn run(mut command: Command, directory: PathBuf, settings: Vec<String>) -> Self {
        let watch = Watch::start();
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready_after = watch.passed();
        let address = |name: &str| {
            let found = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {ready:?}")).to_owned()
        };
        let (kafka, http) = (address("kafka="), address("http="));
        let amqp = ready.split_whitespace().find_map(|word| word.strip_prefix("amqp=")).map(str::to_owned);
        Self { child, directory, settings, kafka, http, amqp, keeps_http: false, ready_after }
    }

    /// Where Kafka clients connect.
    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Where AMQP clients connect.
    pub(crate) fn amqp(&self) -> &str {
        self.amqp.as_deref().unwrap()
    }

    /// Where HTTP clients connect.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// Asks the management API as the user `guest`; gives the status and the JSON that is answered.
    pub(crate) fn api(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> (u16, serde_json::Value) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.http).unwrap();
        let body = body.map(ToString::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Ends the process as a power failure would: at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same directory and port.
    pub(crate) fn restart(&mut self) {
        let (directory, settings) = (self.directory.clone(), self.settings.clone());
        let amqp = self.amqp.clone().unwrap_or_default();
        *self = if self.keeps_http {
            Self::on_http_port(directory, settings, &self.kafka, &self.http)
        } else {
            Self::spawn(directory, settings, &self.kafka, &amqp)
        };
    }

    /// Where clients of the HTTP API connect.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Sends SIGTERM and waits for the end. Returns how it ended and how long that took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let watch = Watch::start();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status, watch.passed())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most memory in bytes that was ever resident.
    pub(crate) fn resident_bytes_max(&self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Refuses it more memory of its own than this (`RLIMIT_DATA`): a server that asks for more ends.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        let pid = Pid::from_raw(self.child.id() as i32);
        rustix::process::prlimit(pid, Resource::Data, limit).unwrap();
    }

    /// The answer to `GET path` on the HTTP port: its status line, headers and body.
    pub(crate) fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.http).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that serves `directory`.
pub(crate) fn serve(directory: &Path, settings: &[String], kafka: &str, amqp: &str) -> Command {
    serve_at(directory, settings, [kafka, amqp, "127.0.0.1:0"])
}

/// The same, with the addresses for Kafka, AMQP and HTTP.
fn serve_at(directory: &Path, settings: &[String], [kafka, amqp, http]: [&str; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command
        .args(["serve", "--kafka-addr", kafka, "--http-addr", http, "--amqp-addr", amqp, "--data-dir"])
        .arg(directory);
    for setting in settings {
        command.args(["--set", setting]);
    }
    // What it logs is shown when a test fails; warnings are enough.
    command.env("ANNALS_LOG_FILTER", "warn").stdout(Stdio::piped());
    command
}

/// Runs another command of the binary to its end.
pub(crate) fn annals(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annals")).args(args).output().unwrap()
}

/// Waits until `holds`.
pub(crate) fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let watch = Watch::start();
    loop {
        if holds() {
            return watch.passed();
        }
        let passed = watch.passed();
        assert!(passed < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells threads to stop when it is dropped: a scope waits for its threads after a panic too.
pub(crate) struct Stopping<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A free port below those that the system gives to outgoing connections. A client that knocks at a port of that range
/// while nobody listens there may be given the very port for its own end, and take it from the server.
fn lasting_port() -> String {
    // No two tests of this process get the same one, though neither listens yet.
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = 20_000 + std::process::id() % 5_000;
    loop {
        let address = format!("127.0.0.1:{}", first + GIVEN.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
