//! The machine: applies what became durable, live and in recovery, by the same code.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use annals_journal::{EntryHeader, EntryKind, Keep, LogId, Machine, Payload, Sequence};
use annals_topics::batch::{Batch, BatchHeader, ExpandLimits, HEADER_LEN};
use annals_topics::catalogue::Applied;
use annals_topics::partition::Partition;
use bytes::Bytes;

use crate::State;
use crate::eventstore::KEYS_LOG;
use crate::queues::is_queue_log;
use crate::state_log::{CATALOGUE_LOG, FIRST_TOPIC_LOG};

impl Machine for State {
    fn apply(&self, header: &EntryHeader, payload: &Payload, _: Sequence) {
        match header.kind {
            EntryKind::Data if header.log == CATALOGUE_LOG => self.apply_catalogue(payload.to_bytes()),
            EntryKind::Data if header.log == KEYS_LOG => self.stores.keys.apply(payload.to_bytes()),
            EntryKind::Data if is_queue_log(header.log) => self.queues.applied(header),
            EntryKind::Data if header.log.0 >= FIRST_TOPIC_LOG => self.apply_batch(header.log, payload),
            EntryKind::Trim => self.apply_trim(header.log, header.base_offset),
            // Groups apply their own records when their writes complete; deleted logs are gone from the table.
            EntryKind::Data | EntryKind::Delete => {}
        }
    }

    fn applied(&self, _: Sequence) {
        self.now_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    fn summary(&self, log: LogId) -> Option<Vec<u8>> {
        let entry = self.table.by_log(log)?;
        let snapshot = entry.lock().snapshot();
        Some(snapshot)
    }

    /// Keys of subjects, and events, which may be scavenged.
    fn is_secret(&self, log: LogId) -> bool {
        log == KEYS_LOG || self.stores.by_log(log).is_some()
    }

    fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        if is_queue_log(header.log) {
            return self.queues.keep(header, payload);
        }
        if header.log == KEYS_LOG {
            return self.stores.keys.keep(payload);
        }
        if let Some(store) = self.stores.by_log(header.log) {
            return store.keep(payload, self.clock.now_ms());
        }
        self.cleaning.keep(header, payload)
    }
}

impl State {
    fn apply_batch(&self, log: LogId, payload: &Payload) {
        let Some(entry) = self.table.by_log(log) else { return };
        let header = match payload.head() {
            [] => BatchHeader::parse(payload.body()),
            head => BatchHeader::parse(head),
        };
        match header {
            Ok(header) => {
                entry.lock().apply(&header, self.now_ms.load(Ordering::Relaxed));
                self.stores.apply(log, header.next_offset().cast_unsigned());
                entry.wake();
            }
            // It was checked before it was written, and the journal's checksum has held.
            Err(error) => tracing::error!(%log, %error, "bug: a stored batch cannot be read"),
        }
    }

    fn apply_trim(&self, log: LogId, start: u64) {
        if let Some(entry) = self.table.by_log(log) {
            entry.lock().apply_trim(start.cast_signed());
            entry.wake();
        }
    }

    /// Applies a batch of catalogue records.
    pub(crate) fn apply_catalogue(&self, batch: Bytes) {
        let records = Batch::parse(batch).and_then(|batch| batch.records(&ExpandLimits::default()));
        let records = match records {
            Ok(records) => records,
            Err(error) => return tracing::error!(%error, "bug: the catalogue's log cannot be read"),
        };
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let applied = record.map_err(|error| error.to_string()).and_then(|record| {
                let key = record.key.unwrap_or_default();
                catalogue.apply(&key, record.value.as_deref()).map_err(|error| error.to_string())
            });
            match applied {
                Ok(applied) => self.adopt(applied),
                Err(error) => tracing::error!(error, "bug: a catalogue record cannot be applied"),
            }
        }
    }

    fn adopt(&self, applied: Applied) {
        match applied {
            Applied::Created(topic) | Applied::Changed { after: topic, .. } => {
                self.table.put(&topic, |_| Partition::default());
                let partition = topic.logs.first().and_then(|&log| self.table.by_log(LogId(log)));
                self.stores.put(&topic, partition, &self.clock);
            }
            Applied::Deleted(topic) => {
                self.stores.remove(&topic);
                self.table.remove(&topic);
            }
            Applied::Nothing => {}
        }
    }
}

/// The bytes of an entry that recovery needs to apply it.
pub(crate) const HEAD_LEN: usize = HEADER_LEN;
