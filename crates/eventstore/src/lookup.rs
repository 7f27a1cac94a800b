//! Asking the index and the end of the log in memory as if they were one.
//!
//! The index is written behind the store's back: what it takes over leaves the memory afterwards. So each question looks at
//! the store first, learns from where on the memory answers, and asks the index for what is below. What moves from one to
//! the other meanwhile is neither missed nor seen twice.
//!
//! Where there is no index, whatever else knows what is [`Below`] takes its place: the log itself, read through.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::index::{Direction, Index, TableError};
use crate::query::PreparedQuery;
use crate::store::Store;
use crate::{Position, Revision, TermKey};

/// What knows the events below [`Store::indexed`].
pub trait Below {
    /// Why it did not answer.
    type Error;

    /// Positions within `range` that the query finds: the nearest `limit` of them, in the order of `direction`.
    ///
    /// # Errors
    /// [`Below::Error`].
    fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, Self::Error>;

    /// Events of a stream with these revisions: revision and position of the nearest `limit`, in the order of `direction`.
    ///
    /// # Errors
    /// [`Below::Error`].
    fn stream(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, Self::Error>;

    /// The revision of the stream's first event at or behind `position`, among those with these revisions.
    ///
    /// # Errors
    /// [`Below::Error`].
    fn stream_revision_at(
        &self,
        stream: TermKey,
        position: Position,
        revisions: &Range<u64>,
    ) -> Result<Option<u64>, Self::Error>;
}

impl Below for Index {
    type Error = TableError;

    fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, TableError> {
        self.find(query, range, limit, direction)
    }

    fn stream(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, TableError> {
        self.stream(stream, revisions, limit, direction)
    }

    fn stream_revision_at(
        &self,
        stream: TermKey,
        position: Position,
        revisions: &Range<u64>,
    ) -> Result<Option<u64>, TableError> {
        self.stream_revision_at(stream, position, revisions)
    }
}

/// A store and its index.
#[derive(Debug)]
pub struct Lookup<'a, B = Index> {
    store: &'a Mutex<Store>,
    index: &'a B,
}

impl<'a, B: Below> Lookup<'a, B> {
    /// Asks these two.
    pub fn new(store: &'a Mutex<Store>, index: &'a B) -> Self {
        Self { store, index }
    }

    fn lock(&self) -> MutexGuard<'a, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Durable positions within `range` that the query finds: the nearest `limit` of them, in the order of `direction`.
    /// Reads from the index may block.
    ///
    /// # Errors
    /// [`Below::Error`].
    pub fn find(
        &self,
        query: &PreparedQuery,
        range: Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, B::Error> {
        match direction {
            Direction::Forward => self.find_forward(query, range, limit),
            Direction::Backward => self.find_backward(query, range, limit),
        }
    }

    fn find_forward(
        &self,
        query: &PreparedQuery,
        mut range: Range<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, B::Error> {
        let mut found = Vec::new();
        while !range.is_empty() && found.len() < limit {
            let indexed = {
                let store = self.lock();
                let indexed = store.indexed().0;
                if range.start >= indexed {
                    found.extend(store.find(query, &range, limit - found.len(), false));
                    return Ok(found);
                }
                indexed.min(range.end)
            };
            let part = range.start..indexed;
            found.extend(self.index.find(query, &part, limit - found.len(), Direction::Forward)?);
            range.start = indexed;
        }
        Ok(found)
    }

    fn find_backward(
        &self,
        query: &PreparedQuery,
        mut range: Range<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, B::Error> {
        let mut found = Vec::new();
        {
            let store = self.lock();
            let indexed = store.indexed().0;
            if range.end > indexed {
                let part = range.start.max(indexed)..range.end;
                found = store.find(query, &part, limit, true);
                found.reverse();
                range.end = indexed.max(range.start);
            }
        }
        if found.len() < limit && !range.is_empty() {
            found.extend(self.index.find(query, &range, limit - found.len(), Direction::Backward)?);
        }
        Ok(found)
    }

    /// Durable events of a stream with these revisions: revision and position of the nearest `limit`, in the order of
    /// `direction`. Those that were scavenged may be among them. Reads from the index may block.
    ///
    /// # Errors
    /// [`Below::Error`].
    pub fn stream(
        &self,
        name: &str,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, B::Error> {
        let (key, tail) = self.tail_of(name);
        let tail_start = tail.first().map_or(u64::MAX, |(revision, _)| *revision);
        let indexed = revisions.start..revisions.end.min(tail_start);
        let wanted = |place: &&(u64, u64)| revisions.contains(&place.0);
        let mut found = Vec::new();
        match direction {
            Direction::Forward => {
                found.extend(self.index.stream(key, &indexed, limit, direction)?);
                let left = limit.saturating_sub(found.len());
                found.extend(tail.iter().filter(wanted).take(left));
            }
            Direction::Backward => {
                found.extend(tail.iter().rev().filter(wanted).take(limit));
                let left = limit - found.len();
                if left > 0 {
                    found.extend(self.index.stream(key, &indexed, left, direction)?);
                }
            }
        }
        Ok(found)
    }

    /// The revision of the stream's first event at or behind `position`, or the one that its next event gets.
    ///
    /// # Errors
    /// [`Below::Error`].
    pub fn revision_at(&self, name: &str, position: Position) -> Result<Revision, B::Error> {
        let next = self.lock().visible(name, 0).next.0;
        let (key, tail) = self.tail_of(name);
        let tail_start = tail.first().map_or(next, |(revision, _)| *revision);
        let found = self.index.stream_revision_at(key, position, &(0..tail_start))?;
        let in_tail = || tail.iter().find(|(_, at)| *at >= position.0).map(|(revision, _)| *revision);
        Ok(Revision(found.or_else(in_tail).unwrap_or(next)))
    }

    fn tail_of(&self, name: &str) -> (TermKey, Vec<(u64, u64)>) {
        let store = self.lock();
        (store.terms().stream(name), store.stream_tail(name))
    }
}
