//! Queues, streams and topics as one log: what goes from one into the other, once, whatever happens.

use annals_queues::queue::StreamOptions;
use annals_queues::routing::TopicSource;
use annals_queues::{Properties, Value};
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions, ExpandLimits, NewRecord, Record};

use super::*;
use crate::api::fetch::{FetchPartition, FetchRequest};
use crate::api::produce::{Acks, ProducePartition, ProduceRequest};
use crate::api::queues::admin::Scheduled;
use crate::api::queues::consume::ConsumeError;
use crate::api::queues::topology::{DeclareExchangeError, DeleteExchange};
use crate::api::topics::{CreateTopics, Isolation, NewTopic, TopicRef};

impl World {
    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs: Vec::new() };
        let request =
            CreateTopics { topics: vec![topic], validate_only: false, timeout: Duration::from_secs(10) };
        self.broker.create_topics(&self.caller, request).await.pop().unwrap().unwrap();
    }

    /// Writes a record as a Kafka client does. Returns whether it was acknowledged.
    async fn produce(&self, topic: &str, partition: i32, key: &str, value: &str) -> bool {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let now_ms = Clock::system().now_ms();
        let record =
            NewRecord { key: Some(key.as_bytes()), value: Some(value.as_bytes()), ..NewRecord::at(now_ms) };
        builder.push(&record).unwrap();
        let records = builder.build().unwrap().encode();
        let part = ProducePartition { topic: TopicRef::Name(topic.into()), partition, records };
        let request =
            ProduceRequest { acks: Acks::All, timeout: Duration::from_secs(10), partitions: vec![part] };
        self.broker.produce(&self.caller, request).await.durable().await.remove(0).is_ok()
    }

    /// Reads what a topic holds, as a Kafka client does.
    async fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let part =
                FetchPartition { topic: TopicRef::Name(topic.into()), partition, offset, max_bytes: 1 << 20 };
            let request = FetchRequest {
                max_wait: Duration::ZERO,
                min_bytes: 1,
                max_bytes: 1 << 20,
                isolation: Isolation::ReadUncommitted,
                stored: false,
                partitions: vec![part],
            };
            let fetched = self.broker.fetch(&self.caller, request).await.partitions.remove(0).unwrap();
            let mut bytes: Bytes = fetched.records.concat().into();
            if bytes.is_empty() {
                return found;
            }
            while !bytes.is_empty() {
                let batch = Batch::split_off(&mut bytes).unwrap();
                offset = batch.header.next_offset();
                found.extend(batch.records(&ExpandLimits::default()).unwrap().map(Result::unwrap));
            }
        }
    }

    async fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        let records = self.records(topic, partition).await;
        records.into_iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
    }

    async fn exchange(&self, name: &str, topic: Option<&str>, source: Option<&str>, start: LogStart) {
        let definition = ExchangeDefinition {
            topic: topic.map(Text::from),
            source: source.map(|topic| TopicSource { topic: topic.into(), id: 0 }),
            ..ExchangeDefinition::new(ExchangeKind::Topic)
        };
        let request = DeclareExchange { vhost: VHOST, name: name.into(), definition };
        self.broker.declare_exchange_from(&self.caller, request, start).await.unwrap();
    }

    async fn stream(&self, name: &str) {
        let options = QueueOptions { stream: Some(StreamOptions::default()), ..QueueOptions::default() };
        self.declare(name, options).await.unwrap();
    }

    fn read(&self, queue: &str, start: LogStart, prefetch: u32) -> Result<Consumer, ConsumeError> {
        let request = Consume {
            queue: reference(queue),
            tag: "c".into(),
            session: 1,
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch,
            shared: None,
            start,
            arguments: Headers::new(),
        };
        self.broker.consume(&self.caller, request)
    }
}

async fn taken(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let got = take(consumer, count).await;
    bodies(&got)
}

#[tokio::test]
async fn what_passes_an_exchange_is_in_its_topic_and_in_its_queues_or_in_neither() {
    let world = World::new();
    world.exchange("orders", Some("orders-log"), None, LogStart::Next).await;
    world.queue("q").await;
    world.bind("orders", "eu.*", "q").await;
    let headers = [("cloudEvents:type", Value::from("placed"))].into_iter().collect();
    let event = Message {
        properties: Some(Box::new(Properties { headers, ..Properties::default() })),
        ..message("eu.new", "one")
    };
    let ticket = world.send("orders", vec![event, message("us.new", "two")]).await.unwrap();
    // The queue and the topic; the topic alone.
    assert_eq!(ticket.outcomes(), [Published::Queued(2), Published::Queued(1)]);
    ticket.durable().await.unwrap();
    let transient = Message { persistent: false, ..message("us.new", "three") };
    let ticket = world.send("orders", vec![transient]).await.unwrap();
    assert!(!ticket.is_settled(), "the topic keeps it");
    ticket.durable().await.unwrap();
    let world = world.crash().await;
    assert_eq!(world.drain("q").await, ["one"]);
    assert_eq!(world.values("orders-log", 0).await, ["one", "two", "three"]);
    let first = world.records("orders-log", 0).await.remove(0);
    assert_eq!(first.key.as_deref(), Some(&b"eu.new"[..]));
    let header = first.headers.iter().find(|header| header.key == "ce_type").unwrap();
    assert_eq!(header.value.as_deref(), Some(&b"placed"[..]));

    let topics = vec![TopicRef::Name("orders-log".into())];
    world.broker.delete_topics(&world.caller, topics).await.remove(0).unwrap();
    let refused = world.send("orders", vec![message("eu.new", "four")]).await.unwrap_err();
    assert_eq!(refused, PublishError::UnknownTopic("orders-log".into()));
    assert_eq!(world.ready("q"), 0, "not half of it");
}

#[tokio::test]
async fn what_kafka_clients_write_comes_to_queues() {
    let world = World::new();
    world.topic("events", 2).await;
    assert!(world.produce("events", 0, "k0", "before").await);
    world.exchange("events-in", None, Some("events"), LogStart::First).await;
    world.exchange("later", None, Some("events"), LogStart::Next).await;
    for (queue, exchange, key) in
        [("all", "events-in", "#"), ("some", "events-in", "k1"), ("new", "later", "#")]
    {
        world.queue(queue).await;
        world.bind(exchange, key, queue).await;
    }
    assert!(world.produce("events", 1, "k1", "after").await);
    assert_eq!(world.wait("new").await.message.body, "after");
    assert_eq!(world.wait("some").await.message.body, "after");
    let mut all = vec![world.wait("all").await, world.wait("all").await];
    all.sort_by_key(|delivery| delivery.message.body.clone());
    assert_eq!(bodies(&all), ["after", "before"]);
    let message = &all[1].message;
    assert_eq!((message.exchange.clone(), message.routing_key.clone()), ("events-in".into(), "k0".into()));
    let headers = message.headers().unwrap();
    assert_eq!(headers.get("x-annals-topic"), Some(&Value::from("events")));
    assert_eq!(headers.get("x-annals-offset"), Some(&Value::I64(0)));
}

#[tokio::test]
async fn a_topic_cannot_lead_to_itself_and_circles_end() {
    let world = World::new();
    let definition = ExchangeDefinition {
        topic: Some("t".into()),
        source: Some(TopicSource { topic: "t".into(), id: 0 }),
        ..ExchangeDefinition::new(ExchangeKind::Fanout)
    };
    let request = DeclareExchange { vhost: VHOST, name: "x".into(), definition };
    let refused = world.broker.declare_exchange(&world.caller, request).await.unwrap_err();
    assert!(matches!(refused, DeclareExchangeError::Topic { .. }), "{refused}");
    // a -> b -> a, and a queue that sees what goes by.
    world.exchange("ab", Some("b"), Some("a"), LogStart::First).await;
    world.exchange("ba", Some("a"), Some("b"), LogStart::First).await;
    world.queue("seen").await;
    world.bind("ab", "#", "seen").await;
    assert!(world.produce("a", 0, "k", "round").await);
    for _ in 0..8 {
        world.wait("seen").await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.ready("seen"), 0, "16 hops are 8 rounds");
}

#[tokio::test]
async fn streams_of_one_virtual_host_are_not_those_of_another() {
    let world = World::new();
    world.broker.create_vhost(&world.caller, "shop".into()).await.unwrap();
    let stream = |vhost: &str, name: &str| DeclareQueue {
        vhost: vhost.into(),
        name: name.into(),
        owner: OWNER,
        durable: true,
        exclusive: false,
        auto_delete: false,
        options: QueueOptions { stream: Some(StreamOptions::default()), ..QueueOptions::default() },
        arguments: Headers::new(),
    };
    world.broker.declare_queue(&world.caller, stream("shop", "orders")).await.unwrap();
    let refused = world.broker.declare_queue(&world.caller, stream("/", "amqp--shop--orders")).await;
    assert!(matches!(refused, Err(DeclareQueueError::Stream { .. })), "{refused:?}");
    let join = async |vhost: &str, topic: Option<&str>, source: Option<&str>| {
        let definition = ExchangeDefinition {
            topic: topic.map(Text::from),
            source: source.map(|topic| TopicSource { topic: topic.into(), id: 0 }),
            ..ExchangeDefinition::new(ExchangeKind::Fanout)
        };
        let request = DeclareExchange { vhost: vhost.into(), name: "x".into(), definition };
        world.broker.declare_exchange(&world.caller, request).await
    };
    let (log, other) = ("amqp--shop--orders", "amqp--shop--more");
    for (topic, source) in [(Some(log), None), (None, Some(log)), (Some(other), None)] {
        let refused = join("/", topic, source).await;
        assert!(matches!(refused, Err(DeclareExchangeError::Topic { .. })), "{refused:?}");
    }
    assert_eq!(join("shop", None, Some(log)).await, Ok(true), "its own");
}

/// Kafka clients write, queues get, topics of exchanges get, and the power fails again and again.
#[tokio::test]
async fn records_come_to_queues_exactly_once_through_crashes() {
    for seed in 0..6 {
        let (random, _) = Clock::manual(0, seed);
        let mut world = World::new();
        world.topic("in", 3).await;
        world.exchange("x", Some("out"), Some("in"), LogStart::First).await;
        world.queue("q").await;
        world.bind("x", "#", "q").await;
        let (mut next, mut sure) = (0_u64, Vec::new());
        for life in 0..6 {
            for _ in 0..5 + random.random() % 40 {
                let key = random.random() % 5;
                if world.produce("in", (key % 3) as i32, &format!("k{key}"), &next.to_string()).await {
                    sure.push(next);
                }
                next += 1;
                if random.random() % 8 == 0 {
                    tokio::time::sleep(Duration::from_millis(random.random() % 4)).await;
                }
            }
            let files = match random.random() % 3 {
                0 => world.files.kill(),
                1 => world.files.crash_keeping_only_synced(),
                _ => world.files.crash(seed * 100 + life),
            };
            world = World::open(&files, &world.clock);
        }
        let mut written = Vec::new();
        for partition in 0..3 {
            written.extend(world.values("in", partition).await);
        }
        world.until("all came", || world.ready("q") >= written.len() as u64).await;
        let got = world.drain("q").await;
        let copied = world.values("out", 0).await;
        for partition in 0..3 {
            let values = world.values("in", partition).await;
            let of_it = |all: &[String]| -> Vec<String> {
                all.iter().filter(|value| values.contains(value)).cloned().collect()
            };
            assert_eq!(of_it(&got), values, "seed {seed}: in order, once, in the queue");
            assert_eq!(of_it(&copied), values, "seed {seed}: in order, once, in the topic");
        }
        assert_eq!((got.len(), copied.len()), (written.len(), written.len()), "seed {seed}");
        let lost: Vec<_> = sure.iter().filter(|id| !got.contains(&id.to_string())).collect();
        assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    }
}

#[tokio::test]
async fn an_exchange_that_comes_back_begins_anew() {
    let world = World::new();
    world.topic("t", 1).await;
    world.exchange("x", None, Some("t"), LogStart::First).await;
    assert!(world.produce("t", 0, "k", "one").await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.queue("q").await;
    world.bind("x", "#", "q").await;
    assert_eq!(world.wait("q").await.message.body, "one", "nothing was read before it was bound");
    let delete = DeleteExchange { vhost: VHOST, name: "x".into(), if_unused: false };
    world.broker.delete_exchange(&world.caller, delete).await.unwrap();
    assert!(world.produce("t", 0, "k", "two").await);
    world.exchange("x", None, Some("t"), LogStart::Next).await;
    world.bind("x", "#", "q").await;
    assert!(world.produce("t", 0, "k", "three").await);
    assert_eq!(world.wait("q").await.message.body, "three");
}

#[tokio::test]
async fn a_stream_is_read_by_many_from_where_they_like() {
    let world = World::new();
    world.stream("log").await;
    world.put("log", &["a", "b", "c"]).await;
    assert!(world.produce("log", 0, "k", "d").await);
    let mut first = world.read("log", LogStart::First, 2).unwrap();
    let got = take(&mut first, 2).await;
    assert_eq!(bodies(&got), ["a", "b"]);
    assert_eq!(got.iter().map(|one| one.stream_offset).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(first.try_next().is_none(), "no room");
    world.settle(&got[1..], Settlement::Accept).await;
    assert_eq!(taken(&mut first, 1).await, ["c"]);
    let mut again = world.read("log", LogStart::Offset(2), 10).unwrap();
    assert_eq!(taken(&mut again, 2).await, ["c", "d"], "nothing was taken away");
    let mut last = world.read("log", LogStart::Last, 10).unwrap();
    assert_eq!(taken(&mut last, 1).await, ["d"]);
    let mut next = world.read("log", LogStart::Next, 10).unwrap();
    let mut recent = world.read("log", LogStart::Timestamp(Clock::system().now_ms() - 60_000), 10).unwrap();
    assert_eq!(taken(&mut recent, 4).await, ["a", "b", "c", "d"]);
    world.put("log", &["e"]).await;
    assert_eq!(taken(&mut next, 1).await, ["e"]);
    assert_eq!(world.values("log", 0).await, ["a", "b", "c", "d", "e"]);
    let peek = Peek { queue: reference("log"), from: 3, max: 1 };
    let peeked = world.broker.peek(&world.caller, peek).await.unwrap();
    assert_eq!(
        peeked.iter().map(|one| (one.sequence, &*one.message.body)).collect::<Vec<_>>(),
        [(3, &b"d"[..])]
    );
    let info = world.broker.queue_info(&world.caller, &reference("log")).unwrap();
    assert_eq!((info.ready, info.consumers.len(), info.counters.published), (5, 5, 4));
    let world = world.crash().await;
    let mut after = world.read("log", LogStart::First, 10).unwrap();
    assert_eq!(taken(&mut after, 5).await, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn what_a_stream_is_not() {
    let world = World::new();
    world.stream("log").await;
    let unlimited = world.read("log", LogStart::First, 0).unwrap_err();
    assert_eq!(unlimited, ConsumeError::StreamWithoutLimit("log".into()));
    let get = Get { queue: reference("log"), no_ack: false, max: 1 };
    let not = |error: &QueueError| matches!(error, QueueError::Stream { .. });
    assert!(not(&world.broker.get(&world.caller, get).await.unwrap_err()));
    assert!(not(&world.broker.purge_queue(&world.caller, &reference("log")).await.unwrap_err()));
    let stream = Some(StreamOptions { age_ms_max: Some(1000), ..StreamOptions::default() });
    let differs =
        world.declare("log", QueueOptions { stream: stream.clone(), ..QueueOptions::default() }).await;
    assert!(matches!(differs, Err(DeclareQueueError::Inequivalent { .. })));
    let with = QueueOptions { stream: stream.clone(), ttl_ms: Some(1), ..QueueOptions::default() };
    assert!(matches!(world.declare("other", with).await, Err(DeclareQueueError::Stream { .. })));
    world.topic("wide", 2).await;
    let wide = world.declare("wide", QueueOptions { stream, ..QueueOptions::default() }).await.unwrap_err();
    assert!(wide.to_string().contains("2 partitions"), "{wide}");
}

#[tokio::test]
async fn a_stream_goes_with_its_topic_and_leaves_one_that_it_adopted() {
    let world = World::new();
    world.stream("own").await;
    world.topic("adopted", 1).await;
    assert!(world.produce("adopted", 0, "k", "old").await);
    world.stream("adopted").await;
    world.stream("by topic").await;
    let mut consumer = world.read("adopted", LogStart::First, 5).unwrap();
    assert_eq!(taken(&mut consumer, 1).await, ["old"]);
    let delete = |name: &str| DeleteQueue { queue: reference(name), if_unused: false, if_empty: false };
    let topic = |world: &World, name: &str| {
        world.broker.inner.state.table.topic(&TopicRef::Name(name.into())).is_some()
    };
    assert!(topic(&world, "own") && topic(&world, "amqp---2f--by-20topic"));
    world.broker.delete_queue(&world.caller, delete("own")).await.unwrap();
    assert_eq!(world.broker.delete_queue(&world.caller, delete("adopted")).await, Ok(1));
    assert!(matches!(consumer.next().await, ConsumerEvent::Cancelled));
    assert!(!topic(&world, "own") && topic(&world, "adopted"));
    let topics = vec![TopicRef::Name("amqp---2f--by-20topic".into())];
    world.broker.delete_topics(&world.caller, topics).await.remove(0).unwrap();
    let world = world.crash().await;
    assert_eq!(world.broker.queues(&world.caller, None).len(), 0);
}

#[tokio::test]
async fn what_is_held_back_is_routed_when_it_is_due_and_can_be_cancelled() {
    let (world, hand) = World::with_hand();
    let definition = ExchangeDefinition { delayed: true, ..ExchangeDefinition::new(ExchangeKind::Direct) };
    let request = DeclareExchange { vhost: VHOST, name: "later".into(), definition };
    world.broker.declare_exchange(&world.caller, request).await.unwrap();
    let after = |ms: i32, body: &str| {
        let headers = [("x-delay", Value::I32(ms))].into_iter().collect();
        let properties = Properties { headers, ..Properties::default() };
        Message { properties: Some(Box::new(properties)), ..message("key", body) }
    };
    let new = NewMessage { message: after(400, "first"), more_keys: vec!["other".into()] };
    let publish = Publish { vhost: VHOST, exchange: "later".into(), messages: vec![new] };
    world.broker.publish(&world.caller, publish).await.unwrap().durable().await.unwrap();
    world
        .send("later", vec![after(500_000, "never"), after(600, "second")])
        .await
        .unwrap()
        .durable()
        .await
        .unwrap();
    let place = reference("amq.delayed");
    let waiting = world.broker.scheduled(&world.caller, &place, 0, 10).await.unwrap();
    let body = |one: &Scheduled| String::from_utf8_lossy(&one.message.body).into_owned();
    assert_eq!(waiting.iter().map(body).collect::<Vec<_>>(), ["first", "second", "never"]);
    assert_eq!(world.broker.cancel_scheduled(&world.caller, &place, waiting[2].sequence).await, Ok(true));
    assert_eq!(world.broker.cancel_scheduled(&world.caller, &place, waiting[2].sequence).await, Ok(false));
    // What is bound only now gets it: it is routed when it is due.
    let world = world.crash().await;
    for (queue, key) in [("q", "key"), ("copy", "other")] {
        world.queue(queue).await;
        world.bind("later", key, queue).await;
    }
    hand.advance(Duration::from_millis(400));
    let got = world.wait("q").await;
    assert_eq!(got.message.body, "first");
    assert_eq!(got.message.headers().unwrap().get("x-delay"), Some(&Value::I32(-400)));
    assert_eq!(got.message.headers().unwrap().len(), 1);
    assert_eq!(world.wait("copy").await.message.body, "first");
    hand.advance(Duration::from_millis(200));
    assert_eq!(world.wait("q").await.message.body, "second");
    assert_eq!(world.broker.scheduled(&world.caller, &place, 0, 10).await.unwrap().len(), 0);
    let locked = world.broker.consume(
        &world.caller,
        Consume {
            queue: place.clone(),
            tag: "c".into(),
            session: 1,
            no_ack: true,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            shared: None,
            start: LogStart::Next,
            arguments: Headers::new(),
        },
    );
    assert!(matches!(locked, Err(ConsumeError::Queue(QueueError::Locked { .. }))));
    assert!(
        world.send("", vec![message("amq.delayed", "x")]).await.unwrap().outcomes()[0]
            != Published::Queued(1)
    );
}
