//! The latest offset of each key, in bounded memory.
//!
//! A key is known by a 128-bit hash. The hash is keyed (SipHash-1-3) with a seed that the caller draws at random,
//! because two keys with one hash would let one record remove another, and nobody outside may be able to make such
//! keys. By chance, a billion keys meet once in some 10^20 logs.
//!
//! Open addressing with linear probing in one flat table that doubles up to its bound. Nothing is ever removed.

use siphasher::sip128::SipHasher13;

use crate::Offset;
use crate::batch::{Batch, BatchError, ExpandLimits, Frames};

const SLOT_BYTES: usize = size_of::<Slot>();
const SLOTS_MIN: usize = 64;
const VACANT: Offset = -1;

#[derive(Clone, Copy)]
struct Slot {
    hash: (u64, u64),
    offset: Offset,
}

/// For each key of a stretch of log, the offset of its latest record.
pub struct OffsetMap {
    slots: Vec<Slot>,
    len: usize,
    slots_max: usize,
    hasher: SipHasher13,
    complete_to: Offset,
}

impl OffsetMap {
    /// An empty map for the log from `from` on, in about `bytes_max` of memory at most; half as much more while it
    /// grows. A key takes 24 bytes of it, with a quarter of the room left free.
    pub fn new(from: Offset, bytes_max: usize, seed: [u8; 16]) -> Self {
        let slots = (bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        // A power of two, rounded down.
        let slots_max = 1 << slots.ilog2();
        let hasher = SipHasher13::new_with_key(&seed);
        Self { slots: vacant(SLOTS_MIN), len: 0, slots_max, hasher, complete_to: from }
    }

    /// Takes in the records of a batch, from [`OffsetMap::complete_to`] on. Call it for the batches in order; false
    /// means that the map is full, and ends it.
    ///
    /// # Errors
    /// [`BatchError`] for a batch that cannot be read. It is passed over, which is safe: [`super::clean`] leaves it in
    /// place, and what its records replace stays too.
    pub fn add(&mut self, batch: &Batch, limits: &ExpandLimits) -> Result<bool, BatchError> {
        let header = &batch.header;
        if header.attributes.is_control() || header.record_count == 0 {
            self.complete_to = self.complete_to.max(header.next_offset());
            return Ok(true);
        }
        let result = batch.expanded_body(limits).and_then(|body| self.add_frames(batch, &body));
        if !matches!(result, Ok(false)) {
            self.complete_to = self.complete_to.max(header.next_offset());
        }
        result
    }

    fn add_frames(&mut self, batch: &Batch, body: &[u8]) -> Result<bool, BatchError> {
        for frame in Frames::new(body, batch.header.record_count) {
            let frame = frame?;
            let offset = batch.header.base_offset + i64::from(frame.offset_delta);
            let Some(key) = frame.key.filter(|_| offset >= self.complete_to) else { continue };
            if !self.insert(key, offset) {
                self.complete_to = offset;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records before this offset are all in the map: what they replace can go.
    pub fn complete_to(&self) -> Offset {
        self.complete_to
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The latest offset of a key, if the key is in the map.
    pub fn latest(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.find(self.hash(key))];
        (slot.offset != VACANT).then_some(slot.offset)
    }

    fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let mut index = self.find(hash);
        if self.slots[index].offset == VACANT {
            if self.len >= self.slots.len() / 4 * 3 {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.grow();
                index = self.find(hash);
            }
            self.len += 1;
        }
        let latest = offset.max(self.slots[index].offset);
        self.slots[index] = Slot { hash, offset: latest };
        true
    }

    fn grow(&mut self) {
        let doubled = vacant(self.slots.len() * 2);
        for slot in std::mem::replace(&mut self.slots, doubled) {
            if slot.offset != VACANT {
                let index = self.find(slot.hash);
                self.slots[index] = slot;
            }
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let hash = self.hasher.hash(key);
        (hash.h1, hash.h2)
    }

    /// The slot with this hash, or the vacant one where it belongs. There is always a vacant slot.
    fn find(&self, hash: (u64, u64)) -> usize {
        let mask = self.slots.len() - 1;
        let mut index = hash.0 as usize & mask;
        while self.slots[index].offset != VACANT && self.slots[index].hash != hash {
            index = (index + 1) & mask;
        }
        index
    }
}

fn vacant(count: usize) -> Vec<Slot> {
    vec![Slot { hash: (0, 0), offset: VACANT }; count]
}

impl std::fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { len, slots_max, complete_to, .. } = self;
        f.debug_struct("OffsetMap")
            .field("len", len)
            .field("slots_max", slots_max)
            .field("complete_to", complete_to)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::OffsetMap;

    #[test]
    fn grows_to_its_bound_and_no_further() {
        let mut map = OffsetMap::new(0, 24 * 1_000, [7; 16]);
        let fitted = (0..10_000_i64).take_while(|i| map.insert(&i.to_be_bytes(), *i)).count();
        assert_eq!(fitted, 512 / 4 * 3, "1000 slots are rounded down to 512");
        assert!(map.insert(&5_i64.to_be_bytes(), 99), "a known key always fits");
        assert_eq!(map.latest(&5_i64.to_be_bytes()), Some(99));
        assert_eq!((map.latest(&6_i64.to_be_bytes()), map.latest(b"none")), (Some(6), None));
    }

    proptest! {
        #[test]
        fn holds_the_latest(entries in proptest::collection::vec((0_u16..500, 0_i64..100_000), 0..2_000), seed: [u8; 16]) {
            let mut map = OffsetMap::new(0, 1 << 20, seed);
            let mut model = HashMap::new();
            for (key, offset) in entries {
                prop_assert!(map.insert(&key.to_be_bytes(), offset));
                let latest = model.entry(key).or_insert(offset);
                *latest = offset.max(*latest);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..500_u16 {
                prop_assert_eq!(map.latest(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }
}
