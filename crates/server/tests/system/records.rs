//! Records through librdkafka: what is produced is consumed, bit for bit.

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage, Timestamp};

use crate::clients::{
    self, Dice, PATIENCE, code, create, fill, producer, read_all, reader, record, send_all, text,
};
use crate::server::Server;

fn start() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    (directory, server)
}

/// Key, value, time and headers: what a user sees of a record.
type Seen<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, Option<i64>, Vec<(String, Option<Vec<u8>>)>);

fn seen(message: &OwnedMessage) -> Seen<'_> {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    let headers = message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default();
    (message.key(), message.payload(), message.timestamp().to_millis(), headers)
}

#[test]
fn every_compression_keeps_every_bit() {
    let (_directory, server) = start();
    let mut dice = Dice(7);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create(server.kafka(), codec, 1, &[]);
        let records: Vec<OwnedMessage> = (0..500_i64)
            .map(|number| {
                let value = if number % 7 == 0 { dice.bytes(300) } else { vec![b'v'; number as usize * 3] };
                let value = (number % 11 > 0).then_some(value);
                let key = (number % 3 > 0).then(|| format!("key {number}").into_bytes());
                let text = number.to_string();
                let header = |key, value| Header { key, value };
                let headers = OwnedHeaders::new()
                    .insert(header("number", Some(&text)))
                    .insert(header("number", Some(&text)))
                    .insert(header("nothing", None));
                let time = Timestamp::CreateTime(1_700_000_000_000 + number);
                OwnedMessage::new(value, key, codec.to_owned(), time, 0, 0, Some(headers))
            })
            .collect();
        let producer = producer(server.kafka(), &[("compression.codec", codec), ("linger.ms", "20")]);
        let results = send_all(&producer, records.clone());
        let offsets: Vec<i64> = results.into_iter().map(|result| result.unwrap().1).collect();
        assert_eq!(offsets, (0..500).collect::<Vec<_>>(), "{codec}");
        let read = read_all(server.kafka(), codec);
        assert_eq!(read.len(), 500);
        for (read, sent) in read.iter().zip(&records) {
            assert_eq!(seen(read), seen(sent), "{codec}");
        }
    }
}

#[test]
fn an_idempotent_producer_keeps_its_order_over_many_requests() {
    let (_directory, server) = start();
    create(server.kafka(), "orders", 1, &[]);
    let producer = producer(
        server.kafka(),
        &[("enable.idempotence", "true"), ("batch.num.messages", "7"), ("linger.ms", "0")],
    );
    let results = send_all(&producer, (0..3000).map(|number| record("orders", 0, number.to_string())));
    let offsets: Vec<i64> = results.into_iter().map(|result| result.unwrap().1).collect();
    assert_eq!(offsets, (0..3000).collect::<Vec<_>>());
    let values: Vec<String> =
        read_all(server.kafka(), "orders").iter().map(|read| text(read.payload())).collect();
    assert_eq!(values, (0..3000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn times_are_found_as_offsets() {
    let (_directory, server) = start();
    create(server.kafka(), "times", 1, &[]);
    let at = |time, number: i64| {
        let value = Some(number.to_string().into_bytes());
        OwnedMessage::new(value, None, "times".to_owned(), Timestamp::CreateTime(time), 0, 0, None)
    };
    let producer = producer(server.kafka(), &[("linger.ms", "20")]);
    // One batch of a hundred, then single ones, one of them out of order.
    let times = (0..100).map(|number| 1000 + number * 10).chain([3000, 2500, 4000]);
    for result in send_all(&producer, times.enumerate().map(|(number, time)| at(time, number as i64))) {
        result.unwrap();
    }
    let (consumer, bounds) = reader(server.kafka(), "times");
    assert_eq!(bounds[&0], (0, 103));
    let find = |time: i64| {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset("times", 0, Offset::Offset(time)).unwrap();
        let found = consumer.offsets_for_times(wanted, PATIENCE).unwrap();
        found.find_partition("times", 0).unwrap().offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(1000), Offset::Offset(0));
    assert_eq!(find(1501), Offset::Offset(51));
    assert_eq!(find(1991), Offset::Offset(100), "the first record that is not earlier");
    assert_eq!(find(2400), Offset::Offset(100));
    assert_eq!(find(3500), Offset::Offset(102));
    assert_eq!(find(4001), Offset::End);
}

#[test]
fn log_append_time_is_the_servers() {
    let (_directory, server) = start();
    create(server.kafka(), "stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mine = Timestamp::CreateTime(1_000);
    let sent = OwnedMessage::new(Some(vec![1]), None, "stamped".to_owned(), mine, 0, 0, None);
    send_all(&producer(server.kafka(), &[]), [sent]).remove(0).unwrap();
    let time = read_all(server.kafka(), "stamped")[0].timestamp();
    assert!(matches!(time, Timestamp::LogAppendTime(time) if time > 1_700_000_000_000), "{time:?}");
}

#[test]
fn large_messages_pass_where_the_topic_allows_them() {
    let (_directory, server) = start();
    create(server.kafka(), "large", 1, &[("max.message.bytes", "30000000")]);
    create(server.kafka(), "small", 1, &[]);
    let producer = producer(server.kafka(), &[("message.max.bytes", "40000000")]);
    let mut dice = Dice(1);
    let values: Vec<Vec<u8>> =
        [1_000_000, 25_000_000, 10, 12_000_000].iter().map(|&len| dice.bytes(len)).collect();
    for value in &values {
        send_all(&producer, [record("large", 0, value.clone())]).remove(0).unwrap();
    }
    let read = read_all(server.kafka(), "large");
    assert_eq!(read.len(), values.len());
    assert!(read.iter().zip(&values).all(|(read, value)| read.payload() == Some(value)));
    let refused = send_all(&producer, [record("small", 0, vec![0; 2_000_000])]).remove(0).unwrap_err();
    assert_eq!(code(&refused), Some(RDKafkaErrorCode::MessageSizeTooLarge), "{refused}");
    assert!(read_all(server.kafka(), "small").is_empty());
}

#[test]
fn a_reader_that_takes_little_at_a_time_gets_everything() {
    let (_directory, server) = start();
    create(server.kafka(), "many", 3, &[]);
    for partition in 0..3 {
        fill(
            server.kafka(),
            "many",
            partition,
            (0..400).map(|number| format!("{number}-{}", "x".repeat(500))),
        );
    }
    let pairs = [("group.id", "slow"), ("fetch.message.max.bytes", "1"), ("fetch.max.bytes", "1024")];
    let pairs = [&pairs[..], &[("message.max.bytes", "1000"), ("enable.auto.commit", "false")]].concat();
    let consumer: rdkafka::consumer::BaseConsumer = clients::config(server.kafka(), &pairs).create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..3 {
        list.add_partition_offset("many", partition, Offset::Offset(100)).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut next = [100_i64; 3];
    while next != [400; 3] {
        let Some(message) = consumer.poll(PATIENCE) else { panic!("nothing comes at {next:?}") };
        let message = message.unwrap();
        let next = &mut next[message.partition() as usize];
        assert_eq!(message.offset(), *next);
        assert!(text(message.payload()).starts_with(&format!("{next}-")));
        *next += 1;
    }
}

#[test]
fn acks_of_all_kinds_are_answered_or_not_and_arrive() {
    let (_directory, server) = start();
    create(server.kafka(), "acks", 1, &[]);
    for acks in ["0", "1", "all"] {
        let producer = producer(server.kafka(), &[("acks", acks)]);
        for result in send_all(&producer, (0..50).map(|number| record("acks", 0, format!("{acks} {number}"))))
        {
            result.unwrap();
        }
    }
    crate::server::eventually("all are there", PATIENCE, || reader(server.kafka(), "acks").1[&0] == (0, 150));
}
