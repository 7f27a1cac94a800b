//! Clients that ask for records and do not read them: others get theirs, and they get theirs when they do.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, DeleteRecordsRequest, FetchRequest, FetchResponse, TopicName,
};
use kafka_protocol::records::RecordBatchDecoder;

use crate::harness::{Client, World, frame};
use crate::records::{batch_at, create, fetch, produce};

const BATCHES: usize = 60;
const VALUE_BYTES: usize = 150_000;
const VERSION: i16 = 11;

/// A server with 9 MB of records, and memory for 4 MiB of them to be sent at the same time.
async fn world() -> World {
    let world = World::with(|options| {
        options.answer_memory_in_all = 4 << 20;
        options.fetch_bytes_max = 3 << 20;
        options.write_stall_timeout = Duration::from_secs(60);
    })
    .await;
    let mut writer = world.client().await;
    create(&mut writer, "t").await;
    for number in 0..BATCHES {
        let records = batch_at(world.clock.now_ms(), vec![Bytes::from(vec![number as u8; VALUE_BYTES])]);
        let response = writer.ask(9, &produce(1, "t", records)).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    world
}

fn ask_for_much(offset: i64) -> FetchRequest {
    let mut request = fetch("t", offset).with_max_bytes(50 << 20);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    request
}

/// The numbers of the records in an answer, which must be whole.
fn numbers(response: &FetchResponse) -> Vec<u8> {
    let partition = &response.responses[0].partitions[0];
    assert_eq!((response.error_code, partition.error_code), (0, 0));
    let mut records = partition.records.clone().expect("never null");
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("whole batches");
    let records = sets.into_iter().flat_map(|set| set.records);
    records
        .map(|record| {
            let value = record.value.expect("set");
            assert!(value.len() == VALUE_BYTES && value.iter().all(|byte| *byte == value[0]));
            assert_eq!(i64::from(value[0]), record.offset);
            value[0]
        })
        .collect()
}

async fn read_all(client: &mut Client) {
    let mut next = 0;
    while next < BATCHES {
        let response = client.ask(VERSION, &ask_for_much(next as i64)).await;
        let found = numbers(&response);
        assert!(!found.is_empty());
        for number in found {
            assert_eq!(usize::from(number), next);
            next += 1;
        }
    }
}

/// Connections that have asked for far more than systems keep for them, with the ids of their requests.
async fn stalled(world: &World, connections: usize) -> Vec<(Client, Vec<i32>)> {
    let mut stalled = Vec::new();
    for _ in 0..connections {
        let (mut client, mut ids) = (world.narrow_client().await, Vec::new());
        for _ in 0..5 {
            ids.push(client.send(VERSION, &ask_for_much(0)).await);
        }
        stalled.push((client, ids));
    }
    stalled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_many_that_stall_gets_its_records_at_once() {
    let world = world().await;
    let mut stalled = stalled(&world, 200).await;
    let before = world.clock.monotonic();
    let mut healthy = world.client().await;
    for _ in 0..3 {
        read_all(&mut healthy).await;
    }
    // Were each waited for, it would take minutes.
    let took = world.clock.monotonic() - before;
    assert!(took < Duration::from_secs(50), "{took:?}");
    assert!(!world.metrics().contains("slow_reader"), "nobody was sent away");
    // Those who come back to reading get all that they asked for, in order.
    for (client, ids) in stalled.iter_mut().step_by(50) {
        for id in std::mem::take(ids) {
            let response: FetchResponse = client.receive(id, VERSION).await;
            assert_eq!(numbers(&response)[0], 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_not_prepared_behind_answers_that_are_not_read() {
    let world = world().await;
    let mut stalled = Vec::new();
    for _ in 0..30 {
        let mut client = world.narrow_client().await;
        // Far more than systems keep for them, though not what holds memory for records.
        let small = frame(1, 0, &ApiVersionsRequest::default()).repeat(4000);
        client.send_bytes(&small).await;
        client.send(VERSION, &ask_for_much(0)).await;
        stalled.push(client);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = world.clock.monotonic();
    read_all(&mut world.client().await).await;
    assert!(world.clock.monotonic() - before < Duration::from_secs(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_now_and_then_go_on_where_they_stopped() {
    let world = world().await;
    let mut clients = stalled(&world, 20).await;
    for (client, ids) in &mut clients {
        let mut reader = world.client().await;
        let response: FetchResponse = client.receive(ids.remove(0), VERSION).await;
        assert!(!numbers(&response).is_empty());
        read_all(&mut reader).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_rest_is_deleted_ends_with_its_connection() {
    let world = world().await;
    let mut clients = stalled(&world, 30).await;
    let mut other = world.client().await;
    read_all(&mut other).await;
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(-1);
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName("t".to_owned().into()))
        .with_partitions(vec![partition]);
    let deleted = other.ask(2, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(deleted.topics[0].partitions[0].error_code, 0);
    for (client, _) in &mut clients {
        client.read_until_silent_for(Duration::from_millis(200)).await;
    }
    // It is counted when the connection has ended.
    let counted = async {
        while !world.metrics().contains("slow_reader") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect("they were sent away");
    assert_eq!(other.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
}
