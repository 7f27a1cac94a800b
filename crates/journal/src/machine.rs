//! The journal's view of those whose logs it keeps.

use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Durability, EntryHeader, Payload};
use crate::error::Damage;
use crate::id::{LogId, Sequence};

/// The owner of the state that the logs describe.
///
/// The journal calls it from one thread, in the order of the groups, after a group is durable and before its appender
/// is told. It must not wait: everything behind it waits too.
pub trait Machine: Send + Sync {
    /// An entry is durable.
    fn apply(&self, header: &EntryHeader, payload: &Payload, sequence: Sequence);

    /// All entries of a group were applied.
    fn applied(&self, sequence: Sequence) {
        let _ = sequence;
    }

    /// The state of `log` after everything applied so far, if that makes a restart shorter. Given back by
    /// [`crate::Journal::summary`] with the offset it belongs to.
    fn summary(&self, log: LogId) -> Option<Vec<u8>>;

    /// Whether what a rewrite leaves out of a log has to be off the disk when it ends, as the key of somebody who is to be
    /// forgotten. Files of other logs may be kept to be written again, with what they hold.
    fn is_secret(&self, log: LogId) -> bool {
        let _ = log;
        false
    }

    /// During a rewrite of old segments: what of an entry is still needed. The default keeps everything.
    fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        let _ = (header, payload);
        Keep::All
    }
}

/// What a rewrite does with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Keeps it as it is.
    All,
    /// Drops it. The last entry of a log is kept nevertheless, since it tells where the log ends.
    Drop,
    /// Keeps its place, with other bytes.
    Replace {
        /// What takes the place of the entry, at most as long.
        payload: Bytes,
        /// The largest timestamp in it, milliseconds since 1970.
        timestamp_ms: i64,
    },
}

/// Finds an owner's state again from entries that the opening of a journal reads anyway.
///
/// The segments that were being written when a process was killed, and those whose footers are lost, are read as a
/// whole. Their entries are shown here, in order, so that the owner need not read them once more, and what it says of
/// them goes into the footers that are written anew. A log is shown from a state that the owner knows, or not at all.
///
/// All methods have defaults for owners that want nothing of this; `()` is one.
pub trait Replay {
    /// So many first bytes of each entry are wanted; with 0 nothing is shown.
    fn head_len(&self) -> usize {
        0
    }

    /// `log` is shown from offset `at` on. Its state there is what `summary` says (see [`Machine::summary`]); without
    /// one, nothing of the log is stored before. Returns whether it can be followed from there.
    fn start(&mut self, log: LogId, at: u64, summary: Option<&[u8]>) -> bool {
        let _ = (log, at, summary);
        false
    }

    /// The next entry of a log that is followed. `head` is the beginning of its payload, which is not checked.
    fn apply(&mut self, header: &EntryHeader, head: &[u8]) {
        let _ = (header, head);
    }

    /// As [`Machine::summary`].
    fn summary(&mut self, log: LogId) -> Option<Vec<u8>> {
        let _ = log;
        None
    }

    /// `log` has entries that are not shown: what was seen of it is outdated.
    fn forget(&mut self, log: LogId) {
        let _ = log;
    }
}

impl Replay for () {}

/// Somebody who wants to know how the journal does: for metrics and logs.
pub trait Observer: Send + Sync {
    /// A write of `bytes` with `groups` groups was synced, which took `took`.
    fn synced(&self, took: Duration, bytes: usize, groups: usize) {
        let _ = (took, bytes, groups);
    }

    /// A group was acknowledged with this durability, `took` after it was submitted.
    fn appended(&self, took: Duration, durability: Durability) {
        let _ = (took, durability);
    }

    /// Damage was found.
    fn damaged(&self, damage: &Damage) {
        let _ = damage;
    }

    /// The journal stopped accepting appends for good.
    fn stopped(&self, reason: &str) {
        let _ = reason;
    }
}

/// An observer and machine that does nothing: for tools and tests.
#[derive(Debug, Default, Clone, Copy)]
pub struct Idle;

impl Observer for Idle {}

impl Machine for Idle {
    fn apply(&self, _: &EntryHeader, _: &Payload, _: Sequence) {}

    fn summary(&self, _: LogId) -> Option<Vec<u8>> {
        None
    }
}
