//! Removing events for good that readers are not shown any more.

use std::sync::Arc;

use annals_eventstore::Position;
use annals_eventstore::record::Records;
use annals_eventstore::scavenge::Candidate;
use annals_journal::Keep;
use annals_topics::batch::{Batch, ExpandLimits};
use annals_topics::compaction::{Cleaned, retain};
use bytes::Bytes;

use super::StoreEntry;
use crate::api::Caller;
use crate::api::stores::{ReadEventsError, Scavenged};
use crate::upkeep::compaction::replace;
use crate::{Broker, Inner};

impl Broker {
    /// Removes from the disk what readers are not shown any more: events of deleted streams, and those that their stream's
    /// metadata lets go. Happens by itself when a segment is rewritten for another reason; this rewrites all that the store
    /// has, and takes as long as that takes.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub async fn scavenge_store(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
    ) -> Result<Scavenged, ReadEventsError> {
        let inner = &*self.inner;
        let entry = inner.store(store)?;
        let bytes_before = inner.store_bytes(&entry);
        inner.rewrite_all(entry.log).await.map_err(ReadEventsError::Storage)?;
        Ok(Scavenged { bytes_before, bytes_after: inner.store_bytes(&entry) })
    }

    /// Builds the index of a store again from its log, while the store goes on.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub async fn rebuild_store_index(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
    ) -> Result<(), ReadEventsError> {
        let entry = self.inner.store(store)?;
        let inner = Arc::clone(&self.inner);
        let built = self.inner.blocking(move || inner.rebuild(&entry)).await;
        built.map_err(|error| ReadEventsError::Storage(error.to_string()))
    }
}

impl Inner {
    fn store_bytes(&self, store: &StoreEntry) -> u64 {
        self.journal.log(store.log).map_or(0, |facts| facts.bytes)
    }
}

impl StoreEntry {
    /// What a rewrite keeps of a batch.
    pub(crate) fn keep(&self, payload: &Bytes, now_ms: i64) -> Keep {
        let Ok(batch) = Batch::parse(payload.clone()) else { return Keep::All };
        let kept = self.kept_offsets(&batch, now_ms);
        if kept.len() == batch.header.record_count as usize {
            return Keep::All;
        }
        match retain(&batch, &ExpandLimits::default(), |offset, _, _| kept.contains(&offset)) {
            Ok(Cleaned::Keep) => Keep::All,
            Ok(Cleaned::Drop) => Keep::Drop,
            Ok(Cleaned::Replace(batch)) => replace(&batch),
            Err(error) => {
                tracing::warn!(store = %self.name, %error, "cannot scavenge a batch");
                Keep::All
            }
        }
    }

    fn kept_offsets(&self, batch: &Batch, now_ms: i64) -> Vec<i64> {
        let header = &batch.header;
        let (base, count) = (header.base_offset.cast_unsigned(), header.record_count.cast_unsigned());
        let records = Records::new(batch.body.clone(), Position(base), header.base_timestamp, count);
        let state = self.lock();
        let mut kept = Vec::with_capacity(count as usize);
        for (event, offset) in records.zip(header.base_offset..) {
            // What cannot be read stays, for whoever wants to look at it.
            let is_kept = event.as_ref().map_or(true, |event| {
                let (stream, revision) = (event.stream(), event.revision().0);
                let candidate = Candidate { stream, revision, recorded_ms: event.recorded_ms() };
                event.position() >= state.applied() || state.keeps(&candidate, now_ms)
            });
            if is_kept {
                kept.push(event.map_or(offset, |event| event.position().0.cast_signed()));
            }
        }
        kept
    }
}
