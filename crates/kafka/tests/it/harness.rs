//! A server on a free port with its data in memory, and a client that says exactly what it is told to say.

use std::sync::Arc;
use std::time::Duration;

use annals_broker::Broker;
use annals_clock::Clock;
use annals_journal::FaultFiles;
use annals_kafka::{Options, Server};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Dropping it ends it.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) files: FaultFiles,
    pub(crate) clock: Clock,
    pub(crate) address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
    background: JoinHandle<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::open(annals_journal::Options { segment_bytes: 1 << 20, ..Default::default() }, change).await
    }

    /// A server that keeps hardly anything of what it has written in its memory.
    pub(crate) async fn forgetful() -> Self {
        let journal = annals_journal::Options {
            segment_bytes: 8 << 20,
            tail_cache_bytes: 1 << 20,
            ..Default::default()
        };
        Self::open(journal, |_| ()).await
    }

    async fn open(journal: annals_journal::Options, change: impl FnOnce(&mut Options)) -> Self {
        let (files, clock) = (FaultFiles::new(), Clock::system());
        let broker = annals_broker::Options::default();
        let broker = Broker::open(broker, journal, Arc::new(files.clone()), clock.clone()).expect("opens");
        let mut options = Options { address: ([127, 0, 0, 1], 0).into(), ..Options::default() };
        change(&mut options);
        let server = Server::bind(options, broker.clone(), clock.clone()).await.expect("binds");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = spawn(server.run(async { drop(stopped.await) }));
        let running = broker.clone();
        let background = spawn(async move { running.run(std::future::pending()).await });
        Self { broker, files, clock, address, stop: Some(stop), served: Some(served), background }
    }

    pub(crate) async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.expect("connects"), next_id: 100 }
    }

    /// A client whose system takes little that it does not read.
    pub(crate) async fn narrow_client(&self) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("can be set");
        Client { stream: socket.connect(self.address).await.expect("connects"), next_id: 100 }
    }

    /// Asks the server to end and waits until it has.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        let served = self.served.take().expect("stopped once");
        timeout(PATIENCE, served).await.expect("ends").expect("does not panic");
    }

    /// The counters, as Prometheus reads them.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        self.broker.metrics().encode(&mut text).expect("encodes");
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.background.abort();
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted with its world")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    next_id: i32,
}

impl Client {
    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sends");
    }

    /// Sends bytes, if the server still takes them.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request; returns its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.next_id;
        self.next_id += 1;
        let frame = frame(id, version, request);
        self.send_bytes(&frame).await;
        id
    }

    /// Receives the response to a request, which must be the next one.
    pub(crate) async fn receive<T: Decodable + HeaderVersion>(&mut self, id: i32, version: i16) -> T {
        let mut frame = self.receive_frame().await.expect("a response rather than the end");
        let header = ResponseHeader::decode(&mut frame, T::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, id, "answers come in the order of the requests");
        let response = T::decode(&mut frame, version).expect("a response");
        assert!(!frame.has_remaining(), "{} bytes follow", frame.remaining());
        response
    }

    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response
    where
        R::Response: Decodable + HeaderVersion,
    {
        let id = self.send(version, request).await;
        self.receive(id, version).await
    }

    /// The next frame without its length; `None` if the server has closed the connection.
    pub(crate) async fn receive_frame(&mut self) -> Option<Bytes> {
        let size = match timeout(PATIENCE, self.stream.read_i32()).await.expect("does not hang") {
            Ok(size) => usize::try_from(size).expect("positive"),
            Err(_) => return None,
        };
        let mut frame = vec![0; size];
        timeout(PATIENCE, self.stream.read_exact(&mut frame)).await.expect("does not hang").expect("whole");
        Some(frame.into())
    }

    /// Whether the server closes the connection without a further answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.receive_frame().await.is_none()
    }

    /// Reads what comes until the end, or until nothing comes for a while.
    pub(crate) async fn read_until_silent_for(&mut self, duration: Duration) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(Ok(1..)) = timeout(duration, self.stream.read(&mut bytes)).await {}
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.stream.peek(&mut [0])).await.is_err()
    }
}

/// A request as it goes over the wire.
pub(crate) fn frame<R: Request>(id: i32, version: i16, request: &R) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version)).expect("encodes");
    request.encode(&mut body, version).expect("encodes");
    let mut frame = BytesMut::new();
    frame.put_i32(body.len() as i32);
    frame.put(body);
    frame.freeze()
}
