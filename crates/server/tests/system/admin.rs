//! Administration through librdkafka.

use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{
    PATIENCE, admin, block_on, code, config, create, fill, patient, producer, read_all, reader, record,
    send_all, text,
};
use crate::server::{Server, eventually};

fn start() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &["auto_create_topics=false"]);
    (directory, server)
}

fn topics(address: &str) -> Vec<(String, usize)> {
    let consumer: BaseConsumer = config(address, &[]).create().unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    let mut topics: Vec<_> =
        metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect();
    topics.sort();
    topics
}

fn refusal(address: &str, topic: &NewTopic<'_>, options: &AdminOptions) -> Result<String, RDKafkaErrorCode> {
    block_on(admin(address).create_topics([topic], options)).unwrap().remove(0).map_err(|(_, code)| code)
}

#[test]
fn topics_are_created_grown_and_deleted() {
    let (_directory, server) = start();
    let address = server.kafka();
    let one = |name| NewTopic::new(name, 2, TopicReplication::Fixed(1));
    let validate = patient().validate_only(true);
    assert_eq!(refusal(address, &one("orders"), &validate), Ok("orders".to_owned()));
    assert_eq!(topics(address), []);
    assert_eq!(refusal(address, &one("orders"), &patient()), Ok("orders".to_owned()));
    let refused = |topic: &NewTopic<'_>| refusal(address, topic, &patient()).unwrap_err();
    assert_eq!(refused(&one("orders")), RDKafkaErrorCode::TopicAlreadyExists);
    assert_eq!(refused(&one("a/b")), RDKafkaErrorCode::InvalidTopic);
    assert_eq!(refused(&one("c").set("retention.ms", "soon")), RDKafkaErrorCode::InvalidConfig);
    let three = NewTopic::new("d", 1, TopicReplication::Fixed(3));
    assert_eq!(refused(&three), RDKafkaErrorCode::InvalidReplicationFactor);
    let grow = |count| {
        let grown = NewPartitions::new("orders", count);
        block_on(admin(address).create_partitions([&grown], &patient())).unwrap().remove(0)
    };
    assert_eq!(grow(5), Ok("orders".to_owned()));
    assert_eq!(grow(3).unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    assert_eq!(topics(address), [("orders".to_owned(), 5)]);
    fill(address, "orders", 4, ["x".to_owned()]);
    let deleted = block_on(admin(address).delete_topics(&["orders", "none"], &patient())).unwrap();
    assert_eq!(deleted[0], Ok("orders".to_owned()));
    assert_eq!(deleted[1], Err(("none".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition)));
    assert_eq!(topics(address), []);
    create(address, "orders", 1, &[]);
    assert!(read_all(address, "orders").is_empty(), "the new topic has nothing of the old one");
}

#[test]
fn configs_are_described_and_altered() {
    let (_directory, server) = start();
    let address = server.kafka();
    create(address, "orders", 1, &[("retention.ms", "100000")]);
    let describe = || {
        let wanted = [&ResourceSpecifier::Topic("orders")];
        block_on(admin(address).describe_configs(wanted, &patient())).unwrap().remove(0).unwrap()
    };
    let described = describe();
    let retention = described.get("retention.ms").unwrap();
    assert_eq!(
        (retention.value.as_deref(), &retention.source),
        (Some("100000"), &ConfigSource::DynamicTopic)
    );
    assert!(described.get("cleanup.policy").unwrap().is_default);
    let change = AlterConfig::new(ResourceSpecifier::Topic("orders")).set("cleanup.policy", "compact");
    block_on(admin(address).alter_configs([&change], &patient())).unwrap().remove(0).unwrap();
    let described = describe();
    assert_eq!(described.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
    assert!(described.get("retention.ms").unwrap().is_default, "this call sets all of them");
    let wrong = AlterConfig::new(ResourceSpecifier::Topic("orders")).set("cleanup.policy", "burn");
    // This client does not tell what became of each resource.
    block_on(admin(address).alter_configs([&wrong], &patient())).unwrap();
    assert_eq!(describe().get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
    let broker =
        block_on(admin(address).describe_configs([&ResourceSpecifier::Broker(1)], &patient())).unwrap();
    assert!(!broker[0].as_ref().unwrap().entries.is_empty());
}

#[test]
fn records_are_deleted_from_the_front() {
    let (_directory, server) = start();
    let address = server.kafka();
    create(address, "orders", 1, &[]);
    fill(address, "orders", 0, (0..10).map(|number| number.to_string()));
    let delete = |offset| {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset("orders", 0, offset).unwrap();
        let deleted = block_on(admin(address).delete_records(&before, &patient())).unwrap();
        let element = deleted.find_partition("orders", 0).unwrap();
        element.error().map(|()| element.offset())
    };
    assert_eq!(delete(Offset::Offset(4)), Ok(Offset::Offset(4)));
    let values: Vec<String> = read_all(address, "orders").iter().map(|read| text(read.payload())).collect();
    assert_eq!(values, ["4", "5", "6", "7", "8", "9"]);
    let refused = delete(Offset::Offset(11)).unwrap_err();
    assert_eq!(code(&refused), Some(RDKafkaErrorCode::OffsetOutOfRange), "{refused}");
    assert_eq!(delete(Offset::End), Ok(Offset::Offset(10)));
    assert_eq!(reader(address, "orders").1[&0], (10, 10));
}

/// Segments of the journal are much larger than `segment.bytes` here, and all topics share them.
#[test]
fn compaction_and_retention_by_size_take_small_topics_too() {
    let directory = tempfile::tempdir().unwrap();
    let often = ["topics.retention_interval=100ms", "topics.compaction_interval=100ms"];
    let server = Server::start_with(directory.path(), &often);
    let address = server.kafka();
    let small = ("segment.bytes", "1048576");
    create(address, "kept", 1, &[small]);
    create(address, "latest", 1, &[("cleanup.policy", "compact"), small]);
    create(address, "bounded", 1, &[("retention.bytes", "1"), small]);
    let values = || (0..300).map(|_| "x".repeat(10_000));
    fill(address, "kept", 0, values());
    let key = |number: u32| Some((number % 3).to_string().into_bytes());
    let keyed = (0..300).map(|number| record("latest", 0, "x".repeat(10_000)).set_key(key(number)));
    let sent = send_all(&producer(address, &[]), keyed);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    eventually("compaction", PATIENCE, || read_all(address, "latest").len() < 150);
    let mut fills = 0;
    eventually("retention", PATIENCE, || {
        fill(address, "bounded", 0, values());
        fills += 1;
        reader(address, "bounded").1[&0].0 > 0
    });
    assert!(fills < 10, "{fills} times 3 MB: the segment was full anyway");
    assert_eq!(read_all(address, "kept").len(), 300);
}

#[test]
fn groups_are_listed_and_deleted() {
    let (_directory, server) = start();
    let address = server.kafka();
    create(address, "orders", 1, &[]);
    let group = [("group.id", "billing"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(address, &group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("orders", 0, Offset::Offset(7)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    let listed = || {
        let groups = consumer.fetch_group_list(None, PATIENCE).unwrap();
        groups
            .groups()
            .iter()
            .map(|group| (group.name().to_owned(), group.state().to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(), [("billing".to_owned(), "Empty".to_owned())]);
    let deleted = block_on(admin(address).delete_groups(&["billing", "none"], &patient())).unwrap();
    assert_eq!(deleted[0], Ok("billing".to_owned()));
    assert_eq!(deleted[1], Err(("none".to_owned(), RDKafkaErrorCode::GroupIdNotFound)));
    assert_eq!(listed(), []);
}

#[test]
fn what_does_not_exist_is_not_written_to() {
    let (_directory, server) = start();
    let pairs = [("message.timeout.ms", "30000"), ("topic.metadata.propagation.max.ms", "500")];
    let producer = producer(server.kafka(), &pairs);
    let refused = send_all(&producer, [record("nowhere", 0, "x")]).remove(0).unwrap_err();
    let expected = [RDKafkaErrorCode::UnknownTopicOrPartition, RDKafkaErrorCode::UnknownTopic];
    assert!(expected.contains(&code(&refused).unwrap()), "{refused}");
    assert_eq!(topics(server.kafka()), []);
}
