//! Stores over a journal in memory: what users see, restarts, power failures, and the topic that a store is.

mod followers;
mod index;
mod internal;
mod persistent;
mod removal;
mod repetition;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_event::{Event, kafka};
use annals_eventstore::{Expected, Position, Revision, StreamName, StreamState};
use annals_journal::FaultFiles;
use annals_topics::batch::{Batch, ExpandLimits};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::fetch::{FetchPartition, FetchRequest};
use crate::api::produce::ProduceError;
use crate::api::stores::{
    AppendEvents, AppendEventsError, Appended, ChangeStreamError, Condition, CreateStoreError, Delivery,
    Direction, EventsRead, Guard, ListNames, Names, NewEvent, Place, Query, ReadEvents, ReadEventsError,
    Selection, ShredError, StreamMetadata, SubscribeEvents, WriteStream,
};
use crate::api::topics::{Isolation, TopicRef};
use crate::groups::tests::{World, batch};

const STORE: &str = "bank";

impl World {
    async fn with_store() -> Self {
        let world = Self::new();
        world.broker.create_store(&world.caller, STORE).await.unwrap();
        world
    }

    fn event(&self, kind: &str, tags: &[&str]) -> NewEvent {
        let event = Event::builder("/bank", kind).json(&json!({"kind": kind}));
        let event = event.build(&self.broker.inner.clock).unwrap();
        NewEvent { tags: tags.iter().map(|&tag| tag.into()).collect(), ..event.into() }
    }

    async fn append(
        &self,
        stream: &str,
        expected: Expected,
        kinds: &[&str],
    ) -> Result<Appended, AppendEventsError> {
        let events = kinds.iter().map(|kind| self.event(kind, &[])).collect();
        let request = AppendEvents::to_stream(STORE, name(stream), expected, events);
        self.broker.append_events(&self.caller, request).await
    }

    async fn read(&self, selection: Selection) -> Vec<String> {
        self.read_request(ReadEvents::new(STORE, selection)).await.unwrap().events.iter().map(label).collect()
    }

    async fn read_request(&self, request: ReadEvents) -> Result<EventsRead, ReadEventsError> {
        self.broker.read_events(&self.caller, request).await
    }

    async fn stream(&self, stream: &str) -> Result<Vec<String>, ReadEventsError> {
        let request = ReadEvents::new(STORE, Selection::Stream(name(stream)));
        Ok(self.read_request(request).await?.events.iter().map(label).collect())
    }
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn label(event: &annals_eventstore::record::RecordedEvent) -> String {
    format!("{}@{} {}", event.stream(), event.revision(), event.type_name())
}

fn exact(revision: u64) -> Expected {
    Expected::Exact(Revision(revision))
}

#[tokio::test]
async fn streams_are_appended_to_and_read() {
    let world = World::with_store().await;
    let appended = world.append("account-1", Expected::NoStream, &["Opened", "Deposited"]).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position), (Position(0), Position(1)));
    assert_eq!((appended.last_revisions, appended.repeated), (vec![Revision(1)], false));
    world.append("account-2", Expected::Any, &["Opened"]).await.unwrap();
    world.append("account-1", exact(1), &["Closed"]).await.unwrap();
    let refused = world.append("account-1", exact(1), &["Closed"]).await;
    let conflict = AppendEventsError::Conflict {
        stream: name("account-1"),
        expected: exact(1),
        actual: StreamState::At(Revision(2)),
    };
    assert_eq!(refused, Err(conflict));
    let stream = world.stream("account-1").await.unwrap();
    assert_eq!(stream, ["account-1@0 Opened", "account-1@1 Deposited", "account-1@2 Closed"]);
    assert_eq!(world.read(Selection::All).await.len(), 4);
    let missing = world.stream("account-3").await;
    let state = StreamState::Missing;
    assert_eq!(missing, Err(ReadEventsError::NoStream { stream: name("account-3"), state }));
    let stores = world.broker.stores(&world.caller).await;
    assert_eq!((stores.len(), stores[0].end, stores[0].streams), (1, Position(4), 2));
    let again = world.broker.create_store(&world.caller, STORE).await;
    assert_eq!(again, Err(CreateStoreError::AlreadyExists(STORE.into())));
}

#[tokio::test]
async fn what_is_sent_again_is_answered_as_the_first_time() {
    let world = World::with_store().await;
    for expected in [Expected::Any, Expected::NoStream, exact(0)] {
        let stream = format!("account-{}", world.broker.inner.clock.random());
        if expected == exact(0) {
            world.append(&stream, Expected::Any, &["Opened"]).await.unwrap();
        }
        let events = vec![world.event("Deposited", &[]), world.event("Withdrawn", &[])];
        let request = AppendEvents::to_stream(STORE, name(&stream), expected, events);
        let first = world.broker.append_events(&world.caller, request.clone()).await.unwrap();
        let second = world.broker.append_events(&world.caller, request.clone()).await.unwrap();
        assert_eq!(second, Appended { repeated: true, ..first.clone() });
    }
}

#[tokio::test]
async fn an_append_over_several_streams_is_whole_or_not_at_all() {
    let world = World::with_store().await;
    world.append("rate-1", Expected::Any, &["Set"]).await.unwrap();
    let transfer = |guard: Expected, second: Expected| AppendEvents {
        store: STORE.into(),
        writes: vec![
            WriteStream {
                stream: name("account-1"),
                expected: Expected::Any,
                events: vec![world.event("Withdrawn", &[])],
            },
            WriteStream {
                stream: name("account-2"),
                expected: second,
                events: vec![world.event("Deposited", &[])],
            },
        ],
        guards: vec![Guard { stream: name("rate-1"), expected: guard }],
        conditions: Vec::new(),
    };
    let send = |request| world.broker.append_events(&world.caller, request);
    assert!(send(transfer(exact(0), Expected::Exists)).await.is_err());
    assert!(send(transfer(exact(1), Expected::Any)).await.is_err());
    assert!(world.stream("account-1").await.is_err());
    let appended = send(transfer(exact(0), Expected::NoStream)).await.unwrap();
    assert_eq!(appended.last_revisions, [Revision(0), Revision(0)]);
    assert_eq!(world.read(Selection::Category("account".into())).await.len(), 2);
}

#[tokio::test]
async fn a_condition_holds_while_its_query_finds_nothing_new() {
    let world = World::with_store().await;
    let subscribe = |student: &str, after: Option<u64>| {
        let tags = ["course:1".to_owned(), format!("student:{student}")];
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let condition = Condition { query: Query::tagged("course:1"), after: after.map(Position) };
        let stream = format!("subscription-{student}");
        let events = vec![world.event("StudentSubscribed", &tags)];
        let mut request = AppendEvents::to_stream(STORE, name(&stream), Expected::Any, events);
        request.conditions.push(condition);
        request
    };
    let send = |request| world.broker.append_events(&world.caller, request);
    send(subscribe("a", None)).await.unwrap();
    let failed = AppendEventsError::ConditionFailed { index: 0, position: Position(0) };
    assert_eq!(send(subscribe("b", None)).await, Err(failed.clone()));
    // Also where only the index knows.
    world.broker.inner.state.stores.by_name(STORE).unwrap().flush().unwrap();
    assert_eq!(send(subscribe("b", None)).await, Err(failed));
    send(subscribe("b", Some(0))).await.unwrap();
    assert!(send(subscribe("c", Some(0))).await.is_err());
    send(subscribe("c", Some(1))).await.unwrap();
}

/// Twelve events: of three streams in turn, types in turn, the even ones tagged.
async fn varied(world: &World) {
    for n in 0..12 {
        let tags: &[&str] = if n % 2 == 0 { &["even"] } else { &[] };
        let events = vec![world.event(["Opened", "Deposited"][n % 2], tags)];
        let stream = ["account-1", "account-2", "order-1"][n % 3];
        let request = AppendEvents::to_stream(STORE, name(stream), Expected::Any, events);
        world.broker.append_events(&world.caller, request).await.unwrap();
        if n == 5 {
            world.broker.inner.state.stores.by_name(STORE).unwrap().flush().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn events_are_found_in_every_way() {
    let world = World::with_store().await;
    varied(&world).await;
    let positions =
        |read: &EventsRead| read.events.iter().map(|event| event.position().0).collect::<Vec<_>>();
    let all: Vec<(Selection, Vec<u64>)> = vec![
        (Selection::All, (0..12).collect()),
        (Selection::Stream(name("account-2")), vec![1, 4, 7, 10]),
        (Selection::StreamPrefix("account-".into()), vec![0, 1, 3, 4, 6, 7, 9, 10]),
        (Selection::StreamPrefix("ord".into()), vec![2, 5, 8, 11]),
        (Selection::Category("order".into()), vec![2, 5, 8, 11]),
        (Selection::Type("Opened".into()), vec![0, 2, 4, 6, 8, 10]),
        (Selection::TypePrefix("Dep".into()), vec![1, 3, 5, 7, 9, 11]),
        (Selection::Tag("even".into()), vec![0, 2, 4, 6, 8, 10]),
        (Selection::Tag("odd".into()), vec![]),
    ];
    for (selection, expected) in all {
        for direction in [Direction::Forward, Direction::Backward] {
            for limit in [1, 2, 5, 100] {
                let mut request =
                    ReadEvents { direction, limit, ..ReadEvents::new(STORE, selection.clone()) };
                let mut found = Vec::new();
                loop {
                    let read = world.read_request(request.clone()).await.unwrap();
                    found.extend(positions(&read));
                    request.from = read.next;
                    if read.next.is_none() {
                        break;
                    }
                }
                if direction == Direction::Backward {
                    found.reverse();
                }
                assert_eq!(found, expected, "{selection:?} {direction:?} by {limit}");
            }
        }
    }
}

#[tokio::test]
async fn the_past_is_read_by_revision_position_and_time() {
    let world = World::with_store().await;
    varied(&world).await;
    let all = world.read_request(ReadEvents::new(STORE, Selection::All)).await.unwrap().events;
    for selection in [Selection::All, Selection::Stream(name("account-1")), Selection::Type("Opened".into())]
    {
        for (at, event) in all.iter().enumerate() {
            let until = |place| {
                let request = ReadEvents { until: Some(place), ..ReadEvents::new(STORE, selection.clone()) };
                world.read_request(request)
            };
            let by_position = until(Place::Position(event.position())).await.unwrap().events;
            assert!(by_position.iter().all(|event| event.position().0 <= at as u64));
            let by_time = until(Place::Time(event.recorded_ms())).await.unwrap().events;
            assert_eq!(by_time, by_position, "{selection:?} at {at}");
            let from = ReadEvents {
                from: Some(Place::Time(event.recorded_ms())),
                ..ReadEvents::new(STORE, selection.clone())
            };
            let rest = world.read_request(from).await.unwrap().events;
            assert!(rest.iter().all(|event| event.position().0 >= at as u64));
            let whole = world.read_request(ReadEvents::new(STORE, selection.clone())).await.unwrap().events;
            let both = by_position.len() + rest.len();
            assert!(both == whole.len() || both == whole.len() + 1, "{selection:?} at {at}");
        }
    }
    let stream = Selection::Stream(name("account-1"));
    let request = ReadEvents { until: Some(Place::Revision(Revision(1))), ..ReadEvents::new(STORE, stream) };
    assert_eq!(world.read_request(request).await.unwrap().events.len(), 2);
    let wrong =
        ReadEvents { from: Some(Place::Revision(Revision(1))), ..ReadEvents::new(STORE, Selection::All) };
    assert!(matches!(world.read_request(wrong).await, Err(ReadEventsError::Invalid { .. })));
}

#[tokio::test]
async fn a_store_is_a_topic_that_only_it_writes_to() {
    let world = World::with_store().await;
    let new = world.event("Opened", &["vip"]);
    let request = AppendEvents::to_stream(STORE, name("account-1"), Expected::Any, vec![new.clone()]);
    world.broker.append_events(&world.caller, request).await.unwrap();
    let topic = TopicRef::Name(STORE.into());
    let part = FetchPartition { topic, partition: 0, offset: 0, max_bytes: 1 << 20 };
    let request = FetchRequest {
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadCommitted,
        stored: false,
        partitions: vec![part],
    };
    let fetched = world.broker.fetch(&world.caller, request).await.partitions.remove(0).unwrap();
    let stored = Batch::parse(fetched.records.concat().into()).unwrap();
    stored.verify().unwrap();
    let record = stored.records(&ExpandLimits::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(record.key.as_deref(), Some(&b"account-1"[..]));
    let header = |header: annals_topics::batch::RecordHeader| kafka::Header {
        name: String::from_utf8(header.key.to_vec()).unwrap(),
        value: header.value,
    };
    let headers = record.headers.into_iter().map(header).collect();
    let message = kafka::Message { key: record.key, headers, value: record.value };
    assert_eq!(kafka::decode(&message).unwrap(), new.event);
    let refused = world.send(STORE, 0, batch(1, 0, Default::default())).await.durable().await.remove(0);
    assert_eq!(refused, Err(ProduceError::EventStore(STORE.into())));
    let deleted =
        world.broker.delete_topics(&world.caller, vec![TopicRef::Name(STORE.into())]).await.remove(0);
    assert!(deleted.is_err());
    world.broker.delete_store(&world.caller, STORE).await.unwrap();
    assert!(world.broker.stores(&world.caller).await.is_empty());
    assert_eq!(
        world.append("account-1", Expected::Any, &["Opened"]).await,
        Err(AppendEventsError::UnknownStore(STORE.into()))
    );
}

#[tokio::test]
async fn streams_are_described_truncated_deleted_and_ended() {
    let world = World::with_store().await;
    let (broker, caller, store) = (&world.broker, &world.caller, Arc::<str>::from(STORE));
    for kind in ["A", "B", "C", "D"] {
        world.append("s-1", Expected::Any, &[kind]).await.unwrap();
    }
    let stream = name("s-1");
    let keep_two = StreamMetadata { max_count: Some(2), ..StreamMetadata::default() };
    broker.set_stream_metadata(caller, &store, &stream, keep_two.clone(), Expected::NoStream).await.unwrap();
    assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@2 C", "s-1@3 D"]);
    assert_eq!(world.read(Selection::All).await, ["s-1@2 C", "s-1@3 D"]);
    let described = broker.stream(caller, &store, &stream).await.unwrap();
    assert_eq!((described.metadata, described.metadata_revision), (keep_two, Some(Revision(0))));
    let truncate = StreamMetadata { truncate_before: Some(Revision(3)), ..StreamMetadata::default() };
    let stale = broker.set_stream_metadata(caller, &store, &stream, truncate.clone(), exact(7)).await;
    assert!(matches!(stale, Err(ChangeStreamError::Append(AppendEventsError::Conflict { .. }))), "{stale:?}");
    broker.set_stream_metadata(caller, &store, &stream, truncate, exact(0)).await.unwrap();
    assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@3 D"]);
    broker.delete_stream(caller, &store, &stream, exact(3)).await.unwrap();
    assert!(matches!(world.stream("s-1").await, Err(ReadEventsError::NoStream { .. })));
    let again = broker.delete_stream(caller, &store, &stream, Expected::Any).await;
    assert!(matches!(again, Err(ChangeStreamError::NoStream { .. })), "{again:?}");
    world.append("s-1", Expected::NoStream, &["E"]).await.unwrap();
    assert_eq!(world.stream("s-1").await.unwrap(), ["s-1@4 E"]);
    broker.tombstone_stream(caller, &store, &stream, exact(4)).await.unwrap();
    let refused = world.append("s-1", Expected::Any, &["F"]).await;
    assert!(matches!(refused, Err(AppendEventsError::Conflict { actual: StreamState::Tombstoned, .. })));
    assert!(world.read(Selection::All).await.is_empty());
    let listed = ListNames {
        store: STORE.into(),
        names: Names::Types,
        with_system: false,
        prefix: String::new(),
        after: Some("A".into()),
        limit: 3,
    };
    assert_eq!(broker.list_names(caller, listed).await.unwrap(), ["B", "C", "D"]);
}

#[tokio::test]
async fn a_restart_finds_everything_again() {
    let mut world = World::with_store().await;
    varied(&world).await;
    let stream = name("account-1");
    let keep_two = StreamMetadata { max_count: Some(2), ..StreamMetadata::default() };
    let store: Arc<str> = STORE.into();
    world.broker.set_stream_metadata(&world.caller, &store, &stream, keep_two, Expected::Any).await.unwrap();
    let events = vec![world.event("Closed", &[])];
    let last = AppendEvents::to_stream(STORE, name("account-2"), Expected::Any, events);
    let appended = world.broker.append_events(&world.caller, last.clone()).await.unwrap();
    let before = world.read(Selection::All).await;
    world.stop().await;
    let world = World::open(&world.files);
    assert_eq!(world.read(Selection::All).await, before);
    assert_eq!(world.stream("account-1").await.unwrap().len(), 2);
    let repeated = world.broker.append_events(&world.caller, last).await.unwrap();
    assert_eq!(repeated, Appended { repeated: true, ..appended });
    world.append("account-1", exact(3), &["Closed"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_skips_nothing_and_says_when_it_is_live() {
    const EVENTS: u64 = 2000;
    let world = Arc::new(World::with_store().await);
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let world = Arc::clone(&world);
        writers.spawn(async move {
            for n in 0..EVENTS / 4 {
                let stream = format!("account-{writer}");
                let kind = if n % 2 == 0 { "Even" } else { "Odd" };
                world.append(&stream, Expected::Any, &[kind]).await.unwrap();
            }
        });
    }
    let mut readers = JoinSet::new();
    for (selection, share) in [
        (Selection::All, EVENTS),
        (Selection::Type("Even".into()), EVENTS / 2),
        (Selection::Stream(name("account-2")), EVENTS / 4),
        (Selection::Category("account".into()), EVENTS),
    ] {
        let world = Arc::clone(&world);
        readers.spawn(async move {
            let store = STORE.into();
            let request =
                SubscribeEvents { store, selection: selection.clone(), after: None, with_system: false };
            let mut subscription = world.broker.subscribe_events(&world.caller, request).await.unwrap();
            let (mut seen, mut next, mut revisions) = (0, 0, BTreeMap::<String, u64>::new());
            let mut was_live = false;
            while seen < share || !was_live {
                match subscription.next().await.unwrap() {
                    Delivery::CaughtUp { .. } => was_live = true,
                    Delivery::Events(events) => {
                        for event in events {
                            assert!(event.position().0 >= next, "{selection:?}");
                            next = event.position().0 + 1;
                            seen += 1;
                            let expected = revisions.entry(event.stream().to_owned()).or_default();
                            if !matches!(selection, Selection::Type(_)) {
                                assert_eq!(event.revision().0, *expected, "{selection:?}");
                            }
                            *expected += 1;
                        }
                    }
                }
            }
            assert_eq!(seen, share);
        });
    }
    writers.join_all().await;
    readers.join_all().await;
    let after = Some(Place::Position(Position(EVENTS - 2)));
    let request =
        SubscribeEvents { store: STORE.into(), selection: Selection::All, after, with_system: false };
    let mut subscription = world.broker.subscribe_events(&world.caller, request).await.unwrap();
    let Delivery::Events(rest) = subscription.next().await.unwrap() else { panic!("one is left") };
    assert_eq!((rest.len(), rest[0].position().0), (1, EVENTS - 1));
    let caught_up = subscription.next().await.unwrap();
    assert!(matches!(caught_up, Delivery::CaughtUp { after: Some(Position(at)) } if at == EVENTS - 1));
}

#[tokio::test]
async fn a_subscription_that_begins_at_a_time_gets_what_comes_then() {
    let world = World::with_store().await;
    varied(&world).await;
    let late = Some(Place::Time(world.broker.inner.clock.now_ms() + 3_600_000));
    for selection in [Selection::All, Selection::Stream(name("account-1")), Selection::Type("Opened".into())]
    {
        let request = SubscribeEvents { store: STORE.into(), selection, after: late, with_system: false };
        let mut subscription = world.broker.subscribe_events(&world.caller, request).await.unwrap();
        assert!(matches!(subscription.next().await.unwrap(), Delivery::CaughtUp { .. }));
        let appended = world.append("account-1", Expected::Any, &["Opened"]).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
        let Delivery::Events(events) = next.unwrap().unwrap() else { panic!("an event was appended") };
        assert_eq!((events.len(), events[0].position()), (1, appended.first_position));
    }
}

#[tokio::test]
async fn large_events_are_read_backward_page_by_page() {
    let world = World::with_store().await;
    for n in 0..20 {
        let event = Event::builder("/bank", "Large").json(&json!({"text": "x".repeat(300_000)}));
        let events = vec![event.build(&world.broker.inner.clock).unwrap().into()];
        let stream = name(&format!("account-{}", n % 3));
        let request = AppendEvents::to_stream(STORE, stream, Expected::Any, events);
        world.broker.append_events(&world.caller, request).await.unwrap();
    }
    let (mut positions, mut from) = (Vec::new(), None);
    loop {
        let request = ReadEvents {
            direction: Direction::Backward,
            from,
            bytes_max: 1 << 20,
            ..ReadEvents::new(STORE, Selection::All)
        };
        let read = world.read_request(request).await.unwrap();
        assert!(read.events.len() <= 4);
        positions.extend(read.events.iter().map(|event| event.position().0));
        from = read.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(positions, (0..20).rev().collect::<Vec<_>>());
}

/// Power fails at a random write; in the next life exactly what was acknowledged is there, and perhaps what was open.
#[tokio::test]
async fn what_was_acknowledged_survives_a_power_failure() {
    let seeds = std::env::var("ANNALS_TEST_SEEDS").map_or(60, |text| text.parse().unwrap());
    for seed in 0..seeds {
        let mut files = FaultFiles::new();
        let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
        for life in 0..3 {
            let mut world = World::open(&files);
            if life == 0 {
                world.broker.create_store(&world.caller, STORE).await.unwrap();
            }
            acknowledged = check_survivors(&world, acknowledged).await;
            let random = world.broker.inner.clock.random();
            files.stop_after(files.operations() + 5 + (seed * 7 + random) % 50);
            for n in 0..40 {
                let stream = format!("account-{}", n % 3);
                let Ok(appended) = world.append(&stream, Expected::Any, &["A", "B"]).await else { break };
                let revision = appended.last_revisions[0].0;
                acknowledged.insert(appended.last_position.0 - 1, format!("{stream}@{} A", revision - 1));
                acknowledged.insert(appended.last_position.0, format!("{stream}@{revision} B"));
            }
            files =
                if seed % 2 == 0 { files.crash(seed * 10 + life) } else { files.crash_keeping_only_synced() };
            world.stop().await;
        }
        let world = World::open(&files);
        check_survivors(&world, acknowledged).await;
    }
}

/// What is there, which must hold all that was acknowledged, whole appends, and dense revisions.
async fn check_survivors(world: &World, acknowledged: BTreeMap<u64, String>) -> BTreeMap<u64, String> {
    let read = world.read_request(ReadEvents::new(STORE, Selection::All)).await.unwrap();
    let there: BTreeMap<u64, String> =
        read.events.iter().map(|event| (event.position().0, label(event))).collect();
    for (position, event) in &acknowledged {
        assert_eq!(there.get(position), Some(event));
    }
    assert_eq!(there.len() % 2, 0, "half of an append");
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for (at, event) in read.events.iter().enumerate() {
        let revision = next.entry(event.stream().to_owned()).or_default();
        assert_eq!((event.position().0, event.revision().0), (at as u64, *revision));
        *revision += 1;
    }
    for (stream, count) in next {
        assert_eq!(world.stream(&stream).await.unwrap().len() as u64, count);
    }
    there
}
