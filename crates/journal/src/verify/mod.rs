//! Verification: reads everything, checks everything, changes nothing.
//!
//! Works on a directory that no server has open, as the last process left it: a torn end is told, not cut. What a
//! power failure leaves unfinished and the next start makes good is no damage; it is told apart, as a [`Notice`].

mod index;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::entry::EntryKind;
use crate::error::{Damage, OpenError};
use crate::files::Files;
use crate::id::{LogId, Sequence};
use crate::index::row::Row;
use crate::recover::{Content, Cut, Found, Scan, inspect, scan, spoiled};
use crate::segment::Segment;
use crate::segment::footer::Footer;
use index::{Ending, ending, is_about_index};

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
    /// What was left unfinished and loses nothing: the next start makes it good.
    pub notices: Vec<Notice>,
    /// Where the next start will cut an unfinished write off.
    pub cut: Option<Cut>,
    /// What is stored of each log, deleted and trimmed parts included.
    pub logs: BTreeMap<LogId, LogReport>,
    /// The last group.
    pub last_sequence: Sequence,
}

/// Something that a crash left unfinished, without a loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The file.
    pub file: String,
    /// From which byte to which.
    pub bytes: Range<u64>,
    /// What is unfinished, and what becomes of it.
    pub what: String,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {} at bytes {}..{}", self.what, self.file, self.bytes.start, self.bytes.end)
    }
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub file: String,
    /// Bytes of frames.
    pub bytes: u64,
    /// Frames in it.
    pub frames: u64,
    /// Entries in them.
    pub entries: u64,
    /// Whether it is complete and has its index.
    pub sealed: bool,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogReport {
    /// From the first stored offset to the one after the last.
    pub offsets: Range<u64>,
    /// Entries stored.
    pub entries: u64,
    /// Payload bytes stored.
    pub bytes: u64,
    /// From where on it is kept, if it was trimmed.
    pub trimmed_to: Option<u64>,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Report {
    /// Whether records are lost.
    pub fn is_data_lost(&self) -> bool {
        self.damage.iter().any(|damage| damage.data_lost)
    }
}

/// Checks every byte in `files`. `progress` is told how many bytes of how many are done.
///
/// # Errors
/// If the files cannot be read, or are of a newer format.
pub fn verify(files: &dyn Files, mut progress: impl FnMut(u64, u64)) -> Result<Report, OpenError> {
    crate::journal::read_format_number(files)?;
    let recovered = inspect(files)?;
    let mut report = Report {
        damage: recovered.damage,
        cut: recovered.cut,
        last_sequence: recovered.last,
        ..Report::default()
    };
    let total: u64 = recovered.found.iter().map(|found| found.segment.data_end()).sum();
    let mut done = 0;
    for found in recovered.found {
        report.judge_index(&found).map_err(OpenError::io("read a segment"))?;
        let end = found.segment.data_end();
        report.add(found).map_err(OpenError::io("read a segment"))?;
        done += end;
        progress(done, total);
    }
    Ok(report)
}

impl Report {
    /// Tells an index whose writing was interrupted from a damaged one.
    fn judge_index(&mut self, found: &Found) -> std::io::Result<()> {
        let segment = &found.segment;
        if matches!(found.content, Content::Sealed(_)) || segment.is_damaged() {
            return Ok(());
        }
        let ending = ending(segment)?;
        let (file, bytes) = (segment.name.to_string(), segment.data_end()..segment.file.len()?);
        let is_known = self.damage.iter().any(|damage| is_about_index(damage, segment));
        match ending {
            Ending::Nothing | Ending::Interrupted => {
                self.damage.retain(|damage| !is_about_index(damage, segment));
            }
            Ending::Damaged if is_known => {}
            Ending::Damaged => {
                let what = "the footer index is damaged; the next start builds it again".to_owned();
                let bytes = bytes.clone();
                self.damage.push(Damage {
                    file: file.clone(),
                    bytes,
                    log: None,
                    offsets: None,
                    what,
                    data_lost: false,
                });
            }
        }
        // Where the end is cut, that says it.
        let is_cut = self.cut.as_ref().is_some_and(|cut| cut.file == file);
        if ending == Ending::Interrupted && !is_cut {
            let what =
                "the index is incomplete, since writing it was interrupted; the next start builds it again"
                    .to_owned();
            self.notices.push(Notice { file, bytes, what });
        }
        Ok(())
    }

    fn add(&mut self, found: Found) -> std::io::Result<()> {
        let Found { segment, content } = found;
        let (scan, footer) = match content {
            Content::Scanned(scan) => (scan, None),
            Content::Sealed(footer) => {
                let scan = scan(segment.file.as_ref(), segment.name, segment.salt, segment.data_end())?;
                (scan, Some(footer))
            }
        };
        self.segments.push(SegmentReport {
            file: segment.name.to_string(),
            bytes: segment.data_end(),
            frames: scan.frames.len() as u64,
            entries: scan.frames.iter().map(|scanned| scanned.frame.entries.len() as u64).sum(),
            sealed: footer.is_some(),
        });
        if let Some(footer) = footer {
            self.check_footer(&segment, &footer, &scan);
        }
        self.damage.extend(scan.unreadable.iter().map(|damage| Damage {
            // In a sealed file every frame was durable: what cannot be read is lost, unless it is padding.
            data_lost: damage.what != crate::recover::PADDING,
            ..damage.clone()
        }));
        for scanned in &scan.frames {
            self.damage.extend(spoiled(segment.name, scanned));
            scanned.frame.entries.iter().for_each(|entry| self.count(entry));
        }
        Ok(())
    }

    fn count(&mut self, entry: &crate::entry::EntryHeader) {
        let log = self.logs.entry(entry.log).or_default();
        match entry.kind {
            EntryKind::Trim => log.trimmed_to = log.trimmed_to.max(Some(entry.base_offset)),
            EntryKind::Delete => log.deleted = true,
            EntryKind::Data => {
                let start = if log.entries == 0 { entry.base_offset } else { log.offsets.start };
                log.offsets = start.min(entry.base_offset)..log.offsets.end.max(entry.end_offset());
                log.entries += 1;
                log.bytes += u64::from(entry.len);
            }
        }
    }

    /// Compares the footer index with the frames that it describes.
    fn check_footer(&mut self, segment: &Segment, footer: &Footer, scan: &Scan) {
        let mut expected: BTreeMap<LogId, Vec<Row>> = BTreeMap::new();
        for scanned in &scan.frames {
            let data = scanned.frame.payloads().filter(|(entry, _)| entry.kind == EntryKind::Data);
            for (entry, position) in data {
                expected.entry(entry.log).or_default().push(Row::new(entry, position));
            }
        }
        for row in &footer.directory {
            let file = segment.file.as_ref();
            let rows = footer.place.read_rows(file, row).map_err(|error| error.to_string());
            let summary = footer.place.read_summary(file, row).map_err(|error| error.to_string());
            let wanted = expected.remove(&row.log).unwrap_or_default();
            let known_hole = !scan.unreadable.is_empty() || footer.place.damaged;
            let what = match (rows, summary) {
                (Err(error), _) | (_, Err(error)) => error,
                (Ok(rows), Ok(_)) if rows == wanted || known_hole => continue,
                _ => "the footer index does not agree with the frames".to_owned(),
            };
            self.damage.push(Damage {
                file: segment.name.to_string(),
                bytes: segment.data_end()..segment.data_end(),
                log: Some(row.log),
                offsets: Some(row.first_offset..row.end_offset),
                what,
                data_lost: false,
            });
        }
    }
}
