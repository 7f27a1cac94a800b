//! Keys by which events are found: 128-bit hashes of streams, categories, types, tags and ids.
//!
//! A hash in the place of a name keeps a million streams in some tens of megabytes. It is keyed (SipHash-1-3) with a seed
//! that nobody else knows, so that nobody outside can make two names that meet; by chance, a billion names meet once in some
//! 10^20 stores.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::record::RecordedEvent;

/// What a stream, category, type, tag or id is known by within one store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TermKey(u64, u64);

impl TermKey {
    /// Its bytes: in the index, keys of one kind are ordered by them.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        bytes
    }

    /// A number that depends on every bit of the key and of `value`.
    pub(crate) fn mix(self, value: u64) -> u64 {
        let mut mixed = self.0 ^ self.1.rotate_left(32) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// It is a hash already.
impl Hash for TermKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Takes the first half of a [`TermKey`] for its hash.
#[derive(Default, Clone, Copy)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A map from keys.
pub(crate) type KeyMap<V> = std::collections::HashMap<TermKey, V, BuildHasherDefault<KeyHasher>>;

/// Makes the keys of one store.
#[derive(Clone, Copy)]
pub struct Terms {
    seed: [u8; 16],
    hasher: SipHasher13,
}

/// The kinds of keys. The numbers are stored as part of every hash: never change or reuse one.
#[repr(u8)]
enum Kind {
    Stream = 1,
    Category = 2,
    Type = 3,
    Tag = 4,
    Id = 5,
}

impl Terms {
    /// Keys from a seed, which is drawn at random when an index is built and stays with it.
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed, hasher: SipHasher13::new_with_key(&seed) }
    }

    /// The seed.
    pub fn seed(&self) -> [u8; 16] {
        self.seed
    }

    /// The key of a stream.
    pub fn stream(&self, name: &str) -> TermKey {
        self.key(Kind::Stream, name.as_bytes())
    }

    /// The key of a category.
    pub fn category(&self, name: &str) -> TermKey {
        self.key(Kind::Category, name.as_bytes())
    }

    /// The key of a type.
    pub fn type_name(&self, name: &str) -> TermKey {
        self.key(Kind::Type, name.as_bytes())
    }

    /// The key of a tag.
    pub fn tag(&self, tag: &str) -> TermKey {
        self.key(Kind::Tag, tag.as_bytes())
    }

    /// The key of the id that an event of the log has within its stream.
    pub fn id_of(&self, event: &RecordedEvent) -> TermKey {
        self.id(self.stream(event.stream()), event.id())
    }

    /// The key of an event's id within its stream.
    pub(crate) fn id(&self, stream: TermKey, id: &str) -> TermKey {
        let mut hasher = self.hasher;
        hasher.write_u8(Kind::Id as u8);
        hasher.write(&stream.to_bytes());
        hasher.write(id.as_bytes());
        finish(&hasher)
    }

    fn key(&self, kind: Kind, text: &[u8]) -> TermKey {
        let mut hasher = self.hasher;
        hasher.write_u8(kind as u8);
        hasher.write(text);
        finish(&hasher)
    }
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}

fn finish(hasher: &SipHasher13) -> TermKey {
    let hash = hasher.finish128();
    TermKey(hash.h1, hash.h2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_seeds_are_told_apart() {
        let terms = Terms::new([1; 16]);
        assert_ne!(terms.stream("a"), terms.tag("a"));
        assert_ne!(terms.stream("a"), Terms::new([2; 16]).stream("a"));
        assert_eq!(terms.stream("a"), Terms::new([1; 16]).stream("a"));
        assert_ne!(terms.id(terms.stream("a"), "1"), terms.id(terms.stream("b"), "1"));
    }
}
