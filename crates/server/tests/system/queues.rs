//! lapin and librdkafka at the same server: queues, streams and topics are one log.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage, Timestamp};

use crate::clients::{PATIENCE, create, producer, read_all, record, send_all, text};
use crate::server::Server;

/// Runs a test of an AMQP client.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

async fn connect(server: &Server) -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{}/%2f", server.amqp());
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn exchange(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, table(arguments));
    declared.await.unwrap();
}

async fn queue(channel: &Channel, name: &str, bound: Option<(&str, &str)>, arguments: &[(&str, AMQPValue)]) {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), table(arguments)).await.unwrap();
    if let Some((exchange, key)) = bound {
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.into(), exchange.into(), key.into(), options, none).await.unwrap();
    }
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
    let confirmed = sent.await.unwrap().await.unwrap();
    assert!(matches!(confirmed, Confirmation::Ack(None)), "confirmed, and not returned");
}

async fn consume(channel: &Channel, queue: &str, tag: &str, arguments: &[(&str, AMQPValue)]) -> Consumer {
    channel.basic_qos(100, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), tag.into(), options, table(arguments)).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> lapin::message::Delivery {
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().unwrap();
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    delivery
}

fn body(delivery: &lapin::message::Delivery) -> String {
    String::from_utf8(delivery.data.clone()).unwrap()
}

fn header(delivery: &lapin::message::Delivery, name: &str) -> Option<AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name).cloned()
}

/// An event as Kafka clients write it.
fn event(topic: &str, kind: &str, value: &str) -> OwnedMessage {
    let attributes = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/shop"), ("ce_type", kind)];
    let pairs = attributes.into_iter().chain([("content-type", "application/json")]);
    let headers = pairs.fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let (topic, timestamp) = (topic.to_owned(), Timestamp::NotAvailable);
    OwnedMessage::new(Some(value.into()), None, topic, timestamp, 0, 0, Some(headers))
}

fn kafka_header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    Some(text(found.value))
}

#[test]
fn what_was_acknowledged_is_not_delivered_again_after_a_shutdown_in_order() {
    const MESSAGES: usize = 300;
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_for_amqp(directory.path(), &[]);
    run(async {
        let (_connection, channel) = connect(&server).await;
        queue(&channel, "work", None, &[]).await;
        let persistent = || BasicProperties::default().with_delivery_mode(2);
        for number in 0..MESSAGES {
            publish(&channel, "", "work", &number.to_string(), persistent()).await;
        }
        let mut consumer = consume(&channel, "work", "c", &[]).await;
        for number in 0..MESSAGES {
            let delivery = next(&mut consumer).await;
            assert_eq!(body(&delivery), number.to_string());
        }
        // Answered after the acknowledgements were taken, and long before they have gathered.
        queue(&channel, "work", None, &[]).await;
    });
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");
    server.restart();
    run(async {
        let (_connection, channel) = connect(&server).await;
        let again = channel.basic_get("work".into(), BasicGetOptions::default()).await.unwrap();
        assert!(again.is_none(), "{again:?}");
    });
}

#[test]
fn kafka_clients_and_rabbitmq_clients_share_their_events() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_for_amqp(directory.path(), &[]);
    create(server.kafka(), "shop-events", 1, &[]);
    run(async {
        let (_connection, channel) = connect(&server).await;
        exchange(&channel, "shop", &[("x-annals-source-topic", long("shop-events"))]).await;
        queue(&channel, "placed", Some(("shop", "order.placed")), &[]).await;
        exchange(&channel, "invoices", &[("x-annals-topic", long("invoice-log"))]).await;
        queue(&channel, "eu-invoices", Some(("invoices", "eu.#")), &[]).await;
    });

    // From Kafka into a queue, by the type of the event.
    let events = [
        event("shop-events", "order.placed", "1"),
        event("shop-events", "order.paid", "2"),
        event("shop-events", "order.placed", "3"),
    ];
    assert!(send_all(&producer(server.kafka(), &[]), events).iter().all(Result::is_ok));
    run(async {
        let (connection, channel) = connect(&server).await;
        let taking = connection.create_channel().await.unwrap();
        taking.tx_select().await.unwrap();
        let mut consumer = consume(&taking, "placed", "c", &[]).await;
        for expected in ["1", "3"] {
            let delivery = next(&mut consumer).await;
            assert_eq!(body(&delivery), expected);
            assert_eq!(delivery.routing_key.as_str(), "order.placed");
            assert_eq!(header(&delivery, "cloudEvents:source"), Some(long("/shop")));
            assert_eq!(delivery.properties.content_type().as_ref().unwrap().as_str(), "application/json");
        }
        // Of an acknowledgement alone nobody is told when it is written.
        taking.tx_commit().await.unwrap();
        // Through an exchange into a topic and a queue: the confirm means both.
        let headers =
            table(&[("cloudEvents:type", long("invoice.written")), ("cents", AMQPValue::LongInt(995))]);
        let properties = || {
            BasicProperties::default()
                .with_headers(headers.clone())
                .with_content_type("text/plain".into())
                .with_delivery_mode(2)
        };
        publish(&channel, "invoices", "eu.new", "invoice 1", properties()).await;
        publish(&channel, "invoices", "us.new", "invoice 2", properties()).await;
    });
    server.kill();
    server.restart();
    let invoices = read_all(server.kafka(), "invoice-log");
    let values: Vec<String> = invoices.iter().map(|message| text(message.payload())).collect();
    assert_eq!(values, ["invoice 1", "invoice 2"]);
    assert_eq!(text(invoices[1].key()), "us.new");
    assert_eq!(kafka_header(&invoices[0], "ce_type").as_deref(), Some("invoice.written"));
    assert_eq!(kafka_header(&invoices[0], "content-type").as_deref(), Some("text/plain"));
    assert_eq!(kafka_header(&invoices[0], "cents").as_deref(), Some("995"));
    run(async {
        let (_connection, channel) = connect(&server).await;
        let mut consumer = consume(&channel, "eu-invoices", "c", &[]).await;
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (body(&delivery), header(&delivery, "cents")),
            ("invoice 1".to_owned(), Some(AMQPValue::LongInt(995)))
        );
        let none = channel.basic_get("placed".into(), BasicGetOptions::default()).await.unwrap();
        assert!(none.is_none(), "nothing comes again after a restart");
    });
}

#[test]
fn a_stream_is_a_topic_and_is_read_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_for_amqp(directory.path(), &[]);
    run(async {
        let (_connection, channel) = connect(&server).await;
        let arguments = [("x-queue-type", long("stream")), ("x-max-age", long("7D"))];
        queue(&channel, "journal", None, &arguments).await;
        for body in ["a", "b"] {
            publish(&channel, "", "journal", body, BasicProperties::default()).await;
        }
    });
    let sent = send_all(&producer(server.kafka(), &[]), [record("journal", 0, "c")]);
    assert_eq!(sent.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [(0, 2)]);
    let values: Vec<String> =
        read_all(server.kafka(), "journal").iter().map(|message| text(message.payload())).collect();
    assert_eq!(values, ["a", "b", "c"]);
    run(async {
        let (connection, channel) = connect(&server).await;
        for tag in ["once", "again"] {
            let mut consumer = consume(&channel, "journal", tag, &[("x-stream-offset", long("first"))]).await;
            for (offset, expected) in ["a", "b", "c"].into_iter().enumerate() {
                let delivery = next(&mut consumer).await;
                assert_eq!(body(&delivery), expected);
                let offset = AMQPValue::LongLongInt(offset as i64);
                assert_eq!(header(&delivery, "x-stream-offset"), Some(offset));
            }
        }
        let from_one = [("x-stream-offset", AMQPValue::LongLongInt(1))];
        assert_eq!(body(&next(&mut consume(&channel, "journal", "one", &from_one).await).await), "b");
        // What a stream is not, in RabbitMQ's words.
        let fresh = connection.create_channel().await.unwrap();
        let (options, first) = (BasicConsumeOptions::default(), table(&[("x-stream-offset", long("first"))]));
        let refused = fresh.basic_consume("journal".into(), "none".into(), options, first).await.unwrap_err();
        let told = "PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 'journal' in vhost '/'";
        assert!(refused.to_string().contains(told), "{refused}");
        let refused = channel.basic_get("journal".into(), BasicGetOptions::default()).await.unwrap_err();
        let told = "NOT_IMPLEMENTED - basic.get not supported by stream queues queue 'journal' in vhost '/'";
        assert!(refused.to_string().contains(told), "{refused}");
    });
}

#[test]
fn what_is_delayed_is_routed_when_it_is_due_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_for_amqp(directory.path(), &[]);
    run(async {
        let (_connection, channel) = connect(&server).await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
        let arguments = table(&[("x-delayed-type", long("direct"))]);
        channel.exchange_declare("later".into(), kind, options, arguments).await.unwrap();
        queue(&channel, "q", Some(("later", "k")), &[]).await;
        let headers = table(&[("x-delay", AMQPValue::LongInt(1500))]);
        let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
        publish(&channel, "later", "k", "due", properties).await;
    });
    server.kill();
    server.restart();
    run(async {
        let (_connection, channel) = connect(&server).await;
        let mut consumer = consume(&channel, "q", "c", &[]).await;
        let delivery = next(&mut consumer).await;
        assert_eq!((body(&delivery), delivery.exchange.as_str()), ("due".to_owned(), "later"));
        assert_eq!(header(&delivery, "x-delay"), Some(AMQPValue::LongInt(-1500)));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let none = channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap();
        assert!(none.is_none(), "it comes once");
    });
}
