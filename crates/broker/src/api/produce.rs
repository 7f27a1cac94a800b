//! Writing records: in two phases, so that a client's requests are decided in order and acknowledged when durable.
//!
//! `Broker::produce` decides; the [`ProduceTicket`](crate::ProduceTicket) that it returns tells when the decided records are durable. Dropping
//! a ticket takes nothing back.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::{TimestampMs, Uuid};
use bytes::Bytes;

use super::topics::TopicRef;

/// How much must have happened before the producer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// It is not answered at all.
    None,
    /// The one node has it, durable as the topic says. With one node this is the same as [`Acks::All`].
    Leader,
    /// All nodes that must have it, have it.
    All,
}

/// Records for any number of partitions; see `Broker::produce`.
#[derive(Clone, Debug)]
pub struct ProduceRequest {
    /// What the producer waits for.
    pub acks: Acks,
    /// How long the producer waits.
    pub timeout: Duration,
    /// The records, at most one entry per partition.
    pub partitions: Vec<ProducePartition>,
}

/// Records for one partition.
#[derive(Clone, Debug)]
pub struct ProducePartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// Kafka record batches of format v2, not checked yet.
    pub records: Bytes,
}

/// The outcome of a produce request: one per partition, in the request's order.
pub type ProduceResult = Vec<Result<Produced, ProduceError>>;

/// Records that are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The offset of the first record; for a duplicate, the one that it got the first time.
    pub base_offset: i64,
    /// The time of appending, where the topic stamps records with it.
    pub log_append_time_ms: Option<TimestampMs>,
    /// The first offset that the partition holds.
    pub log_start_offset: i64,
}

/// One record that made its batch invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from zero.
    pub index: i32,
    /// What is wrong with it.
    pub reason: String,
}

/// Why records were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
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
    /// A checksum or a length is wrong: the bytes were damaged on their way.
    #[error("the batch is corrupt: {0}")]
    Corrupt(String),
    /// Well-formed, but not allowed.
    #[error("{reason}")]
    InvalidRecords {
        /// What is wrong with the batch as a whole.
        reason: String,
        /// The records that made it so, where it is about single ones.
        records: Vec<RecordError>,
    },
    /// A timestamp is too far from the server's time.
    #[error("{reason}")]
    InvalidTimestamp {
        /// What is wrong with the batch as a whole.
        reason: String,
        /// The records that made it so.
        records: Vec<RecordError>,
    },
    /// An older record format than v2.
    #[error("message format {magic} is not supported: use record batches of format 2")]
    UnsupportedFormat {
        /// The magic byte of the batch.
        magic: i8,
    },
    /// A compression that is unknown.
    #[error("compression type {0} is not supported")]
    UnsupportedCompression(i16),
    /// One batch is larger than `max.message.bytes`.
    #[error("a batch of {size_bytes} bytes exceeds max.message.bytes of {size_bytes_max}")]
    BatchTooLarge {
        /// Its size.
        size_bytes: usize,
        /// The topic's limit.
        size_bytes_max: usize,
    },
    /// A sequence number is missing between the last batch and this one.
    #[error("out of order sequence number for producer {producer_id}: expected {expected}, got {got}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The sequence number that would have been next.
        expected: i32,
        /// The one that came.
        got: i32,
    },
    /// A batch that was written so long ago that its offset is not remembered.
    #[error("batch with sequence {sequence} of producer {producer_id} was written before")]
    DuplicateSequence {
        /// The producer.
        producer_id: i64,
        /// The batch's first sequence number.
        sequence: i32,
    },
    /// A newer instance of the producer has taken over.
    #[error("producer {producer_id} has epoch {current}, this batch has {got}")]
    Fenced {
        /// The producer.
        producer_id: i64,
        /// The present epoch.
        current: i16,
        /// The batch's epoch.
        got: i16,
    },
    /// A transactional batch outside of a transaction.
    #[error("producer {producer_id} has no open transaction for this partition")]
    InvalidTransactionState {
        /// The producer.
        producer_id: i64,
    },
    /// The caller may not write there.
    #[error("not authorized to write to topic {0}")]
    NotAuthorized(Arc<str>),
    /// The topic is the log of an event store, to which only the store writes.
    #[error("topic {0} is the log of an event store: append to the store")]
    EventStore(Arc<str>),
    /// The disk is full. Writing resumes by itself when there is space.
    #[error("the disk is full")]
    DiskFull,
    /// The server takes no writes: it is shutting down, or its storage failed.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}

/// What an idempotent producer asks for; see `Broker::init_producer_id`.
#[derive(Clone, Debug)]
pub struct InitProducerId {
    /// The name of a transactional producer.
    pub transactional_id: Option<String>,
    /// How long a transaction may stay open.
    pub transaction_timeout: Duration,
    /// Id and epoch that the producer has and wants to go on with.
    pub current: Option<ProducerIdentity>,
}

/// The id and epoch under which a producer numbers its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The id.
    pub id: i64,
    /// The epoch: a higher one fences the lower.
    pub epoch: i16,
}

/// Why a producer got no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitProducerIdError {
    /// Transactions are not served.
    #[error("transactions are not supported by this server version (transactional.id {0:?})")]
    TransactionsUnsupported(String),
    /// The transaction timeout is not positive or beyond the server's limit.
    #[error("the transaction timeout is out of range")]
    InvalidTransactionTimeout,
    /// A newer instance of the producer has taken over.
    #[error("producer {0} was fenced by a newer instance")]
    Fenced(i64),
    /// The caller may not be a transactional producer of this name, or no idempotent producer at all.
    #[error("not authorized")]
    NotAuthorized,
    /// The server takes no writes at present.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}
