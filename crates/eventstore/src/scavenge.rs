//! Which events may go when the journal rewrites its segments.
//!
//! What a reader is not shown any more goes: events that their stream has truncated, too many or too old, everything of
//! a stream that is deleted for good, and metadata that newer metadata has replaced. What stays in any case is the last
//! event of each stream, which tells where the stream goes on when the index is built again, the latest metadata, and what says
//! that a stream is deleted.

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
        if let Some(described) = described_by(event.stream) {
            return self.is_deleted_by_older_metadata(described);
        }
        if head.state() == StreamState::Tombstoned {
            return false;
        }
        self.visible_of(key, now_ms).shows(crate::Revision(event.revision), event.recorded_ms)
    }

    /// Whether a stream is deleted and its latest metadata does not say so, as an older version let it happen.
    fn is_deleted_by_older_metadata(&self, stream: &str) -> bool {
        let is_deleted = matches!(self.stream(stream), StreamState::Deleted(_));
        is_deleted && self.metadata(stream).is_some_and(|metadata| !metadata.is_deletion())
    }
}
