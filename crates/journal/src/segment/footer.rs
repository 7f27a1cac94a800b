//! The footer index of a sealed segment: where each log's entries are, so that a restart need not read the data.
//!
//! Derived, never evidence: a footer that is missing or fails its checksum is rebuilt by reading the frames. It lies
//! behind the frames, and its last bytes, the trailer, say where it begins:
//!
//! ```text
//! frames … | directory | controls | rows | summaries | trailer
//! ```
//!
//! The directory has one row a log and is read at start; the rows of a log, one an entry, are read when somebody reads
//! that log there. A summary is what the owner of a log wanted to find again without replaying it.

use std::io;

use bytes::Bytes;

use crate::entry::EntryKind;
use crate::files::{File, read_exact_at};
use crate::frame::{NUMBER_MAX, u16_at, u32_at, u64_at};
use crate::id::{LogId, Sequence};
use crate::index::row::Row;

const MAGIC: [u8; 8] = *b"AnFooter";
const VERSION: u16 = 1;
pub(crate) const TRAILER_LEN: usize = 80;
/// The last byte of the directory's checksum, the last in the trailer that is not always zero.
const LAST_BYTE: usize = 75;
/// Bits in which the beginning of a damaged trailer may differ.
const BITS_WRONG_MAX: u32 = 4;
const DIRECTORY_ROW_LEN: usize = 72;
const CONTROL_LEN: usize = 24;

/// One log's share of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DirectoryRow {
    pub(crate) log: LogId,
    /// Its first row, counted from the first of the footer.
    pub(crate) row_start: u32,
    pub(crate) row_count: u32,
    pub(crate) rows_crc: u32,
    pub(crate) first_offset: u64,
    pub(crate) end_offset: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    pub(crate) max_timestamp_ms: i64,
    summary_start: u32,
    summary_len: u32,
    summary_crc: u32,
}

/// A trim or deletion that a segment records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Control {
    pub(crate) log: LogId,
    pub(crate) kind: EntryKind,
    pub(crate) offset: u64,
}

/// What is read of a footer at start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Footer {
    pub(crate) directory: Vec<DirectoryRow>,
    pub(crate) controls: Vec<Control>,
    pub(crate) place: Place,
}

/// Where the parts of a footer are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place {
    /// Where the frames end and the directory begins.
    pub(crate) data_end: u64,
    rows_start: u64,
    summaries_start: u64,
    pub(crate) first_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    /// The file was sealed with a known hole: some of its frames were unreadable.
    pub(crate) damaged: bool,
}

/// What one log contributes to a new footer.
pub(crate) struct LogRows<'a> {
    pub(crate) log: LogId,
    pub(crate) rows: &'a [Row],
    pub(crate) summary: &'a [u8],
}

/// Why a footer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FooterError {
    #[error("the segment has no footer index")]
    Missing,
    #[error("the segment's footer index is damaged")]
    Damaged,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Encodes a footer that starts at `data_end`. `logs` must be sorted by log.
pub(crate) fn encode(
    logs: &[LogRows<'_>],
    controls: &[Control],
    data_end: u64,
    sequences: (Sequence, Sequence),
    damaged: bool,
) -> Vec<u8> {
    let (mut directory, mut rows, mut summaries) = (Vec::new(), Vec::new(), Vec::new());
    for log in logs {
        encode_log(log, &mut directory, &mut rows, &mut summaries);
    }
    for control in controls {
        directory.extend_from_slice(&control.log.0.to_le_bytes());
        directory.extend_from_slice(&control.offset.to_le_bytes());
        directory.extend_from_slice(&[control.kind as u8, 0, 0, 0, 0, 0, 0, 0]);
    }
    let directory_crc = crc32c::crc32c(&directory);
    let counts = (logs.len() as u32, controls.len() as u32);
    let lens = (directory.len() as u64, rows.len() as u64, summaries.len() as u64);
    let mut footer = directory;
    footer.extend_from_slice(&rows);
    footer.extend_from_slice(&summaries);
    encode_trailer(&mut footer, directory_crc, counts, lens, data_end, sequences, damaged);
    footer
}

/// Puts an encoded footer behind the frames of a file and makes both durable. The trailer comes last, so that a trailer
/// never stands behind parts that a crash tore.
pub(crate) fn write(file: &dyn File, data_end: u64, footer: &[u8]) -> io::Result<()> {
    let (parts, trailer) = footer.split_at(footer.len() - TRAILER_LEN);
    file.set_len(data_end + footer.len() as u64)?;
    file.write_at(data_end, parts)?;
    file.sync_data()?;
    file.write_at(data_end + parts.len() as u64, trailer)?;
    file.sync_data()
}

/// Whether the last bytes of a file are no trailer, or one of which a part never reached the disk. What did not is zero,
/// and neither the trailer's first byte nor the last of its checksums is likely to be.
pub(crate) fn is_torn(trailer: &[u8]) -> bool {
    let differing = trailer.iter().zip(MAGIC).map(|(byte, wanted)| (byte ^ wanted).count_ones());
    trailer[0] == 0 || trailer[LAST_BYTE] == 0 || differing.sum::<u32>() > BITS_WRONG_MAX
}

fn encode_log(log: &LogRows<'_>, directory: &mut Vec<u8>, rows: &mut Vec<u8>, summaries: &mut Vec<u8>) {
    let row_start = (rows.len() / Row::STORED_LEN) as u32;
    let rows_from = rows.len();
    for row in log.rows {
        row.encode(rows);
    }
    let rows_crc = crc32c::crc32c(&rows[rows_from..]);
    let first = log.rows.first().map_or(0, |row| row.base_offset);
    let end = log.rows.last().map_or(0, Row::end_offset);
    let bytes: u64 = log.rows.iter().map(|row| u64::from(row.len)).sum();
    let max_timestamp = log.rows.iter().map(|row| row.timestamp_ms).max().unwrap_or(-1);
    directory.extend_from_slice(&log.log.0.to_le_bytes());
    directory.extend_from_slice(&first.to_le_bytes());
    directory.extend_from_slice(&end.to_le_bytes());
    directory.extend_from_slice(&bytes.to_le_bytes());
    directory.extend_from_slice(&max_timestamp.to_le_bytes());
    directory.extend_from_slice(&row_start.to_le_bytes());
    directory.extend_from_slice(&(log.rows.len() as u32).to_le_bytes());
    directory.extend_from_slice(&rows_crc.to_le_bytes());
    directory.extend_from_slice(&(summaries.len() as u32).to_le_bytes());
    directory.extend_from_slice(&(log.summary.len() as u32).to_le_bytes());
    directory.extend_from_slice(&crc32c::crc32c(log.summary).to_le_bytes());
    directory.extend_from_slice(&[0; 8]);
    summaries.extend_from_slice(log.summary);
}

fn encode_trailer(
    footer: &mut Vec<u8>,
    directory_crc: u32,
    (logs, controls): (u32, u32),
    (directory_len, rows_len, summaries_len): (u64, u64, u64),
    data_end: u64,
    (first, last): (Sequence, Sequence),
    damaged: bool,
) {
    let start = footer.len();
    footer.extend_from_slice(&MAGIC);
    footer.extend_from_slice(&[0; 4]);
    footer.extend_from_slice(&VERSION.to_le_bytes());
    footer.extend_from_slice(&[u8::from(damaged), 0]);
    footer.extend_from_slice(&logs.to_le_bytes());
    footer.extend_from_slice(&controls.to_le_bytes());
    footer.extend_from_slice(&data_end.to_le_bytes());
    footer.extend_from_slice(&directory_len.to_le_bytes());
    footer.extend_from_slice(&rows_len.to_le_bytes());
    footer.extend_from_slice(&summaries_len.to_le_bytes());
    footer.extend_from_slice(&first.0.to_le_bytes());
    footer.extend_from_slice(&last.0.to_le_bytes());
    footer.extend_from_slice(&directory_crc.to_le_bytes());
    footer.resize(start + TRAILER_LEN, 0);
    let crc = crc32c::crc32c(&footer[start + 12..]);
    footer[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

impl DirectoryRow {
    /// Whether its parts lie in a footer with rows and summaries of these lengths, and its numbers can be.
    fn is_possible(&self, rows_len: u64, summaries_len: u64) -> bool {
        let rows_end = (u64::from(self.row_start) + u64::from(self.row_count)) * Row::STORED_LEN as u64;
        let summary_end = u64::from(self.summary_start) + u64::from(self.summary_len);
        rows_end <= rows_len
            && summary_end <= summaries_len
            && self.first_offset <= self.end_offset
            && self.end_offset <= NUMBER_MAX + u64::from(u32::MAX)
            && self.bytes <= NUMBER_MAX
    }

    /// Whether `rows` are those of this log: in order, from its first offset to its end.
    fn fits(&self, rows: &[Row]) -> bool {
        let first = rows.first().map_or(0, |row| row.base_offset);
        let end = rows.last().map_or(0, |row| row.base_offset.saturating_add(u64::from(row.records)));
        let follows = |pair: &[Row]| {
            pair[0].base_offset.saturating_add(u64::from(pair[0].records)) <= pair[1].base_offset
        };
        first == self.first_offset && end == self.end_offset && rows.windows(2).all(follows)
    }

    pub(crate) fn has_summary(&self) -> bool {
        self.summary_len > 0
    }
}

impl Footer {
    /// Reads directory and controls of a sealed file.
    pub(crate) fn read(file: &dyn File) -> Result<Self, FooterError> {
        let file_len = file.len()?;
        let trailer_at = file_len.checked_sub(TRAILER_LEN as u64).ok_or(FooterError::Missing)?;
        let trailer = read_exact_at(file, trailer_at, TRAILER_LEN)?;
        if trailer[..8] != MAGIC || crc32c::crc32c(&trailer[12..]) != u32_at(&trailer, 8) {
            return Err(if is_torn(&trailer) { FooterError::Missing } else { FooterError::Damaged });
        }
        if u16_at(&trailer, 12) > VERSION {
            return Err(FooterError::Damaged);
        }
        Self::read_directory(file, &trailer, trailer_at)
    }

    fn read_directory(file: &dyn File, trailer: &[u8], trailer_at: u64) -> Result<Self, FooterError> {
        let (logs, controls) = (u32_at(trailer, 16) as usize, u32_at(trailer, 20) as usize);
        let (data_end, directory_len) = (u64_at(trailer, 24), u64_at(trailer, 32));
        let (rows_len, summaries_len) = (u64_at(trailer, 40), u64_at(trailer, 48));
        let expected = (logs * DIRECTORY_ROW_LEN + controls * CONTROL_LEN) as u64;
        let total = [data_end, directory_len, rows_len, summaries_len]
            .iter()
            .try_fold(0, |a: u64, &b| a.checked_add(b));
        if directory_len != expected || total != Some(trailer_at) {
            return Err(FooterError::Damaged);
        }
        let bytes = read_exact_at(file, data_end, expected as usize)?;
        if crc32c::crc32c(&bytes) != u32_at(trailer, 72) {
            return Err(FooterError::Damaged);
        }
        let (rows, control_bytes) = bytes.split_at(logs * DIRECTORY_ROW_LEN);
        let directory: Vec<_> = rows.chunks_exact(DIRECTORY_ROW_LEN).map(decode_directory_row).collect();
        let controls: Option<Vec<_>> = control_bytes.chunks_exact(CONTROL_LEN).map(decode_control).collect();
        let rows_start = data_end + directory_len;
        let place = Place {
            data_end,
            rows_start,
            summaries_start: rows_start + rows_len,
            first_sequence: Sequence(u64_at(trailer, 56)),
            last_sequence: Sequence(u64_at(trailer, 64)),
            damaged: trailer[14] != 0,
        };
        if !place.is_possible() || !directory.iter().all(|log| log.is_possible(rows_len, summaries_len)) {
            return Err(FooterError::Damaged);
        }
        Ok(Self { directory, controls: controls.ok_or(FooterError::Damaged)?, place })
    }
}

impl Place {
    fn is_possible(&self) -> bool {
        self.first_sequence.max(self.last_sequence).0 <= NUMBER_MAX
    }

    /// Reads the rows of one log.
    pub(crate) fn read_rows(&self, file: &dyn File, log: &DirectoryRow) -> Result<Vec<Row>, FooterError> {
        let at = self.rows_start + u64::from(log.row_start) * Row::STORED_LEN as u64;
        let bytes = read_exact_at(file, at, log.row_count as usize * Row::STORED_LEN)?;
        if crc32c::crc32c(&bytes) != log.rows_crc {
            return Err(FooterError::Damaged);
        }
        let rows: Vec<_> = bytes.chunks_exact(Row::STORED_LEN).map(Row::decode).collect();
        if log.fits(&rows) { Ok(rows) } else { Err(FooterError::Damaged) }
    }

    /// Reads the summary of one log; empty if its owner gave none.
    pub(crate) fn read_summary(&self, file: &dyn File, log: &DirectoryRow) -> Result<Bytes, FooterError> {
        let at = self.summaries_start + u64::from(log.summary_start);
        let bytes = read_exact_at(file, at, log.summary_len as usize)?;
        if crc32c::crc32c(&bytes) == log.summary_crc { Ok(bytes) } else { Err(FooterError::Damaged) }
    }
}

fn decode_directory_row(bytes: &[u8]) -> DirectoryRow {
    DirectoryRow {
        log: LogId(u64_at(bytes, 0)),
        first_offset: u64_at(bytes, 8),
        end_offset: u64_at(bytes, 16),
        bytes: u64_at(bytes, 24),
        max_timestamp_ms: u64_at(bytes, 32).cast_signed(),
        row_start: u32_at(bytes, 40),
        row_count: u32_at(bytes, 44),
        rows_crc: u32_at(bytes, 48),
        summary_start: u32_at(bytes, 52),
        summary_len: u32_at(bytes, 56),
        summary_crc: u32_at(bytes, 60),
    }
}

fn decode_control(bytes: &[u8]) -> Option<Control> {
    let (kind, offset) = (EntryKind::from_stored(bytes[16])?, u64_at(bytes, 8));
    (offset <= NUMBER_MAX).then_some(Control { log: LogId(u64_at(bytes, 0)), kind, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> Vec<u8> {
        let mut trailer = vec![0; TRAILER_LEN];
        trailer[..8].copy_from_slice(&MAGIC);
        trailer[8..=LAST_BYTE].fill(7);
        trailer
    }

    #[test]
    fn a_trailer_of_which_part_is_missing_is_torn() {
        assert!(!is_torn(&trailer()));
        for kept in 0..=LAST_BYTE {
            let mut torn = trailer();
            torn[kept..].fill(0);
            assert!(is_torn(&torn), "the first {kept} bytes arrived");
            let mut torn = trailer();
            torn[..=kept].fill(0);
            assert!(is_torn(&torn), "all but the first {} bytes arrived", kept + 1);
        }
    }

    #[test]
    fn a_trailer_in_which_a_bit_changed_is_not() {
        for bit in 0..TRAILER_LEN as u64 * 8 {
            let mut damaged = trailer();
            damaged[bit as usize / 8] ^= 1 << (bit % 8);
            assert!(!is_torn(&damaged), "bit {bit}");
        }
    }

    /// A file that holds nothing but the footer of one log with two rows, the first of them changed by `change`.
    fn file(change: impl Fn(&mut Row), directory: impl Fn(&mut [u8])) -> std::sync::Arc<dyn File> {
        use crate::files::{Files as _, OpenMode, fault::FaultFiles};

        let row =
            |base_offset| Row { base_offset, timestamp_ms: 5, position: 4200, len: 0, records: 2, crc: 0 };
        let mut rows = [row(7), row(9)];
        change(&mut rows[0]);
        let logs = [LogRows { log: LogId(64), rows: &rows, summary: b"" }];
        let mut bytes = encode(&logs, &[], 0, (Sequence(1), Sequence(2)), false);
        directory(&mut bytes[..DIRECTORY_ROW_LEN]);
        let trailer_at = bytes.len() - TRAILER_LEN;
        let crc = crc32c::crc32c(&bytes[..DIRECTORY_ROW_LEN]);
        bytes[trailer_at + 72..trailer_at + 76].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[trailer_at + 12..]);
        bytes[trailer_at + 8..trailer_at + 12].copy_from_slice(&crc.to_le_bytes());
        let file = FaultFiles::new().open("segment", OpenMode::CreateNew).unwrap();
        file.write_at(0, &bytes).unwrap();
        file
    }

    #[test]
    fn a_footer_gives_back_its_rows() {
        let file = file(|_| {}, |_| {});
        let footer = Footer::read(file.as_ref()).unwrap();
        let rows = footer.place.read_rows(file.as_ref(), &footer.directory[0]).unwrap();
        assert_eq!((rows[0].base_offset, rows[1].end_offset()), (7, 11));
    }

    #[test]
    fn a_footer_that_promises_more_than_there_is_is_damaged() {
        let is_damaged =
            |file: std::sync::Arc<dyn File>| matches!(Footer::read(file.as_ref()), Err(FooterError::Damaged));
        // The number of rows, 4 GiB of summary, and an end before the start.
        assert!(is_damaged(file(|_| {}, |row| row[44..48].copy_from_slice(&u32::MAX.to_le_bytes()))));
        assert!(is_damaged(file(|_| {}, |row| row[56..60].copy_from_slice(&u32::MAX.to_le_bytes()))));
        assert!(is_damaged(file(|_| {}, |row| row[16..24].copy_from_slice(&3_u64.to_le_bytes()))));
    }

    #[test]
    fn rows_that_contradict_each_other_are_damaged() {
        for base_offset in [8, u64::MAX] {
            let file = file(
                |row| row.base_offset = base_offset,
                |row| row[8..16].copy_from_slice(&base_offset.min(9).to_le_bytes()),
            );
            let footer = Footer::read(file.as_ref()).unwrap();
            let rows = footer.place.read_rows(file.as_ref(), &footer.directory[0]);
            assert!(matches!(rows, Err(FooterError::Damaged)), "{rows:?}");
        }
    }
}
