//! Random appends, deletions, queries, flushes and crashes, against a model that looks at every event each time.
//!
//! `ANNALS_TEST_SEEDS=N` runs N seeds instead of 200.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod model {
    pub(crate) mod driver;
    pub(crate) mod simple;
}

use annals_eventstore::index::Direction;
use annals_eventstore::query::{Query, QueryItem};
use annals_eventstore::{Expected, Revision};

use model::driver::Driver;
use model::simple::{Ask, Dice, Event, Simple};

const STEPS: u64 = 150;
const TYPES: [&str; 3] = ["Opened", "Deposited", "Closed"];
const TAGS: [&str; 4] = ["red", "green", "customer:1", "customer:2"];
const STREAMS: [&str; 6] = ["account-1", "account-2", "order-1", "order-2", "order-3", "loose"];

#[test]
fn a_store_does_what_the_model_does() {
    let seeds = std::env::var("ANNALS_TEST_SEEDS").map_or(200, |text| text.parse().unwrap());
    for seed in 0..seeds {
        println!("seed {seed}");
        live(seed);
    }
}

#[test]
fn what_is_flushed_in_little_pieces_lies_together() {
    const EVENTS: usize = 700;
    let (mut driver, mut model, mut dice) = (Driver::new(1), Simple::default(), Dice(1));
    for _ in 0..EVENTS {
        let event = Event { id: model.new_id(), kind: "Opened".to_owned(), tags: vec!["red".to_owned()] };
        let ask =
            Ask { writes: vec![("account-1".to_owned(), Expected::Any, vec![event])], ..Ask::default() };
        model.check_append(&driver.append(&ask), &ask);
        driver.make_durable(usize::MAX, &mut model);
        driver.flush();
    }
    // Three chunks of 256 for the stream, its category, the type and the tag; the checkpoint, the stream and two names.
    assert_eq!(driver.entries_in_index(), 4 * 3 + 4);
    for _ in 0..300 {
        read(&driver, &model, &mut dice);
    }
}

fn live(seed: u64) {
    let mut dice = Dice(seed);
    let (mut driver, mut model) = (Driver::new(seed), Simple::default());
    for step in 0..STEPS {
        match dice.below(20) {
            0..10 => append(&mut driver, &mut model, &mut dice),
            10 => repeat(&mut driver, &mut model, &mut dice),
            11 => administer(&mut driver, &mut model, &mut dice),
            12..14 => driver.make_durable(dice.below(5) as usize, &mut model),
            14 => driver.flush(),
            15 if dice.below(4) == 0 => driver.crash(&mut model, dice.below(3)),
            _ => read(&driver, &model, &mut dice),
        }
        assert_eq!(driver.next(), model.events.len() as u64, "after step {step}");
    }
    driver.make_durable(usize::MAX, &mut model);
    for _ in 0..30 {
        read(&driver, &model, &mut dice);
    }
}

fn append(driver: &mut Driver, model: &mut Simple, dice: &mut Dice) {
    let mut ask = Ask::default();
    let first = dice.below(STREAMS.len() as u64) as usize;
    for n in 0..1 + dice.below(3) as usize / 2 {
        let stream = STREAMS[(first + n) % STREAMS.len()];
        let events = (0..1 + dice.below(2)).map(|_| event(model.new_id(), dice)).collect();
        ask.writes.push((stream.to_owned(), expected(model, stream, dice), events));
    }
    if dice.below(4) == 0 {
        let stream = STREAMS[(first + 3) % STREAMS.len()];
        ask.guards.push((stream.to_owned(), expected(model, stream, dice)));
    }
    if dice.below(3) == 0 {
        let behind = (model.events.len() as u64).saturating_sub(dice.below(12));
        ask.conditions.push((query(dice), behind.checked_sub(1)));
    }
    model.check_append(&driver.append(&ask), &ask);
}

/// Sends again what was sent before, whole or in part.
fn repeat(driver: &mut Driver, model: &mut Simple, dice: &mut Dice) {
    let Some(mut ask) = model.some_ask(dice) else { return };
    if dice.below(3) == 0 {
        ask.writes[0].2.push(event(model.new_id(), dice));
    }
    model.check_append(&driver.append(&ask), &ask);
}

fn administer(driver: &mut Driver, model: &mut Simple, dice: &mut Dice) {
    let stream = dice.pick(&STREAMS);
    let result = match dice.below(6) {
        0 => driver.tombstone(stream, Expected::Any, model),
        1 | 2 => driver.delete(stream, model),
        _ => driver.describe(stream, dice.below(5), model),
    };
    drop(result);
}

fn event(id: String, dice: &mut Dice) -> Event {
    let tags = TAGS.iter().filter(|_| dice.below(3) == 0).map(|tag| (*tag).to_owned()).collect();
    Event { id, kind: dice.pick(&TYPES).to_owned(), tags }
}

fn expected(model: &Simple, stream: &str, dice: &mut Dice) -> Expected {
    let next = model.next_revision(stream);
    match dice.below(8) {
        0 => Expected::NoStream,
        1 => Expected::Exists,
        2 => Expected::Exact(Revision(dice.below(next + 2))),
        3..6 if next > 0 => Expected::Exact(Revision(next - 1)),
        _ => Expected::Any,
    }
}

fn query(dice: &mut Dice) -> Query {
    let item = |dice: &mut Dice| {
        let mut take = |all: &[&str], chance: u64| -> Vec<_> {
            all.iter().filter(|_| dice.below(chance) == 0).map(|&text| text.into()).collect()
        };
        let (mut types, tags) = (take(&TYPES, 3), take(&TAGS, 3));
        if types.is_empty() && tags.is_empty() {
            types.push("Opened".into());
        }
        QueryItem { types, tags }
    };
    Query { items: (0..1 + dice.below(2)).map(|_| item(dice)).collect() }
}

fn read(driver: &Driver, model: &Simple, dice: &mut Dice) {
    let durable = driver.durable();
    let direction = if dice.below(2) == 0 { Direction::Forward } else { Direction::Backward };
    let limit = 1 + dice.below(20) as usize;
    let from = dice.below(durable + 1);
    let range = from..from + dice.below(durable + 3);
    if dice.below(2) == 0 {
        let query = query(dice);
        assert_eq!(
            driver.find(&query, range.clone(), limit, direction),
            model.find(&query, range.clone(), durable, limit, direction),
            "{query:?} {range:?} {direction:?}"
        );
    } else {
        let stream = dice.pick(&STREAMS);
        let found = driver.stream(stream, &range, limit, direction);
        assert_eq!(found, model.stream(stream, &range, durable, limit, direction), "{stream} {range:?}");
        let revision = driver.revision_at(stream, from);
        assert_eq!(revision, model.revision_at(stream, from, durable), "{stream} at {from}");
        assert_eq!(driver.state(stream), model.state(stream, durable), "{stream}");
        assert_eq!(driver.first_visible(stream), model.first_visible(stream, durable), "{stream}");
    }
}
