//! Consumer groups through librdkafka: members come and go, and every record is read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{PATIENCE, code, config, create, fill, text};
use crate::server::{Server, eventually};

const PARTITIONS: i32 = 4;
/// What a commit may fail with while members come and go.
const PASSING: [RDKafkaErrorCode; 2] =
    [RDKafkaErrorCode::IllegalGeneration, RDKafkaErrorCode::RebalanceInProgress];

fn start() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    create(server.kafka(), "orders", PARTITIONS, &[]);
    (directory, server)
}

fn member(address: &str, pairs: &[(&str, &str)]) -> BaseConsumer {
    let defaults = [
        ("group.id", "billing"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "60000"),
        ("heartbeat.interval.ms", "200"),
    ];
    let consumer: BaseConsumer = config(address, &[&defaults, pairs].concat()).create().unwrap();
    consumer.subscribe(&["orders"]).unwrap();
    consumer
}

fn partitions(consumer: &BaseConsumer) -> BTreeSet<i32> {
    let assignment = consumer.assignment().unwrap();
    assignment.elements().iter().map(TopicPartitionListElem::partition).collect()
}

/// Polls all members, who commit what they read, until `done`. Counts how often each record was read and committed.
fn poll_until(
    members: &[&BaseConsumer],
    read: &mut BTreeMap<(i32, i64), u32>,
    mut done: impl FnMut(&BTreeMap<(i32, i64), u32>) -> bool,
) {
    eventually("the group gets there", PATIENCE, || {
        for member in members {
            if let Some(message) = member.poll(Duration::from_millis(20)) {
                let message = message.unwrap();
                let times = read.entry((message.partition(), message.offset())).or_default();
                match member.commit_message(&message, CommitMode::Sync) {
                    Ok(()) => *times += 1,
                    // A cooperative member reads on in a rebalance, and cannot always commit.
                    Err(error) => assert!(PASSING.contains(&code(&error).unwrap()), "{error}"),
                }
            }
        }
        done(read)
    });
}

fn shares(members: &[&BaseConsumer], sizes: &[usize]) -> bool {
    let shares: Vec<BTreeSet<i32>> = members.iter().map(|member| partitions(member)).collect();
    let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
    shares.iter().map(BTreeSet::len).eq(sizes.iter().copied()) && all.len() == sizes.iter().sum::<usize>()
}

/// Members join and leave while records are read; each is read exactly once, since each is committed at once.
fn members_share(strategy: &str) {
    let (_directory, server) = start();
    let address = server.kafka();
    let mut read = BTreeMap::new();
    let write = |from: i32| {
        for partition in 0..PARTITIONS {
            fill(address, "orders", partition, (from..from + 20).map(|number| number.to_string()));
        }
    };
    write(0);
    let pairs = [("partition.assignment.strategy", strategy)];
    let first = member(address, &pairs);
    poll_until(&[&first], &mut read, |read| shares(&[&first], &[4]) && read.len() == 80);
    let second = member(address, &pairs);
    write(20);
    poll_until(&[&first, &second], &mut read, |read| {
        shares(&[&first, &second], &[2, 2]) && read.len() == 160
    });
    drop(first);
    write(40);
    poll_until(&[&second], &mut read, |read| shares(&[&second], &[4]) && read.len() == 240);
    assert!(read.values().all(|times| *times <= 1), "{strategy}: {read:?}");
}

#[test]
fn range_members_share() {
    members_share("range");
}

#[test]
fn round_robin_members_share() {
    members_share("roundrobin");
}

#[test]
fn cooperative_sticky_members_share() {
    members_share("cooperative-sticky");
}

#[test]
fn a_cooperative_member_keeps_what_it_has() {
    let (_directory, server) = start();
    let pairs = [("partition.assignment.strategy", "cooperative-sticky")];
    let first = member(server.kafka(), &pairs);
    let mut read = BTreeMap::new();
    poll_until(&[&first], &mut read, |_| shares(&[&first], &[4]));
    let second = member(server.kafka(), &pairs);
    let mut fewest = BTreeSet::from_iter(0..PARTITIONS);
    poll_until(&[&first, &second], &mut read, |_| {
        fewest = fewest.intersection(&partitions(&first)).copied().collect();
        shares(&[&first, &second], &[2, 2])
    });
    assert_eq!(fewest, partitions(&first), "nothing was taken and given back");
}

#[test]
fn a_group_goes_on_where_it_committed() {
    let (_directory, server) = start();
    let address = server.kafka();
    fill(address, "orders", 0, (0..10).map(|number| number.to_string()));
    let consumer = member(address, &[]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("orders", 0, Offset::Offset(6)).unwrap();
    offsets.elements_for_topic("orders")[0].set_metadata("six are done");
    let mut read = BTreeMap::new();
    poll_until(&[&consumer], &mut read, |read| read.len() == 10);
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    drop(consumer);
    let consumer = member(address, &[]);
    let committed = consumer.committed_offsets(offsets, PATIENCE).unwrap();
    let committed = committed.find_partition("orders", 0).unwrap();
    assert_eq!((committed.offset(), committed.metadata()), (Offset::Offset(6), "six are done"));
    let first = loop {
        if let Some(message) = consumer.poll(PATIENCE) {
            break text(message.unwrap().payload());
        }
    };
    assert_eq!(first, "6");
}

#[test]
fn a_static_member_returns_without_a_rebalance() {
    let (_directory, server) = start();
    let address = server.kafka();
    let named = |name| member(address, &[("group.instance.id", name)]);
    let (first, second) = (named("a"), named("b"));
    let mut read = BTreeMap::new();
    poll_until(&[&first, &second], &mut read, |_| shares(&[&first, &second], &[2, 2]));
    let (before, others) = (partitions(&first), partitions(&second));
    drop(first);
    let first = named("a");
    poll_until(&[&first, &second], &mut read, |_| {
        assert_eq!(partitions(&second), others, "the other member notices nothing");
        partitions(&first) == before
    });
}

#[test]
fn a_silent_member_is_replaced_when_its_session_ends() {
    let (_directory, server) = start();
    let address = server.kafka();
    // A static member does not say that it leaves.
    let named = |name| member(address, &[("group.instance.id", name), ("session.timeout.ms", "6000")]);
    let first = named("a");
    let mut read = BTreeMap::new();
    poll_until(&[&first], &mut read, |_| shares(&[&first], &[4]));
    drop(first);
    let second = named("b");
    poll_until(&[&second], &mut read, |_| shares(&[&second], &[4]));
}

#[test]
fn members_and_their_shares_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_lasting_port(directory.path(), &[]);
    let address = server.kafka().to_owned();
    create(&address, "orders", PARTITIONS, &[]);
    let (first, second) = (member(&address, &[]), member(&address, &[]));
    let mut read = BTreeMap::new();
    poll_until(&[&first, &second], &mut read, |_| shares(&[&first, &second], &[2, 2]));
    let before = (partitions(&first), partitions(&second));
    server.kill();
    server.restart();
    let mut written = 0;
    for partition in 0..PARTITIONS {
        fill(&address, "orders", partition, ["x".to_owned()]);
        written += 1;
    }
    eventually("all are read", PATIENCE, || {
        for member in [&first, &second] {
            // Errors tell of the lost connection.
            if let Some(Ok(message)) = member.poll(Duration::from_millis(20)) {
                *read.entry((message.partition(), message.offset())).or_default() += 1;
            }
        }
        read.len() == written
    });
    assert_eq!((partitions(&first), partitions(&second)), before, "nobody had to join again");
    assert!(read.values().all(|times| *times == 1), "{read:?}");
}
