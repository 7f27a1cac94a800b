//! The state of one store: decides appends against everything decided before, and applies what became durable.
//!
//! Problem: a durable append takes a disk a few hundred microseconds to milliseconds. If each waited for the one before
//! it, a stream could take a few hundred in a second. So a decision counts at once for the decisions behind it, while
//! readers see only what was applied.
//!
//! Invariants:
//! - Positions are dense, in the order of decisions; so are the revisions of each stream.
//! - [`Store::apply_to`] is the only thing that changes the streams; decisions in flight lie beside them.
//! - A decision is never taken back: if the journal fails, it has stopped for good.
//! - An append whose events are all known already, in the same streams and one behind the other, is a repetition: it gets
//!   the answer of the first time. The ids of the latest [`Options::ids_remembered`] events are known.
//!
//! What is below [`Store::indexed`] is only in the index; whoever asks about it asks there ([`Refused::Unverified`]).

mod flush;
mod heads;
mod ids;
mod tail;

use std::ops::Range;
use std::sync::Arc;

pub use flush::Flush;
pub(crate) use flush::StreamImage;
pub(crate) use heads::{Head, Heads, Keeping};
pub(crate) use tail::TailEvent;

use crate::append::{Prepared, PreparedWrite, first_behind};
use crate::metadata::{Effect, METADATA_TYPE, StreamMetadata, TOMBSTONE_TYPE, Visible};
use crate::name::described_by;
use crate::query::PreparedQuery;
use crate::record::RecordedEvent;
use crate::term::KeyMap;
use crate::{Expected, Position, Revision, StreamName, StreamState, TermKey, Terms, TimestampMs};
use ids::{Ids, Known};
use tail::Tail;

/// The choices of a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// So many of the latest events are known by their ids. Each takes some 60 bytes. An append that is made again later is only
    /// known if what it expects tells where to look.
    pub ids_remembered: usize,
}

impl Default for Options {
    /// 65,536 ids, some 4 MiB.
    fn default() -> Self {
        Self { ids_remembered: 1 << 16 }
    }
}

/// Where the events of an append are, or will be once they are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Position of the first event.
    pub first: Position,
    /// The position behind the last: the decision is durable when the store has applied everything below.
    pub end: Position,
    /// Revision of each stream's first event, in the order of the append.
    pub first_revisions: Vec<u64>,
    /// When the store records them.
    pub recorded_ms: TimestampMs,
    /// The events were appended before: there is nothing to write.
    pub repeated: bool,
}

/// Why an append was not decided. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A stream is not as it was expected.
    #[error("stream {stream} was expected to be at {expected}, but {actual}")]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// What was expected.
        expected: Expected,
        /// What it is like, counting what is in flight.
        actual: StreamState,
    },
    /// An event that a condition looks for was appended.
    #[error("condition {index} does not hold: an event that it looks for is at position {position}")]
    ConditionFailed {
        /// Which condition, from zero.
        index: usize,
        /// Where the event is.
        position: Position,
    },
    /// Some events of the append are in the store, and some are not.
    #[error(
        "event {index} of stream {stream} has the id of an event that was appended before, at revision {revision}"
    )]
    IdTaken {
        /// The stream.
        stream: StreamName,
        /// Which event of it, from zero.
        index: usize,
        /// The revision of the event that has the id.
        revision: Revision,
    },
    /// A condition is about events that are only in the index. Look there, up to this position, and decide again with what
    /// was found out.
    #[error("the events below position {below} are not in memory")]
    Unverified {
        /// The first position that is in memory.
        below: Position,
    },
}

/// The state of one store; see the [module](self).
///
/// ```
/// use annals_clock::Clock;
/// use annals_event::Event;
/// use annals_eventstore::append::{Append, NewEvent, StreamWrite};
/// use annals_eventstore::store::{Options, Store};
/// use annals_eventstore::{Expected, Position, Revision, StreamName, StreamState, Terms};
///
/// let (clock, terms) = (Clock::system(), Terms::new([7; 16]));
/// let mut store = Store::new(terms, Options::default());
/// let event = Event::builder("/bank", "AccountOpened").build(&clock)?;
/// let event = NewEvent { event, tags: vec!["customer:5".into()], sealed: None };
/// let stream = StreamName::new("account-17")?;
/// let write = StreamWrite { stream, expected: Expected::NoStream, events: vec![event] };
/// let append = Append { writes: vec![write], ..Append::default() }.prepare(&terms)?;
///
/// let decision = store.decide(&append, Position(0), clock.now_ms())?;
/// let records = append.finish(&decision.first_revisions);
/// // ... a batch of these records becomes durable ...
/// assert_eq!(store.stream("account-17"), StreamState::Missing);
/// store.apply_to(decision.end);
/// assert_eq!(store.stream("account-17"), StreamState::At(Revision(0)));
/// # assert!(!records.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    terms: Terms,
    heads: Heads,
    /// Streams that decisions in flight change: as they will be, and the position behind the last change.
    pending: KeyMap<(Head, u64)>,
    tail: Tail,
    ids: Ids,
    applied: u64,
    recorded_ms: TimestampMs,
}

impl Store {
    /// A store that has nothing yet.
    pub fn new(terms: Terms, options: Options) -> Self {
        Self {
            terms,
            heads: Heads::default(),
            pending: KeyMap::default(),
            tail: Tail::default(),
            ids: Ids::new(options.ids_remembered),
            applied: 0,
            recorded_ms: 0,
        }
    }

    /// What makes the keys of this store.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The position behind the last durable event: readers read below it.
    pub fn applied(&self) -> Position {
        Position(self.applied)
    }

    /// The position that the next event gets.
    pub fn next(&self) -> Position {
        Position(self.tail.end())
    }

    /// The index holds everything below.
    pub fn indexed(&self) -> Position {
        Position(self.tail.start())
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.heads.len()
    }

    /// Decides an append. `verified` tells that its conditions hold below that position.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn decide(
        &mut self,
        append: &Prepared,
        verified: Position,
        now_ms: TimestampMs,
    ) -> Result<Decision, Refused> {
        if let Some(decision) = self.repetition(append)? {
            return Ok(decision);
        }
        for write in &append.writes {
            self.expect(&write.stream, write.key, write.expected)?;
        }
        for (stream, key, expected) in &append.guards {
            self.expect(stream, *key, *expected)?;
        }
        self.check_conditions(append, verified)?;
        self.recorded_ms = self.recorded_ms.max(now_ms);
        let first = self.tail.end();
        let first_revisions = append.writes.iter().map(|write| self.push(write)).collect();
        let (first, end) = (Position(first), self.next());
        Ok(Decision { first, end, first_revisions, recorded_ms: self.recorded_ms, repeated: false })
    }

    /// The answer of the first time, if every event of the append is known.
    fn repetition(&self, append: &Prepared) -> Result<Option<Decision>, Refused> {
        let mut first_revisions = Vec::new();
        let mut range: Option<Range<u64>> = None;
        for write in &append.writes {
            let Some(revision) = self.known(write)? else { continue };
            first_revisions.push(revision.revision);
            let end = revision.position + write.events.len() as u64;
            let start = range.map_or(revision.position, |range| range.start.min(revision.position));
            range = Some(start..end);
        }
        let Some(range) = range else { return Ok(None) };
        if first_revisions.len() < append.writes.len() {
            return Err(self.id_taken(append));
        }
        let (first, end) = (Position(range.start), Position(range.end));
        let recorded_ms = self.recorded_ms;
        Ok(Some(Decision { first, end, first_revisions, recorded_ms, repeated: true }))
    }

    /// Where the first event of a write is, if all of them are known and follow each other; `None` if none is known.
    fn known(&self, write: &PreparedWrite) -> Result<Option<Known>, Refused> {
        let mut known = write.events.iter().map(|event| self.ids.get(event.id));
        let first = known.next().flatten();
        let goes_on = |(n, known): (usize, Option<Known>)| match (first, known) {
            (None, None) => true,
            (Some(first), Some(known)) => known.revision == first.revision + n as u64 + 1,
            _ => false,
        };
        if known.enumerate().all(goes_on) { Ok(first) } else { Err(self.id_taken_in(write)) }
    }

    fn id_taken(&self, append: &Prepared) -> Refused {
        let known =
            |write: &&PreparedWrite| write.events.iter().any(|event| self.ids.get(event.id).is_some());
        let write = append.writes.iter().find(known).unwrap_or(&append.writes[0]);
        self.id_taken_in(write)
    }

    fn id_taken_in(&self, write: &PreparedWrite) -> Refused {
        let known = |(index, known): (usize, Option<Known>)| Some((index, known?));
        let mut ids = write.events.iter().map(|event| self.ids.get(event.id)).enumerate();
        let (index, known) = ids.find_map(known).unwrap_or((0, Known { position: 0, revision: 0 }));
        Refused::IdTaken { stream: write.stream.clone(), index, revision: Revision(known.revision) }
    }

    fn expect(&self, stream: &StreamName, key: TermKey, expected: Expected) -> Result<(), Refused> {
        let actual = self.decided(key).state();
        if actual.meets(expected) {
            return Ok(());
        }
        Err(Refused::Conflict { stream: stream.clone(), expected, actual })
    }

    fn check_conditions(&self, append: &Prepared, verified: Position) -> Result<(), Refused> {
        for (index, (query, after)) in append.conditions.iter().enumerate() {
            let from = first_behind(*after).max(verified).0;
            if from < self.tail.start() {
                return Err(Refused::Unverified { below: self.indexed() });
            }
            if let Some(position) = self.tail.first(query, from) {
                return Err(Refused::ConditionFailed { index, position: Position(position) });
            }
        }
        Ok(())
    }

    /// A stream with everything in flight.
    fn decided(&self, stream: TermKey) -> Head {
        self.pending.get(&stream).map_or_else(|| self.heads.get(stream), |(head, _)| *head)
    }

    /// Gives the events of a stream their places. Returns the revision of the first.
    fn push(&mut self, write: &PreparedWrite) -> u64 {
        let first = self.decided(write.key).next;
        for (event, revision) in write.events.iter().zip(first..) {
            self.ids.insert(event.id, Known { position: self.tail.end(), revision });
            self.push_event(TailEvent {
                stream: write.key,
                revision,
                recorded_ms: self.recorded_ms,
                terms: event.terms.clone(),
                name: Arc::clone(write.stream.shared()),
                type_name: Arc::clone(&event.type_name),
                effect: event.effect.clone(),
            });
        }
        first
    }

    fn push_event(&mut self, event: TailEvent) {
        let behind = self.tail.end() + 1;
        let is_tombstone = matches!(event.effect, Some(Effect::Tombstone));
        self.pending.insert(event.stream, (Head::behind(event.revision, is_tombstone), behind));
        if let Some(Effect::Metadata { of, metadata }) = &event.effect {
            self.pending.insert(*of, (self.decided(*of).described(metadata), behind));
        }
        self.tail.push(event);
    }

    /// Everything below `end` is durable: streams change, and readers may see it. The one path, live and in recovery.
    pub fn apply_to(&mut self, end: Position) {
        for position in self.applied..end.0 {
            let Some(event) = self.tail.get(position).cloned() else { continue };
            self.heads.apply(event.stream, event.revision, event.effect.as_ref());
            self.settle(event.stream, position + 1);
            if let Some(Effect::Metadata { of, .. }) = &event.effect {
                self.settle(*of, position + 1);
            }
        }
        self.applied = self.applied.max(end.0);
    }

    /// Nothing in flight changes a stream beyond this position.
    fn settle(&mut self, stream: TermKey, position: u64) {
        if self.pending.get(&stream).is_some_and(|(_, last)| *last <= position) {
            self.pending.remove(&stream);
        }
    }

    /// In recovery: takes an event from the log and applies it. Gaps are what was scavenged.
    pub fn recover(&mut self, event: &RecordedEvent) {
        if event.position() < self.next() {
            return;
        }
        self.tail.skip_to(event.position().0);
        self.recorded_ms = self.recorded_ms.max(event.recorded_ms());
        self.remember(event);
        self.push_event(tail_event(event, &self.terms));
        self.apply_to(Position(event.position().0 + 1));
    }

    /// In recovery: the log ends at `end`, though its last events are gone.
    pub fn recover_end(&mut self, end: Position) {
        self.tail.skip_to(end.0);
        self.apply_to(end);
    }

    /// In recovery: an event whose effects are known has this id.
    pub fn remember(&mut self, event: &RecordedEvent) {
        let id = self.terms.id_of(event);
        self.ids.insert(id, Known { position: event.position().0, revision: event.revision().0 });
        self.recorded_ms = self.recorded_ms.max(event.recorded_ms());
    }

    /// Forgets all ids, as so many more events would make it forget them. For tests.
    #[doc(hidden)]
    pub fn forget_ids(&mut self) {
        self.ids.clear();
    }

    /// Where a stream stands, for readers: without what is in flight.
    pub fn stream(&self, name: &str) -> StreamState {
        self.heads.get(self.terms.stream(name)).state()
    }

    /// The metadata of a stream, if it ever got any. It truncates nothing beyond the end of the stream.
    pub fn metadata(&self, name: &str) -> Option<Arc<StreamMetadata>> {
        let key = self.terms.stream(name);
        self.heads.keeping(key).map(|keeping| keeping.metadata(self.heads.get(key).next))
    }

    /// The first revision of a stream that was never truncated.
    pub fn truncated_before(&self, name: &str) -> Revision {
        let key = self.terms.stream(name);
        Revision(self.heads.keeping(key).map_or(0, |keeping| keeping.first(self.heads.get(key).next)))
    }

    /// What is shown of a stream.
    pub fn visible(&self, name: &str, now_ms: TimestampMs) -> Visible {
        self.visible_of(self.terms.stream(name), now_ms)
    }

    pub(crate) fn visible_of(&self, stream: TermKey, now_ms: TimestampMs) -> Visible {
        let head = self.heads.get(stream);
        let end = self.applied();
        let next = Revision(head.next);
        let Some(keeping) = self.heads.keeping(stream) else {
            return Visible { first: Revision(self.first_kept(head)), next, recorded_from_ms: None, end };
        };
        let metadata = keeping.limits();
        let by_count = metadata.max_count.map_or(0, |count| head.next.saturating_sub(count));
        let age_ms = metadata.max_age_seconds.map(|seconds| seconds.saturating_mul(1000));
        let recorded_from_ms = age_ms.map(|age| now_ms.saturating_sub_unsigned(age));
        let first = Revision(keeping.first(head.next).max(by_count).max(self.first_kept(head)));
        Visible { first, next, recorded_from_ms, end }
    }

    /// Of a stream that is deleted for good, the tombstone alone.
    fn first_kept(&self, head: Head) -> u64 {
        if head.state() == StreamState::Tombstoned { head.next.saturating_sub(1) } else { 0 }
    }

    /// Whether an event is not shown to readers any more.
    pub fn hides(&self, event: &RecordedEvent, now_ms: TimestampMs) -> bool {
        if self.heads.shows_all() {
            return false;
        }
        let key = self.terms.stream(event.stream());
        !self.visible_of(key, now_ms).shows(event.revision(), event.recorded_ms())
    }

    pub(crate) fn head(&self, stream: TermKey) -> Head {
        self.heads.get(stream)
    }

    /// Durable positions from [`Store::indexed`] on, within `range`, that the query finds: the nearest `limit` of them, in
    /// rising order.
    pub fn find(&self, query: &PreparedQuery, range: &Range<u64>, limit: usize, backward: bool) -> Vec<u64> {
        let range = range.start..range.end.min(self.applied);
        self.tail.find(query, &range, limit, backward)
    }

    /// The durable events of a stream from [`Store::indexed`] on: revision and position, rising.
    pub fn stream_tail(&self, name: &str) -> Vec<(u64, u64)> {
        let range = self.tail.start()..self.applied;
        let positions = self.tail.positions(self.terms.stream(name), &range);
        positions.filter_map(|position| Some((self.tail.get(position)?.revision, position))).collect()
    }

    /// Where the event with this id is, if it is one of the latest.
    pub fn find_id(&self, stream: &str, id: &str) -> Option<(Position, Revision)> {
        let known = self.ids.get(self.terms.id(self.terms.stream(stream), id))?;
        Some((Position(known.position), Revision(known.revision)))
    }
}

/// What an event of the log is found by.
fn tail_event(event: &RecordedEvent, terms: &Terms) -> TailEvent {
    let (stream, type_name) = (event.stream(), event.type_name());
    TailEvent {
        stream: terms.stream(stream),
        revision: event.revision().0,
        recorded_ms: event.recorded_ms(),
        terms: terms_of(event, terms),
        name: stream.into(),
        type_name: type_name.into(),
        effect: effect(event, type_name, terms),
    }
}

/// Category, type and tags of an event.
pub(crate) fn terms_of(event: &RecordedEvent, terms: &Terms) -> Box<[TermKey]> {
    let category = crate::category_of(event.stream()).map(|category| terms.category(category));
    let tags = event.tags().map(|tag| terms.tag(tag));
    category.into_iter().chain([terms.type_name(event.type_name())]).chain(tags).collect()
}

/// What an event does to streams, apart from being one of its own stream.
pub(crate) fn effect(event: &RecordedEvent, type_name: &str, terms: &Terms) -> Option<Effect> {
    match type_name {
        TOMBSTONE_TYPE => Some(Effect::Tombstone),
        METADATA_TYPE => {
            let of = terms.stream(described_by(event.stream())?);
            // What cannot be read was written by a newer program, or is damaged: the stream keeps everything.
            let json = event.stored_data().unwrap_or_default();
            let metadata = Arc::new(StreamMetadata::from_json(&json).unwrap_or_default());
            Some(Effect::Metadata { of, metadata })
        }
        _ => None,
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("next", &self.tail.end())
            .field("applied", &self.applied)
            .field("indexed", &self.tail.start())
            .field("streams", &self.heads.len())
            .finish_non_exhaustive()
    }
}
