//! Events that a query finds, by position: a walk over the sorted positions of each term, which skips what cannot match.

use std::ops::Range;

use super::codec::{TERM_CHUNK, chunk_key, chunk_number, decode_positions};
use super::{Direction, Entry, Index, Table, TableError, chunk_bounds, damaged};
use crate::TermKey;
use crate::query::{PreparedItem, PreparedQuery};

impl Index {
    /// Positions within `range` that the query finds: the nearest `limit` of them, in the order of `direction`.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn find(
        &self,
        query: &PreparedQuery,
        range: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<u64>, TableError> {
        let mut found = Vec::new();
        let walk = Walk { direction, range: range.clone() };
        let mut items: Vec<Item<'_>> =
            query.items.iter().map(|item| Item::new(self.table(), item, &walk)).collect();
        let mut next = walk.start();
        while let Some(from) = next.filter(|_| found.len() < limit) {
            let mut nearest = None;
            for item in &mut items {
                let position = item.seek(from)?;
                nearest = walk.nearer(nearest, position);
            }
            let Some(position) = nearest else { break };
            found.push(position);
            next = walk.behind(position);
        }
        Ok(found)
    }
}

/// The way through a range, in one of both directions.
#[derive(Clone)]
struct Walk {
    direction: Direction,
    range: Range<u64>,
}

impl Walk {
    fn start(&self) -> Option<u64> {
        match self.direction {
            _ if self.range.is_empty() => None,
            Direction::Forward => Some(self.range.start),
            Direction::Backward => Some(self.range.end - 1),
        }
    }

    fn behind(&self, position: u64) -> Option<u64> {
        let next = match self.direction {
            Direction::Forward => position.checked_add(1),
            Direction::Backward => position.checked_sub(1),
        };
        next.filter(|next| self.range.contains(next))
    }

    fn nearer(&self, one: Option<u64>, other: Option<u64>) -> Option<u64> {
        let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
        Some(if self.direction == Direction::Forward { a.min(b) } else { a.max(b) })
    }
}

/// One item of a query.
struct Item<'a> {
    tags: Vec<Cursor<'a>>,
    types: Vec<Cursor<'a>>,
    walk: Walk,
    /// What the last seek found: it answers for everything on the way there.
    last: Option<(u64, Option<u64>)>,
}

impl<'a> Item<'a> {
    fn new(table: &'a dyn Table, item: &PreparedItem, walk: &Walk) -> Self {
        let cursor = |key: &TermKey| Cursor::new(table, *key, walk.clone());
        let (tags, types) = (item.tags.iter().map(cursor).collect(), item.types.iter().map(cursor).collect());
        Self { tags, types, walk: walk.clone(), last: None }
    }

    /// The nearest matching position from `from` on.
    fn seek(&mut self, from: u64) -> Result<Option<u64>, TableError> {
        if let Some((asked, answer)) = self.last {
            let holds = answer.is_none_or(|answer| self.walk.nearer(Some(from), Some(answer)) == Some(from));
            if holds && self.walk.nearer(Some(asked), Some(from)) == Some(asked) {
                return Ok(answer);
            }
        }
        let answer = self.search(from)?;
        self.last = Some((from, answer));
        Ok(answer)
    }

    /// Moves all cursors on until they agree.
    fn search(&mut self, from: u64) -> Result<Option<u64>, TableError> {
        let mut candidate = from;
        loop {
            let start = candidate;
            for tag in &mut self.tags {
                let Some(position) = tag.seek(candidate)? else { return Ok(None) };
                candidate = position;
            }
            let mut nearest = None;
            for kind in &mut self.types {
                nearest = self.walk.nearer(nearest, kind.seek(candidate)?);
            }
            if !self.types.is_empty() {
                let Some(position) = nearest else { return Ok(None) };
                candidate = position;
            }
            let is_simple = self.tags.is_empty() || self.tags.len() + self.types.len() == 1;
            if candidate == start || is_simple {
                return Ok(Some(candidate));
            }
        }
    }
}

/// A place in the positions of one term.
struct Cursor<'a> {
    table: &'a dyn Table,
    key: TermKey,
    walk: Walk,
    /// The positions of one chunk, rising.
    chunk: Vec<u64>,
    /// Up to here the chunk knows everything; `None` before the first look.
    known_to: Option<u64>,
}

impl<'a> Cursor<'a> {
    fn new(table: &'a dyn Table, key: TermKey, walk: Walk) -> Self {
        Self { table, key, walk, chunk: Vec::new(), known_to: None }
    }

    /// The nearest position from `from` on. Seeks only go on, never back.
    fn seek(&mut self, from: u64) -> Result<Option<u64>, TableError> {
        let is_known = self.known_to.is_some_and(|to| self.walk.nearer(Some(from), Some(to)) == Some(from));
        if !is_known {
            match self.walk.direction {
                Direction::Forward => self.load_forward(from)?,
                Direction::Backward => self.load_backward(from)?,
            }
        }
        let found = match self.walk.direction {
            Direction::Forward => {
                self.chunk.get(self.chunk.partition_point(|position| *position < from)).copied()
            }
            Direction::Backward => {
                let behind = self.chunk.partition_point(|position| *position <= from);
                behind.checked_sub(1).map(|last| self.chunk[last])
            }
        };
        Ok(found.filter(|position| self.walk.range.contains(position)))
    }

    fn load_forward(&mut self, from: u64) -> Result<(), TableError> {
        let (first, last) = chunk_bounds(TERM_CHUNK, self.key);
        let at = chunk_key(TERM_CHUNK, self.key, from);
        if let Some(entry) = self.table.last(&first, &at)? {
            let positions = positions_in(&entry)?;
            if let Some(&end) = positions.last().filter(|end| **end >= from) {
                (self.chunk, self.known_to) = (positions, Some(end));
                return Ok(());
            }
        }
        let mut next = None;
        self.table.scan(&at, &last, &mut |key, value| {
            next = Some((key.to_vec(), value.to_vec()));
            false
        })?;
        self.chunk = next.as_ref().map(positions_in).transpose()?.unwrap_or_default();
        self.known_to = Some(self.chunk.last().copied().unwrap_or(u64::MAX));
        Ok(())
    }

    fn load_backward(&mut self, from: u64) -> Result<(), TableError> {
        let (first, _) = chunk_bounds(TERM_CHUNK, self.key);
        let entry = self.table.last(&first, &chunk_key(TERM_CHUNK, self.key, from))?;
        self.chunk = entry.as_ref().map(positions_in).transpose()?.unwrap_or_default();
        self.known_to = Some(self.chunk.first().copied().unwrap_or(0));
        Ok(())
    }
}

/// What a term's chunk holds.
pub(super) fn positions_in((key, value): &Entry) -> Result<Vec<u64>, TableError> {
    let positions = chunk_number(key).and_then(|first| decode_positions(first, value));
    positions.ok_or_else(|| damaged("a chunk of a term cannot be read"))
}
