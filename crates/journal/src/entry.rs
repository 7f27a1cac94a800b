//! What callers hand to the journal: groups of entries, each for one log.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::id::LogId;

/// One atomic append: entries for any number of logs, all there after a crash, or none.
#[derive(Debug, Default, Clone)]
pub struct Group {
    pub(crate) entries: Vec<Entry>,
    pub(crate) durability: Option<Durability>,
    pub(crate) linger: Option<Duration>,
}

impl Group {
    /// An empty group with the journal's own durability.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds records to a log. Entries of one log must be added in the order of their offsets.
    pub fn push(&mut self, log: LogId, base_offset: u64, records: u32, timestamp_ms: i64, payload: Payload) {
        let header = EntryHeader {
            log,
            kind: EntryKind::Data,
            base_offset,
            records,
            timestamp_ms,
            len: payload.len() as u32,
            crc: payload.crc,
        };
        self.entries.push(Entry { header, payload });
    }

    /// Drops everything below `start` from a log, durably. Space returns when the segments are rewritten.
    pub fn trim(&mut self, log: LogId, start: u64) {
        self.control(log, EntryKind::Trim, start);
    }

    /// Drops a log for good. Its id must never be used again.
    pub fn delete(&mut self, log: LogId) {
        self.control(log, EntryKind::Delete, 0);
    }

    /// Asks for a weaker or stronger durability than the journal's own, for this group.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Lets this group wait for another one that does not linger, to be written with it; alone it is written after about
    /// this time.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = Some(linger);
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes this group takes in a segment, without padding.
    pub fn stored_len(&self) -> usize {
        let payloads: usize = self.entries.iter().map(|entry| entry.payload.len()).sum();
        crate::frame::HEADER_LEN + self.entries.len() * crate::frame::ENTRY_LEN + payloads
    }

    fn control(&mut self, log: LogId, kind: EntryKind, base_offset: u64) {
        let header = EntryHeader { log, kind, base_offset, records: 0, timestamp_ms: 0, len: 0, crc: 0 };
        self.entries.push(Entry { header, payload: Payload::default() });
    }
}

/// When an append is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// After the bytes are on disk (`fdatasync`). Survives power loss.
    #[default]
    Sync,
    /// After the bytes are handed to the operating system. Survives a killed process; a power failure may lose what
    /// was written since the last sync, at most [`crate::Options::async_interval`] ago.
    Async,
}

/// One entry of a group.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it belongs.
    pub header: EntryHeader,
    /// Its bytes.
    pub payload: Payload,
}

/// The fixed part of an entry, as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHeader {
    /// The log it belongs to.
    pub log: LogId,
    /// What it says.
    pub kind: EntryKind,
    /// The offset of its first record. For [`EntryKind::Trim`], the first offset that is kept.
    pub base_offset: u64,
    /// How many offsets it takes.
    pub records: u32,
    /// The largest timestamp in it, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Payload length in bytes.
    pub len: u32,
    /// CRC-32C of the payload.
    pub crc: u32,
}

impl EntryHeader {
    /// The offset after its last record.
    pub fn end_offset(&self) -> u64 {
        self.base_offset + u64::from(self.records)
    }
}

/// What an entry says. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// Records of a log.
    Data = 0,
    /// Everything below the offset is dropped.
    Trim = 1,
    /// The log is dropped.
    Delete = 2,
}

impl EntryKind {
    pub(crate) fn from_stored(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Trim),
            2 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// The bytes of an entry: a short head that the owner wrote, a shared body, and the checksum of both.
///
/// A head lets an owner change the first bytes of what a client sent (a Kafka batch's base offset) without copying the
/// rest.
#[derive(Clone, Default)]
pub struct Payload {
    head: Head,
    body: Bytes,
    crc: u32,
}

/// Bytes that a [`Payload`] can carry apart from its body.
pub const HEAD_LEN_MAX: usize = 64;

#[derive(Clone)]
struct Head {
    len: u8,
    bytes: [u8; HEAD_LEN_MAX],
}

impl Default for Head {
    fn default() -> Self {
        Self { len: 0, bytes: [0; HEAD_LEN_MAX] }
    }
}

impl Payload {
    /// A payload of one piece; computes its checksum.
    pub fn new(body: Bytes) -> Self {
        let crc = crc32c::crc32c(&body);
        Self { head: Head::default(), body, crc }
    }

    /// A payload of a head and a body, with the CRC-32C of both together, which the caller knows.
    ///
    /// # Panics
    /// If `head` is longer than [`HEAD_LEN_MAX`].
    pub fn with_head(head: &[u8], body: Bytes, crc: u32) -> Self {
        assert!(head.len() <= HEAD_LEN_MAX, "a head of {} bytes is too long", head.len());
        let mut bytes = [0; HEAD_LEN_MAX];
        bytes[..head.len()].copy_from_slice(head);
        Self { head: Head { len: head.len() as u8, bytes }, body, crc }
    }

    /// The head, empty if the payload is one piece.
    pub fn head(&self) -> &[u8] {
        &self.head.bytes[..usize::from(self.head.len)]
    }

    /// What follows the head.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Length of head and body, in bytes.
    pub fn len(&self) -> usize {
        self.head().len() + self.body.len()
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Head and body as one piece; copies only if there is a head.
    pub fn to_bytes(&self) -> Bytes {
        if self.head().is_empty() {
            return self.body.clone();
        }
        let mut joined = BytesMut::with_capacity(self.len());
        joined.extend_from_slice(self.head());
        joined.extend_from_slice(&self.body);
        joined.freeze()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes, crc {:08x})", self.len(), self.crc)
    }
}
