//! Where every stream stands: 24 bytes for each, and a little more for those with metadata.
//!
//! A million streams take 28 to 57 MB here, a hundred million 2.7 to 5.4 GB: the table doubles when it is 7/8 full, and
//! its capacity is a power of two.

use std::sync::Arc;

use crate::metadata::{Effect, StreamMetadata};
use crate::term::KeyMap;
use crate::{Revision, StreamState, TermKey};

/// Where one stream stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    /// The revision that its next event gets.
    pub(crate) next: u64,
    pub(crate) life: Life,
}

/// The numbers are stored in the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(crate) enum Life {
    #[default]
    Live = 0,
    Deleted = 1,
    Tombstoned = 2,
}

impl Head {
    pub(crate) fn state(self) -> StreamState {
        let last = self.next.checked_sub(1).map(Revision);
        match (self.life, last) {
            (Life::Tombstoned, _) => StreamState::Tombstoned,
            (Life::Deleted, last) => StreamState::Deleted(last),
            (Life::Live, None) => StreamState::Missing,
            (Life::Live, Some(last)) => StreamState::At(last),
        }
    }

    /// Behind an event with this revision.
    pub(crate) fn behind(revision: u64, is_tombstone: bool) -> Self {
        let life = if is_tombstone { Life::Tombstoned } else { Life::Live };
        Self { next: revision + 1, life }
    }

    /// With new metadata.
    pub(crate) fn described(self, metadata: &StreamMetadata) -> Self {
        let life = match self.life {
            Life::Live if metadata.is_deletion() => Life::Deleted,
            life => life,
        };
        Self { life, ..self }
    }

    pub(crate) fn to_number(self) -> u64 {
        self.next << 2 | self.life as u64
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        let life = match number & 3 {
            0 => Life::Live,
            1 => Life::Deleted,
            2 => Life::Tombstoned,
            _ => return None,
        };
        Some(Self { next: number >> 2, life })
    }
}

/// What a stream keeps.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Keeping {
    /// Before this revision everything was truncated. It may lie beyond the end of the stream, as that of a deleted stream does:
    /// then everything was truncated that is there, and the next event brings it down to its own revision. (The end as it was when
    /// the metadata came cannot be told from a log that was scavenged. That next event can.)
    first: u64,
    metadata: Arc<StreamMetadata>,
}

impl Keeping {
    pub(crate) fn new(first: u64, metadata: Arc<StreamMetadata>) -> Self {
        Self { first, metadata }
    }

    /// As it is stored.
    pub(crate) fn parts(&self) -> (u64, &StreamMetadata) {
        (self.first, &self.metadata)
    }

    /// The first revision that was not truncated, of a stream that goes on at `next`. Only grows.
    pub(crate) fn first(&self, next: u64) -> u64 {
        self.first.min(next)
    }

    /// The metadata of a stream that goes on at `next`: what it truncates beyond the end is the end.
    pub(crate) fn metadata(&self, next: u64) -> Arc<StreamMetadata> {
        let mut metadata = Arc::clone(&self.metadata);
        if metadata.truncates_beyond(next) {
            Arc::make_mut(&mut metadata).truncate_before = Some(Revision(next));
        }
        metadata
    }

    pub(crate) fn limits(&self) -> &StreamMetadata {
        &self.metadata
    }

    fn describe(&mut self, metadata: &Arc<StreamMetadata>) {
        let wanted = metadata.truncate_before.map_or(0, |revision| revision.0);
        self.first = self.first.max(wanted);
        self.metadata = Arc::clone(metadata);
    }

    /// An event with this revision came.
    fn go_on(&mut self, revision: u64) {
        self.first = self.first(revision);
        if self.metadata.truncates_beyond(revision) {
            self.metadata = self.metadata(revision);
        }
    }
}

/// All streams.
#[derive(Clone, Default)]
pub(crate) struct Heads {
    /// [`Head::to_number`] of each.
    table: KeyMap<u64>,
    keeping: KeyMap<Keeping>,
    /// Of all heads together, whatever the order in which they came: an index that gives another is wrong.
    digest: u64,
    tombstones: usize,
}

impl Heads {
    pub(crate) fn get(&self, stream: TermKey) -> Head {
        self.table.get(&stream).and_then(|number| Head::from_number(*number)).unwrap_or_default()
    }

    pub(crate) fn keeping(&self, stream: TermKey) -> Option<&Keeping> {
        self.keeping.get(&stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether any stream ever got metadata.
    pub(crate) fn has_metadata(&self) -> bool {
        !self.keeping.is_empty()
    }

    /// Whether no stream hides any of its events.
    pub(crate) fn shows_all(&self) -> bool {
        self.keeping.is_empty() && self.tombstones == 0
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn set(&mut self, stream: TermKey, head: Head) {
        let number = head.to_number();
        let before = self.table.insert(stream, number);
        self.tombstones += usize::from(head.life == Life::Tombstoned);
        self.digest ^= before.map_or(0, |before| stream.mix(before)) ^ stream.mix(number);
    }

    pub(crate) fn set_keeping(&mut self, stream: TermKey, keeping: Keeping) {
        self.keeping.insert(stream, keeping);
    }

    /// Takes in an event: the one way in which streams change.
    pub(crate) fn apply(&mut self, stream: TermKey, revision: u64, effect: Option<&Effect>) {
        let is_tombstone = matches!(effect, Some(Effect::Tombstone));
        self.set(stream, Head::behind(revision, is_tombstone));
        if let Some(keeping) = self.keeping.get_mut(&stream) {
            keeping.go_on(revision);
        }
        if let Some(Effect::Metadata { of, metadata }) = effect {
            self.describe(*of, metadata);
        }
    }

    fn describe(&mut self, stream: TermKey, metadata: &Arc<StreamMetadata>) {
        let before = self.get(stream);
        let head = before.described(metadata);
        if head != before {
            self.set(stream, head);
        }
        self.keeping.entry(stream).or_default().describe(metadata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Terms;

    #[test]
    fn the_digest_does_not_depend_on_the_order() {
        let terms = Terms::new([3; 16]);
        let (mut one, mut other) = (Heads::default(), Heads::default());
        for revision in 0..10 {
            one.apply(terms.stream("a"), revision, None);
        }
        one.apply(terms.stream("b"), 0, Some(&Effect::Tombstone));
        other.apply(terms.stream("b"), 0, Some(&Effect::Tombstone));
        assert_ne!(one.digest(), other.digest());
        other.set(terms.stream("a"), Head { next: 10, life: Life::Live });
        assert_eq!((one.digest(), one.len()), (other.digest(), 2));
    }

    #[test]
    fn a_deleted_stream_comes_back_without_its_past() {
        let (terms, mut heads) = (Terms::new([3; 16]), Heads::default());
        let (stream, about) = (terms.stream("a"), terms.stream("$$a"));
        heads.apply(stream, 0, None);
        heads.apply(stream, 1, None);
        let metadata = Arc::new(StreamMetadata::default().deleting());
        heads.apply(about, 0, Some(&Effect::Metadata { of: stream, metadata }));
        assert_eq!(heads.get(stream).state(), StreamState::Deleted(Some(Revision(1))));
        heads.apply(stream, 2, None);
        assert_eq!(heads.get(stream).state(), StreamState::At(Revision(2)));
        assert_eq!(heads.keeping(stream).unwrap().first(3), 2);
        let metadata = Arc::new(StreamMetadata::default());
        heads.apply(about, 1, Some(&Effect::Metadata { of: stream, metadata }));
        assert_eq!(heads.keeping(stream).unwrap().first(3), 2, "what was truncated does not come back");
    }
    /// A stream of ten events, and what is truncated `before` a revision.
    fn truncated(heads: &mut Heads, terms: &Terms, before: u64) {
        for revision in 0..10 {
            heads.apply(terms.stream("a"), revision, None);
        }
        describe(heads, terms, 0, Some(before));
    }

    fn describe(heads: &mut Heads, terms: &Terms, revision: u64, before: Option<u64>) {
        let truncate_before = before.map(Revision);
        let metadata = Arc::new(StreamMetadata { truncate_before, ..StreamMetadata::default() });
        let effect = Effect::Metadata { of: terms.stream("a"), metadata };
        heads.apply(terms.stream("$$a"), revision, Some(&effect));
    }

    /// From where on the stream is shown, and what its metadata says of that.
    fn shown_from(heads: &Heads, terms: &Terms) -> (u64, Option<u64>) {
        let (keeping, next) = (heads.keeping(terms.stream("a")).unwrap(), heads.get(terms.stream("a")).next);
        (keeping.first(next), keeping.metadata(next).truncate_before.map(|revision| revision.0))
    }

    #[test]
    fn a_truncation_beyond_the_end_hides_nothing_that_comes_later() {
        let (terms, mut heads) = (Terms::new([3; 16]), Heads::default());
        truncated(&mut heads, &terms, 1_000_000);
        assert_eq!(shown_from(&heads, &terms), (10, Some(10)));
        for revision in 10..15 {
            heads.apply(terms.stream("a"), revision, None);
            assert_eq!(shown_from(&heads, &terms), (10, Some(10)));
        }
        describe(&mut heads, &terms, 1, Some(3));
        assert_eq!(shown_from(&heads, &terms), (10, Some(3)));
    }

    #[test]
    fn a_scavenged_log_tells_the_same() {
        let (terms, mut heads) = (Terms::new([3; 16]), Heads::default());
        // The ten events that were truncated are gone, and so is older metadata.
        describe(&mut heads, &terms, 3, Some(10));
        heads.apply(terms.stream("a"), 10, None);
        assert_eq!(shown_from(&heads, &terms), (10, Some(10)));
        // Metadata of an older version: what it hid is gone, as far as it was scavenged.
        let mut heads = Heads::default();
        describe(&mut heads, &terms, 3, Some(1000));
        heads.apply(terms.stream("a"), 999, None);
        assert_eq!(shown_from(&heads, &terms), (999, Some(999)));
    }
}
