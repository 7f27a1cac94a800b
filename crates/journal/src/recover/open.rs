//! Opening segments: header, then footer or frames.

use std::io;
use std::sync::Arc;

use super::{Content, Found, PADDING, Scan, ScannedFrame, structural};
use crate::entry::EntryKind;
use crate::error::{Damage, OpenError};
use crate::files::{File, Files, OpenMode};
use crate::frame::BLOCK_LEN;
use crate::segment::footer::{Footer, FooterError};
use crate::segment::scan::{Frame, Item, Scanner};
use crate::segment::{DATA_START, HeaderError, Segment, SegmentHeader, SegmentName};

/// What became of a segment's file.
pub(super) enum Opened {
    /// It holds something; with what is wrong with its header and footer.
    Found(Found, Vec<Damage>),
    /// Never written to: the process ended while the file was being prepared.
    Unused,
}

type Outcome = io::Result<Result<Opened, OpenError>>;

/// Opens several segments at the same time; the outcomes are in the order of `names`.
pub(super) fn open_all(
    files: &dyn Files,
    names: &[SegmentName],
    mode: OpenMode,
    head_len: usize,
) -> Vec<Outcome> {
    std::thread::scope(|scope| {
        let open = |&name| scope.spawn(move || open_segment(files, name, mode, head_len));
        let threads: Vec<_> = names.iter().map(open).collect();
        let outcome = |thread: std::thread::ScopedJoinHandle<'_, Outcome>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("bug: reading the segment panicked")))
        };
        threads.into_iter().map(outcome).collect()
    })
}

fn open_segment(files: &dyn Files, name: SegmentName, mode: OpenMode, head_len: usize) -> Outcome {
    let file = files.open(&name.to_string(), mode)?;
    let mut damage = Vec::new();
    let header = match SegmentHeader::read(file.as_ref()) {
        Ok(header) if header.name == name => header,
        Err(HeaderError::Io(error)) => return Err(error),
        Err(HeaderError::Version(version)) => {
            let found = format!("{version} in {name}");
            return Ok(Err(OpenError::Format { found, supported: crate::journal::FORMAT }));
        }
        // A header that speaks of another file is as good as none.
        Ok(_) | Err(HeaderError::Damaged) => match salvage_header(file.as_ref(), name)? {
            Some(header) => {
                damage.push(structural(name, 0..DATA_START, "the segment's header block is damaged"));
                header
            }
            None => return Ok(Ok(Opened::Unused)),
        },
    };
    match Footer::read(file.as_ref()) {
        Ok(footer) => return Ok(Ok(Opened::Found(sealed(&header, file, footer), damage))),
        Err(FooterError::Io(error)) => return Err(error),
        Err(FooterError::Missing) => {}
        Err(FooterError::Damaged) => {
            let end = file.len()?;
            damage.push(structural(name, end..end, "the footer index is damaged and was built again"));
        }
    }
    let end = scan_end(&header, file.len()?);
    let scanner = Scanner::new(file.as_ref(), header.salt, DATA_START, end).of_reused(header.reused);
    let scan = scan_with_heads(scanner, name, head_len)?;
    if scan.frames.is_empty() && scan.unreadable.is_empty() {
        return Ok(Ok(Opened::Unused));
    }
    let data_end = scan.frames.last().map_or(DATA_START, |scanned| scanned.frame.end());
    let segment = Arc::new(Segment::new(&header, file, data_end, false));
    if data_end.next_multiple_of(BLOCK_LEN as u64) < header.data_end {
        // A rewritten segment was whole and synced before it got its name: this is no torn end.
        let what = "the segment ends before its header says: entries are lost";
        damage.push(Damage { data_lost: true, ..structural(name, data_end..header.data_end, what) });
        segment.set_damaged();
    }
    Ok(Ok(Opened::Found(Found { segment, content: Content::Scanned(scan) }, damage)))
}

fn sealed(header: &SegmentHeader, file: Arc<dyn File>, footer: Footer) -> Found {
    let segment = Segment::new(header, file, footer.place.data_end, true);
    if footer.place.damaged {
        segment.set_damaged();
    }
    Found { segment: Arc::new(segment), content: Content::Sealed(footer) }
}

/// Up to where frames may lie.
fn scan_end(header: &SegmentHeader, file_len: u64) -> u64 {
    if header.data_end > 0 { header.data_end.min(file_len) } else { file_len }
}

/// What the frames of a segment say about its header; `None` if it has none.
fn salvage_header(file: &dyn File, name: SegmentName) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = vec![0; crate::frame::HEADER_LEN];
    let read = file.read_at(DATA_START, &mut bytes)?;
    let left = file.len()?.saturating_sub(DATA_START);
    let frame = crate::frame::FrameHeader::decode(&bytes[..read], left).ok();
    let frame = frame.filter(|frame| frame.position == DATA_START);
    let header = |frame: crate::frame::FrameHeader| {
        let (salt, created_ms) = (frame.salt, frame.written_ms);
        SegmentHeader { name, salt, created_ms, data_end: 0, reused: false }
    };
    Ok(frame.map(header))
}

/// Reads all frames of a file and checks every payload.
pub(crate) fn scan(file: &dyn File, name: SegmentName, salt: u64, end: u64) -> io::Result<Scan> {
    scan_with_heads(Scanner::new(file, salt, DATA_START, end), name, 0)
}

fn scan_with_heads(mut scanner: Scanner<'_>, name: SegmentName, head_len: usize) -> io::Result<Scan> {
    let mut scan = Scan::default();
    while let Some(item) = scanner.next()? {
        match item {
            Item::Frame(frame) => scan.frames.push(check_payloads(&mut scanner, frame, head_len)?),
            Item::Unreadable { from, to, error } => {
                scan.unreadable.push(structural(name, from..to, &error.to_string()));
            }
            Item::Padding { from, to } => {
                scan.unreadable.push(structural(name, from..to, PADDING));
            }
        }
    }
    Ok(scan)
}

fn check_payloads(scanner: &mut Scanner<'_>, frame: Frame, head_len: usize) -> io::Result<ScannedFrame> {
    let (mut spoiled, mut heads) = (Vec::new(), Vec::new());
    for (index, (entry, position)) in frame.payloads().enumerate() {
        let len = entry.len as usize;
        if entry.kind == EntryKind::Data && head_len > 0 {
            heads.extend_from_slice(scanner.bytes(position, len.min(head_len))?);
        }
        if scanner.checksum(position, len)? != entry.crc {
            spoiled.push(index);
        }
    }
    Ok(ScannedFrame { frame, spoiled, heads })
}
