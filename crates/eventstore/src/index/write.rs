//! Writing what a store flushes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::codec::{
    CATEGORY_NAME, CHECKPOINT, CHUNK_LEN_MAX, STREAM, STREAM_CHUNK, TERM_CHUNK, TYPE_NAME, VERSION,
    chunk_key, encode_positions, name_key, put,
};
use super::find::positions_in;
use super::stream::places_in;
use super::{Entry, Index, TableError, chunk_bounds};
use crate::TermKey;
use crate::metadata::Effect;
use crate::store::{Flush, Head, Keeping};
use crate::term::KeyMap;

/// Puts what is new of one stream or term behind its last chunk.
type Put<T> = fn(&mut Vec<Entry>, Option<Entry>, &[T]) -> Result<(), TableError>;

/// So many chunks are looked up at a time.
const LOOKUPS: usize = 1024;

impl Index {
    /// Takes in a flush of the store with this id and its checkpoint, in one step.
    ///
    /// # Errors
    /// [`TableError`]; the index is then as before.
    pub fn write(&self, flush: &Flush, store: [u8; 16]) -> Result<(), TableError> {
        let counts = (flush.range.end, flush.stream_count, flush.digest);
        let checkpoint = (vec![CHECKPOINT], checkpoint(store, flush.seed, counts));
        let images = stream_images(flush).into_iter();
        let images =
            images.map(|(name, head, keeping)| (name_key(STREAM, name), stream_value(head, keeping)));
        let mut events: Vec<(TermKey, u64, u64)> =
            flush.events.iter().map(|(position, event)| (event.stream, event.revision, *position)).collect();
        events.sort_unstable();
        let streams: Vec<_> = events.chunk_by(|a, b| a.0 == b.0).collect();
        let terms =
            flush.events.iter().flat_map(|(at, event)| event.terms.iter().map(move |term| (*term, *at)));
        let mut terms: Vec<(TermKey, u64)> = terms.collect();
        terms.sort_unstable();
        terms.dedup();
        let terms: Vec<_> = terms.chunk_by(|a, b| a.0 == b.0).collect();
        let mut entries = std::iter::once(checkpoint)
            .chain(images)
            .map(Ok)
            .chain(self.extended(STREAM_CHUNK, &streams, put_stream))
            .chain(self.extended(TERM_CHUNK, &terms, put_term))
            .chain(names(flush).into_iter().map(Ok));
        self.table().write(&mut entries)
    }

    /// What is new of each stream or term, together with the last chunk that it has. A chunk grows until it is full: with one
    /// for each flush, an index of many streams would have as many entries as events, and a flush would touch a page for each.
    fn extended<'a, T: HasKey>(
        &'a self,
        kind: u8,
        all: &'a [&'a [T]],
        put: Put<T>,
    ) -> impl Iterator<Item = Result<Entry, TableError>> + 'a {
        let extend = move |some: &[&[T]]| {
            let ranges: Vec<_> = some.iter().map(|new| chunk_bounds(kind, new[0].key())).collect();
            let mut entries = Vec::with_capacity(some.len());
            for (new, last) in some.iter().zip(self.table().last_of_each(&ranges)?) {
                put(&mut entries, last, new)?;
            }
            Ok(entries)
        };
        all.chunks(LOOKUPS).flat_map(move |some| {
            let (entries, error) = match extend(some) {
                Ok(entries) => (entries, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            entries.into_iter().map(Ok).chain(error)
        })
    }
}

/// Something of a stream or term.
trait HasKey {
    fn key(&self) -> TermKey;
}

impl HasKey for (TermKey, u64, u64) {
    fn key(&self) -> TermKey {
        self.0
    }
}

impl HasKey for (TermKey, u64) {
    fn key(&self) -> TermKey {
        self.0
    }
}

/// Every stream that has changed, by name.
fn stream_images(flush: &Flush) -> Vec<(&str, Head, Option<&Keeping>)> {
    let mut heads: KeyMap<(&str, Head)> = KeyMap::default();
    for (_, event) in &flush.events {
        let is_tombstone = matches!(event.effect, Some(Effect::Tombstone));
        heads.insert(event.stream, (&event.name, Head::behind(event.revision, is_tombstone)));
    }
    let described: BTreeSet<&str> = flush.described.iter().map(|image| &*image.name).collect();
    let heads = heads.iter().filter(|(_, (name, _))| !described.contains(name));
    let heads = heads.map(|(key, (name, head))| (*name, *head, flush.keeping.get(key)));
    let described = flush.described.iter().map(|image| (&*image.name, image.head, image.keeping.as_ref()));
    let mut images: Vec<_> = heads.chain(described).collect();
    images.sort_unstable_by_key(|(name, ..)| *name);
    images
}

/// `counts` are the position up to which the index holds everything, the number of streams, and their digest.
pub(super) fn checkpoint(store: [u8; 16], seed: [u8; 16], counts: (u64, u64, u64)) -> Vec<u8> {
    let (position, streams, digest) = counts;
    let mut value = vec![VERSION];
    value.extend_from_slice(&store);
    value.extend_from_slice(&seed);
    put(&mut value, position);
    put(&mut value, streams);
    put(&mut value, digest);
    value
}

pub(super) fn stream_value(head: Head, keeping: Option<&Keeping>) -> Vec<u8> {
    let mut value = vec![VERSION];
    put(&mut value, head.to_number());
    if let Some(keeping) = keeping {
        let (first, metadata) = keeping.parts();
        put(&mut value, first);
        value.extend_from_slice(metadata.to_json().as_bytes());
    }
    value
}

/// Scavenged events leave holes in the revisions: a chunk holds neighbours only.
fn put_stream(
    entries: &mut Vec<Entry>,
    last: Option<Entry>,
    events: &[(TermKey, u64, u64)],
) -> Result<(), TableError> {
    let key = events[0].0;
    let last = last.map(|entry| places_in(&entry)).transpose()?.unwrap_or_default();
    let grows =
        last.len() < CHUNK_LEN_MAX && last.last().is_some_and(|(revision, _)| revision + 1 == events[0].1);
    let before = if grows { last } else { Vec::new() };
    let places: Vec<(u64, u64)> = before
        .into_iter()
        .chain(events.iter().map(|(_, revision, position)| (*revision, *position)))
        .collect();
    let neighbours = places.chunk_by(|before, after| before.0 + 1 == after.0);
    for chunk in neighbours.flat_map(|run| run.chunks(CHUNK_LEN_MAX)) {
        let positions: Vec<u64> = chunk.iter().map(|(_, position)| *position).collect();
        entries.push((chunk_key(STREAM_CHUNK, key, chunk[0].0), encode_positions(0, &positions)));
    }
    Ok(())
}

fn put_term(
    entries: &mut Vec<Entry>,
    last: Option<Entry>,
    events: &[(TermKey, u64)],
) -> Result<(), TableError> {
    let key = events[0].0;
    let last = last.map(|entry| positions_in(&entry)).transpose()?.unwrap_or_default();
    let grows = last.len() < CHUNK_LEN_MAX && last.last().is_some_and(|last| *last < events[0].1);
    let mut positions = if grows { last } else { Vec::new() };
    positions.extend(events.iter().map(|(_, position)| *position));
    for chunk in positions.chunks(CHUNK_LEN_MAX) {
        entries.push((chunk_key(TERM_CHUNK, key, chunk[0]), encode_positions(chunk[0], chunk)));
    }
    Ok(())
}

fn names(flush: &Flush) -> Vec<Entry> {
    let mut categories = BTreeSet::new();
    let mut types = BTreeSet::new();
    for (_, event) in &flush.events {
        categories.extend(crate::category_of(&event.name));
        types.insert(Arc::clone(&event.type_name));
    }
    let categories = categories.iter().map(|name| (name_key(CATEGORY_NAME, name), Vec::new()));
    categories.chain(types.iter().map(|name| (name_key(TYPE_NAME, name), Vec::new()))).collect()
}
