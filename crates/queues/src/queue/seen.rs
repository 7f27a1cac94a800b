//! The window in which a queue knows the identity of a message again (Service Bus duplicate detection, SQS deduplication).
//!
//! An identity is remembered as a hash of 128 bits, for as long as the window says, counted from when it came first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{Text, TimestampMs};

/// Keys of the hash: persisted with what was hashed, so never change them.
const KEYS: (u64, u64) = (0x616e_6e61_6c73_2d71, 0x7565_7565_732d_6964);

pub(crate) type Identity = [u8; 16];

#[derive(Debug, Default)]
pub(crate) struct Seen {
    until: HashMap<Identity, TimestampMs>,
    order: BTreeSet<(TimestampMs, Identity)>,
}

pub(crate) fn identity_of(text: &Text) -> Identity {
    let mut hasher = SipHasher13::new_with_keys(KEYS.0, KEYS.1);
    hasher.write(text.as_bytes());
    hasher.finish128().as_bytes()
}

impl Seen {
    /// Whether it is remembered now.
    pub(crate) fn contains(&self, identity: &Identity, now_ms: TimestampMs) -> bool {
        self.until.get(identity).is_some_and(|until| *until > now_ms)
    }

    pub(crate) fn remember(&mut self, identity: Identity, until_ms: TimestampMs) {
        if let Some(before) = self.until.insert(identity, until_ms) {
            self.order.remove(&(before, identity));
        }
        self.order.insert((until_ms, identity));
    }

    /// Forgets what is out of the window.
    pub(crate) fn forget(&mut self, now_ms: TimestampMs) {
        while let Some(&(until, identity)) = self.order.first().filter(|(until, _)| *until <= now_ms) {
            self.order.remove(&(until, identity));
            self.until.remove(&identity);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Identity, TimestampMs)> {
        self.order.iter().map(|(until, identity)| (identity, *until))
    }
}
