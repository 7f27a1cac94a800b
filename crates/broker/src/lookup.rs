//! Where offsets lie: earliest, latest, by timestamp; what producers a partition knows; what the disk holds.

use std::sync::Arc;

use annals_journal::{Journal, LogId, ReadError};
use annals_topics::batch::{Batch, ExpandLimits, Found, find_at_or_after, find_max_timestamp};
use annals_topics::partition::ProducerState;

use crate::api::Caller;
use crate::api::cluster::{ActiveProducer, DescribeProducersError, LogDir, PartitionSize};
use crate::api::topics::{FoundOffset, Isolation, ListOffsetsError, OffsetAt, OffsetQuery, TopicRef};
use crate::state_log::CATALOGUE_LOG;
use crate::table::PartitionEntry;
use crate::{Broker, Inner};

impl Broker {
    /// Turns places into offsets; one result per query, in order. `None` where no record matches.
    pub async fn list_offsets(
        &self,
        _caller: &Caller,
        isolation: Isolation,
        queries: Vec<OffsetQuery>,
    ) -> Vec<Result<Option<FoundOffset>, ListOffsetsError>> {
        let mut results = Vec::with_capacity(queries.len());
        for query in queries {
            results.push(self.inner.list_offset(isolation, &query).await);
        }
        results
    }

    /// What the data directory holds.
    pub async fn log_dirs(&self, _caller: &Caller) -> Vec<LogDir> {
        let mut partitions = Vec::new();
        for topic in self.inner.state.table.topics() {
            for (index, partition) in (0..).zip(&topic.partitions) {
                let facts = self.inner.journal.log(partition.log);
                let size_bytes = facts.map_or(0, |facts| facts.bytes.cast_signed());
                let topic = Arc::clone(&topic.topic.name);
                partitions.push(PartitionSize { topic, partition: index, size_bytes });
            }
        }
        let space = self.inner.journal.disk();
        let (total_bytes, usable_bytes) = (space.total_bytes.cast_signed(), space.free_bytes.cast_signed());
        vec![LogDir { path: space.path, total_bytes, usable_bytes, partitions }]
    }

    /// Where the log of the catalogue ends: it grows with every change of topics and settings.
    pub fn metadata_end_offset(&self) -> i64 {
        let facts = self.inner.journal.log(CATALOGUE_LOG);
        facts.map_or(0, |facts| facts.offsets.end.cast_signed())
    }

    /// Producers that have lately written; one result per partition, in order.
    pub async fn describe_producers(
        &self,
        _caller: &Caller,
        partitions: Vec<(Arc<str>, i32)>,
    ) -> Vec<Result<Vec<ActiveProducer>, DescribeProducersError>> {
        let describe = |(topic, partition): (Arc<str>, i32)| {
            let entry = self.inner.state.table.partition(&TopicRef::Name(Arc::clone(&topic)), partition);
            let entry = entry.ok_or(DescribeProducersError::UnknownPartition { topic, partition })?;
            let producers = entry.lock().producers();
            Ok(producers.into_iter().map(active).collect())
        };
        partitions.into_iter().map(describe).collect()
    }
}

fn active(producer: ProducerState) -> ActiveProducer {
    ActiveProducer {
        producer_id: producer.producer_id,
        epoch: producer.epoch,
        last_sequence: producer.last_sequence,
        last_timestamp_ms: producer.last_timestamp_ms,
        coordinator_epoch: None,
        transaction_start_offset: None,
    }
}

impl Inner {
    pub(crate) async fn list_offset(
        &self,
        isolation: Isolation,
        query: &OffsetQuery,
    ) -> Result<Option<FoundOffset>, ListOffsetsError> {
        let OffsetQuery { topic, partition, at } = query;
        let entry = self.state.table.partition(&TopicRef::Name(Arc::clone(topic)), *partition);
        let unknown =
            || ListOffsetsError::UnknownPartition { topic: Arc::clone(topic), partition: *partition };
        let entry = entry.ok_or_else(unknown)?;
        let plain = |offset| Ok(Some(FoundOffset { offset, timestamp_ms: None }));
        let found = match *at {
            OffsetAt::Earliest => return plain(entry.lock().log_start()),
            OffsetAt::Latest if isolation == Isolation::ReadUncommitted => {
                return plain(entry.lock().high_watermark());
            }
            OffsetAt::Latest => return plain(entry.lock().last_stable_offset()),
            OffsetAt::MaxTimestamp => self.search(&entry, None).await,
            OffsetAt::Timestamp(timestamp_ms) => self.search(&entry, Some(timestamp_ms)).await,
        };
        let found = found.map_err(|reason| {
            let (topic, partition) = (Arc::clone(topic), *partition);
            ListOffsetsError::Storage { topic, partition, reason }
        })?;
        Ok(found.map(|found| FoundOffset { offset: found.offset, timestamp_ms: Some(found.timestamp_ms) }))
    }

    /// The first record at or after a timestamp, or, without one, the first with the largest timestamp.
    async fn search(
        &self,
        entry: &PartitionEntry,
        timestamp_ms: Option<i64>,
    ) -> Result<Option<Found>, String> {
        let (journal, log, limits) = (self.journal.clone(), entry.log, self.options.expand);
        let start = entry.lock().log_start();
        let found = self.blocking(move || match timestamp_ms {
            Some(timestamp_ms) => find_timestamp(&journal, log, timestamp_ms, start, &limits),
            None => find_largest(&journal, log, start, &limits),
        });
        let found = found.await.map_err(|error| error.to_string())?;
        // The journal shows what is durable a moment before it is applied.
        let high_watermark = entry.lock().high_watermark();
        Ok(found.filter(|found| found.offset < high_watermark))
    }
}

/// Why a search ended without an answer.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Batch(#[from] annals_topics::batch::BatchError),
}

fn find_timestamp(
    journal: &Journal,
    log: LogId,
    timestamp_ms: i64,
    start: i64,
    limits: &ExpandLimits,
) -> Result<Option<Found>, SearchError> {
    let mut from = start.cast_unsigned();
    while let Some(offset) = journal.find_timestamp(log, timestamp_ms, from)? {
        let Some(entry) = journal.entries(log, offset, 1)?.into_iter().next() else { return Ok(None) };
        let batch = Batch::parse(entry.payload)?;
        if let Some(found) = find_at_or_after(&batch, timestamp_ms, start, limits)? {
            return Ok(Some(found));
        }
        // The part of the batch that would match is trimmed away.
        from = entry.header.end_offset();
    }
    Ok(None)
}

fn find_largest(
    journal: &Journal,
    log: LogId,
    start: i64,
    limits: &ExpandLimits,
) -> Result<Option<Found>, SearchError> {
    // A batch that the start lies in has to be looked into: its largest timestamp may be one of what is trimmed away.
    let first = journal.entries(log, start.cast_unsigned(), 1)?.into_iter().next();
    let begun = first.filter(|entry| entry.header.base_offset.cast_signed() < start);
    let begun = match begun {
        Some(entry) => find_max_timestamp(&Batch::parse(entry.payload)?, start, limits)?,
        None => None,
    };
    let whole = journal.find_max_timestamp(log, start.cast_unsigned())?;
    let larger = |timestamp_ms| begun.is_none_or(|begun| timestamp_ms > begun.timestamp_ms);
    let Some((offset, _)) = whole.filter(|&(_, timestamp_ms)| timestamp_ms >= 0 && larger(timestamp_ms))
    else {
        return Ok(begun.filter(|begun| begun.timestamp_ms >= 0));
    };
    let Some(entry) = journal.entries(log, offset, 1)?.into_iter().next() else { return Ok(begun) };
    Ok(find_max_timestamp(&Batch::parse(entry.payload)?, start, limits)?)
}
