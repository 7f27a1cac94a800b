//! The catalogue: creating, changing and deleting topics, and reading it all back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use annals_topics::catalogue::{
    Applied, Catalogue, ChangeError, CreateError, Layout, Limits, NameError, NewTopic, check_topic_name,
};
use annals_topics::config::{Change, Overrides};
use annals_topics::offsets::{DecodeError, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn topic(name: &str, number: u128, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, id(number), Layout::Count(partitions))
}

/// A catalogue with the log that it came from.
#[derive(Default)]
struct Stored {
    catalogue: Catalogue,
    log: Vec<Record>,
}

impl Stored {
    fn apply(&mut self, records: Vec<Record>) -> Vec<Applied> {
        let apply = |record: &Record| self.catalogue.apply(&record.key, record.value.as_deref()).unwrap();
        let applied = records.iter().map(apply).collect();
        self.log.extend(records);
        applied
    }

    fn create(&mut self, topics: &[NewTopic<'_>]) -> Vec<Result<usize, CreateError>> {
        let decision = self.catalogue.decide_create(topics, &Limits::default());
        self.apply(decision.records);
        decision.results
    }

    fn refusal(&mut self, topic: NewTopic<'_>) -> CreateError {
        self.create(&[topic]).remove(0).unwrap_err()
    }

    fn logs(&self, name: &str) -> Vec<u64> {
        self.catalogue.topic(name).unwrap().logs.clone()
    }

    /// The log with only the last record of each key, replayed.
    fn replayed(&self) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (index, record) in self.log.iter().enumerate() {
            if !self.log[index + 1..].iter().any(|later| later.key == record.key) {
                catalogue.apply(&record.key, record.value.as_deref()).unwrap();
            }
        }
        catalogue
    }

    fn assert_replays(&self) {
        let (live, replayed) = (&self.catalogue, self.replayed());
        assert!(live.topics().eq(replayed.topics()));
        assert_eq!(live.partition_count(), replayed.partition_count());
        let new = [topic("brand-new", 999_999, 1)];
        let decide = |catalogue: &Catalogue| catalogue.decide_create(&new, &Limits::default());
        assert_eq!(decide(live), decide(&replayed), "the same log comes next");
        assert_eq!(live.decide_producer_ids(1), replayed.decide_producer_ids(1));
    }
}

#[test]
fn names() {
    let long = "x".repeat(249);
    for name in ["a", "A-b_c.9", "...", long.as_str()] {
        assert_eq!(check_topic_name(name), Ok(()), "{name}");
    }
    let refused = [
        ("", NameError::Empty),
        (".", NameError::Dots),
        ("..", NameError::Dots),
        ("a b", NameError::Character { character: ' ' }),
        ("ü", NameError::Character { character: 'ü' }),
        ("a/b", NameError::Character { character: '/' }),
    ];
    for (name, error) in refused {
        assert_eq!(check_topic_name(name), Err(error));
    }
    assert_eq!(check_topic_name(&"x".repeat(250)), Err(NameError::TooLong { length: 250 }));
}

#[test]
fn logs_are_never_given_twice() {
    let mut stored = Stored::default();
    assert_eq!(stored.create(&[topic("a", 1, 2), topic("b", 2, -1)]), [Ok(2), Ok(1)]);
    assert_eq!((stored.logs("a"), stored.logs("b")), (vec![0, 1], vec![2]));
    let deletion = stored.catalogue.decide_delete(id(2)).unwrap();
    let applied = stored.apply(vec![deletion]);
    assert!(matches!(&applied[..], [Applied::Deleted(topic)] if topic.logs == [2]));
    assert!(stored.catalogue.topic("b").is_none() && stored.catalogue.topic_by_id(id(2)).is_none());
    stored.assert_replays();
    stored.create(&[topic("b", 3, 1)]);
    assert_eq!(stored.logs("b"), [3]);
    stored.assert_replays();
}

#[test]
fn what_cannot_be_created() {
    let mut stored = Stored::default();
    stored.create(&[topic("a.b", 1, 1)]);
    assert!(matches!(stored.refusal(topic("a.b", 2, 1)), CreateError::Exists { .. }));
    let collision = stored.refusal(topic("a_b", 2, 1));
    assert_eq!(collision, CreateError::Collision { name: "a_b".into(), existing: "a.b".into() });
    assert!(matches!(stored.refusal(topic("c", 2, 0)), CreateError::InvalidPartitions { count: 0 }));
    assert!(matches!(stored.refusal(topic("c", 2, i32::MAX)), CreateError::InvalidPartitions { .. }));
    let replicated = NewTopic { replication_factor: 3, ..topic("c", 2, 1) };
    assert_eq!(stored.refusal(replicated), CreateError::InvalidReplicationFactor { factor: 3 });
    let configured = NewTopic { configs: &[("retention.ms", Some("x"))], ..topic("c", 2, 1) };
    assert!(matches!(stored.refusal(configured), CreateError::Config(_)));
    assert!(matches!(stored.refusal(topic("..", 2, 1)), CreateError::Name(NameError::Dots)));
    assert_eq!(stored.catalogue.topic_count(), 1);
}

#[test]
fn one_request_does_not_trip_over_itself() {
    let mut stored = Stored::default();
    let results =
        stored.create(&[topic("x.y", 1, 1), topic("x_y", 2, 1), topic("z", 3, 1), topic("z", 4, 1)]);
    assert_eq!(results[0], Ok(1));
    assert!(matches!(results[1], Err(CreateError::Collision { .. })));
    assert!(matches!(
        (&results[2], &results[3]),
        (Err(CreateError::Duplicate { .. }), Err(CreateError::Duplicate { .. }))
    ));
    let limits = Limits { partitions_max: 10, ..Limits::default() };
    let decision =
        stored.catalogue.decide_create(&[topic("p", 5, 6), topic("q", 6, 4), topic("r", 7, 3)], &limits);
    assert_eq!(decision.results[0], Ok(6));
    assert!(matches!(decision.results[1], Err(CreateError::TooManyPartitions { max: 10, .. })));
    assert_eq!(decision.results[2], Ok(3));
}

#[test]
fn assignments_name_this_server_alone() {
    let mut stored = Stored::default();
    let mut assign = |assignments: &[(i32, Vec<i32>)]| {
        stored.create(&[NewTopic::new("t", id(1), Layout::Assigned(assignments))]).remove(0)
    };
    for wrong in [vec![(0, vec![1])], vec![(0, vec![0, 1])], vec![(0, vec![])], vec![(1, vec![0])]] {
        assert!(matches!(assign(&wrong), Err(CreateError::InvalidAssignment { .. })), "{wrong:?}");
    }
    assert!(matches!(assign(&[(0, vec![0]), (0, vec![0])]), Err(CreateError::InvalidAssignment { .. })));
    assert!(matches!(assign(&[]), Err(CreateError::InvalidPartitions { count: 0 })));
    assert_eq!(assign(&[(1, vec![0]), (0, vec![0])]), Ok(2));
}

#[test]
fn partitions_are_added() {
    let mut stored = Stored::default();
    stored.create(&[topic("a", 1, 2), topic("b", 2, 1)]);
    let add = |stored: &Stored, total, replicas: Option<&[Vec<i32>]>| {
        stored.catalogue.decide_add_partitions("a", total, replicas, &Limits::default())
    };
    assert!(matches!(add(&stored, 2, None), Err(ChangeError::NotMorePartitions { current: 2, .. })));
    assert!(matches!(add(&stored, 1, None), Err(ChangeError::NotMorePartitions { .. })));
    assert!(matches!(add(&stored, -1, None), Err(ChangeError::Partitions(_))));
    assert!(matches!(
        add(&stored, 4, Some(&[vec![0]])),
        Err(ChangeError::AssignmentCount { assigned: 1, added: 2 })
    ));
    assert!(matches!(add(&stored, 3, Some(&[vec![9]])), Err(ChangeError::Partitions(_))));
    let records = add(&stored, 4, Some(&[vec![0], vec![0]])).unwrap();
    let applied = stored.apply(records);
    assert!(
        matches!(&applied[0], Applied::Changed { before, after } if before.logs == [0, 1] && after.logs == [0, 1, 3, 4])
    );
    assert_eq!(stored.catalogue.partition_count(), 5);
    stored.assert_replays();
}

#[test]
fn configuration_changes() {
    let server = Overrides::from_pairs([("retention.ms", Some("100"))]).unwrap();
    let mut stored = Stored { catalogue: Catalogue::new(server, 50), log: Vec::new() };
    stored.create(&[topic("a", 1, 1), topic("b", 2, 1)]);
    assert_eq!(stored.logs("a"), [50]);
    let retention = |stored: &Stored, name| stored.catalogue.topic(name).unwrap().config.retention.time_ms;
    assert_eq!(retention(&stored, "a"), Some(100));
    let change = stored.catalogue.decide_alter("a", &[("retention.ms", Change::Set(Some("7")))]).unwrap();
    stored.apply(vec![change]);
    assert_eq!((retention(&stored, "a"), retention(&stored, "b")), (Some(7), Some(100)));
    let change = stored.catalogue.decide_replace_config("a", &[("segment.ms", Some("5"))]).unwrap();
    stored.apply(vec![change]);
    assert_eq!(retention(&stored, "a"), Some(100));
    assert_eq!(stored.catalogue.topic("a").unwrap().overrides.get("segment.ms"), Some("5"));
    assert!(matches!(stored.catalogue.decide_alter("c", &[]), Err(ChangeError::UnknownTopic { .. })));
}

#[test]
fn producer_ids_come_in_blocks() {
    let mut stored = Stored::default();
    let first = stored.catalogue.decide_producer_ids(1_000);
    stored.apply(vec![first.record]);
    let second = stored.catalogue.decide_producer_ids(10);
    assert_eq!((first.ids, second.ids), (0..1_000, 1_000..1_010));
    stored.assert_replays();
}

#[test]
fn listing_in_pages() {
    let mut stored = Stored::default();
    stored.create(&[topic("c", 1, 1), topic("a", 2, 1), topic("b", 3, 1)]);
    let names =
        |from| stored.catalogue.topics_from(from).map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(""), ["a", "b", "c"]);
    assert_eq!(names("aa"), ["b", "c"]);
}

/// Version 1 of the records, written by hand from the table in `catalogue/record.rs`. Kept for good.
#[test]
fn records_of_version_1_are_read_and_written() {
    let configs = [("retention.ms", Some("7"))];
    let orders = NewTopic { configs: &configs, internal: true, ..topic("orders", 0x0102, 3) };
    let catalogue = Catalogue::new(Overrides::default(), 300);
    let mut records = catalogue.decide_create(&[orders], &Limits::default()).records;
    records.push(catalogue.decide_producer_ids(1_000).record);
    let key = [&[0x31][..], &[0; 14], &[1, 2]].concat();
    let value = [b"\x01\x06orders\x01\x01\xac\x02\x03\x01\x0cretention.ms".as_slice(), b"\x017"].concat();
    let counters = [(vec![0x41], vec![1, 0xaf, 0x02]), (vec![0x51], vec![1, 0xe8, 0x07])];
    let expected: Vec<_> = [(key, value)].into_iter().chain(counters).collect();
    let written: Vec<_> =
        records.iter().map(|record| (record.key.to_vec(), record.value.as_ref().unwrap().to_vec())).collect();
    assert_eq!(written, expected);
    let mut read = Catalogue::default();
    for (key, value) in &expected {
        read.apply(key, Some(value)).unwrap();
    }
    let orders = read.topic("orders").unwrap();
    assert_eq!((orders.logs.as_slice(), orders.internal), ([300, 301, 302].as_slice(), true));
    assert_eq!(orders.config.retention.time_ms, Some(7));
}

#[test]
fn a_name_of_another_topic_is_refused() {
    let mut stored = Stored::default();
    stored.create(&[topic("a", 1, 1)]);
    let mut other = Stored::default();
    other.create(&[topic("a", 2, 1)]);
    let record = &other.log[0];
    let error = stored.catalogue.apply(&record.key, record.value.as_deref()).unwrap_err();
    assert!(matches!(error, DecodeError::Invalid { .. }));
    assert_eq!(stored.catalogue.topic("a").unwrap().id, id(1));
}

#[test]
fn a_hundred_thousand_topics() {
    let mut stored = Stored::default();
    for batch in 0..100_u128 {
        let names: Vec<_> = (0..1_000).map(|i| format!("topic.{batch}-{i}")).collect();
        let number = |i: usize| batch * 1_000 + i as u128 + 1;
        let topics: Vec<_> = names.iter().enumerate().map(|(i, name)| topic(name, number(i), 1)).collect();
        let limits = Limits { partitions_max: 100_000, ..Limits::default() };
        let decision = stored.catalogue.decide_create(&topics, &limits);
        assert!(decision.results.iter().all(Result::is_ok));
        stored.apply(decision.records);
    }
    assert_eq!(stored.catalogue.partition_count(), 100_000);
    assert!(stored.log.iter().all(|record| record.value.as_ref().unwrap().len() < 40), "records are compact");
}

#[derive(Clone, Debug)]
enum Step {
    Create { name: usize, partitions: i32 },
    Delete { name: usize },
    Grow { name: usize, total: i32 },
    Alter { name: usize, retention: u16 },
    ProducerIds,
}

const NAMES: [&str; 4] = ["a.b", "a_b", "c", "dd"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..4, 1..4).prop_map(|(name, partitions)| Step::Create { name, partitions }),
        (0_usize..4).prop_map(|name| Step::Delete { name }),
        (0_usize..4, 1..8).prop_map(|(name, total)| Step::Grow { name, total }),
        (0_usize..4, any::<u16>()).prop_map(|(name, retention)| Step::Alter { name, retention }),
        Just(Step::ProducerIds),
    ]
}

fn records(catalogue: &Catalogue, step: &Step, number: u128) -> Vec<Record> {
    let limits = Limits::default();
    match *step {
        Step::Create { name, partitions } => {
            catalogue.decide_create(&[topic(NAMES[name], number, partitions)], &limits).records
        }
        Step::Delete { name } => {
            let topic = catalogue.topic(NAMES[name]);
            topic.map(|topic| catalogue.decide_delete(topic.id).unwrap()).into_iter().collect()
        }
        Step::Grow { name, total } => {
            catalogue.decide_add_partitions(NAMES[name], total, None, &limits).unwrap_or_default()
        }
        Step::Alter { name, retention } => {
            let value = retention.to_string();
            let change = catalogue.decide_alter(NAMES[name], &[("retention.ms", Change::Set(Some(&value)))]);
            change.into_iter().collect()
        }
        Step::ProducerIds => vec![catalogue.decide_producer_ids(7).record],
    }
}

proptest! {
    #[test]
    fn a_replay_of_the_compacted_log_gives_the_same(steps in vec(step(), 0..40)) {
        let mut stored = Stored::default();
        let mut given = std::collections::HashSet::new();
        for (number, step) in (1..).zip(&steps) {
            let records = records(&stored.catalogue, step, number);
            for applied in stored.apply(records) {
                let logs = match applied {
                    Applied::Created(topic) => topic.logs.clone(),
                    Applied::Changed { before, after } => after.logs[before.logs.len()..].to_vec(),
                    Applied::Deleted(_) | Applied::Nothing => vec![],
                };
                for log in logs {
                    prop_assert!(given.insert(log), "log {} given twice", log);
                }
            }
        }
        stored.assert_replays();
    }

    #[test]
    fn arbitrary_records_never_panic(key: Vec<u8>, value: Option<Vec<u8>>, kind in 3_u8..6) {
        let mut catalogue = Catalogue::default();
        let _ = catalogue.apply(&key, value.as_deref());
        let key = if kind == 3 { [&[0x31][..], &[7; 16]].concat() } else { vec![kind << 4 | 1] };
        let value = value.map(|value| [&[1][..], &value].concat());
        let _ = catalogue.apply(&key, value.as_deref());
    }
}
