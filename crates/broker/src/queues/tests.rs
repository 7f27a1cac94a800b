//! Queues over a journal in memory: what clients see, restarts, crashes.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::{Clock, ManualClock};
use annals_journal::{FaultFiles, Files};
use annals_queues::queue::{DeadLetter, Options as QueueOptions, Overflow, Settlement};
use annals_queues::routing::{Binding, Destination, ExchangeDefinition, ExchangeKind, LogStart};
use annals_queues::{DeathReason, Headers, Message, Text};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::api::Caller;
use crate::api::queues::admin::{Move, MoveError, Peek};
use crate::api::queues::consume::{Consume, ConsumerEvent, Delivery, Get};
use crate::api::queues::publish::{NewMessage, Publish, PublishError, Published, Transaction};
use crate::api::queues::settle::Lease;
use crate::api::queues::topology::{
    Bind, DeclareExchange, DeclareQueue, DeclareQueueError, DeclaredQueue, DeleteQueue, DeleteQueueError,
};
use crate::api::queues::{OwnerId, QueueError, QueueRef};
use crate::{Broker, Consumer, Options, PublishTicket};

const VHOST: Text = Text::from_static("/");
const OWNER: OwnerId = OwnerId(0);

/// A broker that runs over files in memory.
struct World {
    files: FaultFiles,
    clock: Clock,
    broker: Broker,
    caller: Caller,
    tasks: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl World {
    fn open(files: &FaultFiles, clock: &Clock) -> Self {
        let journal = annals_journal::Options {
            segment_bytes: 1 << 20,
            tail_cache_bytes: 1 << 20,
            upkeep_interval: Duration::from_millis(20),
            ..annals_journal::Options::default()
        };
        let options = Options { retention_interval: Duration::from_millis(20), ..Options::default() };
        let files_of_it = Arc::new(files.clone()) as Arc<dyn Files>;
        let broker = Broker::open(options, journal, files_of_it, clock.clone()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut tasks, running) = (JoinSet::new(), broker.clone());
        tasks.spawn(async move { running.run(async { drop(stopped.await) }).await });
        let (files, clock) = (files.clone(), clock.clone());
        Self { files, clock, broker, caller: Caller::internal(), tasks, stop: Some(stop) }
    }

    fn new() -> Self {
        Self::open(&FaultFiles::new(), &Clock::system())
    }

    /// A world in which time passes when the test says so.
    fn with_hand() -> (Self, ManualClock) {
        let (clock, hand) = Clock::manual(1_700_000_000_000, 1);
        (Self::open(&FaultFiles::new(), &clock), hand)
    }

    async fn reopen(mut self) -> Self {
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
        self.broker.close();
        Self::open(&self.files, &self.clock)
    }

    /// The power fails: only what was synced is left.
    async fn crash(mut self) -> Self {
        let files = self.files.crash_keeping_only_synced();
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
        Self::open(&files, &self.clock)
    }

    async fn declare(&self, name: &str, options: QueueOptions) -> Result<DeclaredQueue, DeclareQueueError> {
        let request = DeclareQueue {
            vhost: VHOST,
            name: name.into(),
            owner: OWNER,
            durable: true,
            exclusive: false,
            auto_delete: false,
            options,
            arguments: Headers::new(),
        };
        self.broker.declare_queue(&self.caller, request).await
    }

    async fn queue(&self, name: &str) {
        self.declare(name, QueueOptions::default()).await.unwrap();
    }

    async fn bind(&self, source: &str, key: &str, queue: &str) {
        let binding = Binding {
            source: source.into(),
            destination: Destination::Queue(queue.into()),
            routing_key: key.into(),
            arguments: Headers::new(),
        };
        self.broker.bind(&self.caller, Bind { vhost: VHOST, owner: OWNER, binding }).await.unwrap();
    }

    async fn send(&self, exchange: &str, messages: Vec<Message>) -> Result<PublishTicket, PublishError> {
        let messages = messages.into_iter().map(|message| NewMessage { message, more_keys: Vec::new() });
        let publish = Publish { vhost: VHOST, exchange: exchange.into(), messages: messages.collect() };
        self.broker.publish(&self.caller, publish).await
    }

    /// Publishes to a queue by its name and waits until it is durable.
    async fn put(&self, queue: &str, bodies: &[&str]) {
        let messages = bodies.iter().map(|body| message(queue, body)).collect();
        self.send("", messages).await.unwrap().durable().await.unwrap();
    }

    fn consume(&self, queue: &str, prefetch: u32, no_ack: bool) -> Consumer {
        let request = Consume {
            queue: reference(queue),
            tag: "c".into(),
            session: 1,
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch,
            shared: None,
            start: LogStart::Next,
            arguments: Headers::new(),
        };
        self.broker.consume(&self.caller, request).unwrap()
    }

    async fn get(&self, queue: &str, max: usize) -> Vec<Delivery> {
        let request = Get { queue: reference(queue), no_ack: false, max };
        self.broker.get(&self.caller, request).await.unwrap().deliveries
    }

    /// Waits for a message.
    async fn wait(&self, queue: &str) -> Delivery {
        let request = Get { queue: reference(queue), no_ack: false, max: 1 };
        let got = self.broker.receive(&self.caller, request, Duration::from_secs(60)).await.unwrap();
        got.deliveries.into_iter().next().expect("a message within a minute")
    }

    async fn settle(&self, deliveries: &[Delivery], settlement: Settlement) {
        let leases: Vec<Lease> = deliveries.iter().map(|delivery| delivery.lease).collect();
        let ticket = self.broker.settle(&self.caller, &leases, settlement);
        assert_eq!(ticket.unknown(), []);
        ticket.durable().await.unwrap();
    }

    /// Everything that is ready, taken and accepted.
    async fn drain(&self, queue: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let got = self.get(queue, 100).await;
            if got.is_empty() {
                return all;
            }
            all.extend(bodies(&got));
            self.settle(&got, Settlement::Accept).await;
        }
    }

    /// Bytes in all segments, as they are on disk.
    fn stored_bytes(&self) -> u64 {
        let journal = self.broker.journal();
        journal.logs().into_iter().filter_map(|log| journal.log(log)).map(|facts| facts.bytes).sum()
    }

    async fn until(&self, what: &str, is: impl Fn() -> bool) {
        for _ in 0..6000 {
            if is() {
                return;
            }
            self.broker.journal().roll();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not in a minute: {what}; {} bytes are stored", self.stored_bytes());
    }

    fn ready(&self, queue: &str) -> u64 {
        self.broker.queue_info(&self.caller, &reference(queue)).unwrap().ready
    }
}

fn reference(queue: &str) -> QueueRef {
    QueueRef { vhost: VHOST, name: queue.into(), owner: OWNER }
}

fn message(key: &str, body: &str) -> Message {
    Message { routing_key: key.into(), body: body.to_owned().into(), persistent: true, ..Message::default() }
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.message.body).into_owned()).collect()
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match tokio::time::timeout(Duration::from_secs(10), consumer.next()).await.unwrap() {
            ConsumerEvent::Deliveries(deliveries) => taken.extend(deliveries),
            ConsumerEvent::Cancelled => panic!("cancelled"),
        }
    }
    taken
}

#[tokio::test]
async fn what_is_acknowledged_stays_away_and_the_rest_comes_back() {
    let world = World::new();
    world.queue("q").await;
    world.put("q", &["a", "b", "c"]).await;
    let mut consumer = world.consume("q", 0, false);
    let taken = take(&mut consumer, 3).await;
    assert_eq!(bodies(&taken), ["a", "b", "c"]);
    world.settle(&taken[1..2], Settlement::Accept).await;
    drop(consumer);
    let world = world.reopen().await;
    assert_eq!(world.ready("q"), 2);
    assert_eq!(world.drain("q").await, ["a", "c"]);
    let world = world.crash().await;
    assert_eq!(world.ready("q"), 0);
}

#[tokio::test]
async fn what_was_settled_is_written_by_whoever_closes_the_broker_without_ending_its_work() {
    let world = World::new();
    world.queue("q").await;
    world.put("q", &["a", "b"]).await;
    let mut consumer = world.consume("q", 0, false);
    let leases: Vec<Lease> = take(&mut consumer, 2).await.iter().map(|delivery| delivery.lease).collect();
    // Nobody waits for it.
    drop(world.broker.settle(&world.caller, &leases, Settlement::Accept));
    world.broker.close();
    world.broker.close();
    assert_eq!(World::open(&world.files, &world.clock).ready("q"), 0);
}

#[tokio::test]
async fn a_consumer_holds_no_more_than_its_window() {
    let world = World::new();
    world.queue("q").await;
    let mut consumer = world.consume("q", 2, false);
    world.put("q", &["a", "b", "c"]).await;
    let first = take(&mut consumer, 2).await;
    assert!(consumer.try_next().is_none());
    world.settle(&first[..1], Settlement::Requeue { counts: true }).await;
    let again = take(&mut consumer, 1).await;
    assert_eq!(
        (bodies(&again), again[0].redelivered, again[0].delivery_count),
        (vec!["a".to_owned()], true, 1)
    );
    world.settle(&first[1..], Settlement::Accept).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["c"]);
}

#[tokio::test]
async fn routed_to_many_and_returned_when_nobody_wants_it() {
    let world = World::new();
    for queue in ["eu", "all", "none"] {
        world.queue(queue).await;
    }
    world.bind("amq.topic", "orders.eu.*", "eu").await;
    world.bind("amq.topic", "#", "all").await;
    let ticket =
        world.send("amq.topic", vec![message("orders.eu.new", "x"), message("z", "y")]).await.unwrap();
    assert_eq!(ticket.outcomes(), [Published::Queued(2), Published::Queued(1)]);
    ticket.durable().await.unwrap();
    let ticket = world.send("amq.direct", vec![message("nobody", "w")]).await.unwrap();
    assert!(matches!(&ticket.outcomes()[0], Published::Unroutable(message) if message.body == "w"));
    assert!(ticket.is_settled());
    let world = world.crash().await;
    assert_eq!(world.drain("eu").await, ["x"]);
    assert_eq!(world.drain("all").await, ["x", "y"]);
    assert_eq!(world.drain("none").await, Vec::<String>::new());
    let unknown = world.send("nowhere", vec![message("", "")]).await.unwrap_err();
    assert!(matches!(unknown, PublishError::UnknownExchange { .. }));
}

#[tokio::test]
async fn transient_messages_need_no_disk_and_go_with_it() {
    let world = World::new();
    world.queue("q").await;
    let transient = |body: &str| Message { persistent: false, ..message("q", body) };
    let ticket = world.send("", vec![transient("t1")]).await.unwrap();
    assert!(ticket.is_settled());
    world.put("q", &["p"]).await;
    world.send("", vec![transient("t2")]).await.unwrap();
    let got = world.get("q", 10).await;
    assert_eq!(bodies(&got), ["t1", "p", "t2"], "in the order of publishing");
    let world = world.reopen().await;
    assert_eq!(world.drain("q").await, ["p"]);
}

#[tokio::test]
async fn transient_messages_of_many_queues_go_to_the_disk_when_they_are_much_together() {
    const MESSAGES: usize = 25;
    let world = World::new();
    let names: Vec<String> = (0..64).map(|index| format!("q{index}")).collect();
    for name in &names {
        world.queue(name).await;
        world.bind("amq.fanout", "", name).await;
    }
    // 320 MiB, and in each queue far less than one may have alone.
    let body = |index: usize| format!("{index} {}", "x".repeat(200 << 10));
    for index in 0..MESSAGES {
        let transient = Message { persistent: false, ..message("", &body(index)) };
        world.send("amq.fanout", vec![transient]).await.unwrap();
    }
    let memory = || world.broker.inner.queues().kept.memory();
    assert!((256 << 20..275 << 20).contains(&memory()), "{}", memory());
    // What little there is of a queue stays in memory.
    world.queue("small").await;
    let ticket = world.send("", vec![Message { persistent: false, ..message("small", "x") }]).await.unwrap();
    assert!(ticket.is_settled());
    for name in names {
        let drained = world.drain(&name).await;
        assert!(drained.into_iter().eq((0..MESSAGES).map(body)), "{name}");
    }
    assert_eq!(world.drain("small").await, ["x"]);
    assert_eq!(memory(), 0);
}

#[tokio::test]
async fn rejected_messages_go_where_dead_letters_go_with_their_history() {
    let world = World::new();
    let dead_letter = Some(DeadLetter { exchange: Text::empty(), routing_key: Some("dead".into()) });
    world.declare("q", QueueOptions { dead_letter, ..QueueOptions::default() }).await.unwrap();
    world.queue("dead").await;
    world.put("q", &["a", "b"]).await;
    let got = world.get("q", 2).await;
    world.settle(&got[..1], Settlement::Reject).await;
    let dead = world.wait("dead").await;
    assert_eq!(dead.message.body, "a");
    let deaths = dead.message.deaths.as_ref().unwrap();
    let death = &deaths.entries[0];
    assert_eq!((&death.queue, death.reason, death.count), (&Text::from("q"), DeathReason::Rejected, 1));
    assert_eq!(death.routing_keys, ["q"]);
    let world = world.crash().await;
    assert_eq!(world.drain("dead").await, ["a"]);
    assert_eq!(world.drain("q").await, ["b"]);
}

#[tokio::test]
async fn time_to_live_of_queue_and_message() {
    let world = World::new();
    let dead_letter = Some(DeadLetter { exchange: Text::empty(), routing_key: Some("dead".into()) });
    let options = QueueOptions { dead_letter, ttl_ms: Some(60_000), ..QueueOptions::default() };
    world.declare("q", options).await.unwrap();
    world.queue("dead").await;
    let short = Message { ttl_ms: Some(30), ..message("q", "short") };
    let ticket = world.send("", vec![short, message("q", "long")]).await.unwrap();
    ticket.durable().await.unwrap();
    let dead = world.wait("dead").await;
    assert_eq!(dead.message.body, "short");
    assert_eq!(dead.message.deaths.as_ref().unwrap().entries[0].reason, DeathReason::Expired);
    assert_eq!(dead.message.ttl_ms, None);
    assert_eq!(world.drain("q").await, ["long"]);
}

#[tokio::test]
async fn delayed_messages_wait_also_over_a_restart() {
    let (world, hand) = World::with_hand();
    world.queue("q").await;
    let due_ms = world.clock.now_ms() + 300;
    let later = Message { due_ms: Some(due_ms), ..message("q", "later") };
    world.send("", vec![later]).await.unwrap().durable().await.unwrap();
    world.put("q", &["now"]).await;
    assert_eq!(world.drain("q").await, ["now"]);
    let world = world.crash().await;
    let info = world.broker.queue_info(&world.caller, &reference("q")).unwrap();
    assert_eq!((info.ready, info.delayed), (0, 1));
    hand.advance(Duration::from_millis(300));
    assert_eq!(world.wait("q").await.message.body, "later");
}

#[tokio::test]
async fn the_urgent_come_first() {
    let world = World::new();
    world.declare("q", QueueOptions { priority_max: 9, ..QueueOptions::default() }).await.unwrap();
    let with = |priority, body: &str| Message { priority, ..message("q", body) };
    let messages = vec![with(0, "c"), with(200, "a"), with(5, "b"), with(0, "d"), with(9, "a2")];
    world.send("", messages).await.unwrap().durable().await.unwrap();
    let world = world.crash().await;
    assert_eq!(world.drain("q").await, ["a", "a2", "b", "c", "d"]);
}

#[tokio::test]
async fn limits_drop_the_oldest_or_refuse_the_newest() {
    let world = World::new();
    let limited = QueueOptions { length_max: Some(2), ..QueueOptions::default() };
    world.declare("drop", limited.clone()).await.unwrap();
    let refusing = QueueOptions { overflow: Overflow::RejectPublish, ..limited };
    world.declare("refuse", refusing).await.unwrap();
    world.declare("bytes", QueueOptions { bytes_max: Some(5), ..QueueOptions::default() }).await.unwrap();
    world.put("drop", &["a", "b", "c"]).await;
    world.put("bytes", &["aaa", "bbb", "cc"]).await;
    let messages = ["a", "b", "c"].map(|body| message("refuse", body));
    let ticket = world.send("", messages.into()).await.unwrap();
    assert_eq!(ticket.outcomes(), [Published::Queued(1), Published::Queued(1), Published::Refused]);
    ticket.durable().await.unwrap();
    let world = world.crash().await;
    world.put("bytes", &["d"]).await;
    assert_eq!(world.drain("drop").await, ["b", "c"]);
    assert_eq!(world.drain("refuse").await, ["a", "b"]);
    assert_eq!(world.drain("bytes").await, ["cc", "d"]);
}

#[tokio::test]
async fn a_lease_that_runs_out_is_delivered_again_until_it_is_too_often() {
    let world = World::new();
    let options = QueueOptions { lease_ms: Some(40), delivery_limit: Some(1), ..QueueOptions::default() };
    world.declare("q", options).await.unwrap();
    world.put("q", &["a"]).await;
    let first = world.wait("q").await;
    let second = world.wait("q").await;
    assert_eq!((second.delivery_count, second.redelivered), (1, true));
    let late = world.broker.settle(&world.caller, &[first.lease], Settlement::Accept);
    assert_eq!(late.unknown(), [first.lease]);
    let info = || world.broker.queue_info(&world.caller, &reference("q")).unwrap();
    world.until("it is dead", || info().counters.dead == 1).await;
    assert_eq!((info().ready, info().unacknowledged), (0, 0));
}

#[tokio::test]
async fn a_known_identity_is_dropped_also_after_a_crash() {
    let world = World::new();
    let options = QueueOptions { duplicate_window_ms: Some(60_000), ..QueueOptions::default() };
    world.declare("q", options).await.unwrap();
    let with = |identity: &str, body: &str| Message { identity: Some(identity.into()), ..message("q", body) };
    let first = vec![with("1", "a"), with("1", "b"), with("2", "c")];
    world.send("", first).await.unwrap().durable().await.unwrap();
    assert_eq!(world.drain("q").await, ["a", "c"]);
    let world = world.crash().await;
    world.send("", vec![with("2", "d"), with("3", "e")]).await.unwrap().durable().await.unwrap();
    assert_eq!(world.drain("q").await, ["e"]);
}

#[tokio::test]
async fn a_transaction_is_there_whole_or_not_at_all() {
    let world = World::new();
    world.queue("in").await;
    world.queue("out").await;
    world.put("in", &["order"]).await;
    let got = world.get("in", 1).await;
    let publish = |body: &str| Publish {
        vhost: VHOST,
        exchange: Text::empty(),
        messages: vec![NewMessage { message: message("out", body), more_keys: Vec::new() }],
    };
    let transaction = Transaction {
        publishes: vec![publish("invoice")],
        settlements: vec![(got[0].lease, Settlement::Accept)],
    };
    let again = transaction.clone();
    world.broker.commit_queues(&world.caller, transaction).await.unwrap().durable().await.unwrap();
    let refused = world.broker.commit_queues(&world.caller, again).await;
    assert!(matches!(refused, Err(PublishError::UnknownLease(lease)) if lease == got[0].lease));
    let world = world.crash().await;
    assert_eq!(world.drain("in").await, Vec::<String>::new());
    assert_eq!(world.drain("out").await, ["invoice"]);
}

#[tokio::test]
async fn definitions_survive_and_what_is_exclusive_does_not() {
    let world = World::new();
    let exchange = DeclareExchange {
        vhost: VHOST,
        name: "orders".into(),
        definition: ExchangeDefinition::new(ExchangeKind::Fanout),
    };
    assert!(world.broker.declare_exchange(&world.caller, exchange.clone()).await.unwrap());
    assert!(!world.broker.declare_exchange(&world.caller, exchange).await.unwrap());
    world.queue("q").await;
    world.bind("orders", "", "q").await;
    let owner = world.broker.new_owner();
    let exclusive = DeclareQueue {
        vhost: VHOST,
        name: Text::empty(),
        owner,
        durable: true,
        exclusive: true,
        auto_delete: false,
        options: QueueOptions::default(),
        arguments: Headers::new(),
    };
    let mine = world.broker.declare_queue(&world.caller, exclusive.clone()).await.unwrap();
    assert!(mine.name.to_string().starts_with("amq.gen-"));
    let other = DeclareQueue { name: mine.name.clone(), owner: world.broker.new_owner(), ..exclusive };
    let locked = world.broker.declare_queue(&world.caller, other).await.unwrap_err();
    assert!(matches!(locked, DeclareQueueError::Locked(_)));
    let differs = world.declare("q", QueueOptions { ttl_ms: Some(1), ..QueueOptions::default() }).await;
    assert!(matches!(differs, Err(DeclareQueueError::Inequivalent { .. })));
    let world = world.crash().await;
    assert_eq!(world.broker.queues(&world.caller, None).len(), 1);
    world.send("orders", vec![message("", "x")]).await.unwrap().durable().await.unwrap();
    assert_eq!(world.drain("q").await, ["x"]);
}

#[tokio::test]
async fn a_deleted_queue_tells_its_consumers_and_stays_deleted() {
    let world = World::new();
    world.queue("q").await;
    world.put("q", &["a"]).await;
    let mut consumer = world.consume("q", 0, false);
    take(&mut consumer, 1).await;
    let delete = |if_unused, if_empty| DeleteQueue { queue: reference("q"), if_unused, if_empty };
    let in_use = world.broker.delete_queue(&world.caller, delete(true, false)).await.unwrap_err();
    assert!(matches!(in_use, DeleteQueueError::InUse(_)));
    world.broker.delete_queue(&world.caller, delete(false, false)).await.unwrap();
    assert!(matches!(consumer.next().await, ConsumerEvent::Cancelled));
    let gone = world.broker.queue_info(&world.caller, &reference("q")).unwrap_err();
    assert!(matches!(gone, QueueError::Unknown { .. }));
    world.queue("q").await;
    let world = world.crash().await;
    assert_eq!(world.ready("q"), 0);
}

#[tokio::test]
async fn a_long_backlog_is_read_back_in_order() {
    let world = World::new();
    world.queue("q").await;
    let body = "x".repeat(1000);
    for batch in 0..80 {
        let messages = (0..100).map(|index| message("q", &format!("{} {body}", batch * 100 + index)));
        world.send("", messages.collect()).await.unwrap().durable().await.unwrap();
    }
    let numbers = |bodies: Vec<String>| -> Vec<usize> {
        bodies.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let peek = Peek { queue: reference("q"), from: 4000, max: 2 };
    let peeked = world.broker.peek(&world.caller, peek).await.unwrap();
    assert_eq!(peeked.iter().map(|peeked| peeked.sequence).collect::<Vec<_>>(), [4000, 4001]);
    let mut consumer = world.consume("q", 500, false);
    let mut seen = Vec::new();
    while seen.len() < 4000 {
        let taken = take(&mut consumer, 1).await;
        seen.extend(numbers(bodies(&taken)));
        world.broker.settle(
            &world.caller,
            &taken.iter().map(|delivery| delivery.lease).collect::<Vec<_>>(),
            Settlement::Accept,
        );
    }
    drop(consumer);
    let world = world.reopen().await;
    seen.extend(numbers(world.drain("q").await));
    seen.dedup();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..8000).collect::<Vec<_>>());
}

#[tokio::test]
async fn dead_letters_are_redriven_to_where_they_died() {
    let world = World::new();
    let dead_letter = Some(DeadLetter { exchange: Text::empty(), routing_key: Some("dead".into()) });
    world.declare("q", QueueOptions { dead_letter, ..QueueOptions::default() }).await.unwrap();
    world.queue("dead").await;
    let bodies: Vec<String> = (0..250).map(|index| index.to_string()).collect();
    world.put("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let got = world.get("q", 250).await;
    world.settle(&got, Settlement::Reject).await;
    while world.ready("dead") < 250 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let to = |target: Option<(Text, Text)>| Move { source: reference("dead"), target, max: None, rate: None };
    let nowhere = Some(("amq.direct".into(), "nobody".into()));
    let lost = world.broker.move_messages(&world.caller, to(nowhere)).await.unwrap_err();
    assert!(matches!(lost, MoveError::Unroutable { moved: 0, .. }), "{lost}");
    assert_eq!(world.broker.move_messages(&world.caller, to(None)).await, Ok(250));
    let world = world.crash().await;
    assert_eq!(world.ready("dead"), 0);
    assert_eq!(world.drain("q").await, bodies);
}

#[tokio::test]
async fn who_looks_sees_what_is_in_memory_too_and_takes_nothing() {
    let world = World::new();
    world.queue("q").await;
    let transient = |body: &str| Message { persistent: false, ..message("q", body) };
    world.send("", vec![transient("t1")]).await.unwrap();
    world.put("q", &["p1"]).await;
    world.send("", vec![transient("t2"), transient("t3")]).await.unwrap();
    let held = world.get("q", 1).await;
    assert_eq!(bodies(&held), ["t1"]);
    let look = |max| world.broker.peek(&world.caller, Peek { queue: reference("q"), from: 0, max });
    let seen = |peeked: Vec<crate::api::queues::admin::Peeked>| -> Vec<(String, bool)> {
        let body = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
        peeked.iter().map(|one| (body(&one.message), one.leased)).collect()
    };
    let all = [("t1", true), ("p1", false), ("t2", false), ("t3", false)]
        .map(|(body, held)| (body.to_owned(), held));
    assert_eq!(seen(look(10).await.unwrap()), all);
    assert_eq!(seen(look(2).await.unwrap()), all[..2]);
    assert_eq!(world.drain("q").await, ["p1", "t2", "t3"]);
}

#[tokio::test]
async fn a_message_that_dies_again_and_again_is_dropped_in_the_end() {
    let world = World::new();
    let dead_letter = Some(DeadLetter { exchange: Text::empty(), routing_key: None });
    world.declare("q", QueueOptions { dead_letter, ..QueueOptions::default() }).await.unwrap();
    world.put("q", &["unwanted"]).await;
    // It comes back 64 times, and then no more.
    for deaths in 0..=64 {
        let got = world.wait("q").await;
        assert_eq!(got.message.deaths.as_ref().map_or(0, |deaths| deaths.hops()), deaths);
        world.settle(&[got], Settlement::Reject).await;
    }
    let info = || world.broker.queue_info(&world.caller, &reference("q")).unwrap();
    world.until("it is gone", || info().counters.rejected == 65 && info().ready == 0).await;
    let counted = || {
        let mut metrics = String::new();
        world.broker.metrics().encode(&mut metrics).unwrap();
        metrics.contains("\nannals_queue_dropped_dead_letters_total 1\n")
    };
    world.until("it is counted", counted).await;
    let left = || World::open(&world.files.crash_keeping_only_synced(), &world.clock);
    world.until("it is gone for good", || left().ready("q") == 0).await;
}

#[tokio::test]
async fn what_many_queues_get_is_stored_once_and_its_space_returns() {
    let world = World::new();
    let names: Vec<String> = (0..20).map(|index| format!("q{index}")).collect();
    for name in &names {
        world.queue(name).await;
        world.bind("amq.fanout", "", name).await;
    }
    let body = "x".repeat(12_000);
    let before = world.stored_bytes();
    for index in 0..100 {
        let ticket = world.send("amq.fanout", vec![message("", &format!("{index} {body}"))]).await.unwrap();
        ticket.durable().await.unwrap();
    }
    let stored = world.stored_bytes() - before;
    assert!(stored < 1_800_000, "{stored} bytes for 100 messages of 12,000 in 20 queues");
    let world = world.crash().await;
    for name in &names[1..] {
        assert_eq!(world.drain(name).await.len(), 100);
    }
    // One queue keeps one old message and everybody else is done.
    let got = world.get("q0", 100).await;
    assert_eq!(got.len(), 100);
    assert!(bodies(&got)[57].starts_with("57 x"));
    let mut others = got.clone();
    let kept = others.remove(3);
    world.settle(&others, Settlement::Accept).await;
    world.until("bodies are gone", || world.stored_bytes() < 300_000).await;
    world.settle(&[kept], Settlement::Requeue { counts: false }).await;
    let world = world.reopen().await;
    let left = world.drain("q0").await;
    assert_eq!(left.len(), 1);
    assert!(left[0].starts_with("3 x"));
}

#[tokio::test]
async fn space_returns_behind_one_old_message() {
    let world = World::new();
    world.queue("q").await;
    let body = "x".repeat(20_000);
    world.put("q", &["old"]).await;
    let old = world.get("q", 1).await;
    for _ in 0..300 {
        world.put("q", &[&body]).await;
        let got = world.get("q", 1).await;
        world.settle(&got, Settlement::Accept).await;
    }
    world.until("the others are gone", || world.stored_bytes() < 1_500_000).await;
    world.settle(&old, Settlement::Requeue { counts: true }).await;
    let world = world.reopen().await;
    assert_eq!(world.drain("q").await, ["old"]);
}

/// What must be there after a crash, and what may be.
#[derive(Default)]
struct Expected {
    /// Confirmed, and not acknowledged.
    sure: std::collections::BTreeSet<u64>,
    /// Nobody knows: not confirmed, or acknowledged and not told.
    perhaps: std::collections::BTreeSet<u64>,
}

/// Publishes, takes and settles at random; leaves some of it unfinished.
async fn live(world: &World, expected: &mut Expected, next: &mut u64, random: &Clock) {
    let below = |limit: u64| random.random() % limit;
    for _ in 0..5 + below(40) {
        match below(10) {
            0..=4 => {
                let ids: Vec<u64> = (*next..*next + 1 + below(5)).collect();
                *next += ids.len() as u64;
                let exchange = if below(3) == 0 { "amq.fanout" } else { "" };
                let padding = "x".repeat(below(2) as usize * 200);
                let messages = ids.iter().map(|id| message("q", &format!("{id} {padding}"))).collect();
                let Ok(ticket) = world.send(exchange, messages).await else { return };
                if below(4) == 0 {
                    expected.perhaps.extend(ids);
                } else if ticket.durable().await.is_ok() {
                    expected.sure.extend(ids);
                } else {
                    return expected.perhaps.extend(ids);
                }
            }
            5..=8 => {
                let got = world.get("q", 1 + below(6) as usize).await;
                let settlement = match below(5) {
                    0 => Settlement::Requeue { counts: true },
                    _ => Settlement::Accept,
                };
                let leases: Vec<Lease> = got.iter().map(|delivery| delivery.lease).collect();
                let ticket = world.broker.settle(&world.caller, &leases, settlement);
                let known = below(3) > 0 && ticket.durable().await.is_ok();
                for id in numbers(&got) {
                    if settlement == Settlement::Accept && expected.sure.remove(&id) && !known {
                        expected.perhaps.insert(id);
                    }
                    if settlement == Settlement::Accept && known {
                        expected.perhaps.remove(&id);
                    }
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(below(5))).await,
        }
    }
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    bodies(deliveries).iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn nothing_confirmed_is_lost_and_nothing_acknowledged_comes_back() {
    for seed in 0..12 {
        let (random, _) = Clock::manual(0, seed);
        let mut world = World::new();
        let (mut expected, mut next) = (Expected::default(), 0);
        world.queue("q").await;
        world.queue("copy").await;
        for queue in ["q", "copy"] {
            world.bind("amq.fanout", "", queue).await;
        }
        for life in 0..6 {
            live(&world, &mut expected, &mut next, &random).await;
            let files = match random.random() % 3 {
                0 => world.files.kill(),
                1 => world.files.crash_keeping_only_synced(),
                _ => world.files.crash(seed * 100 + life),
            };
            world = World::open(&files, &world.clock);
            let got = world.get("q", 100_000).await;
            let found = numbers(&got);
            assert!(found.is_sorted(), "seed {seed}, life {life}: out of order: {found:?}");
            let found: std::collections::BTreeSet<u64> = found.into_iter().collect();
            assert_eq!(found.len(), got.len(), "seed {seed}, life {life}: doubled");
            let lost: Vec<_> = expected.sure.difference(&found).collect();
            assert!(lost.is_empty(), "seed {seed}, life {life}: lost {lost:?}");
            let unknown = |id: &&u64| !expected.sure.contains(id) && !expected.perhaps.contains(id);
            let unknown: Vec<_> = found.iter().filter(unknown).collect();
            assert!(unknown.is_empty(), "seed {seed}, life {life}: came back: {unknown:?}");
            // Whatever is there now was on disk.
            (expected.sure, expected.perhaps) = (found, Default::default());
            world.settle(&got, Settlement::Requeue { counts: false }).await;
        }
    }
}

#[tokio::test]
async fn fifo_groups_are_found_again_after_a_crash() {
    let world = World::new();
    world.declare("q", QueueOptions { groups: true, ..QueueOptions::default() }).await.unwrap();
    let of = |group: &str, body: &str| Message { group: Some(group.into()), ..message("q", body) };
    let messages = vec![of("a", "a1"), of("b", "b1"), of("a", "a2"), of("b", "b2")];
    world.send("", messages).await.unwrap().durable().await.unwrap();
    let first = world.get("q", 1).await;
    assert_eq!(bodies(&first), ["a1"]);
    assert_eq!(bodies(&world.get("q", 10).await), ["b1", "b2"], "group a is held");
    world.settle(&first, Settlement::Accept).await;
    let world = world.crash().await;
    assert_eq!(world.drain("q").await, ["b1", "a2", "b2"]);
}

#[tokio::test]
async fn a_session_and_what_is_left_with_it() {
    let world = World::new();
    world.declare("q", QueueOptions { groups: true, ..QueueOptions::default() }).await.unwrap();
    let of = |group: &str, body: &str| Message { group: Some(group.into()), ..message("q", body) };
    let later = Message { due_ms: Some(i64::MAX), ..of("a", "never") };
    world.send("", vec![of("a", "a1"), of("b", "b1"), later]).await.unwrap().durable().await.unwrap();
    let holder = world.broker.new_holder();
    let accept = |group: Option<Text>, holder| {
        world.broker.accept_session(&world.caller, reference("q"), group.as_ref(), holder, 60_000)
    };
    let session = accept(None, holder).unwrap();
    assert_eq!(session.group, "a");
    assert!(accept(Some("a".into()), world.broker.new_holder()).is_err());
    let got = world.broker.get_of_session(&world.caller, &session, 5, false).await.unwrap();
    assert_eq!(bodies(&got), ["a1"]);
    world.settle(&got, Settlement::Defer).await;
    let left = Some(Bytes::from_static(b"half done"));
    world.broker.set_session_state(&world.caller, &reference("q"), &"a".into(), left.clone()).await.unwrap();
    assert_eq!(world.broker.cancel_scheduled(&world.caller, &reference("q"), 0).await, Ok(true));
    let sequence = got[0].sequence;
    let world = world.crash().await;
    let info = world.broker.queue_info(&world.caller, &reference("q")).unwrap();
    assert_eq!((info.ready, info.delayed), (1, 0));
    assert_eq!(world.broker.session_state(&world.caller, &reference("q"), &"a".into()), Ok(left));
    assert_eq!(world.broker.undefer(&world.caller, &reference("q"), 0, sequence).await, Ok(true));
    assert_eq!(world.drain("q").await, ["a1", "b1"]);
}

mod consuming;
mod leaving;
mod memory;
mod moves;
mod topics;
