//! Deleting the oldest records of partitions on demand.

use std::sync::Arc;

use annals_journal::Group;

use crate::api::Caller;
use crate::api::topics::{DeleteRecords, DeleteRecordsError, TopicRef};
use crate::storage::Unavailable;
use crate::{Broker, Inner};

impl Broker {
    /// Deletes the front of partitions; the new first offset of each, in order. Durable on return.
    pub async fn delete_records(
        &self,
        _caller: &Caller,
        partitions: Vec<DeleteRecords>,
    ) -> Vec<Result<i64, DeleteRecordsError>> {
        let mut results = Vec::with_capacity(partitions.len());
        for partition in partitions {
            results.push(self.inner.delete_front(partition).await);
        }
        results
    }
}

impl Inner {
    async fn delete_front(&self, request: DeleteRecords) -> Result<i64, DeleteRecordsError> {
        let DeleteRecords { topic, partition, before } = request;
        let entry = self.state.table.topic(&TopicRef::Name(Arc::clone(&topic)));
        let unknown = || DeleteRecordsError::UnknownPartition { topic: Arc::clone(&topic), partition };
        let entry = entry.ok_or_else(unknown)?;
        let index = usize::try_from(partition).ok();
        let part = index.and_then(|index| entry.partitions.get(index)).ok_or_else(unknown)?;
        let cleanup = entry.topic.config.cleanup;
        if entry.topic.store || (cleanup.compact && !cleanup.delete) {
            return Err(DeleteRecordsError::Compacted(topic));
        }
        let (decision, present) = {
            let state = part.lock();
            (state.decide_trim(before.unwrap_or(-1)), state.log_start())
        };
        let start = decision.map_err(|range| DeleteRecordsError::OffsetOutOfRange {
            offset: range.offset,
            log_start_offset: range.log_start,
            high_watermark: range.high_watermark,
        })?;
        if start > present {
            let mut group = Group::new();
            group.trim(part.log, start.cast_unsigned());
            let appended = self.journal.append(group).await.map_err(Unavailable::from);
            appended.map_err(|error| DeleteRecordsError::Unavailable(error.to_string()))?;
        }
        Ok(start)
    }
}
