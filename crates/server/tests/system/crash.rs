//! Killing the server again and again under load, and checking what clients were promised.
//!
//! Idempotent producers write numbered records for each key into several topics, and a consumer commits what it has
//! read, while the server is killed at random moments and started again on the same directory and port. Afterwards:
//! every record is there exactly once, since nothing was given up; each key's records are in the order of their
//! numbers; an acknowledgement's offset is where the record lies; compacted topics hold each key's last record; what
//! retention deleted is a beginning of the log; commits are not behind what was acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{self, Dice, PATIENCE, config, for_each, text};
use crate::server::{Server, Stopping, annals, eventually};

/// Kept whole.
const ORDERS: &str = "orders";
const BILLS: &str = "bills";
/// The latest record of each key.
const PRICES: &str = "prices";
/// The last few hundred kilobytes.
const CLICKS: &str = "clicks";

/// Name, partitions and configuration.
type Topic = (&'static str, i32, &'static [(&'static str, &'static str)]);

const TOPICS: [Topic; 4] = [
    (ORDERS, 3, &[]),
    (BILLS, 1, &[("compression.type", "lz4")]),
    (
        PRICES,
        2,
        &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("max.compaction.lag.ms", "100"),
        ],
    ),
    (CLICKS, 1, &[("retention.bytes", "300000")]),
];
/// Small files and eager upkeep, so that kills hit sealing, rewriting, retention and compaction too.
const SETTINGS: [&str; 3] =
    ["journal.segment_bytes=1MiB", "topics.retention_interval=100ms", "topics.compaction_interval=100ms"];
const PRODUCERS: u64 = 3;
const KEYS: u64 = 5;
/// More clicks than are retained and lie in one segment.
const CLICKS_MIN: usize = 7000;
/// Records that a producer may have under way.
const WINDOW: i32 = 500;

/// What one producer was told.
#[derive(Default)]
struct Told {
    /// Partition and offset of each acknowledged record, by topic and value.
    acknowledged: Mutex<HashMap<(String, String), (i32, i64)>>,
    refused: AtomicU64,
}

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let record = (message.topic().to_owned(), text(message.payload()));
                let place = (message.partition(), message.offset());
                let before = self.acknowledged.lock().unwrap().insert(record, place);
                assert_eq!(before, None, "acknowledged twice");
            }
            Err((error, message)) => {
                eprintln!("{} refused: {error}", text(message.payload()));
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Told {
    fn clicks(&self) -> usize {
        self.acknowledged.lock().unwrap().keys().filter(|(topic, _)| topic == CLICKS).count()
    }
}

type Sender = ThreadedProducer<Told>;

fn sender(address: &str) -> Sender {
    let pairs = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("message.timeout.ms", "120000"),
        ("linger.ms", "2"),
        ("batch.num.messages", "20"),
        ("retry.backoff.ms", "20"),
    ];
    config(address, &pairs).create_with_context(Told::default()).unwrap()
}

/// Sends until `stop`; returns how many records each key of each topic got.
fn send(producer: &Sender, number: u64, stop: &AtomicBool) -> BTreeMap<(&'static str, String), u64> {
    let mut dice = Dice(number);
    let mut sent = BTreeMap::new();
    let padding = "x".repeat(200);
    while !stop.load(Ordering::Relaxed) {
        if producer.in_flight_count() > WINDOW {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let (topic, ..) = TOPICS[dice.below(4) as usize];
        let key = format!("{number}-{}", dice.below(KEYS));
        let next = sent.entry((topic, key.clone())).or_insert(0);
        let value = format!("{key}/{next}/{padding}");
        let record = BaseRecord::<String, String>::to(topic).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        *next += 1;
        std::thread::sleep(Duration::from_micros(dice.below(300)));
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    sent
}

/// Reads the orders and commits every now and then; remembers what was committed for sure.
fn commit(consumer: &BaseConsumer, sure: &[AtomicI64; 3], stop: &AtomicBool) {
    let mut next = TopicPartitionList::new();
    let mut seen = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
        let partition = message.partition();
        let committed = sure[partition as usize].load(Ordering::Relaxed);
        let read = message.offset();
        assert!(
            read >= committed,
            "partition {partition} is read again from {read}, {committed} was committed"
        );
        let offset = Offset::Offset(message.offset() + 1);
        match next.find_partition(ORDERS, partition) {
            Some(_) => next.set_partition_offset(ORDERS, partition, offset).unwrap(),
            None => next.add_partition_offset(ORDERS, partition, offset).unwrap(),
        }
        seen += 1;
        if seen.is_multiple_of(20) && consumer.commit(&next, CommitMode::Sync).is_ok() {
            for element in next.elements() {
                let place = &sure[element.partition() as usize];
                place.fetch_max(element.offset().to_raw().unwrap(), Ordering::Relaxed);
            }
        }
    }
}

/// Kills the server `kills` times at moments that `dice` tells.
fn kill(server: &mut Server, kills: u64, dice: &mut Dice) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(100 + dice.below(900)));
        server.kill();
        server.restart();
        slowest = slowest.max(server.ready_after);
    }
    slowest
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let number = |name, default| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (kills, seed) =
        (number("ANNALS_TEST_KILLS", 5), number("ANNALS_TEST_SEED", std::process::id().into()));
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &SETTINGS);
    let address = server.kafka().to_owned();
    TOPICS
        .iter()
        .for_each(|(topic, partitions, configs)| clients::create(&address, topic, *partitions, configs));
    let producers: Vec<Sender> = (0..PRODUCERS).map(|_| sender(&address)).collect();
    let group =
        [("group.id", "auditors"), ("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")];
    let consumer: BaseConsumer = config(&address, &group).create().unwrap();
    consumer.subscribe(&[ORDERS]).unwrap();
    let (stop, sure) = (AtomicBool::new(false), [const { AtomicI64::new(0) }; 3]);
    let mut sent = BTreeMap::new();
    std::thread::scope(|scope| {
        let stop = &stop;
        let stopping = Stopping(stop);
        let numbered = (0..).zip(&producers);
        let sending: Vec<_> =
            numbered.map(|(number, producer)| scope.spawn(move || send(producer, number, stop))).collect();
        scope.spawn(|| commit(&consumer, &sure, stop));
        let slowest = kill(&mut server, kills, &mut Dice(seed));
        println!("seed {seed}");
        println!("figure: kills={kills}");
        println!("figure: slowest start={} ms", slowest.as_millis());
        eventually("records are acknowledged and committed", Duration::from_secs(120), || {
            let clicks: usize = producers.iter().map(|producer| producer.context().clicks()).sum();
            clicks >= CLICKS_MIN && sure.iter().any(|sure| sure.load(Ordering::Relaxed) > 0)
        });
        drop(stopping);
        sending.into_iter().for_each(|thread| sent.extend(thread.join().unwrap()));
    });
    let mut acknowledged = HashMap::new();
    for producer in &producers {
        assert_eq!(producer.context().refused.load(Ordering::Relaxed), 0, "seed {seed}");
        acknowledged.extend(producer.context().acknowledged.lock().unwrap().drain());
    }
    println!("figure: records acknowledged={}", acknowledged.len());
    assert_eq!(acknowledged.len() as u64, sent.values().sum::<u64>(), "seed {seed}: flushed, so all of them");
    drop(producers);
    check_commits(&address, &sure);
    TOPICS.iter().for_each(|(topic, ..)| check_topic(&address, topic, &sent, &acknowledged));
    assert_eq!(server.terminate().0.code(), Some(0));
    let verified = annals(&["verify", "--data-dir", directory.path().to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
    println!("figure: lost or doubled=0");
}

fn check_commits(address: &str, sure: &[AtomicI64; 3]) {
    let consumer: BaseConsumer = config(address, &[("group.id", "auditors")]).create().unwrap();
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(ORDERS, 0, 2);
    let committed = consumer.committed_offsets(wanted, PATIENCE).unwrap();
    let mut any = 0;
    for element in committed.elements() {
        let sure = sure[element.partition() as usize].load(Ordering::Relaxed);
        let committed = element.offset().to_raw().unwrap().max(0);
        assert!(committed >= sure, "partition {}: {committed} < {sure}", element.partition());
        any += sure;
    }
    assert!(any > 0, "the consumer has committed something");
}

fn check_topic(
    address: &str,
    topic: &str,
    sent: &BTreeMap<(&'static str, String), u64>,
    acknowledged: &HashMap<(String, String), (i32, i64)>,
) {
    if topic == CLICKS {
        let start = || clients::reader(address, topic).1[&0].0;
        eventually("retention took part, and rests", PATIENCE, || {
            let before = start();
            std::thread::sleep(Duration::from_secs(1));
            before > 0 && start() == before
        });
    }
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for_each(address, topic, |message| {
        let value = text(message.payload());
        let place = acknowledged.get(&(topic.to_owned(), value.clone()));
        assert_eq!(place, Some(&(message.partition(), message.offset())), "{topic}: {value}");
        let mut parts = value.split('/');
        let (key, number) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
        found.entry(key.to_owned()).or_default().push(number);
    });
    for ((_, key), count) in sent.iter().filter(|((of, _), _)| *of == topic) {
        let numbers = found.remove(key).unwrap_or_default();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{topic}, {key}: {numbers:?}");
        match topic {
            PRICES => assert_eq!(numbers.last(), Some(&(count - 1)), "{key}"),
            // The oldest are gone, the others are all there.
            CLICKS => {
                let first = numbers.first().copied().unwrap_or(*count);
                assert_eq!(numbers.len() as u64, count - first, "{key}: {numbers:?}");
            }
            _ => assert_eq!(numbers.len() as u64, *count, "{topic}, {key}"),
        }
    }
    assert!(found.is_empty(), "{topic} holds what nobody sent: {found:?}");
}
