//! What a store without an index is asked: the log is read through instead. The answers are the same, they only take longer.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use annals_eventstore::index::{Direction, Names};
use annals_eventstore::lookup::Below;
use annals_eventstore::query::PreparedQuery;
use annals_eventstore::record::RecordedEvent;
use annals_eventstore::{Position, TermKey, Terms};
use annals_journal::Journal;

use super::StoreEntry;
use super::read::{Failed, LogReader, READ_BYTES};

/// Positions that a way back reads at once.
const BACK: u64 = 4096;

/// The log of a store in the place of its index.
pub(super) struct Scan<'a> {
    journal: &'a Journal,
    store: &'a StoreEntry,
    terms: Terms,
}

impl<'a> Scan<'a> {
    pub(super) fn new(journal: &'a Journal, store: &'a StoreEntry) -> Self {
        Self { journal, store, terms: store.terms }
    }

    fn reader(&self) -> LogReader<'a> {
        LogReader::new(self.journal, self.store.log).around_damage()
    }

    /// Shows the events of a range in this order, until `visit` has enough.
    fn each(
        &self,
        range: &Range<u64>,
        direction: Direction,
        mut visit: impl FnMut(&RecordedEvent) -> ControlFlow<()>,
    ) -> Result<(), Failed> {
        let reader = self.reader();
        let range = range.start.max(reader.start())..range.end.min(self.store.lock().applied().0);
        match direction {
            Direction::Forward => walk(&reader, range, &mut visit).map(|_| ()),
            Direction::Backward => {
                let mut end = range.end;
                while end > range.start {
                    let from = range.start.max(end.saturating_sub(BACK));
                    let mut events = Vec::new();
                    walk(&reader, from..end, &mut |event| {
                        events.push(event.clone());
                        ControlFlow::Continue(())
                    })?;
                    if events.iter().rev().try_for_each(&mut visit).is_break() {
                        return Ok(());
                    }
                    end = from;
                }
                Ok(())
            }
        }
    }

    /// Names as [`annals_eventstore::index::Index::names`] lists them.
    pub(super) fn names(
        &self,
        names: Names,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Failed> {
        let mut found = BTreeSet::new();
        self.each(&(0..u64::MAX), Direction::Forward, |event| {
            let name = match names {
                Names::Streams => Some(event.stream()),
                Names::Categories => annals_eventstore::category_of(event.stream()),
                Names::Types => Some(event.type_name()),
            };
            let is_wanted = |name: &&str| name.starts_with(prefix) && after.is_none_or(|after| *name > after);
            if let Some(name) = name.filter(is_wanted).filter(|name| !found.contains(*name)) {
                found.insert(name.to_owned());
                if found.len() > limit {
                    found.pop_last();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.into_iter().collect())
    }
}

fn walk(
    reader: &LogReader<'_>,
    range: Range<u64>,
    visit: &mut impl FnMut(&RecordedEvent) -> ControlFlow<()>,
) -> Result<(), Failed> {
    let mut next = range.start;
    while next < range.end {
        let stretch = reader.read(next, range.end, READ_BYTES)?;
        if stretch.events.iter().try_for_each(&mut *visit).is_break() {
            return Ok(());
        }
        next = stretch.next;
    }
    Ok(())
}

/// Goes on until there are enough.
fn until(is_enough: bool) -> ControlFlow<()> {
    if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Below for Scan<'_> {
    type Error = Failed;

    fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, Failed> {
        let mut found = Vec::new();
        self.each(range, direction, |event| {
            if query.finds(event, &self.terms) {
                found.push(event.position().0);
            }
            until(found.len() >= limit)
        })?;
        Ok(found)
    }

    fn stream(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, Failed> {
        let mut found = Vec::new();
        if revisions.is_empty() {
            return Ok(found);
        }
        let last = match direction {
            Direction::Forward => revisions.end - 1,
            Direction::Backward => revisions.start,
        };
        self.each(&(0..u64::MAX), direction, |event| {
            if self.terms.stream(event.stream()) != stream {
                return ControlFlow::Continue(());
            }
            let revision = event.revision().0;
            let is_beyond = if direction == Direction::Forward { revision > last } else { revision < last };
            if revisions.contains(&revision) {
                found.push((revision, event.position().0));
            }
            until(found.len() >= limit || revision == last || is_beyond)
        })?;
        Ok(found)
    }

    fn stream_revision_at(
        &self,
        stream: TermKey,
        position: Position,
        revisions: &Range<u64>,
    ) -> Result<Option<u64>, Failed> {
        let mut found = None;
        self.each(&(position.0..u64::MAX), Direction::Forward, |event| {
            let is_of_stream = self.terms.stream(event.stream()) == stream;
            found = Some(event.revision().0).filter(|_| is_of_stream);
            until(found.is_some())
        })?;
        Ok(found.filter(|revision| revisions.contains(revision)))
    }
}
