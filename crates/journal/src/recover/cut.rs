//! The cut: where an unfinished write ends what counts.

use std::io;

use super::{Content, Cut, Found, Scan, ScannedFrame};
use crate::files::Files;
use crate::frame::{FrameHeader, FrameKind, HEADER_LEN};
use crate::id::Sequence;
use crate::segment::{DATA_START, Segment};

/// The highest sequence that is known to have been durable.
pub(super) fn proven_durable(found: &[Found]) -> Sequence {
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
pub(super) fn cut(
    files: &dyn Files,
    found: &mut Vec<Found>,
    repair: bool,
) -> io::Result<(Sequence, Option<Cut>)> {
    let proven = proven_durable(found);
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
        let tail = tail_from(scan, end_of_frames(&scan.frames[..whole]));
        if segment.segment.is_damaged() || (tail.bytes > 0 && !(nothing_follows || next_follows)) {
            // Groups that were once durable lie there unreadable: those bytes stay as they are.
            segment.segment.set_damaged();
            if let Some(torn) = drop_torn(&segment.segment, scan, whole, proven, repair)? {
                cut = Some(torn.of(&segment.segment));
            }
            continue;
        }
        scan.frames.truncate(whole);
        scan.unreadable.retain(|damage| damage.bytes.start < tail.position);
        segment.segment.set_data_end(tail.position);
        if repair {
            // Also makes durable what a killed process wrote and did not sync: it is about to be shown to readers.
            segment.segment.file.set_len(tail.position)?;
            segment.segment.file.sync_data()?;
        }
        // Where the next segment goes on, all groups of this one were durable: what is torn is the index behind them.
        if tail.bytes > 0 && !next_follows {
            cut = Some(tail.of(&segment.segment));
            drop_after(files, found, index, repair)?;
            break;
        }
    }
    if repair {
        files.sync_directory()?;
    }
    Ok((last.max(proven), cut))
}

/// What lies behind a position in a segment, of what was read there.
struct Tail {
    position: u64,
    bytes: u64,
}

impl Tail {
    fn of(self, segment: &Segment) -> Cut {
        Cut { file: segment.name.to_string(), position: self.position, bytes: self.bytes }
    }
}

fn tail_from(scan: &Scan, position: u64) -> Tail {
    let behind = scan.unreadable.iter().filter(|damage| damage.bytes.start >= position);
    let unreadable: u64 = behind.map(|damage| damage.bytes.end - damage.bytes.start).sum();
    Tail { position, bytes: unreadable + (end_of_frames(&scan.frames) - position) }
}

fn end_of_frames(frames: &[ScannedFrame]) -> u64 {
    frames.last().map_or(DATA_START, |scanned| scanned.frame.end())
}

/// Drops the frames from `whole` on from a segment whose damage stays where it is, and says what went.
///
/// They do not count now, but would at a later start if they stayed: the groups that are appended meanwhile get their
/// sequences and prove those to have been durable.
fn drop_torn(
    segment: &Segment,
    scan: &mut Scan,
    whole: usize,
    proven: Sequence,
    repair: bool,
) -> io::Result<Option<Tail>> {
    let Some(torn) = scan.frames.get(whole).map(|scanned| scanned.frame.header) else { return Ok(None) };
    let tail = tail_from(scan, torn.position);
    scan.frames.truncate(whole);
    scan.unreadable.retain(|damage| damage.bytes.start < torn.position);
    segment.set_data_end(torn.position);
    if repair {
        cut_behind_damage(segment, &torn, proven)?;
    }
    Ok(Some(tail))
}

/// Cuts off what is torn. Perhaps only that said that what is damaged before it was durable: a marker in its place says so
/// from now on, or the next start would take the damage for torn, too.
fn cut_behind_damage(segment: &Segment, torn: &FrameHeader, proven: Sequence) -> io::Result<()> {
    let marker = FrameHeader {
        kind: FrameKind::Marker,
        entries: 0,
        len: HEADER_LEN as u64,
        sequence: proven,
        durable_before: proven,
        ..*torn
    };
    let mut bytes = Vec::new();
    marker.encode(std::iter::empty(), &mut bytes);
    // It is no longer than the header that was there, so this needs no space on a full disk.
    segment.file.write_at(torn.position, &bytes)?;
    // Headers behind it may say the same: they go once the marker is there.
    segment.file.sync_data()?;
    segment.file.set_len(torn.position + marker.len)?;
    segment.file.sync_data()
}

fn drop_after(files: &dyn Files, found: &mut Vec<Found>, index: usize, repair: bool) -> io::Result<()> {
    for dropped in found.drain(index + 1..) {
        if repair {
            files.remove(&dropped.segment.name.to_string())?;
        }
    }
    Ok(())
}

pub(super) fn first_sequence(found: &Found) -> Option<Sequence> {
    match &found.content {
        Content::Sealed(footer) => Some(footer.place.first_sequence),
        Content::Scanned(scan) => {
            let group = scan.frames.iter().find(|scanned| scanned.frame.header.kind != FrameKind::Marker);
            group.map(|scanned| scanned.frame.header.sequence)
        }
    }
}

/// How many frames from the first on count. Raises `last` to the last of them.
pub(super) fn whole_frames(scan: &Scan, last: &mut Sequence, proven: Sequence) -> usize {
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
