//! Frames: how groups lie in a segment. The one place that knows the bytes; `docs/format.md` is its description.
//!
//! A frame is a header, a table of entry headers and the payloads. The header's checksum covers the table, the table
//! holds each payload's checksum, so a damaged payload spoils one entry and not its neighbours. A frame also says
//! which file and position it was written for, so that bytes that merely look like a frame, because a user stored a
//! copy of a segment or a disk wrote to the wrong place, are told from the real thing.
//!
//! `durable_before` is the highest sequence that was known to be on disk when the frame was written. It lets recovery tell a
//! torn tail from damage: an unreadable frame with a number that a later frame calls durable was once whole.
//!
//! All numbers are little-endian. Frames start at multiples of [`FRAME_ALIGNMENT`].

use crate::entry::{EntryHeader, EntryKind};
use crate::id::{LogId, Sequence};

/// Length of a frame header.
pub(crate) const HEADER_LEN: usize = 64;
/// Length of one entry header in a frame's table.
pub(crate) const ENTRY_LEN: usize = 40;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGNMENT: usize = 8;
/// Writes start at multiples of this, so that no write touches a sector that holds synced data.
pub(crate) const BLOCK_LEN: usize = 4096;

/// The largest sequence and the largest offset that anything on disk may have: what is larger is no number of this journal.
/// Nobody gets there by counting, and what is added to one below it cannot overflow.
pub(crate) const NUMBER_MAX: u64 = i64::MAX.cast_unsigned();

pub(crate) const MAGIC: [u8; 4] = *b"AnFr";
const VERSION: u8 = 1;

/// What a frame holds. The numbers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// One group, as appended.
    Group = 1,
    /// Entries of one log, brought together by a rewrite, or control entries that a rewrite kept.
    Extent = 2,
    /// No entries: says only that everything before it is durable.
    Marker = 3,
}

impl FrameKind {
    fn from_stored(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Group),
            2 => Some(Self::Extent),
            3 => Some(Self::Marker),
            _ => None,
        }
    }
}

/// A decoded frame header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) entries: u32,
    /// Header, table and payloads, without padding.
    pub(crate) len: u64,
    pub(crate) sequence: Sequence,
    pub(crate) durable_before: Sequence,
    pub(crate) written_ms: i64,
    /// The segment file it was written for: see [`crate::segment::SegmentName::salt`].
    pub(crate) salt: u64,
    /// Its position in that file.
    pub(crate) position: u64,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("no frame starts here")]
    NoMagic,
    #[error("the frame is longer than what is left of the file")]
    Truncated,
    #[error("the frame's version {0} is newer than this program understands")]
    Version(u8),
    #[error("the checksum of the frame's header does not match")]
    Checksum,
    #[error("the frame's numbers contradict each other")]
    Inconsistent,
    #[error("the frame was written for another file or position")]
    Misplaced,
}

impl FrameHeader {
    /// Length of header and entry table.
    pub(crate) fn table_end(&self) -> usize {
        HEADER_LEN + self.entries as usize * ENTRY_LEN
    }

    /// Appends header and table for `entries` to `out`; `len` and `entries` of `self` must agree with them.
    pub(crate) fn encode<'a>(&self, entries: impl Iterator<Item = &'a EntryHeader>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[VERSION, self.kind as u8, 0, 0]);
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.sequence.0.to_le_bytes());
        out.extend_from_slice(&self.durable_before.0.to_le_bytes());
        out.extend_from_slice(&self.written_ms.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        for entry in entries {
            encode_entry(entry, out);
        }
        let crc = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Decodes the fixed part. `left` is how many bytes the file has from the frame's start. The checksum is checked
    /// by [`decode_table`], which needs the whole table.
    pub(crate) fn decode(bytes: &[u8], left: u64) -> Result<Self, FrameError> {
        if bytes.len() < HEADER_LEN || bytes[..4] != MAGIC {
            return Err(FrameError::NoMagic);
        }
        if bytes[8] != VERSION {
            return Err(FrameError::Version(bytes[8]));
        }
        let header = Self {
            kind: FrameKind::from_stored(bytes[9]).ok_or(FrameError::Inconsistent)?,
            entries: u32_at(bytes, 12),
            len: u64_at(bytes, 16),
            sequence: Sequence(u64_at(bytes, 24)),
            durable_before: Sequence(u64_at(bytes, 32)),
            written_ms: u64_at(bytes, 40).cast_signed(),
            salt: u64_at(bytes, 48),
            position: u64_at(bytes, 56),
        };
        if header.len > left || header.table_end() as u64 > left {
            return Err(FrameError::Truncated);
        }
        if (header.table_end() as u64) > header.len
            || header.sequence.max(header.durable_before).0 > NUMBER_MAX
        {
            return Err(FrameError::Inconsistent);
        }
        // No frame knows of what comes after it.
        if header.durable_before > header.sequence {
            return Err(FrameError::Inconsistent);
        }
        Ok(header)
    }

    /// Checks that the frame was written for `salt` and `position`.
    pub(crate) fn belongs_to(&self, salt: u64, position: u64) -> Result<(), FrameError> {
        if self.salt == salt && self.position == position { Ok(()) } else { Err(FrameError::Misplaced) }
    }
}

/// Decodes the entry table of a frame. `bytes` holds header and table.
pub(crate) fn decode_table(header: &FrameHeader, bytes: &[u8]) -> Result<Vec<EntryHeader>, FrameError> {
    let covered = bytes.get(8..header.table_end()).ok_or(FrameError::Truncated)?;
    if crc32c::crc32c(covered) != u32_at(bytes, 4) {
        return Err(FrameError::Checksum);
    }
    let table = &bytes[HEADER_LEN..header.table_end()];
    let entries: Option<Vec<_>> = table.chunks_exact(ENTRY_LEN).map(decode_entry).collect();
    let entries = entries.ok_or(FrameError::Inconsistent)?;
    let payloads: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
    if header.table_end() as u64 + payloads != header.len {
        return Err(FrameError::Inconsistent);
    }
    Ok(entries)
}

/// The length of a frame with padding up to where the next one may start.
pub(crate) fn padded(len: u64) -> u64 {
    len.next_multiple_of(FRAME_ALIGNMENT as u64)
}

fn encode_entry(entry: &EntryHeader, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.log.0.to_le_bytes());
    out.extend_from_slice(&entry.base_offset.to_le_bytes());
    out.extend_from_slice(&entry.timestamp_ms.to_le_bytes());
    out.extend_from_slice(&entry.records.to_le_bytes());
    out.extend_from_slice(&entry.len.to_le_bytes());
    out.extend_from_slice(&entry.crc.to_le_bytes());
    out.extend_from_slice(&[entry.kind as u8, 0, 0, 0]);
}

fn decode_entry(bytes: &[u8]) -> Option<EntryHeader> {
    let base_offset = u64_at(bytes, 8);
    let records = u32_at(bytes, 24);
    if base_offset > NUMBER_MAX {
        return None;
    }
    Some(EntryHeader {
        log: LogId(u64_at(bytes, 0)),
        kind: EntryKind::from_stored(bytes[36])?,
        base_offset,
        records,
        timestamp_ms: u64_at(bytes, 16).cast_signed(),
        len: u32_at(bytes, 28),
        crc: u32_at(bytes, 32),
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Callers have checked the length: a frame header or table row is always whole here.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (FrameHeader, Vec<EntryHeader>) {
        let entry = EntryHeader {
            log: LogId(7),
            kind: EntryKind::Data,
            base_offset: 10,
            records: 3,
            timestamp_ms: -1,
            len: 5,
            crc: 0xdead_beef,
        };
        let header = FrameHeader {
            kind: FrameKind::Group,
            entries: 1,
            len: (HEADER_LEN + ENTRY_LEN) as u64 + 5,
            sequence: Sequence(4),
            durable_before: Sequence(3),
            written_ms: 1_700_000_000_000,
            salt: 9,
            position: 4096,
        };
        (header, vec![entry])
    }

    fn encoded() -> Vec<u8> {
        let (header, entries) = sample();
        let mut bytes = Vec::new();
        header.encode(entries.iter(), &mut bytes);
        bytes.extend_from_slice(b"hello");
        bytes
    }

    #[test]
    fn a_frame_decodes_to_what_was_encoded() {
        let bytes = encoded();
        let header = FrameHeader::decode(&bytes, bytes.len() as u64).unwrap();
        assert_eq!((header, decode_table(&header, &bytes).unwrap()), sample());
        assert_eq!(header.belongs_to(9, 4096), Ok(()));
        assert_eq!(header.belongs_to(9, 8192), Err(FrameError::Misplaced));
    }

    #[test]
    fn every_flipped_bit_of_header_and_table_is_noticed() {
        let good = encoded();
        for bit in 0..(HEADER_LEN + ENTRY_LEN) * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = FrameHeader::decode(&bytes, bytes.len() as u64).and_then(|h| decode_table(&h, &bytes));
            assert!(read.is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn numbers_that_nothing_could_follow_are_refused() {
        let (header, entries) = sample();
        let absurd = Sequence(u64::MAX);
        for header in [
            FrameHeader { sequence: absurd, ..header },
            FrameHeader { durable_before: absurd, ..header },
            FrameHeader { durable_before: header.sequence.next(), ..header },
        ] {
            let mut bytes = Vec::new();
            header.encode(entries.iter(), &mut bytes);
            assert_eq!(FrameHeader::decode(&bytes, u64::MAX), Err(FrameError::Inconsistent));
        }
        let entry = EntryHeader { base_offset: u64::MAX - 3, ..entries[0] };
        let mut bytes = Vec::new();
        header.encode([entry].iter(), &mut bytes);
        assert_eq!(decode_table(&header, &bytes), Err(FrameError::Inconsistent));
    }

    #[test]
    fn a_length_beyond_the_file_is_refused_before_anything_is_read() {
        let mut bytes = encoded();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(FrameHeader::decode(&bytes, bytes.len() as u64), Err(FrameError::Truncated));
    }
}
