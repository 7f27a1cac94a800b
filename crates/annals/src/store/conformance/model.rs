//! Random operations against a model in a few lines.

use std::collections::BTreeMap;

use super::{all, event, stream};
use crate::Clock;
use crate::store::{Append, AppendError, Expected, NewEvent, Read, Revision, Store, StreamWrite};

const STEPS: usize = 120;
const STREAMS: u64 = 4;

/// Names of events by stream, and of all streams in order.
#[derive(Default)]
struct Model {
    streams: BTreeMap<String, Vec<String>>,
    all: Vec<String>,
    /// What may be sent again.
    done: Vec<Append>,
}

pub(super) async fn random_operations(store: &dyn Store, seed: u64) {
    let (clock, _) = Clock::manual(0, seed);
    let mut model = Model::default();
    for step in 0..STEPS {
        match clock.random() % 10 {
            0 if !model.done.is_empty() => {
                let again = model.done[clock.random() as usize % model.done.len()].clone();
                assert!(store.append(again).await.unwrap().duplicate, "seed {seed} step {step}");
            }
            1 | 2 => model.compare(store, &clock).await,
            _ => model.append(store, &clock, &format!("seed {seed} step {step}")).await,
        }
    }
    model.compare(store, &clock).await;
}

impl Model {
    fn revision(&self, name: &str) -> Option<Revision> {
        let count = self.streams.get(name).map_or(0, Vec::len) as u64;
        count.checked_sub(1).map(Revision)
    }

    async fn append(&mut self, store: &dyn Store, clock: &Clock, place: &str) {
        let append = random_append(clock);
        let conflict = append
            .writes
            .iter()
            .find(|write| !write.expected.is_met_by(self.revision(write.stream.as_str())));
        let outcome = store.append(append.clone()).await;
        match (conflict, outcome) {
            (Some(_), Err(AppendError::Conflict { stream, expected, actual })) => {
                assert_eq!(actual, self.revision(&stream), "{place}");
                assert!(!expected.is_met_by(actual), "{place}");
            }
            (None, Ok(done)) => {
                for write in &append.writes {
                    let names: Vec<String> = write.events.iter().map(|event| event.name.clone()).collect();
                    self.all.extend(names.iter().cloned());
                    if !names.is_empty() {
                        self.streams.entry(write.stream.to_string()).or_default().extend(names);
                    }
                }
                for (name, revision) in done.revisions {
                    assert_eq!(Some(revision), self.revision(name.as_str()), "{place}");
                }
                self.done.push(append);
            }
            (conflict, outcome) => panic!("{place}: expected conflict {conflict:?}, got {outcome:?}"),
        }
    }

    async fn compare(&self, store: &dyn Store, clock: &Clock) {
        let limit = 1 + clock.random() as usize % 20;
        let read = async |read: Read| -> Vec<String> {
            all(store, read.limit(limit)).await.into_iter().map(|event| event.name).collect()
        };
        assert_eq!(read(Read::all()).await, self.all);
        for (name, events) in &self.streams {
            assert_eq!(&read(Read::stream(stream(name))).await, events);
            let backward = read(Read::stream(stream(name)).backward()).await;
            assert!(backward.iter().eq(events.iter().rev()));
        }
    }
}

fn random_append(clock: &Clock) -> Append {
    let first = clock.random() % STREAMS;
    let others = clock.random() % 3;
    let writes = (0..=others).map(|offset| {
        let events: Vec<NewEvent> =
            (0..clock.random() % 3).map(|_| event(&format!("E{}", clock.random() % 1000))).collect();
        let stream = stream(&format!("m-{}", (first + offset) % STREAMS));
        StreamWrite { stream, expected: random_expectation(clock), events }
    });
    let mut writes: Vec<StreamWrite> = writes.collect();
    if writes.iter().all(|write| write.events.is_empty()) {
        writes[0].events.push(event("Only"));
    }
    Append { writes, conditions: Vec::new() }
}

fn random_expectation(clock: &Clock) -> Expected {
    match clock.random() % 8 {
        0 => Expected::NoStream,
        1 => Expected::Exists,
        2 => Expected::Exact(Revision(clock.random() % 6)),
        _ => Expected::Any,
    }
}
