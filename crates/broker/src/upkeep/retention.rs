//! Retention: topics lose what is older or more than they want to keep. Also forgets producers that went away.
//!
//! A stretch of a partition is as old as the largest timestamp of its records, which is their producer's, unless the
//! topic stamps records when they arrive (`message.timestamp.type`). Where no record has a timestamp, the stretch counts
//! as new: `retention.ms` never removes it, `retention.bytes` does.
//!
//! Stretches are as long as what a partition has in a segment. Where a topic has a limit in bytes, the segment being
//! written is closed when the partition has its `segment.bytes` there.

use std::sync::Arc;

use annals_journal::Group;
use annals_topics::partition::retention::retained_from;

use crate::Inner;
use crate::table::{PartitionEntry, TopicEntry};

/// A producer that has not written for this long is forgotten (`producer.id.expiration.ms`).
const PRODUCER_IDLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Partitions that are looked at before others get a turn.
const PARTITIONS_AT_ONCE: usize = 256;
/// Trims that go into one group.
const TRIMS_AT_ONCE: usize = 1000;

/// Looks at all partitions every now and then.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(inner.options.retention_interval).await;
        inner.retain().await;
    }
}

impl Inner {
    async fn retain(&self) {
        let now_ms = self.clock.now_ms();
        let mut trims = Group::new();
        let mut count = 0;
        let mut looked = 0;
        for topic in self.state.table.topics() {
            for partition in &topic.partitions {
                if let Some(start) = self.retained_from(&topic, partition, now_ms) {
                    trims.trim(partition.log, start);
                    count += 1;
                }
                if count == TRIMS_AT_ONCE {
                    self.trim(std::mem::take(&mut trims)).await;
                    count = 0;
                }
                looked += 1;
                if looked % PARTITIONS_AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.trim(trims).await;
    }

    fn retained_from(&self, topic: &TopicEntry, partition: &PartitionEntry, now_ms: i64) -> Option<u64> {
        let (log_start, high_watermark) = {
            let mut state = partition.lock();
            state.expire_producers(now_ms.saturating_sub(PRODUCER_IDLE_MS));
            (state.log_start(), state.high_watermark())
        };
        let retention = &topic.topic.config.retention;
        if topic.topic.store
            || log_start == high_watermark
            || (retention.time_ms.is_none() && retention.size_bytes.is_none())
        {
            return None;
        }
        let facts = self.journal.extents(partition.log);
        if retention.size_bytes.is_some() && super::waits(&facts, topic.topic.config.segment) {
            self.journal.roll();
        }
        let extents: Vec<_> = facts.iter().map(|facts| super::extent(facts, now_ms)).collect();
        let start = retained_from(&extents, log_start, high_watermark, retention, now_ms);
        (start > log_start).then(|| start.cast_unsigned())
    }

    async fn trim(&self, trims: Group) {
        if trims.is_empty() {
            return;
        }
        if let Err(error) = self.journal.append(trims).await {
            tracing::warn!(%error, "retention could not remove old records");
        }
    }
}
