//! Segments: the files of the journal. Their names, their header block, and an open segment.
//!
//! A segment covers a range of ids, at first one. A rewrite of several neighbours gives one segment that covers all
//! their ids with a higher generation; of two files that cover the same id the higher generation is the valid one, so a
//! crash between "the new one is there" and "the old ones are gone" is harmless.

pub(crate) mod footer;
pub(crate) mod scan;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use crate::files::{File, read_exact_at};
use crate::frame::{BLOCK_LEN, NUMBER_MAX, u16_at, u32_at, u64_at};

/// Frames start here; the block before it is the segment's header.
pub(crate) const DATA_START: u64 = BLOCK_LEN as u64;

const MAGIC: [u8; 8] = *b"AnSegmnt";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 64;

/// The name of a segment file: the ids it covers and how often they were rewritten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SegmentName {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) generation: u32,
}

impl SegmentName {
    pub(crate) fn fresh(id: u64) -> Self {
        Self { first: id, last: id, generation: 0 }
    }

    /// The name in a file listing, or `None` for any other file.
    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let mut parts = file_name.strip_suffix(".segment")?.split('-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (first, last, generation) = (number()?, number()?, number()?);
        let name = Self { first, last, generation: u32::try_from(generation).ok()? };
        (name.to_string() == file_name && first <= last && last <= NUMBER_MAX).then_some(name)
    }

    /// Whether this file makes `other` obsolete.
    pub(crate) fn supersedes(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last && self.generation > other.generation
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:010}-{:04}.segment", self.first, self.last, self.generation)
    }
}

/// What the header block says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) name: SegmentName,
    /// A random number that every frame of this file repeats.
    pub(crate) salt: u64,
    pub(crate) created_ms: i64,
    /// Where the frames of a rewritten segment end; 0 in a segment that was written group by group.
    pub(crate) data_end: u64,
    /// The file was a segment before: behind the frames lie what is left of others, and not zeros.
    pub(crate) reused: bool,
}

/// Why a header block cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the segment's header block is damaged")]
    Damaged,
    #[error("the segment has format version {0}, newer than this program's {VERSION}; use a newer program")]
    Version(u16),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SegmentHeader {
    /// The whole header block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&[u8::from(self.reused), 0]);
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.name.first.to_le_bytes());
        block.extend_from_slice(&self.name.last.to_le_bytes());
        block.extend_from_slice(&u64::from(self.name.generation).to_le_bytes());
        block.extend_from_slice(&self.created_ms.to_le_bytes());
        block.extend_from_slice(&self.data_end.to_le_bytes());
        let crc = crc32c::crc32c(&block[12..]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        block.resize(BLOCK_LEN, 0);
        block
    }

    pub(crate) fn read(file: &dyn File) -> Result<Self, HeaderError> {
        let mut block = vec![0; BLOCK_LEN];
        let read = file.read_at(0, &mut block)?;
        let header = &block[..read.min(HEADER_LEN)];
        if header.len() < HEADER_LEN || header[..8] != MAGIC {
            return Err(HeaderError::Damaged);
        }
        if crc32c::crc32c(&header[12..]) != u32_at(header, 8) || block[HEADER_LEN..].iter().any(|&b| b != 0) {
            return Err(HeaderError::Damaged);
        }
        let version = u16_at(header, 12);
        if version > VERSION {
            return Err(HeaderError::Version(version));
        }
        let generation = u32::try_from(u64_at(header, 40)).map_err(|_| HeaderError::Damaged)?;
        let name = SegmentName { first: u64_at(header, 24), last: u64_at(header, 32), generation };
        let (salt, created_ms) = (u64_at(header, 16), u64_at(header, 48).cast_signed());
        Ok(Self { name, salt, created_ms, data_end: u64_at(header, 56), reused: header[14] != 0 })
    }
}

/// An open segment, shared by the index and readers. Its file may already be unlinked: whoever holds it can still read.
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    pub(crate) salt: u64,
    /// See [`SegmentHeader::reused`].
    pub(crate) reused: bool,
    pub(crate) file: Arc<dyn File>,
    /// Where frames end. Grows while the segment is written.
    data_end: AtomicU64,
    /// Payload bytes that somebody may still read.
    live: AtomicU64,
    /// Set when reading found damage: such a file is never rewritten or deleted by the journal itself.
    damaged: AtomicBool,
    sealed: AtomicBool,
}

impl Segment {
    pub(crate) fn new(header: &SegmentHeader, file: Arc<dyn File>, data_end: u64, sealed: bool) -> Self {
        Self {
            name: header.name,
            salt: header.salt,
            reused: header.reused,
            file,
            data_end: AtomicU64::new(data_end),
            live: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            sealed: AtomicBool::new(sealed),
        }
    }

    pub(crate) fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    pub(crate) fn set_data_end(&self, end: u64) {
        self.data_end.store(end, Ordering::Release);
    }

    pub(crate) fn add_live(&self, bytes: u64) {
        self.live.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn remove_live(&self, bytes: u64) {
        self.live.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn set_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub(crate) fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    pub(crate) fn read(&self, position: u64, len: usize) -> io::Result<Bytes> {
        read_exact_at(self.file.as_ref(), position, len)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_ignored() {
        let name = SegmentName { first: 3, last: 12, generation: 2 };
        assert_eq!(name.to_string(), "0000000003-0000000012-0002.segment");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for stranger in ["LOCK", "a-b-c.segment", "1-1-0.segment", "0000000003-0000000002-0002.segment", ""] {
            assert_eq!(SegmentName::parse(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_rewrite_supersedes_what_it_covers() {
        let old = SegmentName::fresh(5);
        let new = SegmentName { first: 4, last: 6, generation: 1 };
        assert!(new.supersedes(&old) && !old.supersedes(&new) && !old.supersedes(&old));
    }
}
