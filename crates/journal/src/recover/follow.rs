//! Following: showing the entries that recovery reads anyway to the owner of their logs.
//!
//! An owner can only follow a log whose state it knows: one that is new, or whose latest summary comes right before the
//! entries that are shown. The others it reads afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use super::ScannedFrame;
use crate::entry::EntryKind;
use crate::id::LogId;
use crate::machine::Replay;
use crate::segment::Segment;
use crate::segment::footer::{DirectoryRow, Footer, Place};

/// Knows of each log whether its owner can follow it.
pub(crate) struct Follower<'a> {
    replay: &'a mut dyn Replay,
    logs: HashMap<LogId, Progress>,
}

/// How far the owner is with a log.
enum Progress {
    /// It has seen everything up to here.
    Following,
    /// Its summary covers everything up to here.
    Summary { segment: Arc<Segment>, place: Place, row: Box<DirectoryRow> },
    /// It has missed something.
    Behind,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(replay: &'a mut dyn Replay) -> Self {
        Self { replay, logs: HashMap::new() }
    }

    /// How much of each entry is to be kept for [`Follower::frame`].
    pub(crate) fn head_len(&self) -> usize {
        self.replay.head_len()
    }

    /// The next segment is sealed: its entries are not read.
    pub(crate) fn sealed(&mut self, segment: &Arc<Segment>, footer: &Footer) {
        if self.head_len() == 0 {
            return;
        }
        for row in &footer.directory {
            let progress = if row.has_summary() {
                let (segment, row) = (Arc::clone(segment), Box::new(row.clone()));
                Progress::Summary { segment, place: footer.place, row }
            } else {
                Progress::Behind
            };
            if let Some(Progress::Following) = self.logs.insert(row.log, progress) {
                self.replay.forget(row.log);
            }
        }
    }

    /// The next frame was read.
    pub(crate) fn frame(&mut self, scanned: &ScannedFrame) {
        let head_len = self.head_len();
        if head_len == 0 {
            return;
        }
        let mut heads = scanned.heads.as_slice();
        let entries = scanned.frame.entries.iter().enumerate();
        for (index, entry) in entries.filter(|(_, entry)| entry.kind == EntryKind::Data) {
            let (head, rest) = heads.split_at(head_len.min(entry.len as usize));
            heads = rest;
            // What a damaged payload says about itself is not to be believed.
            if self.follows(entry.log, entry.base_offset) && !scanned.spoiled.contains(&index) {
                self.replay.apply(entry, head);
            }
        }
    }

    /// The state of a log after everything up to here, for a footer; empty if its owner gives none.
    pub(crate) fn summary(&mut self, log: LogId) -> Vec<u8> {
        match self.logs.get(&log) {
            Some(Progress::Following) => self.replay.summary(log).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn follows(&mut self, log: LogId, offset: u64) -> bool {
        let follows = match self.logs.get(&log) {
            Some(Progress::Following) => return true,
            Some(Progress::Behind) => return false,
            None => self.replay.start(log, offset, None),
            Some(Progress::Summary { segment, place, row }) => {
                let summary = place.read_summary(segment.file.as_ref(), row);
                summary.is_ok_and(|summary| self.replay.start(log, row.end_offset, Some(&summary)))
            }
        };
        self.logs.insert(log, if follows { Progress::Following } else { Progress::Behind });
        follows
    }
}
