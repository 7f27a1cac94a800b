//! A server with a broker of its own, a client, and a reader of server-sent events.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use annals_broker::Broker;
use annals_clock::Clock;
use annals_http::{Metrics, Options, Readiness, Server, Status};
use annals_journal::{FaultFiles, Files};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than anything in these tests takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Slot(OnceLock<Broker>);

impl Status for Slot {
    fn ready(&self) -> Readiness {
        Readiness::ready()
    }

    fn encode_metrics(&self, _: &mut String) -> fmt::Result {
        Ok(())
    }

    fn broker(&self) -> Option<&Broker> {
        self.0.get()
    }
}

/// A server that runs.
pub(crate) struct World {
    pub(crate) files: FaultFiles,
    pub(crate) address: SocketAddr,
    slot: Arc<Slot>,
    stop: watch::Sender<bool>,
    http: JoinSet<()>,
    background: JoinSet<()>,
}

impl World {
    /// With an empty broker and the store `shop`.
    pub(crate) async fn with_store() -> Self {
        let world = Self::new(Options::default()).await;
        assert_eq!(world.post("/stores", &json!({"name": "shop"})).await.status, 201);
        world
    }

    pub(crate) async fn new(options: Options) -> Self {
        let world = Self::without_broker(&FaultFiles::new(), options).await;
        world.open()
    }

    /// A server that has just started.
    pub(crate) async fn without_broker(files: &FaultFiles, options: Options) -> Self {
        let options = Options { address: "127.0.0.1:0".parse().unwrap(), ..options };
        let slot = Arc::new(Slot::default());
        let server = Server::bind(options, Arc::clone(&slot) as _, Metrics::default(), Clock::system());
        let server = server.await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = watch::channel(false);
        let mut http = JoinSet::new();
        http.spawn(server.run(raised(stopped)));
        Self { files: files.clone(), address, slot, stop, http, background: JoinSet::new() }
    }

    /// Opens the broker.
    pub(crate) fn open(self) -> Self {
        self.open_with(annals_broker::Options::default())
    }

    pub(crate) fn open_with(mut self, options: annals_broker::Options) -> Self {
        let journal = annals_journal::Options {
            segment_bytes: 4 << 20,
            tail_cache_bytes: 1 << 20,
            ..annals_journal::Options::default()
        };
        let files = Arc::new(self.files.clone()) as Arc<dyn Files>;
        let broker = Broker::open(options, journal, files, Clock::system()).unwrap();
        let running = broker.clone();
        let stopped = self.stop.subscribe();
        self.background.spawn(async move { running.run(raised(stopped)).await });
        assert!(self.slot.0.set(broker).is_ok());
        self
    }

    /// Stops in order, and starts again on the same files.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        Self::without_broker(&self.files, Options::default()).await.open()
    }

    /// Ends at once, as when the process is killed, and starts again on what is on the disk.
    pub(crate) async fn crash(mut self) -> Self {
        let files = self.files.crash_keeping_only_synced();
        self.http.shutdown().await;
        self.background.shutdown().await;
        Self::without_broker(&files, Options::default()).await.open()
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        let ended = async {
            while self.http.join_next().await.is_some() {}
            while self.background.join_next().await.is_some() {}
        };
        timeout(PATIENCE, ended).await.unwrap();
        if let Some(broker) = self.slot.0.get() {
            broker.close();
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    /// Sends a body that claims to be JSON.
    pub(crate) async fn post_text(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.into()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        self.connect().await.send(method, path, headers, body).await
    }

    /// Appends one event, which must go well, and gives its position.
    pub(crate) async fn append(&self, stream: &str, event: &Value) -> u64 {
        let answer = self.post(&format!("/stores/shop/streams/{stream}/events"), event).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["last_position"].as_u64().unwrap()
    }
}

async fn raised(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}

/// A connection that stays open.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Self { sender, _task: task }
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let response = self.begin(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Whether a request is answered with a stream, which is then given up.
    pub(crate) async fn opens(&mut self, path: &str) -> bool {
        self.begin(Method::GET, path, &[], Bytes::new()).await.status() == 200
    }

    async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        timeout(PATIENCE, self.sender.send_request(request)).await.unwrap().unwrap()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON, not {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A problem: its status, and its kind without what all have in common.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(
            !problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty()
        );
        let kind = problem["type"].as_str().unwrap();
        (self.status, kind.strip_prefix("urn:annals:problem:").unwrap_or(kind).to_owned())
    }

    /// The field that a bad request is told to be wrong in.
    pub(crate) fn wrong_field(&self) -> String {
        assert_eq!(self.problem(), (400, "invalid-request".to_owned()), "{self:?}");
        self.json()["field"].as_str().unwrap_or_default().to_owned()
    }
}

/// One message of a stream of server-sent events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// A reader of server-sent events.
pub(crate) struct Feed {
    _connection: Connection,
    body: Incoming,
    rest: String,
    messages: VecDeque<Message>,
    /// Comments that came.
    pub(crate) comments: usize,
}

impl Feed {
    pub(crate) async fn open(world: &World, path: &str, last_event_id: Option<&str>) -> Self {
        let mut connection = world.connect().await;
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        let response = connection.begin(Method::GET, path, &headers, Bytes::new()).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let (body, rest) = (response.into_body(), String::new());
        Self { _connection: connection, body, rest, messages: VecDeque::new(), comments: 0 }
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("a message in time")?.ok()?;
            self.rest.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            while let Some((block, rest)) = self.rest.split_once("\n\n") {
                let message = parse(block, &mut self.comments);
                self.messages.extend(message);
                self.rest = rest.to_owned();
            }
        }
    }

    /// Messages up to one that says that all is told, it included.
    pub(crate) async fn until_caught_up(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await.expect("a message");
            let is_last = message.name == "caught-up";
            messages.push(message);
            if is_last {
                return messages;
            }
        }
    }

    /// The next events, leaving out that all is told.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Message> {
        let mut events = Vec::new();
        while events.len() < count {
            let message = self.next().await.expect("a message");
            if message.name == "message" {
                events.push(message);
            }
        }
        events
    }
}

/// One block of lines, as the specification has them parsed.
fn parse(block: &str, comments: &mut usize) -> Option<Message> {
    let (mut name, mut id, mut data) = ("message", None, Vec::new());
    for line in block.lines() {
        match line.split_once(": ").unwrap_or((line, "")) {
            ("", _) => *comments += 1,
            ("event", value) => name = value,
            ("id", value) => id = Some(value.to_owned()),
            ("data", value) => data.push(value),
            ("retry", value) => assert_eq!(value, "1000"),
            other => panic!("an unknown field {other:?}"),
        }
    }
    let text = data.join("\n");
    let data = (!data.is_empty()).then(|| serde_json::from_str(&text).unwrap())?;
    Some(Message { name: name.to_owned(), id, data })
}
