//! librdkafka, with short ways to use it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
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
