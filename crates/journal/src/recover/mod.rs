//! Recovery: from the files of a directory to the state in which appends can go on.
//!
//! Sealed segments give their footers. Segments without one (those that were being written, or whose footer is damaged)
//! are read frame by frame, several at a time. What a crash left behind is told from damage by the sequences: every
//! frame says which sequence was durable before it, so a missing group at or below the highest such number was once
//! whole and is *damage*; it is reported and everything around it stays readable. A missing group above it was never
//! acknowledged as durable: there the log is *cut*, and nothing behind that point counts.
//!
//! A cut is made durable before anything new is written; otherwise a later recovery could take an old, cut group for
//! a new one with the same number.
//!
//! Memory: a segment that was read and about which no doubt is left gets its footer at once ([`settle`]), so that
//! losing every footer costs time, not memory.

mod cut;
pub(crate) mod follow;
mod open;
mod settle;

use std::sync::Arc;

use crate::entry::EntryKind;
use crate::error::{Damage, OpenError};
use crate::files::{Files, OpenMode};
use crate::frame::FrameKind;
use crate::id::{LogId, Sequence};
use crate::segment::footer::Footer;
use crate::segment::scan::Frame;
use crate::segment::{Segment, SegmentName};
use crate::writer::retired::RETIRED_ENDING;
use follow::Follower;
pub(crate) use open::scan;
use open::{Opened, open_all};
use settle::Settling;

/// What is said of padding in which a bit has flipped.
pub(crate) const PADDING: &str = "padding is not zero";

/// Segments that are read at the same time: one waits for the disk while another's checksums are computed.
const READERS: usize = 4;

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
    /// The first bytes of each data entry's payload, one after the other.
    pub(crate) heads: Vec<u8>,
}

impl Scan {
    /// The first and the last sequence in it; zeros if there is none.
    pub(crate) fn sequences(&self) -> (Sequence, Sequence) {
        let with_group = |scanned: &&ScannedFrame| scanned.frame.header.kind != FrameKind::Marker;
        let mut sequences =
            self.frames.iter().filter(with_group).map(|scanned| scanned.frame.header.sequence);
        let first = sequences.next().unwrap_or_default();
        (first, sequences.fold(first, Ord::max))
    }
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
    /// So many of `found`, from the first, has the follower seen.
    pub(crate) followed: usize,
    pub(crate) last: Sequence,
    pub(crate) next_segment: u64,
    pub(crate) cut: Option<Cut>,
    /// Problems with headers and footers.
    pub(crate) damage: Vec<Damage>,
}

/// Reads the directory, removes leftovers, writes missing footers and makes the cut durable.
pub(crate) fn recover(files: &dyn Files, follower: &mut Follower<'_>) -> Result<Recovered, OpenError> {
    read(files, Some(follower))
}

/// Reads the directory and changes nothing.
pub(crate) fn inspect(files: &dyn Files) -> Result<Recovered, OpenError> {
    read(files, None)
}

fn read(files: &dyn Files, mut follower: Option<&mut Follower<'_>>) -> Result<Recovered, OpenError> {
    let repair = follower.is_some();
    let mode = if repair { OpenMode::Write } else { OpenMode::Read };
    let head_len = follower.as_ref().map_or(0, |follower| follower.head_len());
    let names = valid_names(files, repair)?;
    let next_segment = names.iter().map(|name| name.last + 1).max().unwrap_or(1);
    let (mut found, mut damage, mut settling) = (Vec::new(), Vec::new(), Settling::default());
    for names in names.chunks(READERS) {
        for (name, opened) in names.iter().zip(open_all(files, names, mode, head_len)) {
            let opened = opened.map_err(OpenError::io(format!("read segment {name}")))?;
            match opened? {
                Opened::Unused if repair => {
                    let name = name.to_string();
                    files.remove(&name).map_err(OpenError::io(format!("remove unused segment {name}")))?;
                }
                Opened::Unused => {}
                Opened::Found(segment, problems) => {
                    damage.extend(problems);
                    found.push(segment);
                }
            }
        }
        if let Some(follower) = follower.as_mut() {
            settling.advance(&mut found, follower);
        }
    }
    let (last, cut) = cut::cut(files, &mut found, repair).map_err(OpenError::io("cut the torn end"))?;
    Ok(Recovered { found, followed: settling.settled, last, next_segment, cut, damage })
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
        let leftovers = listed.iter().filter(|name| is_leftover(name)).cloned();
        for name in obsolete.iter().map(ToString::to_string).chain(leftovers) {
            files.remove(&name).map_err(OpenError::io(format!("remove {name}")))?;
        }
    }
    Ok(names)
}

/// Whether a file is of use only to the process that left it.
fn is_leftover(name: &str) -> bool {
    name.ends_with(".tmp") || name.ends_with(RETIRED_ENDING)
}

fn structural(name: SegmentName, bytes: std::ops::Range<u64>, what: &str) -> Damage {
    let (file, what) = (name.to_string(), what.to_owned());
    Damage { file, bytes, log: None, offsets: None, what, data_lost: false }
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
