//! A store in memory: for tests and for trying things out. It keeps every promise but durability.
//!
//! Invariant: `events[i]` has position `i`, and `streams[s][r]` is where the event of stream `s` at revision `r` is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Append, AppendError, Appended, Direction, PAGE_EVENTS_MAX, Page, Position, Read, ReadError, Recorded,
    Revision, ShredError, Source, Store, StreamName, StreamWrite,
};
use crate::{Clock, TimestampMs};

/// A [`Store`] in memory.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    state: Mutex<State>,
    head: watch::Sender<Option<Position>>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Recorded>,
    streams: HashMap<StreamName, Vec<usize>>,
    /// Where the events are that can be shredded, by subject.
    subjects: HashMap<String, Vec<usize>>,
    /// Where the event of an id is, by stream.
    ids: HashMap<StreamName, HashMap<String, usize>>,
    last_ms: TimestampMs,
}

impl MemoryStore {
    /// An empty store that takes the time of its events from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), head: watch::Sender::new(None) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append.check()?;
        let mut state = self.state();
        if let Some(earlier) = state.earlier(&append)? {
            return Ok(earlier);
        }
        state.check(&append)?;
        let appended = state.append(append, self.clock.now_ms());
        // Told while the lock is held, so that the head never goes back.
        self.head.send_replace(Some(appended.position));
        Ok(appended)
    }

    async fn read(&self, read: Read) -> Result<Page, ReadError> {
        if read.limit == 0 {
            return Err(ReadError::Invalid { reason: "a page has at least one event".to_owned() });
        }
        let state = self.state();
        Ok(match &read.source {
            Source::Stream(stream) => match state.streams.get(stream) {
                Some(places) => {
                    let page = page(&state.events, places.len(), |index| places[index], &read);
                    Page { last_revision: state.last_revision(stream), ..page }
                }
                None => Page::default(),
            },
            Source::All | Source::Category(_) | Source::Prefix(_) => {
                page(&state.events, state.events.len(), |index| index, &read)
            }
        })
    }

    async fn head(&self) -> Result<Option<Position>, ReadError> {
        Ok(*self.head.borrow())
    }

    async fn beyond(&self, position: Option<Position>) -> Result<(), ReadError> {
        let mut head = self.head.subscribe();
        let waited = head.wait_for(|head| *head > position).await;
        waited.map(drop).map_err(|_| ReadError::Unavailable { reason: "the store is closed".to_owned() })
    }

    async fn shred(&self, subject: &str) -> Result<bool, ShredError> {
        let mut state = self.state();
        let places = state.subjects.remove(subject);
        for place in places.iter().flatten() {
            let event = &mut state.events[*place];
            (event.data, event.shredded) = (Bytes::new(), true);
        }
        Ok(places.is_some())
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamName>, ReadError> {
        let source = Source::Prefix(prefix.to_owned());
        let state = self.state();
        let wanted = |name: &&StreamName| source.includes(name) && after.is_none_or(|after| *name > after);
        let mut names: Vec<StreamName> = state.streams.keys().filter(wanted).cloned().collect();
        names.sort_unstable();
        names.truncate(limit);
        Ok(names)
    }
}

impl State {
    fn last_revision(&self, stream: &StreamName) -> Option<Revision> {
        let count = self.streams.get(stream)?.len() as u64;
        count.checked_sub(1).map(Revision)
    }

    fn known(&self, stream: &StreamName, id: &str) -> Option<&Recorded> {
        Some(&self.events[*self.ids.get(stream)?.get(id)?])
    }

    /// What an earlier append of the same events returned.
    fn earlier(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let (mut revisions, mut position, mut reused, mut new) = (Vec::new(), Position(0), None, false);
        for StreamWrite { stream, events, .. } in &append.writes {
            let mut last = None;
            for event in events {
                match self.known(stream, &event.id) {
                    None => new = true,
                    Some(stored) => {
                        reused = reused.or(Some(&stored.id));
                        (last, position) = (Some(stored.revision), position.max(stored.position));
                    }
                }
            }
            revisions.extend(last.map(|revision| (stream.clone(), revision)));
        }
        match reused {
            None => Ok(None),
            Some(id) if new => Err(AppendError::IdReused { id: id.clone() }),
            Some(_) => Ok(Some(Appended { revisions, position, duplicate: true })),
        }
    }

    fn check(&self, append: &Append) -> Result<(), AppendError> {
        for StreamWrite { stream, expected, .. } in &append.writes {
            let actual = self.last_revision(stream);
            if !expected.is_met_by(actual) {
                return Err(AppendError::Conflict {
                    stream: stream.to_string(),
                    expected: *expected,
                    actual,
                });
            }
        }
        for condition in &append.conditions {
            let from = condition.after.map_or(0, |after| after.0 as usize + 1);
            let matches = |event: &&Recorded| {
                !event.stream.is_system() && condition.query.matches(&event.name, &event.tags)
            };
            if let Some(event) = self.events.iter().skip(from).find(matches) {
                return Err(AppendError::Condition { position: event.position });
            }
        }
        Ok(())
    }

    fn append(&mut self, append: Append, now_ms: TimestampMs) -> Appended {
        self.last_ms = self.last_ms.max(now_ms);
        let mut revisions = Vec::new();
        for StreamWrite { stream, events, .. } in append.writes {
            for event in events {
                self.push(&stream, event);
            }
            revisions.extend(self.last_revision(&stream).map(|revision| (stream, revision)));
        }
        Appended { revisions, position: Position(self.events.len() as u64 - 1), duplicate: false }
    }

    fn push(&mut self, stream: &StreamName, event: super::NewEvent) {
        let index = self.events.len();
        let encrypted = event.encrypt_for.is_some();
        if let Some(subject) = event.encrypt_for {
            self.subjects.entry(subject).or_default().push(index);
        }
        let places = self.streams.entry(stream.clone()).or_default();
        let recorded = Recorded {
            id: event.id,
            name: event.name,
            version: event.version,
            stream: stream.clone(),
            revision: Revision(places.len() as u64),
            position: Position(index as u64),
            recorded_ms: self.last_ms,
            data: event.data,
            tags: event.tags,
            metadata: event.metadata,
            encrypted,
            shredded: false,
        };
        places.push(index);
        self.ids.entry(stream.clone()).or_default().insert(recorded.id.clone(), index);
        self.events.push(recorded);
    }
}

/// Reads a page from `len` places, the `n`th of which is that of the event `place(n)`.
fn page(events: &[Recorded], len: usize, place: impl Fn(usize) -> usize, read: &Read) -> Page {
    let limit = read.limit.min(PAGE_EVENTS_MAX);
    let wanted = |event: &Recorded| {
        read.source.includes(&event.stream)
            && read.includes_time(event.recorded_ms)
            && read.query.matches(&event.name, &event.tags)
    };
    let forward = read.direction == Direction::Forward;
    let mut page = Page::default();
    let mut next = match read.from {
        Some(from) => usize::try_from(from).unwrap_or(usize::MAX),
        None if forward => 0,
        None => len.saturating_sub(1),
    };
    if !forward {
        next = next.min(len.saturating_sub(1));
    }
    while next < len && page.events.len() < limit {
        let event = &events[place(next)];
        if wanted(event) {
            page.events.push(event.clone());
        }
        if forward {
            page.looked_to = Some(event.position);
        }
        // Below zero is beyond every length.
        next = if forward { next + 1 } else { next.wrapping_sub(1) };
    }
    page.next = (next < len).then_some(next as u64);
    page
}
