//! What the queues take and give, without a front-end: `cargo run --release -p annals-broker --example queue_speed -- DIRECTORY`.
//!
//! Each figure is measured in a data directory of its own below DIRECTORY, in one process, on the disk that is there.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool that prints figures and gives up on errors"
)]

use std::path::Path;
use std::sync::Arc;

use annals_broker::api::Caller;
use annals_broker::api::queues::consume::{Consume, ConsumerEvent};
use annals_broker::api::queues::publish::{NewMessage, Publish};
use annals_broker::api::queues::settle::Settlement;
use annals_broker::api::queues::topology::DeclareQueue;
use annals_broker::api::queues::{Headers, LogStart, Message, OwnerId, QueueOptions, QueueRef, Text};
use annals_broker::{Broker, Options};
use annals_clock::Clock;
use annals_journal::DiskFiles;
use bytes::Bytes;
use tokio::task::JoinSet;

const VHOST: Text = Text::from_static("/");

struct World {
    broker: Broker,
    caller: Caller,
    clock: Clock,
    _tasks: JoinSet<()>,
}

impl World {
    fn open(directory: &Path, name: &str) -> Self {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let files = Arc::new(DiskFiles::open(directory).expect("a directory"));
        let clock = Clock::system();
        let broker =
            Broker::open(Options::default(), annals_journal::Options::default(), files, clock.clone());
        let broker = broker.expect("a broker");
        let mut tasks = JoinSet::new();
        let running = broker.clone();
        tasks.spawn(async move { running.run(std::future::pending()).await });
        Self { broker, caller: Caller::internal(), clock, _tasks: tasks }
    }

    async fn declare(&self, name: &str) {
        let request = DeclareQueue {
            vhost: VHOST,
            name: name.into(),
            owner: OwnerId(0),
            durable: true,
            exclusive: false,
            auto_delete: false,
            options: QueueOptions::default(),
            arguments: Headers::new(),
        };
        self.broker.declare_queue(&self.caller, request).await.expect("a queue");
    }

    async fn publish(&self, queue: &Text, count: usize, body: &Bytes, persistent: bool) {
        let new = |_| NewMessage {
            message: Message {
                routing_key: queue.clone(),
                body: body.clone(),
                persistent,
                ..Message::default()
            },
            more_keys: Vec::new(),
        };
        let publish =
            Publish { vhost: VHOST, exchange: Text::empty(), messages: (0..count).map(new).collect() };
        let ticket = self.broker.publish(&self.caller, publish).await.expect("room");
        ticket.durable().await.expect("a disk");
    }

    async fn consume(&self, name: &str, no_ack: bool, count: usize) {
        let mut consumer = self.consumer(name, no_ack);
        let mut taken = 0;
        while taken < count {
            let ConsumerEvent::Deliveries(deliveries) = consumer.next().await else { return };
            taken += deliveries.len();
            if !no_ack {
                let leases: Vec<_> = deliveries.iter().map(|delivery| delivery.lease).collect();
                self.broker.settle(&self.caller, &leases, Settlement::Accept);
            }
        }
    }

    fn consumer(&self, name: &str, no_ack: bool) -> annals_broker::Consumer {
        let request = Consume {
            queue: QueueRef { vhost: VHOST, name: name.into(), owner: OwnerId(0) },
            tag: "speed".into(),
            session: 1,
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch: if no_ack { 0 } else { 1000 },
            shared: None,
            start: LogStart::Next,
            arguments: Headers::new(),
        };
        self.broker.consume(&self.caller, request).expect("a consumer")
    }

    /// Publishes and consumes at the same time, and says how fast.
    async fn flow(
        self: &Arc<Self>,
        what: &str,
        publishers: usize,
        batch: usize,
        size: usize,
        persistent: bool,
    ) {
        let total: usize = if persistent { 400_000 } else { 3_000_000 };
        self.declare(what).await;
        let started = self.clock.monotonic();
        let mut tasks = JoinSet::new();
        for _ in 0..publishers {
            let (world, name) = (Arc::clone(self), Text::from(what));
            let body = Bytes::from(vec![7; size]);
            tasks.spawn(async move {
                for _ in 0..total / publishers / batch {
                    world.publish(&name, batch, &body, persistent).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        self.consume(what, !persistent, total / publishers / batch * batch * publishers).await;
        let took = (self.clock.monotonic() - started).as_secs_f64();
        println!("{what}: {:.0} messages a second, end to end", total as f64 / took);
        tasks.shutdown().await;
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

async fn backlog(world: &Arc<World>, name: &str, total: usize, persistent: bool) {
    world.declare(name).await;
    let (key, body) = (Text::from(name), Bytes::from(vec![7; 100]));
    for part in 0..4 {
        let started = world.clock.monotonic();
        for _ in 0..total / 4 / 1000 {
            world.publish(&key, 1000, &body, persistent).await;
        }
        let took = (world.clock.monotonic() - started).as_secs_f64();
        let done = (part + 1) * total / 4;
        let rate = total as f64 / 4.0 / took;
        println!("{name}: {done} messages wait, {rate:.0} a second, {} MiB resident", resident_mib());
    }
    let started = world.clock.monotonic();
    world.consume(name, false, total).await;
    let took = (world.clock.monotonic() - started).as_secs_f64();
    println!("{name}: read back at {:.0} a second, {} MiB resident", total as f64 / took, resident_mib());
}

async fn many_queues(world: &Arc<World>) {
    let before = resident_mib();
    let started = world.clock.monotonic();
    let mut tasks = JoinSet::new();
    for lane in 0..50 {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            for index in 0..200 {
                world.declare(&format!("many-{lane}-{index}")).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let took = (world.clock.monotonic() - started).as_secs_f64();
    println!("10,000 queues: {:.0} declared a second", 10_000.0 / took);
    let body = Bytes::from(vec![7; 100]);
    for lane in 0..50 {
        let (world, body) = (Arc::clone(world), body.clone());
        tasks.spawn(async move {
            for index in 0..200 {
                world.publish(&format!("many-{lane}-{index}").into(), 10, &body, true).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    println!("10,000 queues with 10 messages each: {} MiB resident, {before} before", resident_mib());
}

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    let directory = Path::new(&directory);
    let many = Arc::new(World::open(directory, "many"));
    many_queues(&many).await;
    drop(many);
    let flow = Arc::new(World::open(directory, "flow"));
    flow.flow("transient, 16 bytes, 1 publisher of 200 at a time", 1, 200, 16, false).await;
    flow.flow("persistent, 1 KiB, 4 publishers of 100 at a time", 4, 100, 1024, true).await;
    flow.flow("persistent, 1 KiB, 64 publishers of 1 at a time", 64, 1, 1024, true).await;
    drop(flow);
    let long = Arc::new(World::open(directory, "backlog"));
    backlog(&long, "persistent", 10_000_000, true).await;
    backlog(&long, "transient", 4_000_000, false).await;
}
