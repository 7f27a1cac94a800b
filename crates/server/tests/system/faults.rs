//! Stopping in order, starting twice, starting after a kill, and a bit that flipped on the disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::clients::{PATIENCE, config, create, fill, producer, read_all, record, send_all, text};
use crate::server::{Server, annals, serve};
use crate::wire::{Wire, fetch, fetch_error};

#[test]
fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &[]);
    let address = server.kafka().to_owned();
    create(&address, "orders", 1, &[]);
    let idempotent = [
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("batch.num.messages", "50"),
        ("message.timeout.ms", "300000"),
    ];
    let producers = [producer(&address, &idempotent), producer(&address, &idempotent)];
    // Somebody waits for records that do not come: that does not keep the server.
    let idle: BaseConsumer =
        config(&address, &[("group.id", "idle"), ("fetch.wait.max.ms", "60000")]).create().unwrap();
    idle.subscribe(&["orders"]).unwrap();
    std::thread::scope(|scope| {
        let send = |(number, producer)| {
            let records = (0..30_000).map(move |count| record("orders", 0, format!("{number} {count}")));
            scope.spawn(move || send_all(producer, records))
        };
        let sending: Vec<_> = (0..).zip(&producers).map(send).collect();
        idle.poll(Duration::from_millis(300));
        let (status, took) = server.terminate();
        println!("ended after {took:?}");
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(30), "{took:?}");
        server.restart();
        for thread in sending {
            assert!(thread.join().unwrap().iter().all(Result::is_ok));
        }
    });
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for read in read_all(&address, "orders") {
        let value = text(read.payload());
        let (number, count) = value.split_once(' ').unwrap();
        let next = next.entry(number.to_owned()).or_default();
        assert_eq!(count, next.to_string(), "each record once and in order");
        *next += 1;
    }
    assert!(next.len() == 2 && next.values().all(|count| *count == 30_000), "{next:?}");
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let second = serve(directory.path(), &[], "127.0.0.1:0", "").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8(second.stderr).unwrap();
    let place = directory.path().to_str().unwrap();
    assert!(
        complaint.contains(place) && complaint.contains("in use by another process (pid "),
        "{complaint}"
    );
    let verified = annals(&["verify", "--data-dir", place]);
    assert_eq!(verified.status.code(), Some(1));
    create(server.kafka(), "orders", 1, &[]);
    fill(server.kafka(), "orders", 0, ["the first goes on".to_owned()]);
}

#[test]
fn a_killed_server_is_ready_again_soon() {
    // Somebody else may want the processor or the disk now and then.
    assert!((0..5).any(|_| ready_after_a_kill() < Duration::from_secs(2)));
}

fn ready_after_a_kill() -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &[]);
    create(server.kafka(), "orders", 4, &[]);
    for partition in 0..4 {
        fill(
            server.kafka(),
            "orders",
            partition,
            (0..40_000).map(|number| format!("{number} {}", "x".repeat(1000))),
        );
    }
    server.kill();
    server.restart();
    println!("ready after {:?} with 160 MB", server.ready_after);
    assert_eq!(read_all(server.kafka(), "orders").len(), 160_000);
    server.ready_after
}

/// Flips a bit of the value that contains `text`, in whichever segment it lies. Returns the file's name and the position.
fn flip_a_bit(directory: &Path, text: &str) -> (String, u64) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            return (path.file_name().unwrap().to_str().unwrap().to_owned(), at as u64);
        }
    }
    panic!("{text} is in no file");
}

#[test]
fn a_flipped_bit_is_found_and_everything_else_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &["journal.segment_bytes=1MiB"]);
    for topic in ["orders", "bills"] {
        create(server.kafka(), topic, 1, &[]);
        fill(
            server.kafka(),
            topic,
            0,
            (0..5000).map(|number| format!("{topic} {number:05} {}", "x".repeat(500))),
        );
    }
    assert_eq!(server.terminate().0.code(), Some(0));
    assert!(annals(&["verify", "--data-dir", place]).status.success());
    let (file, position) = flip_a_bit(directory.path(), "orders 02500");

    let verified = annals(&["verify", "--data-dir", place, "-o", "json"]);
    assert_eq!(verified.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let damage = &report["damage"].as_array().unwrap()[..];
    assert_eq!(damage.len(), 1, "{damage:?}");
    let damage = &damage[0];
    assert_eq!((&damage["file"], &damage["data_lost"]), (&file.as_str().into(), &true.into()));
    let number = |value: &Value| value.as_u64().unwrap();
    assert!((number(&damage["from_byte"])..number(&damage["to_byte"])).contains(&position), "{damage}");
    assert!(damage["log"].is_u64());
    let lost = number(&damage["offsets"][0]) as i64..number(&damage["offsets"][1]) as i64;
    assert!(lost.contains(&2500) && lost.end - lost.start < 2500, "{lost:?}");

    server.restart();
    assert_eq!(read_all(server.kafka(), "bills").len(), 5000);
    assert_eq!(read(server.kafka(), 0..lost.start), (0..lost.start).collect::<Vec<_>>());
    assert_eq!(read(server.kafka(), lost.end..5000), (lost.end..5000).collect::<Vec<_>>());
    let mut wire = Wire::connect(server.kafka());
    wire.send(1, 4, &fetch("orders", 2500, 1 << 20));
    assert_eq!(fetch_error("orders", &wire.receive().unwrap()), 2, "CORRUPT_MESSAGE");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("damage") || metrics.contains("corrupt"), "{metrics}");
    fill(server.kafka(), "orders", 0, ["more".to_owned()]);
    // Whatever the server does to its files meanwhile, the damage stays where it can be looked at.
    server.terminate();
    assert_eq!(annals(&["verify", "--data-dir", place]).status.code(), Some(1));
}

/// Reads these offsets of the orders; each value tells its own.
fn read(address: &str, offsets: std::ops::Range<i64>) -> Vec<i64> {
    let consumer: BaseConsumer =
        config(address, &[("group.id", "readers"), ("enable.auto.commit", "false")]).create().unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset("orders", 0, Offset::Offset(offsets.start)).unwrap();
    consumer.assign(&start).unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < (offsets.end - offsets.start) as usize {
        let message = consumer.poll(PATIENCE).unwrap().unwrap();
        let value = text(message.payload());
        assert_eq!(value.split(' ').nth(1).unwrap().parse(), Ok(message.offset()));
        numbers.push(message.offset());
    }
    numbers
}
