//! Committing: completes what the writer has written, in the order in which it was written.
//!
//! For each group: readers see its entries, the machine applies them, the appender is told. A thread of its own does that, while
//! the writer is busy with the next write; only where there is no next write, the writer does it itself, which spares a lone group
//! the change of threads. Here is also remembered what each segment holds, for the footer that is written once it is sealed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::entry::{EntryHeader, EntryKind};
use crate::id::{LogId, Sequence};
use crate::index::row::Row;
use crate::segment::Segment;
use crate::segment::footer::Control;
use crate::shared::Shared;
use crate::upkeep::SealJob;
use crate::writer::queue::Pending;

/// What the writer tells.
enum Message {
    Written(Batch),
    /// No more is written to this segment; everything in it is durable.
    Closed {
        segment: Arc<Segment>,
        end: u64,
    },
}

/// Groups that one write brought to the disk.
pub(crate) struct Batch {
    pub(crate) segment: Arc<Segment>,
    /// Where the segment ends now.
    pub(crate) end: u64,
    /// The bytes written and their positions.
    pub(crate) chunks: Vec<(u64, Bytes)>,
    pub(crate) groups: Vec<Packed>,
}

/// A group and where it lies.
pub(crate) struct Packed {
    pub(crate) pending: Pending,
    pub(crate) sequence: Sequence,
    pub(crate) payloads_at: u64,
}

/// So many groups the writer completes itself, if nothing waits for it.
const OWN_GROUPS_MAX: usize = 2;
/// And no more bytes: after a large write the next is mostly on its way, and it gains from both threads.
const OWN_BYTES_MAX: usize = 64 << 10;

/// The writer's end.
pub(crate) struct Commits {
    sender: SyncSender<Message>,
    desk: Arc<Desk>,
}

/// The thread's end.
pub(crate) struct CommitThread {
    messages: Receiver<Message>,
    desk: Arc<Desk>,
}

struct Desk {
    committer: Mutex<Committer>,
    /// Messages that were sent and are not done with. While there are none, the next may be dealt with by whoever has it.
    under_way: AtomicUsize,
}

/// The commit thread is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Both ends; the writer may be so many messages ahead.
pub(crate) fn commits(shared: Arc<Shared>, lag: usize) -> (Commits, CommitThread) {
    let (sender, messages) = sync_channel(lag);
    let committer = Mutex::new(Committer { shared, notes: Notes::default() });
    let desk = Arc::new(Desk { committer, under_way: AtomicUsize::new(0) });
    (Commits { sender, desk: Arc::clone(&desk) }, CommitThread { messages, desk })
}

impl Commits {
    /// Has groups completed: here and now, if few were written and nothing is `waiting` to be.
    pub(crate) fn written(&self, batch: Batch, waiting: bool) -> Result<(), Gone> {
        let bytes: usize = batch.chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        let few = batch.groups.len() <= OWN_GROUPS_MAX && bytes <= OWN_BYTES_MAX;
        if few && !waiting && self.desk.under_way.load(Ordering::Acquire) == 0 {
            self.desk.lock().complete(batch);
            return Ok(());
        }
        self.send(Message::Written(batch))
    }

    /// Tells that a segment is closed.
    pub(crate) fn closed(&self, segment: Arc<Segment>, end: u64) -> Result<(), Gone> {
        self.send(Message::Closed { segment, end })
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        self.desk.under_way.fetch_add(1, Ordering::AcqRel);
        self.sender.send(message).map_err(|_| Gone)
    }
}

impl CommitThread {
    /// Completes groups until the writer is gone.
    pub(crate) fn run(self) {
        while let Ok(message) = self.messages.recv() {
            let mut committer = self.desk.lock();
            match message {
                Message::Written(batch) => committer.complete(batch),
                Message::Closed { segment, end } => committer.seal(segment, end),
            }
            drop(committer);
            self.desk.under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Committer> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Committer {
    shared: Arc<Shared>,
    notes: Notes,
}

/// What the segment being written holds so far.
#[derive(Default)]
pub(crate) struct Notes {
    logs: HashSet<LogId>,
    controls: Vec<Control>,
    first: Sequence,
    last: Sequence,
}

impl Committer {
    fn complete(&mut self, batch: Batch) {
        for (position, chunk) in batch.chunks {
            self.shared.cache.insert(batch.segment.salt, position, chunk);
        }
        batch.segment.set_data_end(batch.end);
        for group in batch.groups {
            self.complete_group(&batch.segment, group);
        }
    }

    fn complete_group(&mut self, segment: &Arc<Segment>, group: Packed) {
        // Before anybody can see what it says: who then wants to have it on disk means this group too.
        self.shared.committed(group.sequence);
        let mut position = group.payloads_at;
        for entry in &group.pending.group.entries {
            self.index(segment, &entry.header, position);
            self.shared.machine().apply(&entry.header, &entry.payload, group.sequence);
            position += u64::from(entry.header.len);
        }
        self.shared.machine().applied(group.sequence);
        self.notes.note(group.sequence);
        self.tell(group.pending, group.sequence);
    }

    fn tell(&self, pending: Pending, sequence: Sequence) {
        let took = self.shared.clock.monotonic().saturating_sub(pending.submitted);
        let durability = pending.group.durability.unwrap_or(self.shared.options.durability);
        self.shared.observer.appended(took, durability);
        // The appender may have gone away; its group is durable all the same.
        let _ = pending.done.send(Ok(sequence));
    }

    fn index(&mut self, segment: &Arc<Segment>, header: &EntryHeader, position: u64) {
        match header.kind {
            EntryKind::Data => {
                let slot = self.shared.index.log_or_new(header.log);
                if slot.lock().append(segment, Row::new(header, position)) {
                    self.notes.logs.insert(header.log);
                }
            }
            EntryKind::Trim | EntryKind::Delete => {
                let control = Control { log: header.log, kind: header.kind, offset: header.base_offset };
                self.shared.apply_control(control, segment);
                self.notes.controls.push(control);
            }
        }
    }

    fn seal(&mut self, segment: Arc<Segment>, end: u64) {
        segment.set_data_end(end);
        let notes = std::mem::take(&mut self.notes);
        let mut logs: Vec<_> = notes.logs.into_iter().collect();
        logs.sort_unstable();
        let summary = |log: &LogId| self.shared.machine().summary(*log).unwrap_or_default();
        let summaries = logs.iter().map(summary).collect();
        let sequences = (notes.first, notes.last);
        self.shared.upkeep.seal(SealJob {
            segment,
            end,
            logs,
            summaries,
            controls: notes.controls,
            sequences,
        });
    }
}

impl Notes {
    fn note(&mut self, sequence: Sequence) {
        if self.first == Sequence::default() {
            self.first = sequence;
        }
        self.last = sequence;
    }
}
