//! Answers whose records are read from the disk while they are sent.

use std::time::Duration;

use annals_journal::{Files as _, OpenMode};
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, FetchResponse};
use kafka_protocol::records::RecordBatchDecoder;

use crate::harness::{Client, World};
use crate::records::{batch_at, create, fetch, name, produce};

const TOPICS: [&str; 3] = ["a", "b", "c"];
/// Of each topic.
const BATCHES: usize = 40;
const VALUE_BYTES: usize = 100_000;
const VERSION: i16 = 11;
const CORRUPT_MESSAGE: i16 = 2;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// A server with 4 MB of records in each topic, one after another, none of them in its memory.
async fn world() -> World {
    let world = World::forgetful().await;
    let mut writer = world.client().await;
    for topic in TOPICS {
        create(&mut writer, topic).await;
    }
    for number in 0..BATCHES {
        for (topic, byte) in TOPICS.into_iter().zip(0..) {
            write(&world, &mut writer, topic, value(byte, number)).await;
        }
    }
    // What was written last stays in memory.
    create(&mut writer, "other").await;
    for _ in 0..BATCHES {
        write(&world, &mut writer, "other", Bytes::from(vec![0; VALUE_BYTES])).await;
    }
    world
}

async fn write(world: &World, writer: &mut Client, topic: &'static str, value: Bytes) {
    let response = writer.ask(9, &produce(1, topic, batch_at(world.clock.now_ms(), vec![value]))).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

fn value(topic: u8, number: usize) -> Bytes {
    let mut value = vec![topic; VALUE_BYTES];
    value[..8].copy_from_slice(&(number as u64).to_be_bytes());
    value.into()
}

/// Asks for all topics, each from its offset on, as much as there is.
fn ask_for(offsets: [i64; 3]) -> FetchRequest {
    let mut request = fetch("a", 0).with_max_bytes(50 << 20);
    let one = request.topics.remove(0);
    for (topic, offset) in TOPICS.into_iter().zip(offsets) {
        let mut one = one.clone().with_topic(name(topic));
        one.partitions[0].fetch_offset = offset;
        one.partitions[0].partition_max_bytes = 50 << 20;
        request.topics.push(one);
    }
    request
}

/// The numbers of the records of one topic, which must be whole.
fn numbers(response: &FetchResponse, topic: u8) -> Vec<usize> {
    let partition = &response.responses[usize::from(topic)].partitions[0];
    assert_eq!((response.error_code, partition.error_code), (0, 0));
    let mut records = partition.records.clone().expect("never null");
    let sets = RecordBatchDecoder::decode_all(&mut records).expect("whole batches");
    let numbered = |record: kafka_protocol::records::Record| {
        let number = usize::try_from(record.offset).expect("not negative");
        assert_eq!(record.value, Some(value(topic, number)));
        number
    };
    sets.into_iter().flat_map(|set| set.records).map(numbered).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_the_disk_has_all_of_several_topics() {
    let world = world().await;
    let mut client = world.client().await;
    let response = client.ask(VERSION, &ask_for([0, 7, 39])).await;
    assert_eq!(numbers(&response, 0), Vec::from_iter(0..BATCHES));
    assert_eq!(numbers(&response, 1), Vec::from_iter(7..BATCHES));
    assert_eq!(numbers(&response, 2), [39]);
    let counted = |topic| format!("annals_topic_fetched_records_total{{topic=\"{topic}\"}}");
    for (topic, count) in [("a", 40), ("b", 33), ("c", 1)] {
        assert!(world.metrics().contains(&format!("{} {count}\n", counted(topic))), "{}", world.metrics());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_has_begun_is_whole_though_its_records_are_deleted() {
    let world = world().await;
    let (mut slow, mut other) = (world.narrow_client().await, world.client().await);
    let id = slow.send(VERSION, &ask_for([0; 3])).await;
    while slow.is_silent_for(Duration::from_millis(20)).await {}
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(-1);
    let topics = TOPICS.map(|topic| {
        DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition.clone()])
    });
    let deleted = other.ask(2, &DeleteRecordsRequest::default().with_topics(topics.to_vec())).await;
    assert!(deleted.topics.iter().all(|topic| topic.partitions[0].error_code == 0));
    let response: FetchResponse = slow.receive(id, VERSION).await;
    for topic in 0..3 {
        assert_eq!(numbers(&response, topic), Vec::from_iter(0..BATCHES));
    }
}

/// Where a record begins in the files.
fn find(world: &World, value: &[u8]) -> (String, u64) {
    let names = world.files.list().expect("can be listed");
    let found = names.into_iter().find_map(|name| {
        let bytes = world.files.bytes(&name)?;
        let at = bytes.windows(64).position(|window| window == &value[..64])?;
        Some((name, at as u64))
    });
    found.expect("it is on the disk")
}

/// Something of topic "b" cannot be read any more: one answer ends with its connection, and from then on it is told.
async fn check_told(world: &World, number: usize, code: i16) {
    const END: i64 = BATCHES as i64;
    let mut client = world.client().await;
    client.send(VERSION, &ask_for([END, 0, END])).await;
    // It cannot be completed, so its connection ends, and is counted.
    client.read_until_silent_for(Duration::from_secs(1)).await;
    let counted = async {
        while !world.metrics().contains("kind=\"unreadable\"") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect("it ends");
    let mut client = world.client().await;
    let response = client.ask(VERSION, &ask_for([END, 0, END])).await;
    assert_eq!(numbers(&response, 1), Vec::from_iter(0..number));
    let response = client.ask(VERSION, &ask_for([END, number as i64, END])).await;
    assert_eq!(response.responses[1].partitions[0].error_code, code);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_within_an_answer_that_has_begun_ends_it_and_the_next_one_ends_in_front_of_it() {
    const DAMAGED: usize = 31;
    let world = world().await;
    let (file, at) = find(&world, &value(1, DAMAGED));
    world.files.flip_bit(&file, (at + 5000) * 8);
    check_told(&world, DAMAGED, CORRUPT_MESSAGE).await;
    let mut client = world.client().await;
    let response = client.ask(VERSION, &ask_for([0, DAMAGED as i64 + 1, 0])).await;
    assert_eq!(numbers(&response, 0), Vec::from_iter(0..BATCHES));
    assert_eq!(numbers(&response, 1), Vec::from_iter(DAMAGED + 1..BATCHES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_disk_does_not_give_is_told_as_well() {
    const LOST: usize = 12;
    let world = world().await;
    // By this it is known what the file should hold.
    let response = world.client().await.ask(VERSION, &ask_for([0; 3])).await;
    assert_eq!(numbers(&response, 1), Vec::from_iter(0..BATCHES));
    let (file, at) = find(&world, &value(1, LOST));
    let file = world.files.open(&file, OpenMode::Write).expect("it is there");
    file.set_len(at + 5000).expect("can be cut");
    check_told(&world, LOST, KAFKA_STORAGE_ERROR).await;
}

/// As librdkafka does, so that the server reads ahead of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_begins_one_partition_further_each_time_gets_all_of_each() {
    let world = world().await;
    let mut client = world.client().await;
    let (mut order, mut offsets) = ([0, 1, 2], [0; 3]);
    while offsets != [BATCHES as i64; 3] {
        let mut request = ask_for(offsets);
        request.topics = order.iter().map(|&topic| request.topics[topic].clone()).collect();
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = 10 * VALUE_BYTES as i32;
        }
        let response = client.ask(VERSION, &request.with_max_bytes(20 * VALUE_BYTES as i32)).await;
        let mut response = response;
        for &topic in &order {
            let at = response.responses.iter().position(|found| found.topic == name(TOPICS[topic]));
            response.responses.swap(topic, at.expect("told"));
        }
        for (topic, offset) in (0..).zip(&mut offsets) {
            let numbers = numbers(&response, topic);
            let first = usize::try_from(*offset).expect("not negative");
            assert_eq!(numbers, Vec::from_iter(first..first + numbers.len()), "topic {topic}");
            *offset += numbers.len() as i64;
        }
        order.rotate_left(1);
    }
}
