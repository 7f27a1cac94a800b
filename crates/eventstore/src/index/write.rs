//! Writing what a store flushes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::codec::{
    CATEGORY_NAME, CHECKPOINT, CHUNK_LEN_MAX, STREAM, STREAM_CHUNK, TERM_CHUNK, TYPE_NAME, VERSION,
    chunk_key, encode_positions, name_key, put,
};
use super::{Entry, Index, TableError};
use crate::TermKey;
use crate::metadata::Effect;
use crate::store::{Flush, Head, Keeping};
use crate::term::KeyMap;

impl Index {
    /// Takes in a flush of the store with this id and its checkpoint, in one step.
    ///
    /// # Errors
    /// [`TableError`]; the index is then as before.
    pub fn write(&self, flush: &Flush, store: [u8; 16]) -> Result<(), TableError> {
        let counts = (flush.range.end, flush.stream_count, flush.digest);
        let mut entries = vec![(vec![CHECKPOINT], checkpoint(store, flush.seed, counts))];
        put_stream_images(&mut entries, flush);
        let mut events: Vec<(TermKey, u64, u64)> =
            flush.events.iter().map(|(position, event)| (event.stream, event.revision, *position)).collect();
        events.sort_unstable();
        events.chunk_by(|a, b| a.0 == b.0).for_each(|events| put_stream(&mut entries, events));
        let terms =
            flush.events.iter().flat_map(|(at, event)| event.terms.iter().map(move |term| (*term, *at)));
        let mut terms: Vec<(TermKey, u64)> = terms.collect();
        terms.sort_unstable();
        terms.dedup();
        terms.chunk_by(|a, b| a.0 == b.0).for_each(|positions| put_term(&mut entries, positions));
        put_names(&mut entries, flush);
        self.table().write(entries)
    }
}

/// Every stream that has changed, by name.
fn put_stream_images(entries: &mut Vec<Entry>, flush: &Flush) {
    let mut heads: KeyMap<(&str, Head)> = KeyMap::default();
    for (_, event) in &flush.events {
        let is_tombstone = matches!(event.effect, Some(Effect::Tombstone));
        heads.insert(event.stream, (&event.name, Head::behind(event.revision, is_tombstone)));
    }
    let values = heads.iter().map(|(key, (name, head))| (*name, stream_value(*head, flush.keeping.get(key))));
    let mut images: BTreeMap<&str, Vec<u8>> = values.collect();
    for image in &flush.described {
        images.insert(&image.name, stream_value(image.head, image.keeping.as_ref()));
    }
    entries.extend(images.into_iter().map(|(name, value)| (name_key(STREAM, name), value)));
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
        put(&mut value, keeping.first);
        value.extend_from_slice(keeping.metadata.to_json().as_bytes());
    }
    value
}

/// Scavenged events leave holes in the revisions: a chunk holds neighbours only.
fn put_stream(entries: &mut Vec<Entry>, events: &[(TermKey, u64, u64)]) {
    let neighbours = events.chunk_by(|before, after| before.1 + 1 == after.1);
    for chunk in neighbours.flat_map(|run| run.chunks(CHUNK_LEN_MAX)) {
        let positions: Vec<u64> = chunk.iter().map(|(.., position)| *position).collect();
        entries.push((chunk_key(STREAM_CHUNK, chunk[0].0, chunk[0].1), encode_positions(0, &positions)));
    }
}

fn put_term(entries: &mut Vec<Entry>, positions: &[(TermKey, u64)]) {
    for chunk in positions.chunks(CHUNK_LEN_MAX) {
        let (key, first) = chunk[0];
        let positions: Vec<u64> = chunk.iter().map(|(_, position)| *position).collect();
        entries.push((chunk_key(TERM_CHUNK, key, first), encode_positions(first, &positions)));
    }
}

fn put_names(entries: &mut Vec<Entry>, flush: &Flush) {
    let mut categories = BTreeSet::new();
    let mut types = BTreeSet::new();
    for (_, event) in &flush.events {
        categories.extend(crate::category_of(&event.name));
        types.insert(Arc::clone(&event.type_name));
    }
    entries.extend(categories.iter().map(|name| (name_key(CATEGORY_NAME, name), Vec::new())));
    entries.extend(types.iter().map(|name| (name_key(TYPE_NAME, name), Vec::new())));
}
