//! The commit thread: completes what the writer has written, in the order in which it was written.
//!
//! For each group: readers see its entries, the machine applies them, the appender is told. The writer is meanwhile busy
//! with the next write. It also remembers what each segment holds, for the footer that is written once it is sealed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

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
pub(crate) enum Message {
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

pub(crate) struct Committer {
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
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, notes: Notes::default() }
    }

    /// Completes groups until the writer is gone.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Written(batch) => self.complete(batch),
                Message::Closed { segment, end } => self.seal(segment, end),
            }
        }
    }

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
        let mut position = group.payloads_at;
        for entry in &group.pending.group.entries {
            self.index(segment, &entry.header, position);
            self.shared.machine().apply(&entry.header, &entry.payload, group.sequence);
            position += u64::from(entry.header.len);
        }
        self.shared.machine().applied(group.sequence);
        self.notes.note(group.sequence);
        self.shared.committed(group.sequence);
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
