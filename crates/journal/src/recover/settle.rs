//! Settling: a segment that was read because it had no footer gets one as soon as no doubt about it is left.
//!
//! No doubt is left when everything in it is whole and what follows in the next segment shows that nothing is missing
//! behind it. Such a segment is never cut, whatever else is found. Usually only the last one or two are in doubt.

use std::collections::BTreeMap;
use std::io;

use super::cut::{first_sequence, proven_durable, whole_frames};
use super::follow::Follower;
use super::{Content, Found, Scan};
use crate::entry::EntryKind;
use crate::id::{LogId, Sequence};
use crate::index::row::Row;
use crate::segment::Segment;
use crate::segment::footer::{self, Control, Footer, LogRows};

/// How far a recovery has come.
#[derive(Default)]
pub(super) struct Settling {
    /// So many segments, from the first, are settled, and the follower has seen them.
    pub(super) settled: usize,
    /// The last sequence in those.
    last: Sequence,
    /// Segments whose proofs have been looked at.
    seen: usize,
    proven: Sequence,
}

impl Settling {
    /// Settles what can be after more segments were found.
    pub(super) fn advance(&mut self, found: &mut [Found], follower: &mut Follower<'_>) {
        self.proven = self.proven.max(proven_durable(&found[self.seen..]));
        self.seen = found.len();
        while let [segment, next, ..] = &mut found[self.settled..] {
            match &segment.content {
                Content::Sealed(footer) => {
                    self.last = self.last.max(footer.place.last_sequence);
                    follower.sealed(&segment.segment, footer);
                }
                Content::Scanned(scan) => {
                    let Some(last) = self.end_without_doubt(scan, next) else { return };
                    match seal(&segment.segment, scan, follower) {
                        Ok(footer) => segment.content = Content::Sealed(footer),
                        Err(error) => {
                            let name = segment.segment.name;
                            tracing::warn!(segment = %name, %error, "cannot write a segment's index now");
                        }
                    }
                    self.last = last;
                }
            }
            self.settled += 1;
        }
    }

    /// The last sequence of a segment about which no doubt is left.
    fn end_without_doubt(&self, scan: &Scan, next: &Found) -> Option<Sequence> {
        let mut last = self.last;
        let whole = scan.unreadable.is_empty()
            && scan.frames.iter().all(|scanned| scanned.spoiled.is_empty())
            && whole_frames(scan, &mut last, self.proven) == scan.frames.len();
        let nothing_between = last <= self.proven || first_sequence(next) == Some(last.next());
        (whole && nothing_between).then_some(last)
    }
}

/// Writes the footer of a segment from what was read of it.
fn seal(segment: &Segment, scan: &Scan, follower: &mut Follower<'_>) -> io::Result<Footer> {
    let (mut rows, mut controls) = (BTreeMap::<LogId, Vec<Row>>::new(), Vec::new());
    for scanned in &scan.frames {
        follower.frame(scanned);
        for (entry, position) in scanned.frame.payloads() {
            if entry.kind == EntryKind::Data {
                rows.entry(entry.log).or_default().push(Row::new(entry, position));
            } else {
                controls.push(Control { log: entry.log, kind: entry.kind, offset: entry.base_offset });
            }
        }
    }
    let summaries: Vec<_> = rows.keys().map(|&log| follower.summary(log)).collect();
    let parts = rows.iter().zip(&summaries);
    let logs: Vec<_> = parts.map(|((&log, rows), summary)| LogRows { log, rows, summary }).collect();
    let end = segment.data_end();
    let footer = footer::encode(&logs, &controls, end, scan.sequences(), false);
    footer::write(segment.file.as_ref(), end, &footer)?;
    let footer = Footer::read(segment.file.as_ref()).map_err(io::Error::other)?;
    segment.set_sealed();
    Ok(footer)
}
