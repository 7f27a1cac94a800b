//! Persistent subscriptions over a store.

use annals_eventstore::subscription::{Nack, Options};

use super::*;
use crate::SubscriptionConsumer;
use crate::api::subscriptions::{Delivered, NewSubscription, SubscriptionError};

const NAME: &str = "mailer";

impl World {
    async fn subscribe_all(&self, options: Options) {
        let request = NewSubscription {
            store: STORE.into(),
            name: NAME.into(),
            selection: Selection::Category("account".into()),
            after: None,
            with_system: false,
            options,
        };
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
