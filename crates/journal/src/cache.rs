//! The tail cache: the bytes written last, as they lie in the segment, shared with readers without a copy.
//!
//! Live consumers read what was just written; they find it here and never touch the disk. Bounded by bytes; the oldest
//! goes first. A reader that still holds a slice keeps that block alive, which its own quota accounts for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

/// A place in the journal: the salt of a segment, which no other file has, and a position in it.
type Place = (u64, u64);

pub(crate) struct TailCache {
    limit_bytes: usize,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    chunks: BTreeMap<Place, Bytes>,
    order: VecDeque<Place>,
    bytes: usize,
}

impl TailCache {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, state: RwLock::default() }
    }

    /// Adds bytes that were written at `position` of a segment.
    pub(crate) fn insert(&self, segment: u64, position: u64, chunk: Bytes) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.bytes += chunk.len();
        state.chunks.insert((segment, position), chunk);
        state.order.push_back((segment, position));
        while state.bytes > self.limit_bytes {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(chunk) = state.chunks.remove(&oldest) {
                state.bytes -= chunk.len();
            }
        }
    }

    /// Appends to `out` the bytes from `position`, `len` of them, in one or more slices. `false` if they are not all
    /// here; `out` is then as before.
    pub(crate) fn read(&self, segment: u64, position: u64, len: usize, out: &mut Vec<Bytes>) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let before = out.len();
        let (mut position, mut left) = (position, len);
        while left > 0 {
            let found = state.chunks.range(..=(segment, position)).next_back();
            let slice = found.and_then(|(place, chunk)| slice_of(*place, chunk, (segment, position), left));
            let Some(slice) = slice else {
                out.truncate(before);
                return false;
            };
            position += slice.len() as u64;
            left -= slice.len();
            out.push(slice);
        }
        true
    }
}

fn slice_of(place: Place, chunk: &Bytes, wanted: Place, len: usize) -> Option<Bytes> {
    if place.0 != wanted.0 {
        return None;
    }
    let from = usize::try_from(wanted.1 - place.1).ok().filter(|&from| from < chunk.len())?;
    Some(chunk.slice(from..chunk.len().min(from + len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_may_span_chunks_and_misses_what_left() {
        let cache = TailCache::new(8);
        cache.insert(1, 100, Bytes::from_static(b"abcd"));
        cache.insert(1, 104, Bytes::from_static(b"efgh"));
        let mut out = Vec::new();
        assert!(cache.read(1, 102, 4, &mut out));
        assert_eq!(out.concat(), b"cdef");
        cache.insert(2, 0, Bytes::from_static(b"x"));
        assert!(!cache.read(1, 102, 4, &mut out), "the oldest chunk went");
        assert_eq!(out.len(), 2, "a miss adds nothing");
        assert!(!cache.read(1, 107, 2, &mut out), "beyond the end");
        assert!(!cache.read(2, 50, 1, &mut out));
    }
}
