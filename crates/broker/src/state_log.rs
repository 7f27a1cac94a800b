//! The broker's own keyed logs: the catalogue of topics, and groups with their offsets.
//!
//! They are logs like any other, of record batches with keys; compaction keeps the latest record of each key. Their ids
//! are fixed and never change.
//!
//! Invariants: batches reach the journal in the order of their offsets: an offset is given and the batch submitted under
//! one lock, which is not held while room in the journal is waited for. On a full disk only what makes room is written:
//! of these logs, records that delete their keys.

use std::sync::{Mutex, PoisonError};

use annals_clock::TimestampMs;
use annals_journal::{Group, Journal, LogId, Payload, Purpose, Ticket};
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions, NewRecord};
use annals_topics::offsets::Record;

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

    /// Appends `records` in one group, which also deletes the logs `doomed`. Durable and applied on return.
    ///
    /// # Errors
    /// [`Unavailable`]; then nothing was appended, unless the journal stopped meanwhile.
    pub(crate) async fn append(
        &self,
        journal: &Journal,
        records: &[Record],
        now_ms: TimestampMs,
        doomed: &[LogId],
    ) -> Result<(), Unavailable> {
        let batch = if records.is_empty() { None } else { Some(build(records, now_ms)?) };
        let stand_in = self.group(batch.as_ref(), 0, doomed);
        let permit = journal.admit(stand_in.stored_len(), purpose(records)).await?;
        let submit = |group| journal.submit(permit, group);
        self.submit(batch.as_ref(), doomed, submit).await?;
        Ok(())
    }

    /// Gives the batch its offsets and submits it, before any other gets the ones after them.
    fn submit(
        &self,
        batch: Option<&Batch>,
        doomed: &[LogId],
        submit: impl FnOnce(Group) -> Ticket,
    ) -> Ticket {
        let mut next_offset = self.next_offset.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = submit(self.group(batch, *next_offset, doomed));
        *next_offset += batch.map_or(0, |batch| u64::from(batch.header.record_count.cast_unsigned()));
        ticket
    }

    fn group(&self, batch: Option<&Batch>, base_offset: u64, doomed: &[LogId]) -> Group {
        let mut group = Group::new();
        if let Some(batch) = batch {
            let mut header = batch.header;
            header.assign(base_offset.cast_signed(), header.leader_epoch);
            let payload = Payload::with_head(&header.to_bytes(), batch.body.clone(), header.stored_crc());
            let records = header.record_count.cast_unsigned();
            group.push(self.log, base_offset, records, header.max_timestamp, payload);
        }
        doomed.iter().for_each(|&log| group.delete(log));
        group
    }
}

fn purpose(records: &[Record]) -> Purpose {
    if frees_space(records) { Purpose::Control } else { Purpose::State }
}

/// Whether these records only delete what their keys had.
pub(crate) fn frees_space(records: &[Record]) -> bool {
    records.iter().all(|record| record.value.is_none())
}

fn build(records: &[Record], now_ms: TimestampMs) -> Result<Batch, Unavailable> {
    let failed = |error: &dyn std::fmt::Display| Unavailable::Stopped(error.to_string());
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records {
        let record =
            NewRecord { key: Some(&record.key), value: record.value.as_deref(), ..NewRecord::at(now_ms) };
        builder.push(&record).map_err(|error| failed(&error))?;
    }
    builder.build().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use annals_topics::batch::BatchOptions;

    use crate::api::offsets::CommitError;
    use crate::api::topics::TopicRef;
    use crate::groups::tests::{World, batch};

    /// Writes until the disk takes no more.
    async fn fill(world: &World, topic: &str) {
        world.files.set_capacity(Some(6 << 20));
        let now_ms = world.broker.inner.clock.now_ms();
        for count in [2000, 100, 1] {
            let records = batch(count, now_ms, BatchOptions::default());
            while world.send(topic, 0, records.clone()).await.durable().await.remove(0).is_ok() {}
        }
    }

    #[tokio::test]
    async fn a_full_disk_takes_commits_for_a_while_and_deletions_to_the_end() {
        let world = World::new();
        world.create("large", 1).await;
        world.create("small", 1).await;
        assert_eq!(world.commit("readers", "small", 0, 1).await, Ok(()));
        fill(&world, "large").await;
        let mut commits = 0;
        let refused = loop {
            match world.commit("readers", "small", 0, 2).await {
                Ok(()) => commits += 1,
                Err(refused) => break refused,
            }
        };
        assert!(commits > 20, "only {commits} commits");
        assert!(matches!(refused, CommitError::Unavailable(_)), "{refused:?}");
        let deleted = world.broker.delete_offsets(&world.caller, "readers".into(), vec![("small".into(), 0)]);
        assert_eq!(deleted.await.unwrap(), [Ok(())]);
        let topics = vec![TopicRef::Name("large".into())];
        assert!(world.broker.delete_topics(&world.caller, topics).await[0].is_ok());
        // Then there is room again.
        for _ in 0..500 {
            if world.commit("readers", "small", 0, 3).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the space of the deleted topic did not come back");
    }
}
