//! The writer: one thread that owns the active segment.
//!
//! It takes all groups that wait, packs them into one contiguous write, syncs once and has them completed ([`commit`]), mostly by
//! another thread while the next write is under way. So batching comes from load: a lone group is
//! written at once, and the busier the journal, the more groups share a sync.
//!
//! Invariants:
//! - groups are written in the order of the queue, with sequences without a gap;
//! - each entry starts where its log ends; anything else is a bug that stops the journal;
//! - after a failed write or sync nothing is acknowledged any more.

pub(crate) mod commit;
mod gather;
mod pack;
pub(crate) mod queue;
pub(crate) mod retired;
pub(crate) mod spare;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::{Durability, EntryHeader, EntryKind};
use crate::frame::{BLOCK_LEN, FrameHeader, FrameKind, padded};
use crate::id::{LogId, Sequence};
use crate::segment::{DATA_START, Segment};
use crate::shared::Shared;
use commit::{Batch, Commits, Gone, Packed};
use gather::Gather;
use pack::Packer;
use queue::{Pending, Taken};

/// After this long without a group, a marker tells that everything written is durable. Until then the last write
/// before a crash cannot be told from a torn one; after it, a flipped bit in it is known for damage.
const QUIET: Duration = Duration::from_millis(200);

/// How long the writer waits for a disk that is full in spite of reserved space, between tries.
const FULL_RETRY: Duration = Duration::from_millis(250);

/// How long a wish to close the active segment waits for a spare, between tries.
const ROLL_RETRY: Duration = Duration::from_millis(50);

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commits: Commits,
    /// The next offset of every log, including what is being written.
    pub(crate) next_offsets: HashMap<LogId, u64>,
    /// The last group that was written.
    pub(crate) written: Sequence,
    /// The last group that is known to be on disk.
    pub(crate) durable: Sequence,
    pub(crate) active: Option<Active>,
    packer: Packer,
    /// Groups taken from the queue, not yet packed. Here and not in a local, so that after a fault they are failed only
    /// once the reason is known.
    waiting: VecDeque<Pending>,
    /// Groups that are packed, not yet handed on.
    batch: Vec<Packed>,
    /// When the oldest write that is not synced was made.
    unsynced_since: Option<Duration>,
    marked: bool,
    /// Somebody wishes the active segment to be closed.
    roll_wanted: bool,
    gather: Gather,
}

/// The segment being written.
pub(crate) struct Active {
    segment: Arc<Segment>,
    capacity: u64,
    position: u64,
    opened: Duration,
}

/// Why the writer ends.
enum Fault {
    Io { action: &'static str, source: io::Error },
    Bug(String),
}

impl Fault {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    fn reason(&self) -> String {
        match self {
            Self::Io { action, source } => format!("{action} failed: {source}"),
            Self::Bug(what) => format!("bug: {what}"),
        }
    }
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        commits: Commits,
        next_offsets: HashMap<LogId, u64>,
        last: Sequence,
    ) -> Self {
        Self {
            shared,
            commits,
            next_offsets,
            written: last,
            durable: last,
            active: None,
            packer: Packer::new(),
            waiting: VecDeque::new(),
            batch: Vec::new(),
            unsynced_since: None,
            marked: true,
            roll_wanted: false,
            gather: Gather::default(),
        }
    }

    /// Writes until the queue is closed and empty, or something fails.
    pub(crate) fn run(mut self) {
        if let Err(fault) = self.serve() {
            self.shared.stop(&fault.reason());
        }
    }

    fn serve(&mut self) -> Result<(), Fault> {
        loop {
            self.gather();
            match self.shared.queue.take(self.patience()) {
                Taken::Groups(groups) => {
                    self.waiting = groups;
                    self.write_waiting()?;
                }
                Taken::Nothing => self.idle()?,
                Taken::Roll => self.roll_wanted = true,
                Taken::Sync => {}
                Taken::Closed => return self.finish(),
            }
            self.roll_if_wanted()?;
            self.sync_if_due()?;
        }
    }

    /// Gives those who were just answered the time to send what comes next, where that pays.
    fn gather(&mut self) {
        if let Some(wish) = self.gather.wish() {
            let waiting = self.shared.queue.gather(&wish);
            self.gather.waited(&wish, waiting);
        }
    }

    /// Closes the active segment for whoever wished for it, as soon as there is another to go on in.
    fn roll_if_wanted(&mut self) -> Result<(), Fault> {
        if self.roll_wanted {
            self.roll_wanted = !self.close_early()?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        let patience = match self.unsynced_since {
            Some(since) => (since + self.shared.options.async_interval).saturating_sub(self.now()),
            None if self.marked => self.shared.options.upkeep_interval,
            None => QUIET,
        };
        if self.roll_wanted { patience.min(ROLL_RETRY) } else { patience }
    }

    fn write_waiting(&mut self) -> Result<(), Fault> {
        while !self.waiting.is_empty() {
            self.pack()?;
            self.write()?;
        }
        Ok(())
    }

    /// Packs groups up to the largest write or the end of the segment.
    fn pack(&mut self) -> Result<(), Fault> {
        let first = self.waiting.front().map_or(0, |pending| pending.reservation);
        if self.active.as_ref().is_none_or(|active| !active.fits(first)) {
            self.roll()?;
        }
        let room = self.active.as_ref().map_or(0, Active::left).saturating_sub(BLOCK_LEN as u64);
        let limit = usize::try_from(room).unwrap_or(usize::MAX);
        let now_ms = self.shared.clock.now_ms();
        while let Some(pending) = self.waiting.pop_front() {
            let len = self.packer.len() + padded(pending.group.stored_len() as u64) as usize;
            let full = len > self.shared.options.write_bytes_max && !self.batch.is_empty();
            if full || len > limit {
                self.waiting.push_front(pending);
                break;
            }
            self.pack_group(pending, now_ms)?;
        }
        Ok(())
    }

    fn pack_group(&mut self, pending: Pending, now_ms: i64) -> Result<(), Fault> {
        let checked = pending.group.entries.iter().try_for_each(|entry| self.check_offset(&entry.header));
        if let Err(fault) = checked {
            self.waiting.push_front(pending);
            return Err(fault);
        }
        self.written = self.written.next();
        let position = self.next_position();
        let entries = &pending.group.entries;
        let header = FrameHeader {
            kind: FrameKind::Group,
            entries: entries.len() as u32,
            len: pending.group.stored_len() as u64,
            sequence: self.written,
            durable_before: self.durable,
            written_ms: now_ms,
            salt: self.active.as_ref().map_or(0, |active| active.segment.salt),
            position,
        };
        let mut table = Vec::with_capacity(header.table_end());
        header.encode(entries.iter().map(|entry| &entry.header), &mut table);
        self.packer.put(&table);
        for entry in entries {
            self.packer.put(entry.payload.head());
            self.packer.put(entry.payload.body());
        }
        self.packer.align_frame();
        let payloads_at = position + header.table_end() as u64;
        self.batch.push(Packed { pending, sequence: self.written, payloads_at });
        Ok(())
    }

    fn check_offset(&mut self, header: &EntryHeader) -> Result<(), Fault> {
        match header.kind {
            EntryKind::Data => {}
            EntryKind::Trim => return Ok(()),
            EntryKind::Delete => {
                // Its id is never used again.
                self.next_offsets.remove(&header.log);
                return Ok(());
            }
        }
        let next = self.next_offsets.entry(header.log).or_insert(header.base_offset);
        if *next != header.base_offset || header.records == 0 {
            let (log, base, records) = (header.log, header.base_offset, header.records);
            let what = format!("{log} expected an entry at offset {next}, got {records} records at {base}");
            return Err(Fault::Bug(what));
        }
        *next = header.end_offset();
        Ok(())
    }

    /// Writes what is packed and, unless every group of it can wait, syncs.
    fn write(&mut self) -> Result<(), Fault> {
        if self.packer.is_empty() {
            return Ok(());
        }
        let chunks = self.write_packed()?;
        let bytes = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        self.marked = false;
        let default = self.shared.options.durability;
        let durability = |packed: &Packed| packed.pending.group.durability.unwrap_or(default);
        if self.batch.iter().any(|packed| durability(packed) == Durability::Sync) {
            self.sync(bytes, self.batch.len())?;
        } else {
            let now = self.now();
            self.unsynced_since.get_or_insert(now);
        }
        self.commit(chunks)
    }

    /// Writes the packed bytes at the end of the active segment.
    fn write_packed(&mut self) -> Result<Vec<(u64, bytes::Bytes)>, Fault> {
        let active = self.active.as_mut().ok_or_else(|| Fault::Bug("no active segment".to_owned()))?;
        let mut chunks = Vec::new();
        for piece in self.packer.finish() {
            write_when_there_is_space(&active.segment, active.position, &piece)?;
            chunks.push((active.position, piece.clone()));
            active.position += piece.len() as u64;
        }
        Ok(chunks)
    }

    fn sync(&mut self, bytes: usize, groups: usize) -> Result<(), Fault> {
        let Some(active) = &self.active else { return Ok(()) };
        let before = self.now();
        active.segment.file.sync_data().map_err(Fault::io("fdatasync"))?;
        self.durable = self.written;
        self.unsynced_since = None;
        self.shared.durable.reached(self.durable);
        let took = self.now() - before;
        self.gather.synced(took, bytes, groups, self.shared.queue.waiting());
        self.shared.observer.synced(took, bytes, groups);
        Ok(())
    }

    fn sync_if_due(&mut self) -> Result<(), Fault> {
        let wanted = self.shared.queue.take_sync();
        match self.unsynced_since {
            Some(since) if wanted || self.now() >= since + self.shared.options.async_interval => {
                self.sync(0, 0)
            }
            _ => Ok(()),
        }
    }

    fn commit(&mut self, chunks: Vec<(u64, bytes::Bytes)>) -> Result<(), Fault> {
        let Some(active) = &self.active else { return Ok(()) };
        let groups = std::mem::take(&mut self.batch);
        let used: u64 = chunks.iter().map(|(_, chunk)| chunk.len() as u64).sum();
        self.shared.space.written(groups.iter().map(|group| group.pending.reservation).sum(), used);
        self.shared.upkeep.writer_wrote(used);
        let batch = Batch { segment: Arc::clone(&active.segment), end: active.position, chunks, groups };
        let waiting = !self.waiting.is_empty() || !self.shared.queue.is_idle();
        self.commits.written(batch, waiting).map_err(commit_thread_gone)
    }

    /// Nothing came for a while: leaves a marker, and closes a segment that has grown old.
    fn idle(&mut self) -> Result<(), Fault> {
        if self.unsynced_since.is_some() {
            return Ok(());
        }
        if !self.marked {
            self.mark()?;
        }
        let age_max = self.shared.options.segment_age_max;
        let old = |active: &Active| active.position > DATA_START && self.now() >= active.opened + age_max;
        if self.active.as_ref().is_some_and(old) {
            self.close_early()?;
        }
        Ok(())
    }

    /// Writes a frame without entries whose only message is that everything before it is durable.
    fn mark(&mut self) -> Result<(), Fault> {
        self.marked = true;
        let Some(active) = self.active.as_mut().filter(|active| active.left() >= 2 * BLOCK_LEN as u64) else {
            return Ok(());
        };
        let header = FrameHeader {
            kind: FrameKind::Marker,
            entries: 0,
            len: crate::frame::HEADER_LEN as u64,
            sequence: self.written,
            durable_before: self.durable,
            written_ms: self.shared.clock.now_ms(),
            salt: active.segment.salt,
            position: active.position,
        };
        let mut table = Vec::new();
        header.encode(std::iter::empty(), &mut table);
        self.packer.put(&table);
        if !self.shared.space.take(BLOCK_LEN as u64) {
            self.packer.finish();
            return Ok(());
        }
        self.write_packed()?;
        self.sync(0, 0)
    }

    /// Goes on in the spare segment.
    fn roll(&mut self) -> Result<(), Fault> {
        self.close_active()?;
        let spare = self.shared.spare.take(&self.shared.space);
        let spare = spare.ok_or_else(|| Fault::Bug("admitted without space".to_owned()))?;
        self.shared.index.add_segment(Arc::clone(&spare.segment));
        let opened = self.now();
        self.active =
            Some(Active { segment: spare.segment, capacity: spare.capacity, position: DATA_START, opened });
        self.shared.upkeep.wake();
        Ok(())
    }

    /// Closes the active segment before it is full, if there is another to go on in. Returns whether none is active now.
    fn close_early(&mut self) -> Result<bool, Fault> {
        if self.active.is_none() {
            return Ok(true);
        }
        if !self.shared.space.may_roll_early() {
            return Ok(false);
        }
        self.sync_if_unsynced()?;
        // The spare may have gone during the sync: only this answer counts.
        if !self.shared.space.close_early() {
            return Ok(false);
        }
        self.hand_on_active()?;
        Ok(true)
    }

    /// Syncs the active segment and has it sealed.
    fn close_active(&mut self) -> Result<(), Fault> {
        if self.active.is_some() {
            self.sync_if_unsynced()?;
            self.shared.space.closed();
            self.hand_on_active()?;
        }
        Ok(())
    }

    fn sync_if_unsynced(&mut self) -> Result<(), Fault> {
        if self.unsynced_since.is_some() { self.sync(0, 0) } else { Ok(()) }
    }

    fn hand_on_active(&mut self) -> Result<(), Fault> {
        let Some(active) = self.active.take() else { return Ok(()) };
        self.commits.closed(active.segment, active.position).map_err(commit_thread_gone)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.close_active()
    }

    fn next_position(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.position) + self.packer.len() as u64
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }
}

impl Active {
    fn left(&self) -> u64 {
        self.capacity - self.position
    }

    fn fits(&self, reservation: u64) -> bool {
        reservation <= self.left()
    }
}

fn commit_thread_gone(_: Gone) -> Fault {
    Fault::Bug("the commit thread is gone".to_owned())
}

/// Space was reserved, but some filesystems cannot keep that promise. Then the write waits for space; its callers wait
/// with it and nothing is lost.
fn write_when_there_is_space(segment: &Segment, position: u64, bytes: &[u8]) -> Result<(), Fault> {
    loop {
        match segment.file.write_at(position, bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!(segment = %segment.name, "no space for an admitted write: waiting for some");
                std::thread::sleep(FULL_RETRY);
            }
            done => return done.map_err(Fault::io("writing")),
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use annals_clock::Clock;

    use super::*;
    use crate::Options;
    use crate::files::fault::FaultFiles;
    use crate::machine::Idle;

    #[test]
    fn of_a_deleted_log_no_offset_is_remembered() {
        let (clock, _hands) = Clock::manual(0, 1);
        let files = Arc::new(FaultFiles::new());
        let shared = Shared::new(Options::default(), clock, files, Arc::new(Idle), 1, Sequence::default());
        let shared = Arc::new(shared);
        let (commits, _thread) = commit::commits(Arc::clone(&shared), 1);
        let mut writer = Writer::new(shared, commits, HashMap::new(), Sequence::default());
        let header = |kind| EntryHeader {
            log: LogId(64),
            kind,
            base_offset: 0,
            records: 1,
            timestamp_ms: 0,
            len: 0,
            crc: 0,
        };
        for kind in [EntryKind::Data, EntryKind::Trim] {
            assert!(writer.check_offset(&header(kind)).is_ok());
            assert_eq!(writer.next_offsets.get(&LogId(64)), Some(&1));
        }
        assert!(writer.check_offset(&header(EntryKind::Delete)).is_ok() && writer.next_offsets.is_empty());
    }
}
