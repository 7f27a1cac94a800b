//! A server on a free port with a status that the test decides, and a client that sends exactly the bytes it is given.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_broker::Broker;
use annals_clock::Clock;
use annals_http::{Metrics, Options, Readiness, Server, Status};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than anything in these tests takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fake {
    pub(crate) readiness: Mutex<Readiness>,
    pub(crate) registry: Registry,
    pub(crate) padding_bytes: usize,
    /// Writing the metrics takes until this is false.
    pub(crate) stuck: AtomicBool,
}

impl Status for Fake {
    fn ready(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }

    fn encode_metrics(&self, into: &mut String) -> fmt::Result {
        while self.stuck.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        into.write_fmt(format_args!("padding{{x=\"{}\"}} 1\n", "x".repeat(self.padding_bytes)))?;
        encode(into, &self.registry)
    }

    fn broker(&self) -> Option<&Broker> {
        None
    }
}

pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    pub(crate) status: Arc<Fake>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<()>,
}

pub(crate) fn options() -> Options {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Options { address, header_timeout: Duration::from_millis(400), ..Options::default() }
}

impl Fixture {
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_with(options, 0).await
    }

    /// Starts a server whose metrics carry `padding_bytes` of nothing.
    pub(crate) async fn start_with(options: Options, padding_bytes: usize) -> Self {
        let (metrics, mut registry) = (Metrics::default(), Registry::with_prefix("annals"));
        metrics.register(&mut registry);
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        registry.register("appended_records", "Records appended", counter);
        let readiness = Mutex::new(Readiness::ready());
        let status = Arc::new(Fake { readiness, registry, padding_bytes, stuck: AtomicBool::new(false) });
        let server = Server::bind(options, status.clone(), metrics, Clock::system()).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(async { stopped.await.unwrap_or_default() }));
        Self { address, status, stop: Some(stop), server: tasks }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and returns all that comes until the server closes.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// GETs `path` with further header lines, on a connection of its own.
    pub(crate) async fn get(&self, path: &str, headers: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    /// How many connections the server counts.
    pub(crate) fn connections(&self) -> u32 {
        let mut text = String::new();
        encode(&mut text, &self.status.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("annals_http_connections ")).unwrap();
        line.parse().unwrap()
    }

    pub(crate) fn begin_shutdown(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the server is done.
    pub(crate) async fn ended(&mut self) {
        timeout(PATIENCE, self.server.join_next()).await.unwrap().unwrap().unwrap();
    }
}

/// Reads until the server closes, which must be soon. A connection that is reset counts as closed.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer of a connection that stays open.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= header(head, "content-length").parse().unwrap()
        {
            return text;
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {text:?}");
    }
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("an answer, not {answer:?}")).parse().unwrap()
}

pub(crate) fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

pub(crate) fn json(answer: &str) -> serde_json::Value {
    serde_json::from_str(body(answer)).unwrap()
}
