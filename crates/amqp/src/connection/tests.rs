//! Connections over memory instead of a socket, with a real broker behind them: frames in, frames out.

use std::time::Duration;

use annals_broker::api::{Caller, Principal};
use annals_journal::FaultFiles;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::backend::broker::BrokerBackend;
use crate::methods::{basic, channel, confirm, exchange, queue, tx};
use crate::rights::{Access, Permission, User};
use crate::wire::frame::{BODY, HEADER as CONTENT_HEADER};
use crate::wire::properties::{ContentHeader, Properties};
use crate::wire::table::Table;
use crate::wire::value::Value;

const LIMIT: Duration = Duration::from_secs(10);

/// A broker in memory and what serves its connections.
struct Bench {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        Self::with_access(options, Access::default()).await
    }

    async fn with_access(options: Options, access: Access) -> Self {
        let (files, clock) = (Arc::new(FaultFiles::new()), Clock::system());
        let opened = tokio::task::spawn_blocking({
            let clock = clock.clone();
            let options = annals_broker::Options { access, ..Default::default() };
            move || Broker::open(options, Default::default(), files, clock)
        });
        let broker = opened.await.expect("no panic").expect("opens");
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let (background, mut stopped) = (broker.clone(), stopping);
        tasks.spawn(async move {
            background.run(async move { _ = stopped.wait_for(|stopping| *stopping).await }).await;
        });
        Self { shared: Arc::new(Shared::new(options, broker, clock)), stop, tasks }
    }

    /// A connection that has said nothing yet.
    fn dial(&mut self) -> Client {
        let (ours, theirs) = duplex(64 * 1024);
        let (shared, stopping) = (Arc::clone(&self.shared), self.stop.subscribe());
        let (broker, clock) = (shared.broker.clone(), shared.clock.clone());
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let begin = move |rights: &Rights, _: &super::Client| {
            let caller = Caller { principal: Principal::user(&rights.user), client_id: None, peer };
            BrokerBackend::new(broker, clock, caller, &rights.vhost)
        };
        self.tasks.spawn(async move {
            serve(split(theirs), Ends { peer, local: peer }, shared, stopping, begin).await;
        });
        Client { stream: ours, input: BytesMut::new() }
    }

    /// A connection that is open.
    async fn connect(&mut self) -> Client {
        let mut client = self.dial();
        client.greet(0).await;
        client.send(0, connection::Open { virtual_host: "/".into(), ..Default::default() }).await;
        assert_eq!(client.method().await, connection::OpenOk::default().into());
        client
    }

    /// A connection with channel 1.
    async fn channel(&mut self) -> Client {
        let mut client = self.connect().await;
        client.open_channel(1).await;
        client
    }
}

/// The other end of a connection.
struct Client {
    stream: DuplexStream,
    input: BytesMut,
}

impl Client {
    async fn greet(&mut self, heartbeat: u16) {
        self.raw(&HEADER).await;
        assert!(matches!(self.method().await, Method::ConnectionStart(_)));
        self.send(0, start_ok("guest")).await;
        assert!(matches!(self.method().await, Method::ConnectionTune(_)));
        self.send(0, connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat }).await;
    }

    async fn open_channel(&mut self, number: u16) {
        self.send(number, channel::Open::default()).await;
        assert_eq!(self.method().await, channel::OpenOk::default().into());
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is read");
    }

    async fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let mut out = Outbound::default();
        out.method(channel, &method.into());
        self.stream.write_all_buf(&mut out).await.expect("it is read");
    }

    async fn publish(&mut self, routing_key: &'static str, properties: &Properties<'_>, body: &Bytes) {
        let publish =
            basic::Publish { routing_key: routing_key.into(), mandatory: true, ..Default::default() };
        let mut out = Outbound::default();
        out.message(1, &publish.into(), properties, body, 8192);
        self.stream.write_all_buf(&mut out).await.expect("it is read");
    }

    /// Asks on channel 1; returns the answer.
    async fn ask(&mut self, method: impl Into<Method>) -> Method {
        self.send(1, method).await;
        self.method().await
    }

    /// The next frame; `None` if there will be none.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::next(&mut self.input, 131_072).expect("well formed") {
                return Some(frame);
            }
            self.input.reserve(4096);
            let read = timeout(LIMIT, self.stream.read_buf(&mut self.input)).await.expect("in time");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn method(&mut self) -> Method {
        loop {
            let frame = self.frame().await.expect("a frame");
            if frame.kind != HEARTBEAT {
                assert_eq!(frame.kind, METHOD);
                return Method::read(frame.payload).expect("well formed");
            }
        }
    }

    /// The content that follows a method.
    async fn content(&mut self) -> (Bytes, Bytes) {
        let frame = self.frame().await.expect("a header");
        assert_eq!(frame.kind, CONTENT_HEADER);
        let header = ContentHeader::read(frame.payload).expect("well formed");
        let mut body = BytesMut::new();
        while (body.len() as u64) < header.body_bytes {
            let frame = self.frame().await.expect("a body");
            assert_eq!(frame.kind, BODY);
            body.extend_from_slice(&frame.payload);
        }
        (header.properties, body.freeze())
    }

    /// The next delivery's tag, whether it is one more time, and its body.
    async fn delivery(&mut self) -> (u64, bool, Bytes) {
        let Method::BasicDeliver(deliver) = self.method().await else { panic!("no delivery") };
        (deliver.delivery_tag, deliver.redelivered, self.content().await.1)
    }

    async fn declare(&mut self, queue: &'static str) -> (u32, u32) {
        let declare = queue::Declare { queue: queue.into(), durable: true, ..Default::default() };
        match self.ask(declare).await {
            Method::QueueDeclareOk(ok) => (ok.message_count, ok.consumer_count),
            other => panic!("not declared: {other:?}"),
        }
    }

    /// What the connection is closed with.
    async fn closed(&mut self) -> (u16, String) {
        let Method::ConnectionClose(close) = self.method().await else { panic!("not closed") };
        self.send(0, connection::CloseOk {}).await;
        assert_eq!(self.frame().await, None, "the socket is closed");
        (close.reply_code, close.reply_text.to_string())
    }
}

fn start_ok(password: &str) -> connection::StartOk {
    let capabilities = ["authentication_failure_close", "consumer_cancel_notify"];
    let capabilities = Table::from_entries(capabilities.map(|name| (name, Value::Bool(true))));
    connection::StartOk {
        client_properties: Table::from_entries([("capabilities", Value::Table(capabilities))]),
        mechanism: "PLAIN".into(),
        response: format!("\0guest\0{password}").into(),
        locale: "en_US".into(),
    }
}

fn consume(queue: &'static str) -> basic::Consume {
    basic::Consume { queue: queue.into(), consumer_tag: "c".into(), ..Default::default() }
}

fn persistent() -> Properties<'static> {
    Properties { delivery_mode: Some(2), ..Default::default() }
}

#[tokio::test]
async fn a_message_goes_through_a_queue_and_is_confirmed() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    assert_eq!(client.declare("q").await, (0, 0));
    assert_eq!(client.ask(confirm::Select::default()).await, confirm::SelectOk {}.into());
    let body = Bytes::from(vec![7; 20_000]);
    client.publish("q", &persistent(), &body).await;
    assert_eq!(client.method().await, basic::Ack { delivery_tag: 1, multiple: false }.into());
    assert_eq!(client.declare("q").await, (1, 0));
    assert_eq!(client.ask(consume("q")).await, basic::ConsumeOk { consumer_tag: "c".into() }.into());
    assert_eq!(client.delivery().await, (1, false, body));
    client.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert_eq!(client.declare("q").await, (0, 1));
}

#[tokio::test]
async fn one_acknowledgement_stands_for_many() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    client.ask(confirm::Select::default()).await;
    for _ in 0..100 {
        client.publish("q", &persistent(), &Bytes::from_static(b"x")).await;
    }
    let (mut told, mut words) = (0, 0);
    while told < 100 {
        let Method::BasicAck(ack) = client.method().await else { panic!("no ack") };
        assert!(ack.delivery_tag == told + 1 || ack.multiple, "{ack:?} after {told}");
        (told, words) = (ack.delivery_tag, words + 1);
    }
    assert!(words < 100);
}

#[tokio::test]
async fn what_is_not_settled_comes_again_when_its_connection_ends() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    for body in ["a", "b", "c"] {
        client.publish("q", &persistent(), &Bytes::from(body)).await;
    }
    client.ask(consume("q")).await;
    for tag in 1..=3 {
        assert_eq!(client.delivery().await.0, tag);
    }
    client.send(1, basic::Ack { delivery_tag: 2, multiple: false }).await;
    client.send(0, connection::Close::default()).await;
    assert_eq!(client.method().await, connection::CloseOk {}.into());
    // The client hangs up, not the server.
    assert!(timeout(Duration::from_millis(200), client.frame()).await.is_err());
    let mut client = bench.channel().await;
    client.ask(consume("q")).await;
    assert_eq!(client.delivery().await, (1, true, "a".into()));
    assert_eq!(client.delivery().await, (2, true, "c".into()));
}

#[tokio::test]
async fn an_error_closes_the_channel_and_others_go_on() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.open_channel(2).await;
    let passive = queue::Declare { queue: "nowhere".into(), passive: true, ..Default::default() };
    let closed = channel::Close {
        reply_code: 404,
        reply_text: "NOT_FOUND - no queue 'nowhere' in vhost '/'".into(),
        class_id: 50,
        method_id: 10,
    };
    assert_eq!(client.ask(passive).await, closed.into());
    // What was sent before the client knew is passed over.
    client.send(1, basic::Qos::default()).await;
    client.send(1, channel::CloseOk {}).await;
    client.open_channel(1).await;
    client.send(2, basic::Qos::default()).await;
    assert_eq!(client.method().await, basic::QosOk {}.into());
}

#[tokio::test]
async fn publishing_to_nowhere_closes_the_channel_and_returns_come_before_confirms() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.ask(confirm::Select::default()).await;
    client.publish("no-such-queue", &Properties::default(), &"x".into()).await;
    let returned = basic::Return {
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
        exchange: "".into(),
        routing_key: "no-such-queue".into(),
    };
    assert_eq!(client.method().await, returned.into());
    assert_eq!(client.content().await.1, "x");
    assert_eq!(client.method().await, basic::Ack { delivery_tag: 1, multiple: false }.into());
    let publish = basic::Publish { exchange: "nowhere".into(), ..Default::default() };
    let mut out = Outbound::default();
    out.message(1, &publish.into(), &Properties::default(), &"x".into(), 8192);
    client.stream.write_all_buf(&mut out).await.expect("it is read");
    let Method::ChannelClose(close) = client.method().await else { panic!("not closed") };
    assert_eq!(close.reply_text.as_str(), "NOT_FOUND - no exchange 'nowhere' in vhost '/'");
    assert_eq!((close.class_id, close.method_id), (60, 40));
}

#[tokio::test]
async fn an_exclusive_queue_is_gone_when_its_connection_is_closed() {
    let mut bench = Bench::new().await;
    let (mut owner, mut other) = (bench.channel().await, bench.channel().await);
    let exclusive = queue::Declare { queue: "mine".into(), exclusive: true, ..Default::default() };
    assert!(matches!(owner.ask(exclusive).await, Method::QueueDeclareOk(_)));
    let passive = queue::Declare { queue: "mine".into(), passive: true, ..Default::default() };
    let Method::ChannelClose(locked) = other.ask(passive.clone()).await else { panic!("not locked") };
    assert_eq!(locked.reply_code, 405);
    owner.send(0, connection::Close::default()).await;
    assert_eq!(owner.method().await, connection::CloseOk {}.into());
    other.send(1, channel::CloseOk {}).await;
    other.open_channel(1).await;
    let Method::ChannelClose(gone) = other.ask(passive).await else { panic!("not gone") };
    assert_eq!(gone.reply_code, 404);
}

#[tokio::test]
async fn a_consumer_is_told_that_its_queue_is_gone() {
    let mut bench = Bench::new().await;
    let (mut client, mut other) = (bench.channel().await, bench.channel().await);
    client.declare("q").await;
    client.ask(consume("q")).await;
    let delete = queue::Delete { queue: "q".into(), ..Default::default() };
    assert_eq!(other.ask(delete).await, queue::DeleteOk { message_count: 0 }.into());
    let cancel = Method::from(basic::Cancel { consumer_tag: "c".into(), no_wait: true });
    assert_eq!(client.method().await, cancel);
    // Whoever deletes it is told that it is gone, and then that the consumer is.
    client.declare("q").await;
    client.ask(consume("q")).await;
    let delete = queue::Delete { queue: "q".into(), ..Default::default() };
    assert_eq!(client.ask(delete).await, queue::DeleteOk { message_count: 0 }.into());
    assert_eq!(client.method().await, cancel);
}

#[tokio::test]
async fn a_transaction_is_there_when_it_is_committed() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    client.ask(tx::Select {}).await;
    client.publish("q", &persistent(), &"x".into()).await;
    assert_eq!(client.declare("q").await, (0, 0));
    assert_eq!(client.ask(tx::Commit {}).await, tx::CommitOk {}.into());
    assert_eq!(client.declare("q").await, (1, 0));
}

#[tokio::test]
async fn limits_of_consumers_and_of_channels_hold() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    for _ in 0..5 {
        client.publish("q", &persistent(), &"x".into()).await;
    }
    for global in [false, true] {
        client.ask(basic::Qos { prefetch_count: 2, global, ..Default::default() }).await;
        client.ask(consume("q")).await;
        let (first, ..) = client.delivery().await;
        client.delivery().await;
        assert_eq!(client.declare("q").await, (3, 1), "no third delivery");
        client.send(1, basic::Nack { delivery_tag: first, multiple: false, requeue: true }).await;
        client.delivery().await;
        let cancel = basic::Cancel { consumer_tag: "c".into(), no_wait: false };
        assert_eq!(client.ask(cancel).await, basic::CancelOk { consumer_tag: "c".into() }.into());
        assert_eq!(client.ask(basic::Recover { requeue: true }).await, basic::RecoverOk {}.into());
    }
    // Raising the limit of the channel lets more come.
    client.ask(basic::Qos { prefetch_count: 1, global: true, ..Default::default() }).await;
    client.ask(consume("q")).await;
    client.delivery().await;
    assert_eq!(client.declare("q").await, (4, 1));
    client.ask(basic::Qos { prefetch_count: 2, global: true, ..Default::default() }).await;
    client.delivery().await;
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_connection_with_rabbitmqs_words() {
    let mut bench = Bench::new().await;
    let mut client = bench.connect().await;
    client.raw(b"\x01\0\0\0\0\0\x02ab\0").await;
    let text = "FRAME_ERROR - type 1, all octets = <<\"ab\">>: {invalid_frame_end_marker,0}";
    assert_eq!(client.closed().await, (501, text.to_owned()));

    let mut client = bench.connect().await;
    client.raw(b"\x03\0\x01\0\x10\0\0").await;
    assert_eq!(client.closed().await.0, 501);

    let mut client = bench.connect().await;
    client.raw(b"\x01\0\x01\0\0\0\x04\0\x3c\x03\xe7\xce").await;
    assert_eq!(client.closed().await.0, 540, "no such method");

    let mut client = bench.connect().await;
    client.raw(b"\x01\0\x01\0\0\0\x06\0\x14\0\x0a\x09a\xce").await;
    assert_eq!(client.closed().await.0, 502, "a field that does not fit");

    let mut client = bench.connect().await;
    client.raw(b"\x61\0\x01\0\0\0\x02ab\xce").await;
    assert_eq!(
        client.closed().await,
        (501, "FRAME_ERROR - type 97, all octets = <<\"ab\">>: unknown_frame".to_owned())
    );

    let mut client = bench.channel().await;
    client.raw(b"\x03\0\x01\0\0\0\x01x\xce").await;
    assert_eq!(client.closed().await.0, 505, "a body out of turn");

    let mut client = bench.connect().await;
    client.send(1, basic::Qos::default()).await;
    assert_eq!(client.closed().await, (504, "CHANNEL_ERROR - expected 'channel.open'".to_owned()));

    let mut client = bench.connect().await;
    for number in 1..=10 {
        client.open_channel(number).await;
    }
    client.send(11, channel::Open::default()).await;
    let text = "NOT_ALLOWED - number of channels opened (10) has reached the negotiated channel_max (10)";
    assert_eq!(client.closed().await, (530, text.to_owned()));
}

#[tokio::test]
async fn another_protocol_is_told_ours() {
    let mut bench = Bench::new().await;
    for header in [b"AMQP\0\0\x09\x02", b"AMQP\x03\x01\0\0", b"GET / HT"] {
        let mut client = bench.dial();
        client.raw(header).await;
        let mut answer = Vec::new();
        client.stream.read_to_end(&mut answer).await.expect("it is closed");
        assert_eq!(answer, HEADER);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let mut bench = Bench::new().await;
    let mut client = bench.dial();
    client.raw(&HEADER).await;
    client.method().await;
    client.send(0, start_ok("wrong")).await;
    let (code, text) = client.closed().await;
    assert_eq!(code, 403);
    assert!(text.contains("Login was refused using authentication mechanism PLAIN"));
}

#[tokio::test]
async fn a_user_without_rights_is_refused() {
    let permission = Permission::parse("", "", ".*").expect("patterns");
    let mut access = Access::default();
    access.users.insert("guest".to_owned(), User::new("guest").with("/", permission));
    let mut bench = Bench::with_access(Options::default(), access).await;
    let mut client = bench.channel().await;
    let declare = exchange::Declare { exchange: "x".into(), kind: "direct".into(), ..Default::default() };
    let Method::ChannelClose(close) = client.ask(declare).await else { panic!("not refused") };
    assert_eq!(
        close.reply_text.as_str(),
        "ACCESS_REFUSED - configure access to exchange 'x' in vhost '/' refused for user 'guest'"
    );
}

#[tokio::test]
async fn heartbeats_come_and_are_missed() {
    let mut bench = Bench::new().await;
    // Where processors are busy, a client may be let go before its first heartbeat was due.
    for _ in 0..10 {
        let mut client = bench.dial();
        client.greet(1).await;
        client.send(0, connection::Open { virtual_host: "/".into(), ..Default::default() }).await;
        client.method().await;
        let mut heartbeats = 0;
        while let Some(frame) = client.frame().await {
            assert_eq!((frame.kind, frame.channel), (HEARTBEAT, 0));
            heartbeats += 1;
        }
        assert!(heartbeats <= 6, "{heartbeats} until the silent client was let go");
        if heartbeats > 0 {
            return;
        }
    }
    panic!("there were no heartbeats");
}

#[tokio::test]
async fn messages_in_parts_wait_for_memory() {
    let options = Options { memory_in_all: 64 * 1024, ..Options::default() };
    let mut bench = Bench::with(options).await;
    let (mut first, mut second) = (bench.channel().await, bench.channel().await);
    first.declare("q").await;
    let body = Bytes::from(vec![1; 60 * 1024]);
    let publish = basic::Publish { routing_key: "q".into(), ..Default::default() };
    let mut out = Outbound::default();
    out.message(1, &publish.clone().into(), &persistent(), &body, 8192);
    let size = out.remaining();
    let whole = out.copy_to_bytes(size);
    let (begun, rest) = whole.split_at(whole.len() / 2);
    first.raw(begun).await;
    sleep(Duration::from_millis(50)).await;
    second.raw(begun).await;
    sleep(Duration::from_millis(50)).await;
    first.raw(rest).await;
    assert_eq!(first.declare("q").await.0, 1);
    second.raw(rest).await;
    assert_eq!(second.declare("q").await.0, 2);
}

#[tokio::test]
async fn clients_are_told_of_the_end_and_what_is_safe() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    client.ask(confirm::Select::default()).await;
    client.publish("q", &persistent(), &"x".into()).await;
    assert!(matches!(client.method().await, Method::BasicAck(_)));
    bench.stop.send_replace(true);
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(client.closed().await, (320, text.to_owned()));
}

#[tokio::test]
async fn an_operator_sees_a_connection_and_ends_it() {
    let mut bench = Bench::new().await;
    let broker = bench.shared.broker.clone();
    let operator = annals_broker::api::Caller::internal();
    let mut client = bench.channel().await;
    client.open_channel(7).await;
    let declare = queue::Declare { queue: "q".into(), ..Default::default() };
    client.ask(declare).await;
    client.send(1, basic::Qos { prefetch_count: 3, ..Default::default() }).await;
    client.method().await;
    let consume = basic::Consume { queue: "q".into(), consumer_tag: "c".into(), ..Default::default() };
    client.ask(consume).await;

    let mut listed = broker.connections(&operator).await;
    // A connection that does not get round to it within a second is listed without a report.
    while listed.iter().any(|connection| connection.report.is_none()) {
        listed = broker.connections(&operator).await;
    }
    let [connection] = &listed[..] else { panic!("one connection, not {listed:?}") };
    let info = &connection.info;
    assert_eq!((&*info.user, info.protocol, &*info.mechanism), ("guest", "AMQP 0-9-1", "PLAIN"));
    assert_eq!((info.channel_max, info.frame_bytes_max, info.heartbeat_s), (10, 8192, 0));
    let report = connection.report.as_ref().expect("it answers");
    let channels: Vec<_> =
        report.channels.iter().map(|one| (one.number, one.consumers, one.prefetch)).collect();
    assert_eq!(channels, [(1, 1, 3), (7, 0, 0)]);
    assert!(report.received_bytes > 100 && report.sent_bytes > 100);
    let queues = broker.queues(&operator, None);
    assert_eq!((queues[0].consumers[0].owner, queues[0].consumers[0].session), (info.owner, 1));

    assert!(broker.close_connection(&operator, info.owner, "Closed via management plugin").await);
    let (code, text) = client.closed().await;
    assert_eq!((code, &*text), (320, "CONNECTION_FORCED - Closed via management plugin"));
}

/// Publishes on channel 1, to be sent together.
fn burst(publishes: &[(&'static str, &'static str)], properties: &Properties<'_>) -> Outbound {
    let mut out = Outbound::default();
    for (exchange, body) in publishes {
        let publish =
            basic::Publish { exchange: (*exchange).into(), routing_key: "q".into(), ..Default::default() };
        out.message(1, &publish.into(), properties, &Bytes::from(*body), 8192);
    }
    out
}

impl Client {
    /// Sends everything at once.
    async fn send_all(&mut self, mut out: Outbound) {
        self.stream.write_all_buf(&mut out).await.expect("it is read");
    }

    /// The code that a channel is closed with; the client says that it has understood.
    async fn channel_closed(&mut self) -> u16 {
        match self.method().await {
            Method::ChannelClose(close) => {
                self.send(1, channel::CloseOk {}).await;
                close.reply_code
            }
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Messages that lie in a queue, asked on a channel of its own.
    async fn count(&mut self, queue: &'static str) -> u32 {
        self.open_channel(1).await;
        self.declare(queue).await.0
    }
}

#[tokio::test]
async fn after_an_error_nothing_is_published_and_no_second_one_is_told() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    client.send_all(burst(&[("missing", "1"), ("", "2")], &persistent())).await;
    assert_eq!(client.channel_closed().await, 404);
    assert_eq!(client.count("q").await, 0, "the channel was closed before");

    client.send_all(burst(&[("missing", "1"), ("missing too", "2"), ("", "3")], &persistent())).await;
    assert_eq!(client.channel_closed().await, 404);
    assert_eq!(client.count("q").await, 0);

    let mut out = burst(&[("missing", "1")], &persistent());
    out.method(1, &basic::Ack { delivery_tag: 7, multiple: false }.into());
    client.send_all(out).await;
    assert_eq!(client.channel_closed().await, 404, "what came first");
    assert_eq!(client.count("q").await, 0);

    let mut out = burst(&[("missing", "1")], &persistent());
    let soon = Properties { expiration: Some(b"soon"), ..Default::default() };
    let mut bad = burst(&[("missing", "2")], &soon);
    let size = bad.remaining();
    out.raw(&bad.copy_to_bytes(size));
    client.send_all(out).await;
    assert_eq!(client.channel_closed().await, 404);
    assert_eq!(client.count("q").await, 0, "and the connection is there");
}

#[tokio::test]
async fn one_bad_message_takes_none_of_those_before_it_with_it() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    client.declare("q").await;
    client.ask(confirm::Select::default()).await;
    let mut out = burst(&[("", "1"), ("", "2")], &persistent());
    let keys = Table::from_entries([("CC", Value::I32(1))]);
    let bad = Properties { headers: Some(keys.as_bytes()), ..persistent() };
    for (properties, body) in [(&bad, "3"), (&persistent(), "4")] {
        let mut more = burst(&[("", body)], properties);
        let size = more.remaining();
        out.raw(&more.copy_to_bytes(size));
    }
    client.send_all(out).await;
    let mut told = 0;
    while told < 2 {
        let Method::BasicAck(ack) = client.method().await else { panic!("{told} of 2 are confirmed") };
        told = ack.delivery_tag;
    }
    assert_eq!(client.channel_closed().await, 406);
    assert_eq!(client.count("q").await, 2, "what comes behind is passed over");
}

#[tokio::test]
async fn replies_wait_for_a_requester_that_does_not_read() {
    const REPLIES: usize = 3000;
    let mut bench = Bench::new().await;
    let (mut requester, mut responder) = (bench.channel().await, bench.channel().await);
    requester.declare("requests").await;
    let replies = basic::Consume {
        queue: "amq.rabbitmq.reply-to".into(),
        consumer_tag: "r".into(),
        no_ack: true,
        ..Default::default()
    };
    requester.ask(replies).await;
    let asks = Properties { reply_to: Some(b"amq.rabbitmq.reply-to"), ..Default::default() };
    requester.publish("requests", &asks, &"?".into()).await;
    responder.ask(consume("requests")).await;
    let Method::BasicDeliver(_) = responder.method().await else { panic!("no request") };
    let (properties, _) = responder.content().await;
    let address = Properties::read(&properties).expect("well formed").reply_to.expect("an address").to_vec();
    let key = Text::cut(&String::from_utf8(address).expect("a text"));
    let body = Bytes::from(vec![7; 8000]);
    for _ in 0..REPLIES {
        let publish = basic::Publish { routing_key: key.clone(), ..Default::default() };
        let mut out = Outbound::default();
        out.message(1, &publish.into(), &Properties::default(), &body, 8192);
        responder.send_all(out).await;
    }
    responder.declare("requests").await;
    let mut came = 0;
    while let Ok(method) = timeout(Duration::from_millis(500), requester.method()).await {
        assert!(matches!(method, Method::BasicDeliver(_)));
        requester.content().await;
        came += 1;
    }
    // 1024 that wait, and what was on its way: 64 KiB in the pipe and 512 KiB before it.
    assert!((1024..1200).contains(&came), "{came} of {REPLIES}");
}

#[tokio::test]
async fn a_stream_takes_every_message_that_a_queue_takes() {
    let mut bench = Bench::new().await;
    let mut client = bench.channel().await;
    let arguments = Table::from_entries([("x-queue-type", Value::string("stream"))]);
    let declare = queue::Declare { queue: "s".into(), durable: true, arguments, ..Default::default() };
    assert!(matches!(client.ask(declare).await, Method::QueueDeclareOk(_)));
    client.ask(confirm::Select::default()).await;
    let (small, large) = (Bytes::from("x"), Bytes::from(vec![7; 16 << 20]));
    let mut told = 0;
    for (number, body) in [&small, &large].into_iter().enumerate() {
        client.publish("s", &persistent(), body).await;
        while told <= number as u64 {
            let Method::BasicAck(ack) = client.method().await else { panic!("{told} are confirmed") };
            told = ack.delivery_tag;
        }
    }
    client.ask(basic::Qos { prefetch_count: 2, ..Default::default() }).await;
    let arguments = Table::from_entries([("x-stream-offset", Value::string("first"))]);
    client.ask(basic::Consume { arguments, ..consume("s") }).await;
    assert_eq!(client.delivery().await.2, small);
    assert_eq!(client.delivery().await.2, large);
}
