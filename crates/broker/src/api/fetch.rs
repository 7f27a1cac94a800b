//! Reading records.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::Uuid;
use bytes::Bytes;

use super::topics::{Isolation, TopicRef};
use crate::StoredRecords;

/// Asks for records of any number of partitions; see `Broker::fetch`.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Answer as soon as this many bytes are there, at once if one partition has an error.
    pub min_bytes: usize,
    /// Stop adding when the answer has this many bytes. The first batch is returned even if it is larger.
    pub max_bytes: usize,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Whether much that is on the disk may be left there for the reader to fetch when it needs it: [`Fetched::stored`].
    pub stored: bool,
    /// The partitions, the ones to be served first in front.
    pub partitions: Vec<FetchPartition>,
}

/// One partition to read.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// The first wanted offset. In the middle of a batch, the answer starts with that batch.
    pub offset: i64,
    /// At most this many bytes from this partition.
    pub max_bytes: usize,
}

/// What was read: one entry per partition, in the request's order.
#[derive(Clone, Debug)]
pub struct FetchResult {
    /// The partitions.
    pub partitions: Vec<Result<Fetched, FetchError>>,
}

/// Records of one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The offset after the last record that is durable.
    pub high_watermark: i64,
    /// The first offset of the earliest open transaction, or the high watermark.
    pub last_stable_offset: i64,
    /// The first offset that the partition holds.
    pub log_start_offset: i64,
    /// Whole record batches of format v2, cut anywhere between chunks. Shared, not copied.
    pub records: Vec<Bytes>,
    /// Instead of `records`: what is still on the disk.
    pub stored: Option<StoredRecords>,
    /// Aborted transactions that overlap the records. Filled for [`Isolation::ReadCommitted`] only.
    pub aborted: Vec<AbortedTransaction>,
}

impl Fetched {
    /// Bytes of all batches, on the disk or not.
    pub fn bytes(&self) -> usize {
        let stored = self.stored.as_ref().map_or(0, StoredRecords::bytes);
        stored + self.records.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A transaction whose records a reader of committed data must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// The transaction's first offset in this partition.
    pub first_offset: i64,
}

/// Why a partition could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No such name, or no such partition of it.
    #[error("partition {topic}-{partition} does not exist")]
    UnknownPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// No topic has this id.
    #[error("no topic has the id {0}")]
    UnknownTopicId(Uuid),
    /// Before the first or beyond the last offset.
    #[error("offset {offset} is outside of {log_start_offset}..={high_watermark}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: i64,
        /// The first offset that is there.
        log_start_offset: i64,
        /// The offset after the last record.
        high_watermark: i64,
    },
    /// The caller may not read it.
    #[error("not authorized to read topic {0}")]
    NotAuthorized(Arc<str>),
    /// The stored bytes are damaged. What lies after them can be read.
    #[error("stored records are corrupt: {0}")]
    Corrupt(String),
    /// The storage could not be read.
    #[error("storage cannot be read: {0}")]
    Storage(String),
}
