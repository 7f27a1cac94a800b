//! The Rust client that others use, against a server in this process.

#![allow(clippy::expect_used, reason = "a test that cannot go on says where")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annals_amqp::{Options, Server};
use annals_broker::Broker;
use annals_clock::Clock;
use annals_journal::FaultFiles;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A server with an empty broker. Ends when it is dropped.
struct Bench {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Bench {
    async fn start() -> Self {
        let (files, clock) = (Arc::new(FaultFiles::new()), Clock::system());
        let opening = clock.clone();
        let opened = tokio::task::spawn_blocking(move || {
            Broker::open(Default::default(), Default::default(), files, opening)
        });
        let broker = opened.await.expect("no panic").expect("opens");
        let options = Options { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Options::default() };
        let server = Server::bind(options, broker.clone(), clock).await.expect("a free port");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { broker.run(std::future::pending()).await });
        tasks.spawn(server.run(async move { _ = stopped.await }));
        Self { address, _stop: stop, _tasks: tasks }
    }

    async fn connect(&self) -> Connection {
        let uri = format!("amqp://{}/%2f", self.address);
        Connection::connect(&uri, ConnectionProperties::default()).await.expect("it is there")
    }
}

async fn declare(channel: &Channel, queue: &str) -> u32 {
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default());
    declared.await.expect("declared").message_count()
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Confirmation {
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), queue.into(), options, body, persistent());
    published.await.expect("sent").await.expect("confirmed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_published_confirmed_consumed_and_acknowledged() {
    let bench = Bench::start().await;
    let (publishing, consuming) = (bench.connect().await, bench.connect().await);
    let (publisher, consumer) = (
        publishing.create_channel().await.expect("a channel"),
        consuming.create_channel().await.expect("a channel"),
    );
    publisher.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    declare(&publisher, "tasks").await;
    consumer.basic_qos(10, BasicQosOptions::default()).await.expect("a limit");
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let deliveries = consumer.basic_consume("tasks".into(), "c".into(), options, arguments);
    let mut deliveries = deliveries.await.expect("a consumer");
    for number in 0..200_u32 {
        assert!(matches!(publish(&publisher, "tasks", &number.to_be_bytes()).await, Confirmation::Ack(_)));
    }
    for number in 0..200_u32 {
        let delivery = deliveries.next().await.expect("one more").expect("no error");
        assert_eq!(delivery.data, number.to_be_bytes());
        delivery.ack(BasicAckOptions::default()).await.expect("sent");
    }
    assert_eq!(declare(&publisher, "tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_all_types_come_back() {
    let bench = Bench::start().await;
    let connection = bench.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, "q").await;
    let mut headers = FieldTable::default();
    headers.insert("long".into(), AMQPValue::LongLongInt(-5));
    headers.insert("text".into(), AMQPValue::LongString("grüße".into()));
    headers.insert("flag".into(), AMQPValue::Boolean(true));
    headers.insert("nothing".into(), AMQPValue::Void);
    let properties = BasicProperties::default()
        .with_headers(headers.clone())
        .with_correlation_id(ShortString::from("c"))
        .with_priority(3);
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), "q".into(), options, b"x", properties.clone());
    published.await.expect("sent");
    let got = loop {
        let got = channel.basic_get("q".into(), BasicGetOptions::default()).await.expect("no error");
        if let Some(got) = got {
            break got;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(got.delivery.properties, properties);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_settled_comes_again() {
    let bench = Bench::start().await;
    let connection = bench.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    declare(&channel, "q").await;
    publish(&channel, "q", b"a").await;
    let get = || channel.basic_get("q".into(), BasicGetOptions::default());
    let first = get().await.expect("no error").expect("a message");
    assert!(!first.delivery.redelivered);
    let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    first.delivery.nack(requeue).await.expect("sent");
    let second = get().await.expect("no error").expect("a message");
    assert!(second.delivery.redelivered);
    connection.close(200, "done".into()).await.expect("closed");
    let channel = bench.connect().await.create_channel().await.expect("a channel");
    assert_eq!(declare(&channel, "q").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_those_of_rabbitmq() {
    let bench = Bench::start().await;
    let connection = bench.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, "q").await;
    let transient = QueueDeclareOptions::default();
    let refused = channel.queue_declare("q".into(), transient, FieldTable::default()).await;
    let refused = refused.expect_err("it is durable").to_string();
    assert!(refused.contains("inequivalent arg 'durable' for queue 'q' in vhost '/'"), "{refused}");
    let channel = connection.create_channel().await.expect("another channel");
    channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_when_the_single_active_consumer_goes() {
    a_single_active_consumer_goes(false).await;
    a_single_active_consumer_goes(true).await;
}

/// The consumer that is active goes with its connection; with `another` one that waited on the same connection.
async fn a_single_active_consumer_goes(another: bool) {
    let bench = Bench::start().await;
    let (publishing, dying, staying) = (bench.connect().await, bench.connect().await, bench.connect().await);
    let publisher = publishing.create_channel().await.expect("a channel");
    publisher.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    let declared = publisher.queue_declare("q".into(), QueueDeclareOptions::durable(), arguments);
    declared.await.expect("declared");

    let consume = async |connection: &Connection| {
        let channel = connection.create_channel().await.expect("a channel");
        channel.basic_qos(10, BasicQosOptions::default()).await.expect("a limit");
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let deliveries = channel.basic_consume("q".into(), "c".into(), options, arguments);
        (deliveries.await.expect("a consumer"), channel)
    };
    let (mut first, _channel) = consume(&dying).await;
    let _other = if another { Some(consume(&dying).await) } else { None };
    let (mut second, _second_channel) = consume(&staying).await;
    for number in 0..30_u32 {
        publish(&publisher, "q", &number.to_be_bytes()).await;
    }
    for number in 0..10_u32 {
        let delivery = first.next().await.expect("one more").expect("no error");
        assert_eq!(delivery.data, number.to_be_bytes());
        if number < 5 {
            delivery.ack(BasicAckOptions::default()).await.expect("sent");
        }
    }
    // Those that take the place of the acknowledged ones.
    for number in 10..15_u32 {
        assert_eq!(first.next().await.expect("one more").expect("no error").data, number.to_be_bytes());
    }
    dying.close(200, "done".into()).await.expect("closed");
    for number in 5..30_u32 {
        let delivery = second.next().await.expect("one more").expect("no error");
        assert_eq!(delivery.data, number.to_be_bytes());
        assert_eq!(delivery.redelivered, number < 15, "{number}");
        delivery.ack(BasicAckOptions::default()).await.expect("sent");
    }
}
