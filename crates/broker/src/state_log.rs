//! The broker's own keyed logs: the catalogue of topics, and groups with their offsets.
//!
//! They are logs like any other, of record batches with keys; compaction keeps the latest record of each key. Their ids
//! are fixed and never change.

use annals_clock::TimestampMs;
use annals_journal::{Group, Journal, LogId, Payload};
use annals_topics::batch::{BatchBuilder, BatchOptions, NewRecord};
use annals_topics::offsets::Record;
use tokio::sync::Mutex;

use crate::storage::Unavailable;

/// Topic definitions and allocated ids.
pub(crate) const CATALOGUE_LOG: LogId = LogId(1);
/// Consumer groups and committed offsets.
pub(crate) const OFFSETS_LOG: LogId = LogId(2);
/// Logs below this are the server's own; partitions get theirs from here on.
pub(crate) const FIRST_TOPIC_LOG: u64 = 64;

/// One keyed log and the offset at which it goes on.
pub(crate) struct StateLog {
    log: LogId,
    next_offset: Mutex<u64>,
}

impl StateLog {
    pub(crate) fn new(log: LogId, next_offset: u64) -> Self {
        Self { log, next_offset: Mutex::new(next_offset) }
    }

    /// Appends `records` in one group with whatever `more` adds to it. Durable and applied on return.
    ///
    /// # Errors
    /// [`Unavailable`]; then nothing was appended, unless the journal stopped meanwhile.
    pub(crate) async fn append(
        &self,
        journal: &Journal,
        records: &[Record],
        now_ms: TimestampMs,
        more: impl FnOnce(&mut Group),
    ) -> Result<(), Unavailable> {
        let mut next_offset = self.next_offset.lock().await;
        let mut group = Group::new();
        if !records.is_empty() {
            let payload = encode(records, *next_offset, now_ms)?;
            group.push(self.log, *next_offset, records.len() as u32, now_ms, payload);
        }
        more(&mut group);
        let permit = journal.admit(group.stored_len(), true).await?;
        let ticket = journal.submit(permit, group);
        *next_offset += records.len() as u64;
        drop(next_offset);
        ticket.await?;
        Ok(())
    }
}

fn encode(records: &[Record], base_offset: u64, now_ms: TimestampMs) -> Result<Payload, Unavailable> {
    let options = BatchOptions { base_offset: base_offset.cast_signed(), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let record =
            NewRecord { key: Some(&record.key), value: record.value.as_deref(), ..NewRecord::at(now_ms) };
        builder.push(&record).map_err(|error| Unavailable::Stopped(error.to_string()))?;
    }
    let batch = builder.build().map_err(|error| Unavailable::Stopped(error.to_string()))?;
    Ok(Payload::new(batch.encode()))
}
