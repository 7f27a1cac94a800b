//! Asking a store where its events are: its index, or its log while there is none.
//!
//! The index may be given up, or exchanged for another, while it is asked; then what it says may lack what came in since. So an
//! answer counts only if the index is still the one of the store afterwards.

use std::ops::Range;

use annals_eventstore::index::{Direction, Index, Names, TableError};
use annals_eventstore::lookup::Lookup;
use annals_eventstore::query::PreparedQuery;
use annals_eventstore::{Position, Revision};

use super::StoreEntry;
use super::read::Failed;
use super::scan::Scan;
use crate::Inner;

/// A store that is asked. All of it may block on the disk.
pub(super) struct Finder<'a> {
    inner: &'a Inner,
    store: &'a StoreEntry,
}

impl Inner {
    pub(super) fn finder<'a>(&'a self, store: &'a StoreEntry) -> Finder<'a> {
        Finder { inner: self, store }
    }
}

impl Finder<'_> {
    /// As [`Lookup::find`].
    pub(super) fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, Failed> {
        let state = &self.store.state;
        self.ask(
            |index| Lookup::new(state, index).find(query, range.clone(), limit, direction),
            |scan| Lookup::new(state, scan).find(query, range.clone(), limit, direction),
        )
    }

    /// As [`Lookup::stream`].
    pub(super) fn stream(
        &self,
        name: &str,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, Failed> {
        let state = &self.store.state;
        self.ask(
            |index| Lookup::new(state, index).stream(name, revisions, limit, direction),
            |scan| Lookup::new(state, scan).stream(name, revisions, limit, direction),
        )
    }

    /// As [`Lookup::revision_at`].
    pub(super) fn revision_at(&self, name: &str, position: Position) -> Result<Revision, Failed> {
        let state = &self.store.state;
        self.ask(
            |index| Lookup::new(state, index).revision_at(name, position),
            |scan| Lookup::new(state, scan).revision_at(name, position),
        )
    }

    /// As [`Index::names`].
    pub(super) fn names(
        &self,
        names: Names,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Failed> {
        self.ask(
            |index| index.names(names, prefix, after, limit),
            |scan| scan.names(names, prefix, after, limit),
        )
    }

    fn ask<T>(
        &self,
        ask: impl Fn(&Index) -> Result<T, TableError>,
        scan: impl Fn(&Scan<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        loop {
            let Some(index) = self.store.index() else {
                return scan(&Scan::new(&self.inner.journal, self.store));
            };
            let answer = ask(&index);
            if !self.store.index().is_some_and(|now| now.is_same(&index)) {
                continue;
            }
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.store.set_broken(&error);
                    self.inner.state.stores.flush_wanted.notify_one();
                }
            }
        }
    }
}
