//! Random appends, deletions, scavenges and power failures, with followers that must miss nothing.
//!
//! `ANNALS_TEST_SEEDS=N` runs N seeds instead of 20.

use annals_eventstore::subscription::Options;
use tokio::time::timeout;

use super::*;
use crate::api::subscriptions::NewSubscription;
use crate::{Subscription, SubscriptionConsumer};

const STREAMS: [&str; 3] = ["account-1", "account-2", "order-1"];
const KINDS: [&str; 2] = ["Even", "Odd"];
const LIVES: usize = 3;
const STEPS: usize = 60;
/// Long enough for what is there, too short to wait for what is not.
const GLANCE: Duration = Duration::from_millis(3);

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// An event that was acknowledged.
struct Known {
    stream: &'static str,
    kind: &'static str,
    /// It was deleted at some time: whoever came later has not seen it.
    hidden: bool,
}

type Past = BTreeMap<u64, Known>;

/// Somebody with a catch-up subscription, who goes on behind what was seen last.
struct Follower {
    selection: Selection,
    subscription: Option<Subscription>,
    seen: Vec<u64>,
}

impl Follower {
    fn new(selection: Selection) -> Self {
        Self { selection, subscription: None, seen: Vec::new() }
    }

    fn wants(&self, known: &Known) -> bool {
        match &self.selection {
            Selection::Stream(stream) => known.stream == stream.as_str(),
            Selection::Category(category) => known.stream.starts_with(&**category),
            Selection::Type(kind) => known.kind == &**kind,
            _ => true,
        }
    }

    /// What it must have seen in the end.
    fn due(&self, past: &Past) -> Vec<u64> {
        let wanted = past.iter().filter(|(_, known)| !known.hidden && self.wants(known));
        wanted.map(|(position, _)| *position).collect()
    }

    /// Takes what comes within a time. `false` if nothing did.
    async fn look(&mut self, world: &World, within: Duration) -> bool {
        if self.subscription.is_none() {
            let after = self.seen.last().map(|at| Place::Position(Position(*at)));
            let selection = self.selection.clone();
            let request = SubscribeEvents { store: STORE.into(), selection, after, with_system: false };
            self.subscription = Some(world.broker.subscribe_events(&world.caller, request).await.unwrap());
        }
        let Some(subscription) = &mut self.subscription else { return false };
        match timeout(within, subscription.next()).await {
            Ok(Ok(Delivery::Events(events))) => {
                self.seen.extend(events.iter().map(|event| event.position().0));
                true
            }
            Ok(Ok(Delivery::CaughtUp { .. })) => true,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => false,
        }
    }

    async fn check(mut self, world: &World, past: &Past, seed: u64) {
        let due = self.due(past);
        let what = format!("seed {seed}, {:?}", self.selection);
        while self.seen.last() < due.last() {
            assert!(self.look(world, Duration::from_secs(10)).await, "{what}: {:?} of {due:?}", self.seen);
        }
        assert!(self.seen.is_sorted_by(|a, b| a < b), "{what}: {:?}", self.seen);
        for position in &due {
            assert!(self.seen.binary_search(position).is_ok(), "{what}: {position} was skipped");
        }
        for position in &self.seen {
            assert!(past.get(position).is_some_and(|known| self.wants(known)), "{what}: {position}");
        }
    }
}

#[tokio::test]
async fn followers_miss_nothing_over_deletions_scavenges_and_power_failures() {
    let seeds = std::env::var("ANNALS_TEST_SEEDS").map_or(20, |text| text.parse().unwrap());
    for seed in 0..seeds {
        live(seed).await;
    }
}

async fn live(seed: u64) {
    let mut dice = Dice(seed);
    let (mut world, mut past) = (World::with_store().await, Past::new());
    let shared = NewSubscription {
        store: STORE.into(),
        name: "shared".into(),
        selection: Selection::Category("account".into()),
        after: None,
        with_system: false,
        options: Options { ordered_by_stream: dice.below(2) == 0, ..Options::default() },
    };
    world.broker.create_subscription(&world.caller, shared).await.unwrap();
    let stream = Selection::Stream(name(STREAMS[0]));
    let (kind, category) = (Selection::Type(KINDS[0].into()), Selection::Category("account".into()));
    let mut followers = [Selection::All, stream, kind, category].map(Follower::new);
    let mut given = std::collections::BTreeSet::new();
    for life in 0..LIVES {
        if life > 0 {
            let files = world.files.crash_keeping_only_synced();
            world.stop().await;
            world = World::open(&files);
            followers.iter_mut().for_each(|follower| follower.subscription = None);
        }
        let consumer = consumer(&world).await;
        for _ in 0..STEPS {
            match dice.below(16) {
                0..9 => append(&world, &mut past, &mut dice).await,
                9 => hide(&world, &mut past, &mut dice).await,
                10 => drop(world.broker.scavenge_store(&world.caller, &STORE.into()).await.unwrap()),
                11 | 12 => share(&consumer, &mut given, &mut dice).await,
                _ => drop(followers[dice.below(4)].look(&world, GLANCE).await),
            }
        }
    }
    let consumer = consumer(&world).await;
    let category = Follower::new(Selection::Category("account".into()));
    while category.due(&past).iter().any(|position| !given.contains(position)) {
        let next = timeout(Duration::from_secs(40), consumer.next(32)).await;
        let positions: Vec<_> = next.unwrap().unwrap().iter().map(|given| given.event.position()).collect();
        given.extend(positions.iter().map(|position| position.0));
        consumer.ack(&positions).unwrap();
    }
    for follower in followers {
        follower.check(&world, &past, seed).await;
    }
    world.stop().await;
}

async fn consumer(world: &World) -> SubscriptionConsumer {
    world.broker.consume_subscription(&world.caller, &STORE.into(), &"shared".into()).await.unwrap()
}

async fn append(world: &World, past: &mut Past, dice: &mut Dice) {
    let (stream, kind) = (STREAMS[dice.below(3)], KINDS[dice.below(2)]);
    let kinds = vec![kind; 1 + dice.below(3)];
    let appended = world.append(stream, Expected::Any, &kinds).await.unwrap();
    for position in appended.first_position.0..=appended.last_position.0 {
        past.insert(position, Known { stream, kind, hidden: false });
    }
}

/// Deletes a stream, or truncates it somewhere.
async fn hide(world: &World, past: &mut Past, dice: &mut Dice) {
    let (store, stream) = (STORE.into(), STREAMS[dice.below(3)]);
    let (broker, caller) = (&world.broker, &world.caller);
    let count = past.values().filter(|known| known.stream == stream).count();
    if dice.below(2) == 0 {
        // Perhaps there is nothing to delete.
        let _ = broker.delete_stream(caller, &store, &name(stream), Expected::Any).await;
    } else {
        let truncate_before = Some(Revision(dice.below(count + 1) as u64));
        let metadata = StreamMetadata { truncate_before, ..StreamMetadata::default() };
        broker.set_stream_metadata(caller, &store, &name(stream), metadata, Expected::Any).await.unwrap();
    }
    past.values_mut().filter(|known| known.stream == stream).for_each(|known| known.hidden = true);
}

/// Takes some events for the subscription that consumers share; most of them are acknowledged.
async fn share(
    consumer: &SubscriptionConsumer,
    given: &mut std::collections::BTreeSet<u64>,
    dice: &mut Dice,
) {
    let end = tokio::time::sleep(GLANCE);
    for delivered in consumer.next_or(4, end).await.unwrap() {
        let position = delivered.event.position();
        given.insert(position.0);
        if dice.below(4) > 0 {
            consumer.ack(&[position]).unwrap();
        }
    }
}
