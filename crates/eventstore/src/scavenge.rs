//! Which events may go when the journal rewrites its segments.
//!
//! What a reader is not shown any more goes: events that their stream has truncated, too many or too old, everything of
//! a stream that is deleted for good, and metadata that newer metadata has replaced. What stays in any case is the last
//! event of each stream, which tells where the stream goes on when the index is built again, and the latest metadata.

use crate::name::described_by;
use crate::store::Store;
use crate::{StreamState, TimestampMs};

/// An event, as scavenging needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a> {
    /// Its stream.
    pub stream: &'a str,
    /// Its revision.
    pub revision: u64,
    /// When it was recorded.
    pub recorded_ms: TimestampMs,
}

impl Store {
    /// Whether an event is still needed.
    pub fn keeps(&self, event: &Candidate<'_>, now_ms: TimestampMs) -> bool {
        let key = self.terms().stream(event.stream);
        let head = self.head(key);
        let is_last = event.revision + 1 >= head.next;
        if is_last {
            return true;
        }
        if described_by(event.stream).is_some() || head.state() == StreamState::Tombstoned {
            return false;
        }
        self.visible_of(key, now_ms).shows(crate::Revision(event.revision), event.recorded_ms)
    }
}
