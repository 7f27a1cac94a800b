//! Building an index from the log, in the order of its keys.
//!
//! A flush puts what came in lately all over the table. That is right for a store that runs, but for the whole of a log it
//! means to touch every page of a large tree again and again. So here events are collected for as long as the memory that
//! is set aside for them lasts (a *stage*), each by its place in a few bytes, and then written from the first key to the last:
//! one entry for each stream and 256 events, page by page.
//!
//! Invariant: there is no checkpoint before everything is written. Whoever finds a table without one builds anew.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::{
    CATEGORY_NAME, CHECKPOINT, CHUNK_LEN_MAX, STREAM, STREAM_CHUNK, TERM_CHUNK, TYPE_NAME, chunk_key,
    encode_positions, name_key, put,
};
use super::write::{checkpoint, stream_value};
use super::{Entry, Index, Table, TableError};
use crate::metadata::Effect;
use crate::name::described_by;
use crate::record::RecordedEvent;
use crate::store::{Heads, Options, Store, effect};
use crate::term::KeyMap;
use crate::{Position, TermKey, Terms};

/// Memory for the events of one stage.
pub const STAGE_BYTES: usize = 256 << 20;
/// Entries that are written at once.
const ENTRIES_AT_ONCE: usize = 1 << 16;
/// Postings in one block of memory: a list that grows without being copied.
const BLOCK_LEN: usize = 1 << 16;
/// What a stream or tag of a stage takes, roughly.
const TERM_BYTES: usize = 96;
/// What a posting takes.
const POSTING_BYTES: usize = size_of::<Posting>();

/// An index under construction, and the state of the store as of the events that it was given.
pub struct Builder {
    terms: Terms,
    store: [u8; 16],
    heads: Heads,
    next: u64,
    stage: Stage,
    stage_bytes_max: usize,
}

impl Builder {
    /// Begins with the first event of the log of the store with this id, with [`STAGE_BYTES`] of memory.
    pub fn new(terms: Terms, store: [u8; 16]) -> Self {
        Self {
            terms,
            store,
            heads: Heads::default(),
            next: 0,
            stage: Stage::default(),
            stage_bytes_max: STAGE_BYTES,
        }
    }

    /// With so much memory for a stage.
    pub fn with_stage_bytes(self, stage_bytes_max: usize) -> Self {
        Self { stage_bytes_max, ..self }
    }

    /// Where to go on.
    pub fn next(&self) -> Position {
        Position(self.next)
    }

    /// Whether there is memory for this event; if not, [`Builder::write`] makes some.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        let is_near = self.stage.base.is_none_or(|base| event.position().0 - base <= u64::from(u32::MAX));
        is_near && self.stage.bytes < self.stage_bytes_max
    }

    /// Takes the next event of the log. Gaps are what was scavenged; what it has seen before it passes over.
    pub fn add(&mut self, event: &RecordedEvent) {
        let position = event.position().0;
        if position < self.next {
            return;
        }
        // Attributes are looked for each time.
        let (stream, type_name) = (event.stream(), event.type_name());
        let key = self.terms.stream(stream);
        let effect = effect(event, type_name, &self.terms);
        self.heads.apply(key, event.revision().0, effect.as_ref());
        self.stage.add(event, (key, stream), type_name, &self.terms);
        if let (Some(Effect::Metadata { of, .. }), Some(name)) = (&effect, described_by(stream)) {
            self.stage.described.insert(name.to_owned(), *of);
        }
        self.next = position + 1;
    }

    /// There is nothing below `end` that was not given.
    pub fn skip_to(&mut self, end: Position) {
        self.next = self.next.max(end.0);
    }

    /// Writes what is in memory.
    ///
    /// # Errors
    /// [`TableError`]; then the table is of no use any more.
    pub fn write(&mut self, index: &Index) -> Result<(), TableError> {
        let stage = std::mem::take(&mut self.stage);
        stage.write(index.table(), &self.heads)
    }

    /// Gives up what is in memory: nothing of it will be in an index. Where the streams stand stays known.
    pub fn forget(&mut self) {
        self.stage = Stage::default();
    }

    /// Writes what is in memory and the checkpoint, with which the table is an index.
    ///
    /// # Errors
    /// [`TableError`]; then the table is of no use any more.
    pub fn finish(mut self, index: &Index) -> Result<Position, TableError> {
        self.write(index)?;
        let counts = (self.next, self.heads.len() as u64, self.heads.digest());
        let value = checkpoint(self.store, self.terms.seed(), counts);
        index.table().write(&mut std::iter::once(Ok((vec![CHECKPOINT], value))))?;
        Ok(Position(self.next))
    }

    /// The store as of here, without any of its events in memory.
    pub fn store(&self, options: Options) -> Store {
        Store::behind(self.terms, options, Position(self.next), self.heads.clone())
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("next", &self.next).finish_non_exhaustive()
    }
}

/// One event of a stream or tag: which one, by its number in the stage, and the position behind that of the stage.
type Posting = (u32, u32);

/// Events that are not written yet.
#[derive(Default)]
struct Stage {
    /// The position of the first event.
    base: Option<u64>,
    streams: Streams,
    tags: Tags,
    /// Categories and types, of which there are few with many events each.
    kinds: KeyMap<Chunks>,
    /// Streams whose metadata changed.
    described: BTreeMap<String, TermKey>,
    categories: BTreeSet<String>,
    types: BTreeSet<String>,
    /// Memory taken, roughly.
    bytes: usize,
}

impl Stage {
    fn add(&mut self, event: &RecordedEvent, (key, stream): (TermKey, &str), type_name: &str, terms: &Terms) {
        let position = event.position().0;
        let base = *self.base.get_or_insert(position);
        let offset = u32::try_from(position - base).unwrap_or(u32::MAX);
        self.bytes += self.streams.add(key, stream, event.revision().0, offset);
        if let Some(category) = crate::category_of(stream) {
            self.add_kind(terms.category(category), position);
            insert(&mut self.categories, category);
        }
        self.add_kind(terms.type_name(type_name), position);
        insert(&mut self.types, type_name);
        for tag in event.tags() {
            self.bytes += self.tags.add(terms.tag(tag), offset);
        }
    }

    fn add_kind(&mut self, key: TermKey, position: u64) {
        let kind = self.kinds.entry(key).or_default();
        let before = kind.bytes();
        kind.push(position);
        self.bytes += kind.bytes() - before;
    }

    fn write(self, table: &dyn Table, heads: &Heads) -> Result<(), TableError> {
        let base = self.base.unwrap_or_default();
        let mut out = Output { table, entries: Vec::new() };
        self.write_images(&mut out, heads)?;
        self.streams.write(&mut out, base)?;
        let tags = self.tags.sorted();
        let mut kinds: Vec<_> = self.kinds.into_iter().collect();
        kinds.sort_unstable_by_key(|(key, _)| *key);
        let mut kinds = kinds.into_iter().peekable();
        for (key, number) in tags.order {
            while let Some((kind, chunks)) = kinds.next_if(|(kind, _)| *kind < key) {
                chunks.write(&mut out, kind)?;
            }
            let positions = tags.lists.get(number).iter().map(|offset| base + u64::from(*offset));
            let mut chunks = Chunks::default();
            positions.for_each(|position| chunks.push(position));
            chunks.write(&mut out, key)?;
        }
        kinds.try_for_each(|(kind, chunks)| chunks.write(&mut out, kind))?;
        let names = |kind, names: BTreeSet<String>| names.into_iter().map(move |name| name_key(kind, &name));
        let mut names = names(CATEGORY_NAME, self.categories).chain(names(TYPE_NAME, self.types));
        names.try_for_each(|key| out.put((key, Vec::new())))?;
        out.end()
    }

    /// Every stream that has changed, by name, as it is now.
    fn write_images(&self, out: &mut Output<'_>, heads: &Heads) -> Result<(), TableError> {
        let mut described = self.described.iter().map(|(name, key)| (name.as_str(), *key)).peekable();
        let image = |name: &str, key: TermKey| {
            (name_key(STREAM, name), stream_value(heads.get(key), heads.keeping(key)))
        };
        for (name, key) in self.streams.by_name() {
            while let Some((before, of)) = described.next_if(|(before, _)| *before < name) {
                out.put(image(before, of))?;
            }
            described.next_if(|(same, _)| *same == name);
            out.put(image(name, key))?;
        }
        described.try_for_each(|(name, of)| out.put(image(name, of)))
    }
}

fn insert(names: &mut BTreeSet<String>, name: &str) {
    if !names.contains(name) {
        names.insert(name.to_owned());
    }
}

/// The streams of a stage, numbered as they came.
#[derive(Default)]
struct Streams {
    numbers: KeyMap<u32>,
    facts: Vec<StreamFacts>,
    /// All names, one behind the other.
    names: String,
    postings: Blocks,
    /// Where revisions do not follow each other since events were scavenged: stream, how many events come before, revision.
    jumps: Vec<(u32, u32, u64)>,
}

struct StreamFacts {
    key: TermKey,
    /// Where its name ends; it begins where the one before ends.
    name_end: u32,
    count: u32,
    /// The revision of the first event.
    first: u64,
    /// The revision behind the last one.
    next: u64,
}

impl Streams {
    /// Returns the memory that it takes.
    fn add(&mut self, key: TermKey, name: &str, revision: u64, offset: u32) -> usize {
        let mut bytes = POSTING_BYTES;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.names.push_str(name);
            bytes += TERM_BYTES + name.len();
            let name_end = self.names.len() as u32;
            self.facts.push(StreamFacts { key, name_end, count: 0, first: revision, next: revision });
            self.facts.len() as u32 - 1
        });
        let facts = &mut self.facts[number as usize];
        if revision != facts.next {
            self.jumps.push((number, facts.count, revision));
        }
        facts.count += 1;
        facts.next = revision + 1;
        self.postings.push((number, offset));
        bytes
    }

    fn by_name(&self) -> impl Iterator<Item = (&str, TermKey)> {
        let mut start = 0;
        let mut all: Vec<(&str, TermKey)> = Vec::with_capacity(self.facts.len());
        for facts in &self.facts {
            let end = facts.name_end as usize;
            all.push((&self.names[start..end], facts.key));
            start = end;
        }
        all.sort_unstable();
        all.into_iter()
    }

    fn write(self, out: &mut Output<'_>, base: u64) -> Result<(), TableError> {
        let lists = self.postings.by_number(self.facts.iter().map(|facts| facts.count));
        let mut jumps = self.jumps;
        jumps.sort_unstable();
        let mut order: Vec<(TermKey, u32)> =
            (0..).zip(&self.facts).map(|(n, facts)| (facts.key, n)).collect();
        order.sort_unstable();
        for (key, number) in order {
            let positions: Vec<u64> =
                lists.get(number).iter().map(|offset| base + u64::from(*offset)).collect();
            let from = jumps.partition_point(|(of, ..)| *of < number);
            let own = jumps[from..].iter().take_while(|(of, ..)| *of == number);
            let starts = std::iter::once((0, self.facts[number as usize].first));
            let starts: Vec<(u32, u64)> =
                starts.chain(own.map(|(_, at, revision)| (*at, *revision))).collect();
            for (index, &(at, revision)) in starts.iter().enumerate() {
                let end = starts.get(index + 1).map_or(positions.len(), |(end, _)| *end as usize);
                put_run(out, key, revision, &positions[at as usize..end])?;
            }
        }
        Ok(())
    }
}

/// Events of a stream whose revisions follow each other.
fn put_run(out: &mut Output<'_>, key: TermKey, revision: u64, positions: &[u64]) -> Result<(), TableError> {
    for (chunk, first) in positions.chunks(CHUNK_LEN_MAX).zip((revision..).step_by(CHUNK_LEN_MAX)) {
        out.put((chunk_key(STREAM_CHUNK, key, first), encode_positions(0, chunk)))?;
    }
    Ok(())
}

/// The tags of a stage, numbered as they came.
#[derive(Default)]
struct Tags {
    numbers: KeyMap<u32>,
    /// Key, number of events, offset of the last one.
    facts: Vec<(TermKey, u32, u32)>,
    postings: Blocks,
}

/// Tags by their keys, with the events of each.
struct SortedTags {
    order: Vec<(TermKey, u32)>,
    lists: Lists,
}

impl Tags {
    /// Returns the memory that it takes.
    fn add(&mut self, key: TermKey, offset: u32) -> usize {
        let mut bytes = 0;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            bytes = TERM_BYTES;
            self.facts.push((key, 0, 0));
            self.facts.len() as u32 - 1
        });
        let (_, count, last) = &mut self.facts[number as usize];
        if *count > 0 && *last == offset {
            // A tag that an event has twice.
            return bytes;
        }
        (*count, *last) = (*count + 1, offset);
        self.postings.push((number, offset));
        bytes + POSTING_BYTES
    }

    fn sorted(self) -> SortedTags {
        let lists = self.postings.by_number(self.facts.iter().map(|(_, count, _)| *count));
        let mut order: Vec<(TermKey, u32)> = (0..).zip(&self.facts).map(|(n, (key, ..))| (*key, n)).collect();
        order.sort_unstable();
        SortedTags { order, lists }
    }
}

/// Postings in the order in which they came.
#[derive(Default)]
struct Blocks(Vec<Vec<Posting>>);

impl Blocks {
    fn push(&mut self, posting: Posting) {
        if self.0.last().is_none_or(|block| block.len() == BLOCK_LEN) {
            self.0.push(Vec::with_capacity(BLOCK_LEN));
        }
        if let Some(block) = self.0.last_mut() {
            block.push(posting);
        }
    }

    /// Offsets by the number that they are of, each of which occurs so often.
    fn by_number(self, counts: impl Iterator<Item = u32>) -> Lists {
        let mut ends = Vec::new();
        let mut total = 0_u32;
        for count in counts {
            ends.push(total);
            total += count;
        }
        let mut offsets = vec![0; total as usize];
        // What a list begins with becomes what it ends with.
        for (number, offset) in self.0.into_iter().flatten() {
            let end = &mut ends[number as usize];
            offsets[*end as usize] = offset;
            *end += 1;
        }
        Lists { offsets, ends }
    }
}

/// A list for each number, one behind the other.
struct Lists {
    offsets: Vec<u32>,
    ends: Vec<u32>,
}

impl Lists {
    fn get(&self, number: u32) -> &[u32] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.offsets[start as usize..self.ends[number] as usize]
    }
}

/// The positions of one category, type or tag, in chunks as they are stored.
#[derive(Default)]
struct Chunks {
    full: Vec<(u64, Vec<u8>)>,
    /// The chunk that is being filled: first and last position, how many, differences.
    first: u64,
    last: u64,
    count: usize,
    differences: Vec<u8>,
}

impl Chunks {
    fn push(&mut self, position: u64) {
        if self.count == CHUNK_LEN_MAX {
            self.close();
        }
        if self.count == 0 {
            (self.first, self.last) = (position, position);
        }
        put(&mut self.differences, position - self.last);
        self.last = position;
        self.count += 1;
    }

    fn close(&mut self) {
        let capacity = self.differences.len();
        let differences = std::mem::replace(&mut self.differences, Vec::with_capacity(capacity));
        self.full.push((self.first, differences));
        self.count = 0;
    }

    /// Memory taken, roughly.
    fn bytes(&self) -> usize {
        TERM_BYTES + self.full.len() * (CHUNK_LEN_MAX + size_of::<(u64, Vec<u8>)>()) + self.differences.len()
    }

    fn write(mut self, out: &mut Output<'_>, key: TermKey) -> Result<(), TableError> {
        if self.count > 0 {
            self.close();
        }
        let mut full = self.full.into_iter();
        full.try_for_each(|(first, differences)| out.put((chunk_key(TERM_CHUNK, key, first), differences)))
    }
}

/// Entries on their way to the table.
struct Output<'a> {
    table: &'a dyn Table,
    entries: Vec<Entry>,
}

impl Output<'_> {
    fn put(&mut self, entry: Entry) -> Result<(), TableError> {
        self.entries.push(entry);
        if self.entries.len() < ENTRIES_AT_ONCE { Ok(()) } else { self.end() }
    }

    fn end(&mut self) -> Result<(), TableError> {
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() { Ok(()) } else { self.table.write(&mut entries.into_iter().map(Ok)) }
    }
}
