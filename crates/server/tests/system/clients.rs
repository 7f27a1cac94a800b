//! librdkafka, with short ways to use it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage, Timestamp};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

/// Nothing asked of a server takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A client's configuration: the address and what else is given.
pub(crate) fn config(address: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("broker.address.family", "v4");
    // A server that is away for a moment is found again at once.
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100").set("log_level", "2");
    pairs.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    config
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    config(address, &[]).create().unwrap()
}

pub(crate) fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Creates a topic.
pub(crate) fn create(address: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let created = block_on(admin(address).create_topics([&topic], &patient())).unwrap();
    created.into_iter().for_each(|result| {
        result.unwrap();
    });
}

/// A consumer in no group that reads every partition of `topic` from its first record.
pub(crate) fn reader(address: &str, topic: &str) -> (BaseConsumer, BTreeMap<i32, (i64, i64)>) {
    let pairs =
        [("group.id", "readers"), ("enable.auto.commit", "false"), ("fetch.message.max.bytes", "60000000")];
    let consumer: BaseConsumer = config(address, &pairs).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let (mut list, mut bounds) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in metadata.topics()[0].partitions() {
        let id = partition.id();
        bounds.insert(id, consumer.fetch_watermarks(topic, id, PATIENCE).unwrap());
        list.add_partition_offset(topic, id, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    (consumer, bounds)
}

/// Every record that the topic holds now, partition by partition in order.
pub(crate) fn read_all(address: &str, topic: &str) -> Vec<OwnedMessage> {
    let mut all = Vec::new();
    for_each(address, topic, |message| all.push(message.detach()));
    all.sort_by_key(|message| (message.partition(), message.offset()));
    all
}

/// Reads every record that the topic holds now.
pub(crate) fn for_each(address: &str, topic: &str, mut each: impl FnMut(&BorrowedMessage<'_>)) {
    let (consumer, bounds) = reader(address, topic);
    let reached = |partition: &i32, (low, high): &(i64, i64)| {
        low == high || position(&consumer, topic, *partition) >= *high
    };
    // Compaction may have taken a partition's last offsets: then the position passes them without a record.
    while !bounds.iter().all(|(partition, bounds)| reached(partition, bounds)) {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            each(&message.unwrap());
        }
    }
}

fn position(consumer: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let positions = consumer.position().unwrap();
    let position = positions.find_partition(topic, partition).map(|found| found.offset());
    if let Some(Offset::Offset(offset)) = position { offset } else { -1 }
}

pub(crate) fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

/// A small seeded source of decisions (SplitMix64), so that a failing seed fails again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// A producer that acknowledges durably, with what else is given.
pub(crate) fn producer(address: &str, pairs: &[(&str, &str)]) -> FutureProducer {
    let pairs = [&[("acks", "all"), ("message.timeout.ms", "30000"), ("linger.ms", "2")], pairs].concat();
    config(address, &pairs).create().unwrap()
}

/// Sends all records before the first is waited for. Returns the place or the error of each.
pub(crate) fn send_all(
    producer: &FutureProducer,
    records: impl IntoIterator<Item = OwnedMessage>,
) -> Vec<Result<(i32, i64), KafkaError>> {
    let send = |record: OwnedMessage| {
        let mut base = FutureRecord::<[u8], [u8]>::to(record.topic());
        base.key = record.key();
        base.payload = record.payload();
        base.timestamp = record.timestamp().to_millis();
        base.partition = (record.partition() >= 0).then_some(record.partition());
        base.headers = record.headers().cloned();
        producer.send_result(base).map_err(|(error, _)| error).unwrap()
    };
    let sent: Vec<_> = records.into_iter().map(send).collect();
    block_on(async {
        let mut results = Vec::with_capacity(sent.len());
        for delivery in sent {
            let result = delivery.await.unwrap();
            results.push(result.map(|place| (place.partition, place.offset)).map_err(|(error, _)| error));
        }
        results
    })
}

/// A record to send.
pub(crate) fn record(topic: &str, partition: i32, value: impl Into<Vec<u8>>) -> OwnedMessage {
    let (topic, timestamp) = (topic.to_owned(), Timestamp::NotAvailable);
    OwnedMessage::new(Some(value.into()), None, topic, timestamp, partition, 0, None)
}

/// Sends records with these values to one partition, and makes sure that they are acknowledged.
pub(crate) fn fill(address: &str, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    let records = values.into_iter().map(|value| record(topic, partition, value));
    let results = send_all(&producer(address, &[]), records);
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
}

/// The error code that a broker gave.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}
