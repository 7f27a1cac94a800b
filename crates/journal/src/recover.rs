//! Recovery: from the files of a directory to the state in which appends can go on.
//!
//! Sealed segments give their footers. Segments without one (those that were being written, or whose footer is damaged)
//! are read frame by frame. What a crash left behind is told from damage by the sequences: every frame says which
//! sequence was durable before it, so a missing group at or below the highest such number was once whole and is *damage*;
//! it is reported and everything around it stays readable. A missing group above it was never acknowledged as durable:
//! there the log is *cut*, and nothing behind that point counts.
//!
//! A cut is made durable before anything new is written; otherwise a later recovery could take an old, cut group for
//! a new one with the same number.

use std::io;
use std::sync::Arc;

use crate::entry::EntryKind;
use crate::error::{Damage, OpenError};
use crate::files::{Files, OpenMode};
use crate::frame::FrameKind;
use crate::id::{LogId, Sequence};
use crate::segment::footer::{Footer, FooterError};
use crate::segment::scan::{Frame, Item, Scanner};
use crate::segment::{DATA_START, HeaderError, Segment, SegmentHeader, SegmentName};

/// What is said of padding in which a bit has flipped.
pub(crate) const PADDING: &str = "padding is not zero";

/// A segment as it was found.
pub(crate) struct Found {
    pub(crate) segment: Arc<Segment>,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// It has a valid footer.
    Sealed(Footer),
    /// It was read frame by frame.
    Scanned(Scan),
}

/// What reading a segment gave.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) frames: Vec<ScannedFrame>,
    /// Stretches without a readable frame.
    pub(crate) unreadable: Vec<Damage>,
}

pub(crate) struct ScannedFrame {
    pub(crate) frame: Frame,
    /// Entries whose payload does not match its checksum, by index.
    pub(crate) spoiled: Vec<usize>,
}

/// Where a recovery cut off what a crash left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// The position from which on nothing counts.
    pub position: u64,
    /// How many bytes of unfinished frames were found behind it.
    pub bytes: u64,
}

/// The directory's valid segments, oldest first, cut where a crash tore them.
pub(crate) struct Recovered {
    pub(crate) found: Vec<Found>,
    pub(crate) last: Sequence,
    pub(crate) next_segment: u64,
    pub(crate) cut: Option<Cut>,
    /// Problems with headers and footers.
    pub(crate) damage: Vec<Damage>,
}

/// Reads the directory. With `repair`, also removes leftovers and makes the cut durable; without, it changes nothing.
pub(crate) fn recover(files: &dyn Files, repair: bool) -> Result<Recovered, OpenError> {
    let mut damage = Vec::new();
    let names = valid_names(files, repair)?;
    let next_segment = names.iter().map(|name| name.last + 1).max().unwrap_or(1);
    let mut found = Vec::new();
    for name in names {
        let opened = open_segment(files, name, repair, &mut damage);
        let opened = opened.map_err(OpenError::io(format!("read segment {name}")))?;
        found.extend(opened?);
    }
    let proven = proven_durable(&found);
    let (last, cut) = cut(files, &mut found, proven, repair).map_err(OpenError::io("cut the torn end"))?;
    Ok(Recovered { found, last, next_segment, cut, damage })
}

/// Names of the segments that count, in order; leftovers of interrupted rewrites are left out, and removed on repair.
fn valid_names(files: &dyn Files, repair: bool) -> Result<Vec<SegmentName>, OpenError> {
    let listed = files.list().map_err(OpenError::io("list the journal's directory"))?;
    let mut names: Vec<_> = listed.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort_unstable();
    let obsolete: Vec<_> =
        names.iter().filter(|old| names.iter().any(|new| new.supersedes(old))).copied().collect();
    names.retain(|name| !obsolete.contains(name));
    if repair {
        let leftovers = listed.iter().filter(|name| name.ends_with(".tmp")).cloned();
        for name in obsolete.iter().map(ToString::to_string).chain(leftovers) {
            files.remove(&name).map_err(OpenError::io(format!("remove {name}")))?;
        }
    }
    Ok(names)
}

type Opened = Result<Option<Found>, OpenError>;

fn open_segment(
    files: &dyn Files,
    name: SegmentName,
    repair: bool,
    damage: &mut Vec<Damage>,
) -> io::Result<Opened> {
    let mode = if repair { OpenMode::Write } else { OpenMode::Read };
    let file = files.open(&name.to_string(), mode)?;
    let header = match SegmentHeader::read(file.as_ref()) {
        Ok(header) => header,
        Err(HeaderError::Io(error)) => return Err(error),
        Err(HeaderError::Version(version)) => {
            let found = format!("{version} in {name}");
            return Ok(Err(OpenError::Format { found, supported: crate::journal::FORMAT }));
        }
        Err(HeaderError::Damaged) => match salvage_header(file.as_ref(), name)? {
            Some(header) => {
                damage.push(structural(name, 0..DATA_START, "the segment's header block is damaged"));
                header
            }
            // Never written to: the process ended while it was being prepared.
            None => return Ok(remove_unused(files, name, repair)),
        },
    };
    let footer = match Footer::read(file.as_ref()) {
        Ok(footer) => Some(footer),
        Err(FooterError::Io(error)) => return Err(error),
        Err(FooterError::Missing) => None,
        Err(FooterError::Damaged) => {
            let end = file.len()?;
            damage.push(structural(name, end..end, "the footer index is damaged and was built again"));
            None
        }
    };
    if let Some(footer) = footer {
        let segment = Segment::new(&header, file, footer.place.data_end, true);
        if footer.place.damaged {
            segment.set_damaged();
        }
        return Ok(Ok(Some(Found { segment: Arc::new(segment), content: Content::Sealed(footer) })));
    }
    let end = if header.data_end > 0 { header.data_end.min(file.len()?) } else { file.len()? };
    let scan = scan(file.as_ref(), name, header.salt, end)?;
    if scan.frames.is_empty() && scan.unreadable.is_empty() {
        return Ok(remove_unused(files, name, repair));
    }
    let data_end = scan.frames.last().map_or(DATA_START, |scanned| scanned.frame.end());
    let segment = Arc::new(Segment::new(&header, file, data_end, false));
    Ok(Ok(Some(Found { segment, content: Content::Scanned(scan) })))
}

fn remove_unused(files: &dyn Files, name: SegmentName, repair: bool) -> Opened {
    if repair {
        files.remove(&name.to_string()).map_err(OpenError::io(format!("remove unused segment {name}")))?;
    }
    Ok(None)
}

/// What the frames of a segment say about its header; `None` if it has none.
fn salvage_header(file: &dyn crate::files::File, name: SegmentName) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = vec![0; crate::frame::HEADER_LEN];
    let read = file.read_at(DATA_START, &mut bytes)?;
    let left = file.len()?.saturating_sub(DATA_START);
    let frame = crate::frame::FrameHeader::decode(&bytes[..read], left).ok();
    let frame = frame.filter(|frame| frame.position == DATA_START);
    Ok(frame.map(|frame| SegmentHeader { name, salt: frame.salt, created_ms: frame.written_ms, data_end: 0 }))
}

fn structural(name: SegmentName, bytes: std::ops::Range<u64>, what: &str) -> Damage {
    let (file, what) = (name.to_string(), what.to_owned());
    Damage { file, bytes, log: None, offsets: None, what, data_lost: false }
}

/// Reads all frames of a file and checks every payload.
pub(crate) fn scan(
    file: &dyn crate::files::File,
    name: SegmentName,
    salt: u64,
    end: u64,
) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut scanner = Scanner::new(file, salt, DATA_START, end);
    while let Some(item) = scanner.next()? {
        match item {
            Item::Frame(frame) => {
                let mut spoiled = Vec::new();
                for (index, (entry, position)) in frame.payloads().enumerate() {
                    if crc32c::crc32c(scanner.payload(position, entry.len as usize)?) != entry.crc {
                        spoiled.push(index);
                    }
                }
                scan.frames.push(ScannedFrame { frame, spoiled });
            }
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

/// The highest sequence that is known to have been durable.
fn proven_durable(found: &[Found]) -> Sequence {
    let of = |found: &Found| match &found.content {
        Content::Sealed(footer) => footer.place.last_sequence,
        Content::Scanned(scan) => {
            let durable = |scanned: &ScannedFrame| match scanned.frame.header.kind {
                FrameKind::Group | FrameKind::Marker => scanned.frame.header.durable_before,
                FrameKind::Extent => scanned.frame.header.sequence,
            };
            scan.frames.iter().map(durable).max().unwrap_or_default()
        }
    };
    found.iter().map(of).max().unwrap_or_default()
}

/// Finds the first group that is missing without proof that it was durable, and cuts there.
fn cut(
    files: &dyn Files,
    found: &mut Vec<Found>,
    proven: Sequence,
    repair: bool,
) -> io::Result<(Sequence, Option<Cut>)> {
    let first_sequences: Vec<_> = found.iter().map(first_sequence).collect();
    let mut last = Sequence::default();
    let mut cut = None;
    for (index, segment) in found.iter_mut().enumerate() {
        let scan = match &mut segment.content {
            Content::Sealed(footer) => {
                last = last.max(footer.place.last_sequence);
                continue;
            }
            Content::Scanned(scan) => scan,
        };
        let whole = whole_frames(scan, &mut last, proven);
        let nothing_follows = last >= proven;
        let next_follows = first_sequences.get(index + 1).copied().flatten() == Some(last.next());
        let tail = take_tail(scan, whole);
        if tail.bytes > 0 && !(nothing_follows || next_follows) {
            // Groups that were once durable lie there unreadable: the file stays as it is.
            segment.segment.set_damaged();
            continue;
        }
        scan.unreadable.retain(|damage| damage.bytes.start < tail.position);
        segment.segment.set_data_end(tail.position);
        if repair {
            // Also makes durable what a killed process wrote and did not sync: it is about to be shown to readers.
            segment.segment.file.set_len(tail.position)?;
            segment.segment.file.sync_data()?;
        }
        // Where the next segment goes on, all groups of this one were durable: what is torn is the index behind them.
        if tail.bytes > 0 && !next_follows {
            let (file, position) = (segment.segment.name.to_string(), tail.position);
            cut = Some(Cut { file, position, bytes: tail.bytes });
            drop_after(files, found, index, repair)?;
            break;
        }
    }
    if repair {
        files.sync_directory()?;
    }
    Ok((last.max(proven), cut))
}

/// What lies behind the frames of a segment that count.
struct Tail {
    position: u64,
    bytes: u64,
}

/// Drops the frames from `whole` on and says how much lies behind the others.
fn take_tail(scan: &mut Scan, whole: usize) -> Tail {
    let end_of = |scanned: &ScannedFrame| scanned.frame.end();
    let end = scan.frames.last().map_or(DATA_START, end_of);
    scan.frames.truncate(whole);
    let position = scan.frames.last().map_or(DATA_START, end_of);
    let behind = scan.unreadable.iter().filter(|damage| damage.bytes.start >= position);
    let unreadable: u64 = behind.map(|damage| damage.bytes.end - damage.bytes.start).sum();
    Tail { position, bytes: unreadable + (end - position) }
}

fn drop_after(files: &dyn Files, found: &mut Vec<Found>, index: usize, repair: bool) -> io::Result<()> {
    for dropped in found.drain(index + 1..) {
        if repair {
            files.remove(&dropped.segment.name.to_string())?;
        }
    }
    Ok(())
}

fn first_sequence(found: &Found) -> Option<Sequence> {
    match &found.content {
        Content::Sealed(footer) => Some(footer.place.first_sequence),
        Content::Scanned(scan) => {
            let group = scan.frames.iter().find(|scanned| scanned.frame.header.kind != FrameKind::Marker);
            group.map(|scanned| scanned.frame.header.sequence)
        }
    }
}

/// How many frames from the first on count. Raises `last` to the last of them.
fn whole_frames(scan: &Scan, last: &mut Sequence, proven: Sequence) -> usize {
    for (index, scanned) in scan.frames.iter().enumerate() {
        let header = &scanned.frame.header;
        match header.kind {
            FrameKind::Marker => {}
            FrameKind::Extent => *last = (*last).max(header.sequence),
            FrameKind::Group => {
                let gap_is_damage = header.sequence.0 <= proven.0 + 1;
                let follows = header.sequence == last.next();
                let whole = scanned.spoiled.is_empty() || header.sequence <= proven;
                if header.sequence <= *last || !whole || !(follows || gap_is_damage) {
                    return index;
                }
                *last = header.sequence;
            }
        }
    }
    scan.frames.len()
}

/// Entries that are lost with a frame, or spoiled in one, as damage reports.
pub(crate) fn spoiled(name: SegmentName, scanned: &ScannedFrame) -> Vec<Damage> {
    let payloads: Vec<_> = scanned.frame.payloads().collect();
    let report = |&index: &usize| {
        let (entry, position) = payloads[index];
        Damage {
            file: name.to_string(),
            bytes: position..position + u64::from(entry.len),
            log: Some(entry.log),
            offsets: Some(entry.base_offset..entry.end_offset()),
            what: "the checksum of an entry does not match".to_owned(),
            data_lost: entry.kind == EntryKind::Data,
        }
    };
    scanned.spoiled.iter().map(report).collect()
}

/// A range of a log's offsets that should be in a segment and is not.
pub(crate) fn missing(name: SegmentName, log: LogId, offsets: std::ops::Range<u64>) -> Damage {
    Damage {
        file: name.to_string(),
        bytes: 0..0,
        log: Some(log),
        offsets: Some(offsets),
        what: "entries are lost with an unreadable frame".to_owned(),
        data_lost: true,
    }
}
