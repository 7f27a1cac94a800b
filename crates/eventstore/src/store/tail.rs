//! The end of the log in memory: what is in flight, and what is durable but not in the index yet.
//!
//! Invariant: every event from `start` on is here, by its position, its stream and all of its terms. The events below
//! `start` are in the index.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::metadata::Effect;
use crate::query::{PreparedItem, PreparedQuery};
use crate::term::KeyMap;
use crate::{TermKey, TimestampMs};

/// An event, by what it is found by.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TailEvent {
    pub(crate) stream: TermKey,
    pub(crate) revision: u64,
    pub(crate) recorded_ms: TimestampMs,
    /// Category, type and tags.
    pub(crate) terms: Box<[TermKey]>,
    pub(crate) name: Arc<str>,
    pub(crate) type_name: Arc<str>,
    pub(crate) effect: Option<Effect>,
}

/// The events from `start` on.
#[derive(Default)]
pub(crate) struct Tail {
    start: u64,
    /// `None` where an event was scavenged.
    events: VecDeque<Option<Arc<TailEvent>>>,
    /// The positions of each stream and term, rising.
    postings: KeyMap<VecDeque<u64>>,
}

impl Tail {
    pub(crate) fn starting_at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.events.len() as u64
    }

    pub(crate) fn push(&mut self, event: TailEvent) {
        let position = self.end();
        for &key in event.terms.iter().chain([&event.stream]) {
            let positions = self.postings.entry(key).or_default();
            // A tag that an event has twice.
            if positions.back() != Some(&position) {
                positions.push_back(position);
            }
        }
        self.events.push_back(Some(Arc::new(event)));
    }

    /// Moves the end on to `position`: what is between was scavenged.
    pub(crate) fn skip_to(&mut self, position: u64) {
        if self.events.is_empty() {
            self.start = self.start.max(position);
        }
        while self.end() < position {
            self.events.push_back(None);
        }
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Arc<TailEvent>> {
        self.events.get(usize::try_from(position.checked_sub(self.start)?).ok()?)?.as_ref()
    }

    /// Forgets everything below `position`.
    pub(crate) fn cut(&mut self, position: u64) {
        while self.start < position {
            let Some(event) = self.events.pop_front() else { break };
            let keys = event.iter().flat_map(|event| event.terms.iter().chain([&event.stream]));
            for key in keys {
                if let Some(positions) = self.postings.get_mut(key) {
                    while positions.front().is_some_and(|first| *first <= self.start) {
                        positions.pop_front();
                    }
                    if positions.is_empty() {
                        self.postings.remove(key);
                    }
                }
            }
            self.start += 1;
        }
    }

    /// The events of `positions`, in order.
    pub(crate) fn slice(&self, positions: Range<u64>) -> impl Iterator<Item = (u64, &Arc<TailEvent>)> {
        positions.filter_map(|position| Some((position, self.get(position)?)))
    }

    /// Positions within `range` that the query finds: the first `limit` of them, or the last ones if `backward`.
    pub(crate) fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        backward: bool,
    ) -> Vec<u64> {
        let mut found = BTreeSet::new();
        for item in &query.items {
            // Of each item the nearest are enough.
            let take = |positions: &mut dyn Iterator<Item = u64>| {
                let matching = positions.filter(|&position| self.is_match(item, position));
                matching.take(limit).collect::<Vec<_>>()
            };
            for list in self.candidates(item) {
                let within = within(list, range);
                found.extend(if backward { take(&mut within.rev()) } else { take(&mut within.into_iter()) });
            }
        }
        let found: Vec<u64> = found.into_iter().collect();
        let excess = found.len().saturating_sub(limit);
        if backward { found[excess..].to_vec() } else { found[..found.len() - excess].to_vec() }
    }

    /// The first position from `from` on that the query finds, in flight or not.
    pub(crate) fn first(&self, query: &PreparedQuery, from: u64) -> Option<u64> {
        self.find(query, &(from..self.end()), 1, false).first().copied()
    }

    /// Positions of a stream or term within `range`.
    pub(crate) fn positions(&self, key: TermKey, range: &Range<u64>) -> impl DoubleEndedIterator<Item = u64> {
        self.postings.get(&key).into_iter().flat_map(move |list| within(list, range))
    }

    fn is_match(&self, item: &PreparedItem, position: u64) -> bool {
        self.get(position).is_some_and(|event| item.matches(&event.terms))
    }

    /// Lists that together hold every event of the item: the shortest of a tag, or those of all types.
    fn candidates(&self, item: &PreparedItem) -> Vec<&VecDeque<u64>> {
        let lists = |keys: &[TermKey]| keys.iter().map(|key| self.postings.get(key)).collect::<Vec<_>>();
        let tags = lists(&item.tags);
        if tags.is_empty() {
            return lists(&item.types).into_iter().flatten().collect();
        }
        // A tag that no event has: nothing is found.
        let all: Option<Vec<_>> = tags.into_iter().collect();
        all.and_then(|lists| lists.into_iter().min_by_key(|list| list.len())).into_iter().collect()
    }
}

fn within<'a>(list: &'a VecDeque<u64>, range: &Range<u64>) -> impl DoubleEndedIterator<Item = u64> + use<'a> {
    let from = list.partition_point(|position| *position < range.start);
    let to = list.partition_point(|position| *position < range.end).max(from);
    list.range(from..to).copied()
}
