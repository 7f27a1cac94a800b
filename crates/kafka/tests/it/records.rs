//! Records in and out, in every version that is served.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    DeleteRecordsRequest, FetchRequest, FetchResponse, InitProducerIdRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use uuid::Uuid;

use crate::harness::{Client, World};

pub(crate) fn name(text: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(text))
}

/// One batch with a record for each value.
pub(crate) fn batch(values: &[i32]) -> Bytes {
    batch_at(1_700_000_000_000, values.iter().map(|value| value.to_string().into()).collect())
}

/// One batch with a record for each value, a millisecond apart.
pub(crate) fn batch_at(timestamp_ms: i64, values: Vec<Bytes>) -> Bytes {
    let record = |(offset, value): (i64, Bytes)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: NO_SEQUENCE + i32::try_from(offset).expect("small"),
        timestamp: timestamp_ms + offset,
        key: None,
        value: Some(value),
        headers: IndexMap::new(),
    };
    let records: Vec<Record> = (0..).zip(values).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("encodes");
    bytes.freeze()
}

pub(crate) fn produce(acks: i16, topic: &'static str, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic])
}

pub(crate) fn fetch(topic: &'static str, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

/// Creates a topic by asking for it, and returns its id.
pub(crate) async fn create(client: &mut Client, topic: &'static str) -> Uuid {
    let request = metadata(topic, true);
    let response = client.ask(12, &request).await;
    assert_eq!(response.topics[0].error_code, 0, "{topic}");
    response.topics[0].topic_id
}

fn metadata(topic: &'static str, create: bool) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create)
}

fn values(response: &FetchResponse) -> Vec<String> {
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut records = partition.records.clone().expect("never null");
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("whole batches");
    let records = sets.into_iter().flat_map(|set| set.records);
    records.map(|record| String::from_utf8(record.value.expect("set").to_vec()).expect("text")).collect()
}

#[tokio::test]
async fn what_is_produced_in_any_version_is_fetched_in_any_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    let id = create(&mut client, "t").await;
    let mut expected = Vec::new();
    for version in 3..=13 {
        let mut request = produce(-1, "t", batch(&[i32::from(version)]));
        if version >= 13 {
            request.topic_data[0].name = TopicName::default();
            request.topic_data[0].topic_id = id;
        }
        let response = client.ask(version, &request).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, expected.len() as i64),
            "version {version}"
        );
        expected.push(version.to_string());
    }
    for version in 4..=18 {
        let mut request = fetch("t", 0);
        if version >= 13 {
            request.topics[0].topic = TopicName::default();
            request.topics[0].topic_id = id;
        }
        let response = client.ask(version, &request).await;
        assert_eq!(values(&response), expected, "version {version}");
        assert_eq!(response.responses[0].partitions[0].high_watermark, expected.len() as i64);
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records() {
    let world = World::start().await;
    let (mut reader, mut writer) = (world.client().await, world.client().await);
    create(&mut writer, "t").await;
    let id = reader.send(11, &fetch("t", 0).with_max_wait_ms(60_000)).await;
    assert!(reader.is_silent_for(Duration::from_millis(100)).await);
    writer.ask(9, &produce(1, "t", batch(&[1, 2]))).await;
    let response: FetchResponse = reader.receive(id, 11).await;
    // Were it answered at the end of its time, it would be empty.
    assert_eq!(values(&response), ["1", "2"]);
}

#[tokio::test]
async fn errors_of_fetch_are_told_per_partition() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    let code = |response: FetchResponse| response.responses[0].partitions[0].error_code;
    assert_eq!(code(client.ask(11, &fetch("t", 5)).await), 1, "offset out of range");
    assert_eq!(code(client.ask(11, &fetch("nowhere", 0)).await), 3, "unknown topic or partition");
    let mut unknown = fetch("", 0);
    unknown.topics[0].topic_id = Uuid::from_u128(7);
    assert_eq!(code(client.ask(13, &unknown).await), 100, "unknown topic id");
    let mut ahead = fetch("t", 0);
    ahead.topics[0].partitions[0].current_leader_epoch = 3;
    assert_eq!(code(client.ask(11, &ahead).await), 75, "unknown leader epoch");
}

#[tokio::test]
async fn a_session_answers_only_what_is_new() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    let opened = client.ask(11, &fetch("t", 0).with_session_epoch(0)).await;
    assert_ne!(opened.session_id, 0);
    let next = |epoch| {
        let id = opened.session_id;
        fetch("t", 0).with_topics(Vec::new()).with_session_id(id).with_session_epoch(epoch)
    };
    assert!(client.ask(11, &next(1)).await.responses.is_empty(), "nothing has changed");
    client.ask(9, &produce(1, "t", batch(&[5]))).await;
    let response = client.ask(11, &next(2)).await;
    assert_eq!(values(&response), ["5"]);
    assert_eq!(client.ask(11, &next(2)).await.error_code, 71, "invalid fetch session epoch");
}

#[tokio::test]
async fn acks_0_is_not_answered_and_a_failure_closes_the_connection() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    client.send(9, &produce(0, "t", batch(&[1]))).await;
    client.ask(4, &metadata("t", false)).await;
    assert_eq!(values(&client.ask(11, &fetch("t", 0)).await), ["1"]);
    client.send(9, &produce(0, "nowhere", batch(&[1]))).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn produce_tells_what_is_wrong() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    let mut corrupt = batch(&[1]).to_vec();
    *corrupt.last_mut().expect("long") ^= 1;
    for version in [3, 7, 8, 12] {
        let cases = [
            (produce(-1, "nowhere", batch(&[1])), 3),
            (produce(-1, "t", corrupt.clone().into()), 2),
            (produce(7, "t", batch(&[1])), 21),
        ];
        for (request, expected) in cases {
            let response = client.ask(version, &request).await;
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (expected, -1), "version {version}");
        }
    }
}

#[tokio::test]
async fn transactions_are_refused_at_once() {
    let world = World::start().await;
    let mut client = world.client().await;
    let id = TransactionalId(StrBytes::from_static_str("tx"));
    let request =
        InitProducerIdRequest::default().with_transactional_id(Some(id)).with_transaction_timeout_ms(1000);
    assert_eq!(client.ask(4, &request).await.error_code, 53, "transactional id authorization failed");
}

#[tokio::test]
async fn producers_get_distinct_ids() {
    let world = World::start().await;
    let mut client = world.client().await;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let mut ids = Vec::new();
    for version in 0..=5 {
        let response = client.ask(version, &request).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id.0);
    }
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn offsets_are_found_by_place_and_time() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    client.ask(9, &produce(-1, "t", batch(&[1, 2, 3]))).await;
    for version in 1..=10 {
        let mut at = async |timestamp| {
            let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let response = client.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
            let found = &response.topics[0].partitions[0];
            (found.error_code, found.offset, found.timestamp)
        };
        assert_eq!(at(-1).await, (0, 3, -1));
        assert_eq!(at(-2).await, (0, 0, -1));
        assert_eq!(at(1_700_000_000_001).await, (0, 1, 1_700_000_000_001));
        assert_eq!(at(1_800_000_000_000).await, (0, -1, -1), "nothing is that late");
        let unsupported = (35, -1, -1);
        let (greatest, local, tiered) = (at(-3).await, at(-4).await, at(-5).await);
        assert_eq!(greatest, if version >= 7 { (0, 2, 1_700_000_000_002) } else { unsupported });
        assert_eq!(local, if version >= 8 { (0, 0, -1) } else { unsupported });
        assert_eq!(tiered, if version >= 9 { (0, -1, -1) } else { unsupported });
    }
}

#[tokio::test]
async fn the_largest_timestamp_is_that_of_a_record_that_is_still_there() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    let values = |count| vec![Bytes::from_static(b"v"); count];
    // Offsets 0 to 2, 3 to 4 and 5, each batch earlier than the one before.
    for (timestamp_ms, count) in [(3000, 3), (2000, 2), (1000, 1)] {
        client.ask(9, &produce(-1, "t", batch_at(1_700_000_000_000 + timestamp_ms, values(count)))).await;
    }
    for (start, expected) in [(0, (2, 3002)), (2, (2, 3002)), (3, (4, 2001)), (4, (4, 2001)), (5, (5, 1000))]
    {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(start);
        let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        client.ask(2, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
        let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-3);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let response = client.ask(7, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.offset, found.timestamp - 1_700_000_000_000), expected, "from {start}");
    }
}

#[tokio::test]
async fn metadata_names_the_node_and_topics_in_every_version() {
    let world = World::start().await;
    let mut client = world.client().await;
    let id = create(&mut client, "t").await;
    for version in 0..=13 {
        let all = MetadataRequest::default().with_topics(if version > 0 { None } else { Some(Vec::new()) });
        let response = client.ask(version, &all).await;
        let node = &response.brokers[0];
        assert_eq!(
            (node.node_id.0, node.host.as_str(), node.port),
            (1, "127.0.0.1", i32::from(world.address.port()))
        );
        let topic = &response.topics[0];
        assert_eq!(topic.name.as_ref().map(|name| name.as_str()), Some("t"));
        assert_eq!(topic.partitions[0].leader_id.0, 1);
        if version >= 10 {
            assert_eq!(topic.topic_id, id);
        }
        if version >= 4 {
            let unknown = client.ask(version, &metadata("nowhere", false)).await;
            assert_eq!(unknown.topics[0].error_code, 3);
        }
    }
    let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let request = MetadataRequest::default().with_topics(Some(vec![by_id(id), by_id(Uuid::from_u128(9))]));
    let response = client.ask(12, &request).await;
    assert_eq!(response.topics[0].name.as_ref().map(|name| name.as_str()), Some("t"));
    assert_eq!((response.topics[1].error_code, &response.topics[1].name), (100, &None));
    for (topic, partition, code) in [(id, 0, 0), (id, 9, 3), (Uuid::from_u128(9), 0, 100)] {
        let mut request = fetch("", 0);
        request.topics[0].topic_id = topic;
        request.topics[0].partitions[0].partition = partition;
        let response = client.ask(13, &request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, code, "partition {partition} of {topic}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_api_and_error() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "counted").await;
    client.ask(9, &produce(1, "counted", batch(&[1]))).await;
    client.ask(9, &produce(1, "unknown", batch(&[1]))).await;
    client.ask(9, &produce(3, "counted", batch(&[1]))).await;
    client.ask(12, &fetch("counted", 0)).await;
    client.ask(12, &fetch("counted", 7)).await;
    let metrics = world.metrics();
    for (api, error) in [
        ("Metadata", "NONE"),
        ("Produce", "NONE"),
        ("Produce", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("Produce", "INVALID_REQUIRED_ACKS"),
        ("Fetch", "NONE"),
        ("Fetch", "OFFSET_OUT_OF_RANGE"),
    ] {
        let counted = format!("annals_kafka_requests_total{{api=\"{api}\",error=\"{error}\"}} 1\n");
        assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }
    assert!(metrics.contains("annals_connections{protocol=\"kafka\"} 1\n"), "{metrics}");
}
