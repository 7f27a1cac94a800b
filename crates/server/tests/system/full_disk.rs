//! A full disk: writes are refused with an error that says so, everything else goes on, and writes resume by themselves
//! when space is back. Nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::FutureProducer;
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{
    admin, block_on, code, config, create, patient, producer, read_all, record, send_all, text,
};
use crate::server::{Server, annals, eventually};

/// Writes are back this soon after there is space, on any machine. The figure tells how soon on this one.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);
const VALUE_BYTES: usize = 100_000;

/// A small filesystem of its own in memory.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(place: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(place).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(place.to_owned()));
        }
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root, and no tmpfs can be mounted");
        println!("skipped: mounting a tmpfs needs root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing is to be done about a failure here.
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

/// A producer that tells of the first error rather than trying again.
fn impatient(address: &str) -> FutureProducer {
    producer(address, &[("retries", "0"), ("message.timeout.ms", "10000"), ("linger.ms", "0")])
}

/// Writes until a write is refused. Returns the values that were acknowledged and the refusal.
fn write_until_refused(address: &str, topic: &str) -> (BTreeSet<String>, RDKafkaErrorCode) {
    let (producer, mut acknowledged) = (impatient(address), BTreeSet::new());
    for number in 0..3000 {
        let value = format!("{topic} {number} {}", "x".repeat(VALUE_BYTES));
        match send_all(&producer, [record(topic, 0, value.clone())]).remove(0) {
            Ok(_) => acknowledged.insert(value),
            Err(error) => return (acknowledged, code(&error).unwrap()),
        };
    }
    panic!("300 MB on a disk of 96 MB");
}

fn assert_resumes(address: &str, topic: &str) {
    let producer = impatient(address);
    let value = || "y".repeat(VALUE_BYTES);
    let took = eventually("writes resume", RESUMED_WITHIN, || {
        send_all(&producer, [record(topic, 0, value())]).remove(0).is_ok()
    });
    println!("figure: writes resumed after={} ms", took.as_millis());
}

fn values(address: &str, topic: &str) -> BTreeSet<String> {
    read_all(address, topic).iter().map(|read| text(read.payload())).collect()
}

fn delete_before(address: &str, topic: &str, offset: i64) {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let deleted = block_on(admin(address).delete_records(&before, &patient())).unwrap();
    deleted.find_partition(topic, 0).unwrap().error().unwrap();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else { return };
    let mut server = Server::start_on_lasting_port(directory.path(), &[]);
    let address = server.kafka().to_owned();
    create(&address, "first", 1, &[]);
    create(&address, "second", 1, &[]);

    let (kept, refusal) = write_until_refused(&address, "first");
    assert_eq!(refusal, RDKafkaErrorCode::KafkaStorageError);
    assert!(kept.len() > 400, "most of the disk was used: {} records", kept.len());
    let health = server.get("/health/ready");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("disk"), "{health}");
    // Reads, commits and deletions go on.
    assert!(values(&address, "first").is_superset(&kept));
    let consumer: BaseConsumer = config(&address, &[("group.id", "readers")]).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("first", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    delete_before(&address, "first", kept.len() as i64 / 2);
    assert_resumes(&address, "second");
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));

    let (more, _) = write_until_refused(&address, "second");
    server.kill();
    server.restart();
    assert!(values(&address, "second").is_superset(&more), "a kill on a full disk loses nothing");
    let rest = values(&address, "first");
    assert!(kept.iter().filter(|value| rest.contains(*value)).count() >= kept.len() / 2);
    // A patient producer waits and is served in the end.
    let patient_one = producer(&address, &[("enable.idempotence", "true"), ("message.timeout.ms", "60000")]);
    std::thread::scope(|scope| {
        let waiting =
            (0..20).map(|number| record("first", 0, format!("{number} {}", "z".repeat(VALUE_BYTES))));
        let waiting = scope.spawn(|| send_all(&patient_one, waiting));
        std::thread::sleep(Duration::from_secs(1));
        block_on(admin(&address).delete_topics(&["second"], &patient())).unwrap().remove(0).unwrap();
        assert_resumes(&address, "first");
        assert!(waiting.join().unwrap().iter().all(Result::is_ok));
    });
    assert_eq!(values(&address, "first").iter().filter(|value| value.ends_with('z')).count(), 20);
    assert_eq!(server.terminate().0.code(), Some(0));
    let verified = annals(&["verify", "--data-dir", directory.path().to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
    println!("figure: records acknowledged={}", kept.len() + more.len());
    println!("figure: lost=0");
}
