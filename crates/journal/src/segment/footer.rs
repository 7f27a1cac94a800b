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
use crate::frame::{u16_at, u32_at, u64_at};
use crate::id::{LogId, Sequence};
use crate::index::row::Row;

const MAGIC: [u8; 8] = *b"AnFooter";
const VERSION: u16 = 1;
const TRAILER_LEN: usize = 80;
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

/// Puts an encoded footer behind the frames of a file and makes both durable.
pub(crate) fn write(file: &dyn File, data_end: u64, footer: &[u8]) -> io::Result<()> {
    file.set_len(data_end + footer.len() as u64)?;
    file.write_at(data_end, footer)?;
    file.sync_data()
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
        if trailer[..8] != MAGIC {
            return Err(FooterError::Missing);
        }
        if crc32c::crc32c(&trailer[12..]) != u32_at(&trailer, 8) || u16_at(&trailer, 12) > VERSION {
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
        let directory = rows.chunks_exact(DIRECTORY_ROW_LEN).map(decode_directory_row).collect();
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
        Ok(Self { directory, controls: controls.ok_or(FooterError::Damaged)?, place })
    }
}

impl Place {
    /// Reads the rows of one log.
    pub(crate) fn read_rows(&self, file: &dyn File, log: &DirectoryRow) -> Result<Vec<Row>, FooterError> {
        let at = self.rows_start + u64::from(log.row_start) * Row::STORED_LEN as u64;
        let bytes = read_exact_at(file, at, log.row_count as usize * Row::STORED_LEN)?;
        if crc32c::crc32c(&bytes) != log.rows_crc {
            return Err(FooterError::Damaged);
        }
        Ok(bytes.chunks_exact(Row::STORED_LEN).map(Row::decode).collect())
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
    let kind = EntryKind::from_stored(bytes[16])?;
    Some(Control { log: LogId(u64_at(bytes, 0)), kind, offset: u64_at(bytes, 8) })
}
