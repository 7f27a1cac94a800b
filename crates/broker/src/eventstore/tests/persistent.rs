//! Persistent subscriptions over a store.

use annals_eventstore::subscription::{Nack, Options};

use super::*;
use crate::SubscriptionConsumer;
use crate::api::subscriptions::{Delivered, NewSubscription, SubscriptionError};

const NAME: &str = "mailer";

impl World {
    async fn subscribe_all(&self, options: Options) {
        self.subscribe(Selection::Category("account".into()), None, options).await;
    }

    async fn subscribe(&self, selection: Selection, after: Option<Place>, options: Options) {
        let (store, name) = (STORE.into(), NAME.into());
        let request = NewSubscription { store, name, selection, after, with_system: false, options };
        self.broker.create_subscription(&self.caller, request).await.unwrap();
    }

    async fn consumer(&self) -> SubscriptionConsumer {
        self.broker.consume_subscription(&self.caller, &STORE.into(), &NAME.into()).await.unwrap()
    }
}

fn positions(delivered: &[Delivered]) -> Vec<u64> {
    delivered.iter().map(|delivered| delivered.event.position().0).collect()
}

#[tokio::test]
async fn consumers_share_what_comes_and_what_was_there() {
    let world = World::with_store().await;
    varied(&world).await;
    world.subscribe_all(Options { in_flight_max: 4, ..Options::default() }).await;
    let (one, other) = (world.consumer().await, world.consumer().await);
    let first = one.next(10).await.unwrap();
    assert_eq!(positions(&first), [0, 1, 3, 4]);
    let second = other.next(10).await.unwrap();
    assert_eq!(positions(&second), [6, 7, 9, 10]);
    for delivered in first.iter().chain(&second) {
        let consumer = if first.iter().any(|first| first.event == delivered.event) { &one } else { &other };
        consumer.ack(&[delivered.event.position()]).unwrap();
    }
    assert!(one.ack(&[Position(0)]).is_err());
    let waiting = one.next(1);
    let append = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.append("order-5", Expected::Any, &["Opened"]).await.unwrap();
        world.append("account-5", Expected::Any, &["Opened"]).await.unwrap();
    };
    let (delivered, ()) = tokio::join!(waiting, append);
    assert_eq!(positions(&delivered.unwrap()), [13]);
    drop(one);
    let again = other.next(1).await.unwrap();
    assert_eq!((positions(&again), again[0].delivery), (vec![13], 2));
    let described = world.broker.subscriptions(&world.caller, &STORE.into()).await.unwrap();
    assert_eq!((described.len(), described[0].status.checkpoint), (1, Position(13)));
}

#[tokio::test]
async fn parked_events_survive_a_restart_and_are_replayed() {
    let mut world = World::with_store().await;
    varied(&world).await;
    world.subscribe_all(Options { deliveries_max: 1, ..Options::default() }).await;
    let consumer = world.consumer().await;
    assert_eq!(consumer.next(3).await.unwrap().len(), 3);
    consumer.ack(&[Position(0)]).unwrap();
    consumer.nack(Position(1), &Nack::Park { reason: "no such address".into() }).unwrap();
    consumer.nack(Position(3), &Nack::Retry { after_ms: 0 }).unwrap();
    let (store, name) = (Arc::<str>::from(STORE), Arc::<str>::from(NAME));
    let (caller, of) = (world.caller.clone(), (&store, &name));
    let parked = world.broker.parked_events(&caller, of, Position(0), 10).await.unwrap();
    let reasons: Vec<_> = parked.iter().map(|parked| (parked.position.0, &*parked.reason)).collect();
    assert_eq!(reasons, [(1, "no such address"), (3, "it was refused too often")]);
    // Replaying writes the state, that of the others too.
    assert_eq!(world.broker.replay_parked(&caller, of, Some(&[Position(3)])).await.unwrap(), 1);
    drop(consumer);
    world.stop().await;
    let world = World::open(&world.files);
    assert_eq!(world.broker.parked_events(&caller, of, Position(0), 10).await.unwrap().len(), 1);
    let consumer = world.consumer().await;
    assert_eq!(positions(&consumer.next(3).await.unwrap()), [3, 4, 6]);
    assert_eq!(world.broker.discard_parked(&caller, of, None).await.unwrap(), 1);
    world.broker.delete_subscription(&caller, &store, &name).await.unwrap();
    let ended = consumer.next(1).await;
    assert_eq!(ended.unwrap_err(), SubscriptionError::UnknownSubscription { store, name });
}

#[tokio::test]
async fn one_that_begins_at_a_time_gets_what_comes_then() {
    let world = World::with_store().await;
    varied(&world).await;
    let late = Place::Time(world.broker.inner.clock.now_ms() + 3_600_000);
    world.subscribe(Selection::All, Some(late), Options::default()).await;
    let appended = world.append("account-1", Expected::Any, &["Deposited"]).await.unwrap();
    let consumer = world.consumer().await;
    let given = tokio::time::timeout(Duration::from_secs(10), consumer.next(10)).await;
    assert_eq!(positions(&given.unwrap().unwrap()), [appended.first_position.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_being_written_is_given_once() {
    const EVENTS: u64 = 3000;
    let world = Arc::new(World::with_store().await);
    let options = Options { in_flight_max: 1000, ..Options::default() };
    world.subscribe(Selection::Stream(name("account-1")), None, options).await;
    let mut writers = JoinSet::new();
    for _ in 0..3 {
        let world = Arc::clone(&world);
        writers.spawn(async move {
            for _ in 0..EVENTS / 3 {
                world.append("account-1", Expected::Any, &["Deposited"]).await.unwrap();
            }
        });
    }
    let consumer = world.consumer().await;
    let mut seen = std::collections::BTreeSet::new();
    while (seen.len() as u64) < EVENTS {
        let given = consumer.next(1000).await.unwrap();
        for delivered in &given {
            let position = delivered.event.position();
            assert_eq!(delivered.delivery, 1, "{position}");
            assert!(seen.insert(position), "{position} is given twice");
        }
        consumer.ack(&given.iter().map(|given| given.event.position()).collect::<Vec<_>>()).unwrap();
    }
    writers.join_all().await;
}

#[tokio::test]
async fn a_deleted_one_is_not_written_again() {
    let mut world = World::with_store().await;
    varied(&world).await;
    world.subscribe_all(Options::default()).await;
    let consumer = world.consumer().await;
    consumer.next(3).await.unwrap();
    let [group] = &world.broker.inner.state.stores.groups.all()[..] else { panic!("there is one") };
    let (store, name) = (STORE.into(), NAME.into());
    world.broker.delete_subscription(&world.caller, &store, &name).await.unwrap();
    assert!(!world.broker.inner.save(group).await.unwrap());
    drop(consumer);
    world.stop().await;
    let world = World::open(&world.files);
    assert!(world.broker.subscriptions(&world.caller, &store).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_large_to_be_given_at_once_waits_its_turn() {
    let world = World::with_store().await;
    for _ in 0..7 {
        let event = Event::builder("/bank", "Large").json(&json!({"text": "x".repeat(3_900_000)}));
        let events = vec![event.build(&world.broker.inner.clock).unwrap().into()];
        let request = AppendEvents::to_stream(STORE, name("account-1"), Expected::Any, events);
        world.broker.append_events(&world.caller, request).await.unwrap();
    }
    world.subscribe_all(Options::default()).await;
    let consumer = world.consumer().await;
    let (mut given, mut turns) = (Vec::new(), 0);
    while given.len() < 7 {
        let more = consumer.next(7).await.unwrap();
        assert!(more.iter().all(|delivered| delivered.delivery == 1));
        given.extend(positions(&more));
        turns += 1;
    }
    assert_eq!(given, (0..7).collect::<Vec<_>>());
    assert!(turns > 1, "28 MB at once");
}

/// Consumers come and go and the power fails; every event is given at least once.
#[tokio::test]
async fn every_event_is_given_at_least_once_over_power_failures() {
    let mut files = FaultFiles::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut end = 0;
    for life in 0..6 {
        let mut world = World::open(&files);
        if life == 0 {
            world.broker.create_store(&world.caller, STORE).await.unwrap();
            world.subscribe_all(Options { in_flight_max: 5, ..Options::default() }).await;
        }
        for _ in 0..20 {
            end = world.append("account-1", Expected::Any, &["Deposited"]).await.unwrap().last_position.0 + 1;
        }
        for _ in 0..3 {
            let consumer = world.consumer().await;
            for delivered in consumer.next(5).await.unwrap() {
                let position = delivered.event.position();
                if position.0 % 3 != life % 3 {
                    seen.insert(position.0);
                    consumer.ack(&[position]).unwrap();
                }
            }
        }
        if life % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        files = files.crash_keeping_only_synced();
        world.stop().await;
    }
    let world = World::open(&files);
    let consumer = world.consumer().await;
    while seen.len() as u64 != end {
        for delivered in consumer.next(5).await.unwrap() {
            seen.insert(delivered.event.position().0);
            consumer.ack(&[delivered.event.position()]).unwrap();
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..end).collect::<Vec<_>>());
}
