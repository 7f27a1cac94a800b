//! What a plan appends to topics: for exchanges that publish to one, and for queues that are streams.
//!
//! The partitions are locked behind the queues, in the order of their logs, and decide before any queue does: what they
//! decide is submitted in the same group as everything else of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};

use annals_clock::TimestampMs;
use annals_journal::{Group, Payload};
use annals_queues::routing::QueueId;
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions};
use annals_topics::partition::{Append, Partition};

use super::batch::Encoded;
use super::plan::Plan;
use super::record::{TopicRecord, partition_for};
use crate::api::queues::publish::PublishError;
use crate::api::topics::TopicRef;
use crate::metrics::Appending;
use crate::table::{PartitionEntry, Table, TopicEntry};

/// What a batch takes beside its records.
const BATCH_OVERHEAD: usize = 128;

/// Records for one partition.
pub(super) struct PartitionAppend {
    topic: Arc<TopicEntry>,
    partition: Arc<PartitionEntry>,
    batches: Vec<Batch>,
}

/// All records of a plan, by the logs of their partitions.
#[derive(Default)]
pub(super) struct Appends {
    parts: Vec<PartitionAppend>,
    /// The queues that are streams, with how many messages each gets.
    pub(super) streams: Vec<(QueueId, u64)>,
}

/// Partitions that are locked until what they decided is submitted.
pub(super) type LockedPartitions<'a> = Vec<MutexGuard<'a, Partition>>;

impl Appends {
    /// Lays out the records of a plan; `streams` are the queues that are topics, each with its messages.
    pub(super) fn lay_out(
        plan: &Plan,
        table: &Table,
        streams: Vec<(QueueId, Arc<str>, Vec<u32>)>,
        encoded: &mut dyn FnMut(u32) -> Encoded,
    ) -> Result<Self, PublishError> {
        let mut by_topic: BTreeMap<Arc<str>, BTreeSet<u32>> = BTreeMap::new();
        for (topic, index) in &plan.topics {
            by_topic.entry(Arc::from(&*topic.as_str())).or_default().insert(*index);
        }
        let mut counts = Vec::with_capacity(streams.len());
        for (queue, topic, indexes) in streams {
            counts.push((queue, indexes.len() as u64));
            by_topic.entry(topic).or_default().extend(indexes);
        }
        let mut parts = Vec::new();
        for (name, indexes) in by_topic {
            match table.topic(&TopicRef::Name(Arc::clone(&name))) {
                Some(topic) => lay_out_topic(plan, &topic, &indexes, encoded, &mut parts)?,
                // What moves by itself must not get stuck where a topic is gone.
                None if plan.forced => {
                    tracing::warn!(topic = %name, "messages for a topic that is gone are dropped");
                }
                None => return Err(PublishError::UnknownTopic(name)),
            }
        }
        parts.sort_by_key(|part| part.partition.log);
        Ok(Self { parts, streams: counts })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The most that can be written.
    pub(super) fn len_max(&self) -> usize {
        let batches = self.parts.iter().flat_map(|part| &part.batches);
        batches.map(|batch| BATCH_OVERHEAD + batch.header.size_bytes()).sum()
    }

    /// Has the partitions decide. They stay locked until the group is submitted.
    pub(super) fn decide(
        &mut self,
        group: &mut Group,
        appending: &mut Appending,
        now_ms: TimestampMs,
    ) -> LockedPartitions<'_> {
        let mut locked = Vec::with_capacity(self.parts.len());
        for PartitionAppend { topic, partition, batches } in &mut self.parts {
            let mut state = partition.lock();
            batches.iter().for_each(|batch| appending.add(&topic.topic.name, &batch.header));
            let stamps = topic.topic.config.timestamps.timestamp_type;
            match state.append(std::mem::take(batches), now_ms, stamps) {
                Ok(Append::New { entries, .. }) => {
                    for entry in entries {
                        let (base, count) = (entry.base_offset().cast_unsigned(), entry.offset_count());
                        let timestamp_ms = entry.max_timestamp();
                        let payload = Payload::with_head(&entry.head, entry.body, entry.crc);
                        group.push(partition.log, base, count, timestamp_ms, payload);
                    }
                }
                // Without a producer there is no duplicate, and offsets last for 292 years of a billion a second.
                Ok(Append::Duplicate { .. }) | Err(_) => {
                    tracing::error!(topic = %topic.topic.name, "bug: a partition refuses messages");
                }
            }
            locked.push(state);
        }
        locked
    }
}

fn lay_out_topic(
    plan: &Plan,
    topic: &Arc<TopicEntry>,
    indexes: &BTreeSet<u32>,
    encoded: &mut dyn FnMut(u32) -> Encoded,
    parts: &mut Vec<PartitionAppend>,
) -> Result<(), PublishError> {
    let config = &topic.topic.config;
    let count = topic.partitions.len();
    let mut by_partition: BTreeMap<usize, Vec<TopicRecord>> = BTreeMap::new();
    for &index in indexes {
        let record = TopicRecord::new(&encoded(index), plan.hops(index), config.cleanup.compact);
        // Without a key, what is published together stays together.
        let spread = plan.messages[0].published_ms.unsigned_abs() as usize % count.max(1);
        let partition = record.key.as_deref().map_or(spread, |key| partition_for(key, count));
        by_partition.entry(partition).or_default().push(record);
    }
    let bytes_max = if plan.forced { usize::MAX } else { config.batch_bytes_max };
    for (index, records) in by_partition {
        let Some(partition) = topic.partitions.get(index) else { continue };
        let (topic, partition) = (Arc::clone(topic), Arc::clone(partition));
        parts.push(PartitionAppend { topic, partition, batches: batches(&records, bytes_max)? });
    }
    Ok(())
}

/// The records as batches, each within the topic's limit.
fn batches(records: &[TopicRecord], bytes_max: usize) -> Result<Vec<Batch>, PublishError> {
    let failed = |error: annals_topics::batch::BuildError| PublishError::Unavailable(error.to_string());
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records {
        let len = record.len_max();
        if len + BATCH_OVERHEAD > bytes_max {
            return Err(PublishError::TooLarge {
                bytes: len,
                bytes_max: bytes_max.saturating_sub(BATCH_OVERHEAD),
            });
        }
        if builder.record_count() > 0 && builder.body_len() + len + BATCH_OVERHEAD > bytes_max {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(BatchOptions::default()));
            batches.push(full.build().map_err(failed)?);
        }
        record.with(|record| builder.push(record)).map_err(failed)?;
    }
    batches.push(builder.build().map_err(failed)?);
    Ok(batches)
}
