//! The server as a whole: who it is, what its disk holds, who produces.

use std::sync::Arc;

use annals_clock::TimestampMs;

/// The data directory, as an operator asks about it; see `Broker::log_dirs`.
#[derive(Clone, Debug)]
pub struct LogDir {
    /// Its path.
    pub path: String,
    /// The size of its volume.
    pub total_bytes: i64,
    /// What is free there.
    pub usable_bytes: i64,
    /// What the partitions take.
    pub partitions: Vec<PartitionSize>,
}

/// What one partition takes.
#[derive(Clone, Debug)]
pub struct PartitionSize {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its live bytes.
    pub size_bytes: i64,
}

/// A producer that has lately written to a partition; see `Broker::describe_producers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of its last record.
    pub last_sequence: i32,
    /// When it last wrote.
    pub last_timestamp_ms: TimestampMs,
    /// The epoch of the coordinator that wrote its last marker, if any.
    pub coordinator_epoch: Option<i32>,
    /// The first offset of its open transaction.
    pub transaction_start_offset: Option<i64>,
}

/// Why a partition's producers are not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeProducersError {
    /// No such partition.
    #[error("partition {topic}-{partition} does not exist")]
    UnknownPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The caller may not see it.
    #[error("not authorized for topic {0}")]
    NotAuthorized(Arc<str>),
}
