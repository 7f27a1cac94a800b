//! What a selection means, and how far a reader has come.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use annals_eventstore::index::Direction;
use annals_eventstore::query::{PreparedQuery, Query};
use annals_eventstore::record::RecordedEvent;
use annals_eventstore::{Position, Revision, StreamName};

use super::log::{LogReader, READ_BYTES};
use super::{Failed, is_shown};
use crate::Inner;
use crate::api::stores::{Place, ReadEvents, ReadEventsError, Selection};
use crate::eventstore::StoreEntry;
use crate::eventstore::find::Finder;

/// Positions that are looked up at once.
const POSITIONS_AT_ONCE: usize = 1024;

/// How long one read looks for what is rare. It gives what it has then; who wants more goes on behind that.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Positions in which an event is looked for at once while a store has no index: some hundred milliseconds.
const SCANNED_AT_ONCE: u64 = if cfg!(test) { 50 } else { 200_000 };

/// A reader's way through a selection.
#[derive(Clone, Debug)]
pub(in crate::eventstore) struct Cursor {
    source: Source,
    direction: Direction,
    with_system: bool,
    /// What is left: revisions of a stream, positions otherwise.
    range: Range<u64>,
}

/// What was found.
pub(in crate::eventstore) struct Selected {
    pub(in crate::eventstore) events: Vec<RecordedEvent>,
    /// Nothing is left of the range.
    pub(in crate::eventstore) is_end: bool,
}

/// Where the events of a selection come from.
#[derive(Clone, Debug)]
enum Source {
    Stream(StreamName),
    Found(PreparedQuery, Filter),
    Log(Filter),
}

/// What is left out of what a source gives.
#[derive(Clone, Debug)]
enum Filter {
    None,
    StreamPrefix(Arc<str>),
    TypePrefix(Arc<str>),
}

impl Filter {
    fn accepts(&self, event: &RecordedEvent) -> bool {
        match self {
            Self::None => true,
            Self::StreamPrefix(prefix) => event.stream().starts_with(&**prefix),
            Self::TypePrefix(prefix) => event.type_name().starts_with(&**prefix),
        }
    }
}

impl Source {
    fn new(store: &StoreEntry, selection: &Selection) -> Result<Self, ReadEventsError> {
        // Of a selection by one type or tag there is nothing else that can be wrong.
        let prepare = |query: &Query, single: Option<&str>| {
            query.prepare(&store.terms).map_err(|error| ReadEventsError::Invalid {
                field: single.map_or_else(|| format!("query.{}", error.path()), str::to_owned),
                reason: error.to_string(),
            })
        };
        Ok(match selection {
            Selection::All => Self::Log(Filter::None),
            Selection::Stream(name) => Self::Stream(name.clone()),
            Selection::Category(name) => Self::Found(store.category(name), Filter::None),
            Selection::Type(name) => Self::Found(prepare(&Query::of_type(name), Some("type"))?, Filter::None),
            Selection::Tag(tag) => Self::Found(prepare(&Query::tagged(tag), Some("tag"))?, Filter::None),
            Selection::Query(query) => Self::Found(prepare(query, None)?, Filter::None),
            Selection::TypePrefix(prefix) => Self::Log(Filter::TypePrefix(Arc::clone(prefix))),
            Selection::StreamPrefix(prefix) => {
                let filter = Filter::StreamPrefix(Arc::clone(prefix));
                // With a whole category in front, only its streams can be meant.
                match annals_eventstore::category_of(prefix) {
                    Some(category) => Self::Found(store.category(category), filter),
                    None => Self::Log(filter),
                }
            }
        })
    }
}

/// Whether a selection asks for events by name, so that those of Annals' own are given too.
fn names_internal(selection: &Selection) -> bool {
    match selection {
        Selection::Stream(_) | Selection::Type(_) => true,
        Selection::Category(name) | Selection::StreamPrefix(name) | Selection::TypePrefix(name) => {
            annals_eventstore::is_internal(name)
        }
        Selection::All | Selection::Tag(_) | Selection::Query(_) => false,
    }
}

impl Inner {
    /// Where an event of a stream is.
    pub(in crate::eventstore) fn position_of(
        &self,
        store: &StoreEntry,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<Position>, Failed> {
        let revisions = revision.0..revision.0.saturating_add(1);
        let found = self.finder(store).stream(stream.as_str(), &revisions, 1, Direction::Forward)?;
        Ok(found.first().map(|(_, position)| Position(*position)))
    }
}

impl StoreEntry {
    /// A number that tells streams apart.
    pub(in crate::eventstore) fn stream_number(&self, name: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.terms.stream(name).to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn category(&self, name: &str) -> PreparedQuery {
        PreparedQuery::of_category(name, &self.terms)
    }
}

impl Cursor {
    /// Where a request begins and ends. Looks at nothing behind `end`.
    pub(in crate::eventstore) fn start(
        inner: &Inner,
        store: &Arc<StoreEntry>,
        request: &ReadEvents,
        end: Position,
    ) -> Result<Self, Failed> {
        let source = Source::new(store, &request.selection)?;
        let with_system = request.with_system || names_internal(&request.selection);
        let mut cursor = Self { source, direction: request.direction, with_system, range: 0..end.0 };
        if let Source::Stream(name) = &cursor.source {
            let visible = store.lock().visible(name.as_str(), inner.clock.now_ms());
            cursor.range = visible.first.0..visible.next.0;
        }
        let (first, last) = match request.direction {
            Direction::Forward => (request.from, request.until),
            Direction::Backward => (request.until, request.from),
        };
        if let Some(first) = first {
            cursor.range.start = cursor.range.start.max(cursor.number(inner, store, first, false)?);
        }
        if let Some(last) = last {
            cursor.range.end = cursor.range.end.min(cursor.number(inner, store, last, true)?);
        }
        Ok(cursor)
    }

    /// A subscriber's way from `from` on.
    pub(in crate::eventstore) fn from_position(
        store: &StoreEntry,
        selection: &Selection,
        with_system: bool,
        from: u64,
    ) -> Result<Self, ReadEventsError> {
        let (source, with_system) =
            (Source::new(store, selection)?, with_system || names_internal(selection));
        Ok(Self { source, direction: Direction::Forward, with_system, range: from..from })
    }

    /// The number of a place in the range: of the first event there or behind it or, if `after`, of the first event that
    /// comes after the place. Nothing is recorded at a time that is still to come: it is where the store ends.
    pub(in crate::eventstore) fn number(
        &self,
        inner: &Inner,
        store: &Arc<StoreEntry>,
        place: Place,
        after: bool,
    ) -> Result<u64, Failed> {
        let plus = u64::from(after);
        let position = match place {
            Place::Revision(revision) => {
                if let Source::Stream(_) = self.source {
                    return Ok(revision.0.saturating_add(plus));
                }
                let reason = "revisions are only of one stream: name a position or a time".to_owned();
                return Err(ReadEventsError::Invalid { field: "revision".to_owned(), reason }.into());
            }
            Place::Position(position) => position.0.saturating_add(plus),
            Place::Time(time_ms) => {
                let from_ms = if after { time_ms.saturating_add(1) } else { time_ms };
                // What comes while it is looked for is behind the end that was there before.
                let end = store.lock().applied();
                inner.journal.find_timestamp(store.log, from_ms, 0)?.unwrap_or(end.0)
            }
        };
        let Source::Stream(name) = &self.source else { return Ok(position) };
        Ok(inner.finder(store).revision_at(name.as_str(), Position(position))?.0)
    }

    /// Makes the range reach up to `end`: what came in since.
    pub(in crate::eventstore) fn extend(&mut self, store: &StoreEntry, end: Position, now_ms: i64) {
        self.range.end = match &self.source {
            Source::Stream(name) => {
                let visible = store.lock().visible(name.as_str(), now_ms);
                self.range.start = self.range.start.max(visible.first.0.min(visible.next.0));
                visible.next.0
            }
            Source::Found(..) | Source::Log(_) => end.0,
        }
        .max(self.range.start);
    }

    /// Where to go on, as a place to begin at.
    pub(in crate::eventstore) fn place(&self) -> Option<Place> {
        if self.range.is_empty() {
            return None;
        }
        let number = match self.direction {
            Direction::Forward => self.range.start,
            Direction::Backward => self.range.end - 1,
        };
        Some(match self.source {
            Source::Stream(_) => Place::Revision(Revision(number)),
            Source::Found(..) | Source::Log(_) => Place::Position(Position(number)),
        })
    }

    /// Reads on, within a number of events and bytes, and [`LOOK_MAX`]. So it may give nothing although there is more.
    pub(in crate::eventstore) fn read(
        &mut self,
        inner: &Inner,
        store: &Arc<StoreEntry>,
        limits: (usize, usize),
        now_ms: i64,
    ) -> Result<Selected, Failed> {
        let mut batch = Batch { events: Vec::new(), bytes: 0, limits };
        let until = inner.clock.monotonic() + LOOK_MAX;
        let is_late = |cursor: &Self| !cursor.is_of_stream() && inner.clock.monotonic() >= until;
        while !self.range.is_empty() && !batch.is_full() {
            match &self.source {
                Source::Log(filter) => {
                    let filter = filter.clone();
                    self.read_log(inner, store, &filter, &mut batch, now_ms)?;
                }
                Source::Stream(_) | Source::Found(..) => {
                    self.read_places(inner, store, &mut batch, now_ms)?;
                }
            }
            if is_late(self) {
                break;
            }
        }
        Ok(Selected { events: batch.events, is_end: self.range.is_empty() })
    }

    fn is_of_stream(&self) -> bool {
        matches!(self.source, Source::Stream(_))
    }

    fn read_log(
        &mut self,
        inner: &Inner,
        store: &StoreEntry,
        filter: &Filter,
        batch: &mut Batch,
        now_ms: i64,
    ) -> Result<(), Failed> {
        let reader = LogReader::new(&inner.journal, store.log);
        self.range.start = self.range.start.max(reader.start());
        if self.range.is_empty() {
            return Ok(());
        }
        let stretch = match self.direction {
            Direction::Forward => {
                reader.read(self.range.start, self.range.end, batch.bytes_left().min(READ_BYTES))?
            }
            Direction::Backward => read_back(&reader, &self.range, batch.limits.0, batch.bytes_left())?,
        };
        let mut shown = self.shown(store, stretch.events, filter, now_ms);
        match self.direction {
            Direction::Forward => {
                let all_fit = shown.into_iter().all(|event| batch.push(event));
                let last = batch.events.last().map_or(self.range.start, |event| super::behind(event).0);
                self.range.start = if all_fit { stretch.next } else { last };
            }
            Direction::Backward => {
                shown.reverse();
                let all_fit = shown.into_iter().all(|event| batch.push(event));
                let last = batch.events.last().map_or(self.range.end, |event| event.position().0);
                self.range.end = if all_fit { stretch.next } else { last };
            }
        }
        Ok(())
    }

    /// Events that a reader may see and has asked for.
    fn shown(
        &self,
        store: &StoreEntry,
        events: Vec<RecordedEvent>,
        filter: &Filter,
        now_ms: i64,
    ) -> Vec<RecordedEvent> {
        let state = store.lock();
        let shown = |event: &RecordedEvent| {
            is_shown(event, self.with_system) && filter.accepts(event) && !state.hides(event, now_ms)
        };
        events.into_iter().filter(shown).collect()
    }

    /// Reads events by their places.
    fn read_places(
        &mut self,
        inner: &Inner,
        store: &Arc<StoreEntry>,
        batch: &mut Batch,
        now_ms: i64,
    ) -> Result<(), Failed> {
        let limit = batch.left().clamp(1, POSITIONS_AT_ONCE);
        let looked = self.looked_at_once(store);
        let (numbers, positions) = self.places(&inner.finder(store), &looked, limit)?;
        let is_all = numbers.len() < limit;
        let filter = match &self.source {
            Source::Found(_, filter) => filter.clone(),
            Source::Stream(_) | Source::Log(_) => Filter::None,
        };
        let mut picked = Vec::with_capacity(positions.len());
        let mut bytes_left = batch.bytes_left();
        LogReader::new(&inner.journal, store.log).pick(&positions, |event| {
            bytes_left = bytes_left.saturating_sub(event.size_bytes());
            picked.push(event);
            bytes_left > 0
        })?;
        let stopped_at = picked.last().filter(|_| bytes_left == 0).map(|event| self.number_of(event));
        for event in self.shown(store, picked, &filter, now_ms) {
            batch.push_always(event);
        }
        let last = stopped_at.or(numbers.last().copied().filter(|_| !is_all));
        match self.direction {
            Direction::Forward => self.range.start = last.map_or(looked.end, |last| last + 1),
            Direction::Backward => self.range.end = last.unwrap_or(looked.start),
        }
        Ok(())
    }

    /// The number of an event in the range.
    fn number_of(&self, event: &RecordedEvent) -> u64 {
        if self.is_of_stream() { event.revision().0 } else { event.position().0 }
    }

    /// The part of the range in which places are looked for: all of it, unless the log has to be read through for it.
    fn looked_at_once(&self, store: &StoreEntry) -> Range<u64> {
        let Range { start, end } = self.range;
        if self.is_of_stream() || store.index().is_some() {
            return start..end;
        }
        match self.direction {
            Direction::Forward => start..end.min(start.saturating_add(SCANNED_AT_ONCE)),
            Direction::Backward => start.max(end.saturating_sub(SCANNED_AT_ONCE))..end,
        }
    }

    /// The first places of a part of the range: their numbers, and their positions.
    fn places(
        &self,
        finder: &Finder<'_>,
        looked: &Range<u64>,
        limit: usize,
    ) -> Result<(Vec<u64>, Vec<u64>), Failed> {
        match &self.source {
            Source::Stream(name) => {
                let places = finder.stream(name.as_str(), looked, limit, self.direction)?;
                Ok(places.into_iter().unzip())
            }
            Source::Found(query, _) => {
                let positions = finder.find(query, looked, limit, self.direction)?;
                Ok((positions.clone(), positions))
            }
            Source::Log(_) => Ok((Vec::new(), Vec::new())),
        }
    }
}

/// The last events of a range: about `count` positions of it, and not many more than `bytes`. The stretch's `next` is where it
/// begins.
fn read_back(
    reader: &LogReader<'_>,
    range: &Range<u64>,
    count: usize,
    bytes: usize,
) -> Result<super::log::Stretch, annals_journal::ReadError> {
    let mut from = range.start.max(range.end.saturating_sub(count.clamp(64, POSITIONS_AT_ONCE) as u64));
    let (mut events, mut kept): (Vec<RecordedEvent>, usize) = (Vec::new(), 0);
    let mut next = from;
    while next < range.end {
        let stretch = reader.read(next, range.end, READ_BYTES)?;
        kept += stretch.events.iter().map(RecordedEvent::size_bytes).sum::<usize>();
        events.extend(stretch.events);
        next = stretch.next;
        let too_many = |event: &&RecordedEvent| {
            let is_too_much = kept - event.size_bytes() >= bytes;
            kept -= if is_too_much { event.size_bytes() } else { 0 };
            is_too_much
        };
        let count = events.iter().take_while(too_many).count();
        if let Some(event) = events.drain(..count).next_back() {
            from = super::behind(&event).0;
        }
    }
    Ok(super::log::Stretch { events, next: from })
}

/// The events of one answer.
struct Batch {
    events: Vec<RecordedEvent>,
    bytes: usize,
    limits: (usize, usize),
}

impl Batch {
    fn left(&self) -> usize {
        self.limits.0.saturating_sub(self.events.len())
    }

    fn bytes_left(&self) -> usize {
        self.limits.1.saturating_sub(self.bytes).max(1)
    }

    fn is_full(&self) -> bool {
        self.left() == 0 || (self.bytes >= self.limits.1 && !self.events.is_empty())
    }

    /// Takes an event, unless it does not fit.
    fn push(&mut self, event: RecordedEvent) -> bool {
        if self.is_full() {
            return false;
        }
        self.push_always(event);
        true
    }

    fn push_always(&mut self, event: RecordedEvent) {
        self.bytes += event.size_bytes();
        self.events.push(event);
    }
}
