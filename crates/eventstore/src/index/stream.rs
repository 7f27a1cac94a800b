//! The events of one stream, by revision.

use std::ops::Range;

use super::codec::{STREAM_CHUNK, chunk_key, chunk_number, decode_positions};
use super::{Direction, Entry, Index, TableError, chunk_bounds, damaged};
use crate::{Position, TermKey};

/// Revision and position of an event.
type Place = (u64, u64);

impl Index {
    /// Events of the stream with this key whose revisions are in `revisions`: the nearest `limit` of them, in the order of
    /// `direction`. Those that were scavenged may be among them.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn stream(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(u64, u64)>, TableError> {
        if revisions.is_empty() {
            return Ok(Vec::new());
        }
        match direction {
            Direction::Forward => self.stream_forward(stream, revisions, limit),
            Direction::Backward => self.stream_backward(stream, revisions, limit),
        }
    }

    fn stream_forward(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
    ) -> Result<Vec<Place>, TableError> {
        let (first, _) = chunk_bounds(STREAM_CHUNK, stream);
        let start = chunk_key(STREAM_CHUNK, stream, revisions.start);
        // The chunk that holds the first one may begin before it.
        let from = self.table().last(&first, &start)?.map_or(start, |(key, _)| key);
        let to = chunk_key(STREAM_CHUNK, stream, revisions.end - 1);
        let (mut found, mut failed) = (Vec::new(), false);
        let mut visit = |key: &[u8], value: &[u8]| match places(key, value) {
            Some(places) => {
                found.extend(places.into_iter().filter(|(revision, _)| revisions.contains(revision)));
                found.len() < limit
            }
            None => {
                failed = true;
                false
            }
        };
        self.table().scan(&from, &to, &mut visit)?;
        found.truncate(limit);
        if failed { Err(damaged("a chunk of a stream cannot be read")) } else { Ok(found) }
    }

    fn stream_backward(
        &self,
        stream: TermKey,
        revisions: &Range<u64>,
        limit: usize,
    ) -> Result<Vec<Place>, TableError> {
        let (first, _) = chunk_bounds(STREAM_CHUNK, stream);
        let (mut found, mut end) = (Vec::new(), revisions.end);
        while end > revisions.start && found.len() < limit {
            let to = chunk_key(STREAM_CHUNK, stream, end - 1);
            let Some(entry) = self.table().last(&first, &to)? else { break };
            let places = places_in(&entry)?;
            let wanted =
                places.iter().rev().filter(|(revision, _)| (revisions.start..end).contains(revision));
            found.extend(wanted.copied());
            end = places.first().map_or(0, |(revision, _)| *revision);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The revision of the stream's first event at or behind `position`: where a reader by position begins. `None` if all
    /// come before it.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn stream_revision_at(
        &self,
        stream: TermKey,
        position: Position,
        revisions: &Range<u64>,
    ) -> Result<Option<u64>, TableError> {
        // Positions rise with revisions: half of what is left goes with each look.
        let (mut low, mut high) = (revisions.start, revisions.end);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.stream(stream, &(middle..high), 1, Direction::Forward)?.first() {
                Some(&(revision, at)) if at < position.0 => low = revision + 1,
                Some(&(revision, _)) => {
                    found = Some(revision);
                    high = middle;
                }
                None => high = middle,
            }
        }
        Ok(found)
    }
}

/// What a stream's chunk holds.
pub(super) fn places_in((key, value): &Entry) -> Result<Vec<Place>, TableError> {
    places(key, value).ok_or_else(|| damaged("a chunk of a stream cannot be read"))
}

fn places(key: &[u8], value: &[u8]) -> Option<Vec<Place>> {
    let first = chunk_number(key)?;
    Some((first..).zip(decode_positions(0, value)?).collect())
}
