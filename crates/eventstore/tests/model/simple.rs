//! The model: a list of all events, looked through from the beginning for every question.

use std::ops::Range;

use annals_eventstore::index::Direction;
use annals_eventstore::query::Query;
use annals_eventstore::store::{Decision, Refused};
use annals_eventstore::{Expected, Position, Revision, StreamState};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    pub(crate) fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// An event to append.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) tags: Vec<String>,
}

/// An append.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) writes: Vec<(String, Expected, Vec<Event>)>,
    pub(crate) guards: Vec<(String, Expected)>,
    /// A query, and behind which position it must not find anything.
    pub(crate) conditions: Vec<(Query, Option<u64>)>,
}

/// What an event did to another stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Did {
    Nothing,
    Tombstone,
    Delete(String),
    Describe { stream: String, first: u64, max_count: Option<u64> },
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    stream: String,
    revision: u64,
    event: Event,
    did: Did,
}

#[derive(Default)]
pub(crate) struct Simple {
    pub(crate) events: Vec<Stored>,
    asked: Vec<Ask>,
    ids: u64,
}

impl Simple {
    pub(crate) fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    pub(crate) fn some_ask(&self, dice: &mut Dice) -> Option<Ask> {
        let at = dice.below(self.asked.len() as u64) as usize;
        self.asked.get(at).cloned()
    }

    /// Everything in flight is lost.
    pub(crate) fn forget_from(&mut self, durable: u64) {
        self.events.truncate(durable as usize);
    }

    pub(crate) fn push(&mut self, stream: &str, event: Event, did: Did) {
        let revision = self.next_revision(stream);
        self.events.push(Stored { stream: stream.to_owned(), revision, event, did });
    }

    pub(crate) fn next_revision(&self, stream: &str) -> u64 {
        self.of(stream, self.events.len() as u64).last().map_or(0, |(_, event)| event.revision + 1)
    }

    fn of(&self, stream: &str, end: u64) -> impl DoubleEndedIterator<Item = (u64, &Stored)> {
        let events = self.events[..end as usize].iter().enumerate();
        events.map(|(at, event)| (at as u64, event)).filter(move |(_, event)| event.stream == stream)
    }

    pub(crate) fn state(&self, stream: &str, end: u64) -> StreamState {
        let mut state = StreamState::Missing;
        for event in &self.events[..end as usize] {
            if event.stream == stream {
                let ended = event.did == Did::Tombstone;
                state =
                    if ended { StreamState::Tombstoned } else { StreamState::At(Revision(event.revision)) };
            }
            if event.did == Did::Delete(stream.to_owned()) && state != StreamState::Tombstoned {
                state = StreamState::Deleted(state.last());
            }
        }
        state
    }

    pub(crate) fn first_visible(&self, stream: &str, end: u64) -> u64 {
        let (mut first, mut count, mut next, mut ended) = (0, None, 0, false);
        for event in &self.events[..end as usize] {
            if event.stream == stream {
                next = event.revision + 1;
                ended = event.did == Did::Tombstone;
            }
            match &event.did {
                Did::Delete(of) if of == stream => (first, count) = (first.max(next), None),
                Did::Describe { stream: of, first: wanted, max_count } if of == stream => {
                    // Beyond the end there is nothing to truncate.
                    (first, count) = (first.max(next.min(*wanted)), *max_count);
                }
                _ => {}
            }
        }
        let counted = count.map_or(0, |count| next.saturating_sub(count));
        first.max(counted).max(if ended { next - 1 } else { 0 })
    }

    /// What the store must have answered; the model then takes the events too.
    pub(crate) fn check_append(&mut self, answer: &Result<Decision, Refused>, ask: &Ask) {
        let expected = self.judge(ask);
        match (answer, &expected) {
            (Ok(decision), Ok(Some(first))) => {
                assert!(decision.repeated, "{ask:?}");
                assert_eq!(decision.first, Position(*first));
            }
            (Ok(decision), Ok(None)) => {
                assert!(!decision.repeated, "{ask:?}");
                assert_eq!(decision.first, Position(self.events.len() as u64));
                for ((stream, _, events), first) in ask.writes.iter().zip(&decision.first_revisions) {
                    assert_eq!(*first, self.next_revision(stream));
                    events.iter().for_each(|event| self.push(stream, event.clone(), Did::Nothing));
                }
                self.asked.push(ask.clone());
            }
            (Err(refused), Err(expected)) => assert_eq!(refused, expected, "{ask:?}"),
            _ => panic!("{ask:?} gave {answer:?} and not {expected:?}"),
        }
    }

    /// The position of the first time if it is a repetition, or why it is refused.
    fn judge(&self, ask: &Ask) -> Result<Option<u64>, Refused> {
        if let Some(first) = self.repetition(ask)? {
            return Ok(Some(first));
        }
        let all = self.events.len() as u64;
        let demands = ask.writes.iter().map(|(stream, expected, _)| (stream, *expected));
        for (stream, expected) in demands.chain(ask.guards.iter().map(|(s, e)| (s, *e))) {
            let actual = self.state(stream, all);
            if !actual.meets(expected) {
                let stream = annals_eventstore::StreamName::new(stream).unwrap();
                return Err(Refused::Conflict { stream, expected, actual });
            }
        }
        for (index, (query, after)) in ask.conditions.iter().enumerate() {
            let from = after.map_or(0, |after| after + 1);
            if let Some(&position) = self.find(query, from..all, all, 1, Direction::Forward).first() {
                return Err(Refused::ConditionFailed { index, position: Position(position) });
            }
        }
        Ok(None)
    }

    fn repetition(&self, ask: &Ask) -> Result<Option<u64>, Refused> {
        let mut firsts = Vec::new();
        let taken = |stream: &str, index: usize, revision: u64| Refused::IdTaken {
            stream: annals_eventstore::StreamName::new(stream).unwrap(),
            index,
            revision: Revision(revision),
        };
        let mut some_known = None;
        for (stream, _, events) in &ask.writes {
            let known: Vec<_> = events.iter().map(|event| self.by_id(stream, &event.id)).collect();
            let any = known.iter().enumerate().find_map(|(index, known)| Some((index, (*known)?)));
            let Some((index, (position, revision))) = any else { continue };
            let follow = known.iter().zip(revision..).all(|(known, r)| known.is_some_and(|(_, k)| k == r));
            if !follow {
                return Err(taken(stream, index, revision));
            }
            some_known.get_or_insert((stream, index, revision));
            firsts.push(position);
        }
        match some_known {
            None => Ok(None),
            Some((stream, index, revision)) if firsts.len() < ask.writes.len() => {
                Err(taken(stream, index, revision))
            }
            Some(_) => Ok(firsts.into_iter().min()),
        }
    }

    fn by_id(&self, stream: &str, id: &str) -> Option<(u64, u64)> {
        let all = self.events.len() as u64;
        self.of(stream, all)
            .find(|(_, stored)| stored.event.id == id)
            .map(|(at, stored)| (at, stored.revision))
    }

    pub(crate) fn find(
        &self,
        query: &Query,
        range: Range<u64>,
        durable: u64,
        limit: usize,
        direction: Direction,
    ) -> Vec<u64> {
        let end = range.end.min(durable);
        let matching = (range.start..end.max(range.start)).filter(|at| self.matches(*at, query));
        match direction {
            Direction::Forward => matching.take(limit).collect(),
            Direction::Backward => matching.rev().take(limit).collect(),
        }
    }

    fn matches(&self, at: u64, query: &Query) -> bool {
        let event = &self.events[at as usize].event;
        query.items.iter().any(|item| {
            let is_type = item.types.is_empty() || item.types.iter().any(|kind| **kind == *event.kind);
            is_type && item.tags.iter().all(|tag| event.tags.iter().any(|has| **has == **tag))
        })
    }

    pub(crate) fn stream(
        &self,
        stream: &str,
        revisions: &Range<u64>,
        durable: u64,
        limit: usize,
        direction: Direction,
    ) -> Vec<(u64, u64)> {
        let all = self.of(stream, durable).map(|(at, event)| (event.revision, at));
        let wanted = all.filter(|(revision, _)| revisions.contains(revision));
        match direction {
            Direction::Forward => wanted.take(limit).collect(),
            Direction::Backward => wanted.rev().take(limit).collect(),
        }
    }

    pub(crate) fn revision_at(&self, stream: &str, position: u64, durable: u64) -> u64 {
        let next = self.of(stream, durable).last().map_or(0, |(_, event)| event.revision + 1);
        let mut events = self.of(stream, durable);
        events.find(|(at, _)| *at >= position).map_or(next, |(_, event)| event.revision)
    }
}
