//! Topics and their partitions: describe, create, grow, delete, and where offsets lie.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::{TimestampMs, Uuid};

use super::configs::ConfigEntry;

/// A topic by its name or by its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// The name as users see it.
    Name(Arc<str>),
    /// The id that a topic keeps for its life; a topic created anew under the same name has another.
    Id(Uuid),
}

/// Which topics to describe.
#[derive(Clone, Debug)]
pub enum TopicSelection {
    /// Every topic that the caller may see.
    All,
    /// These, in this order.
    Only(Vec<TopicRef>),
}

/// Asks for topics; see `Broker::topics`.
#[derive(Clone, Debug)]
pub struct TopicQuery {
    /// Which.
    pub selection: TopicSelection,
    /// Creates topics that are asked for by name and do not exist yet, with the server's defaults.
    pub create_missing: bool,
}

/// One topic of the answer to a [`TopicQuery`].
#[derive(Clone, Debug)]
pub struct FoundTopic {
    /// As it was asked for; the name where all were asked for.
    pub topic: TopicRef,
    /// What is known of it.
    pub result: Result<TopicDescription, TopicError>,
}

/// What a topic looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has; they are numbered from zero.
    pub partitions: i32,
    /// Whether it belongs to the server itself.
    pub internal: bool,
}

/// Why a topic cannot be described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No such name.
    #[error("topic {0} does not exist; create it first or allow auto-creation")]
    UnknownName(Arc<str>),
    /// No such id.
    #[error("no topic has the id {0}; it was deleted, or created anew with another id")]
    UnknownId(Uuid),
    /// Not a legal name.
    #[error("topic name {name:?} is not allowed: {reason}")]
    InvalidName {
        /// The refused name.
        name: Arc<str>,
        /// Which rule it breaks.
        reason: String,
    },
    /// The caller may not see it.
    #[error("not authorized for topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present, so the topic could not be created.
    #[error("topic {name} could not be created: {reason}")]
    Unavailable {
        /// The topic.
        name: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// Topics to create; see `Broker::create_topics`.
#[derive(Clone, Debug)]
pub struct CreateTopics {
    /// The topics, with distinct names.
    pub topics: Vec<NewTopic>,
    /// Checks everything and creates nothing.
    pub validate_only: bool,
    /// How long the caller waits.
    pub timeout: Duration,
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions; `None` takes the server's default.
    pub partitions: Option<i32>,
    /// Settings that differ from the defaults, as name and value.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was created, or would have been.
#[derive(Clone, Debug)]
pub struct CreatedTopic {
    /// Its id; nil if it was only validated.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// All its settings.
    pub configs: Vec<ConfigEntry>,
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// The name is taken.
    #[error("topic {0} already exists")]
    AlreadyExists(Arc<str>),
    /// Not a legal name.
    #[error("topic name {name:?} is not allowed: {reason}")]
    InvalidName {
        /// The refused name.
        name: Arc<str>,
        /// Which rule it breaks.
        reason: String,
    },
    /// Less than one partition, or more than the server allows.
    #[error("topic {name} cannot have {partitions} partitions: {reason}")]
    InvalidPartitions {
        /// The topic.
        name: Arc<str>,
        /// What was asked for.
        partitions: i32,
        /// Which limit it breaks.
        reason: String,
    },
    /// A setting is unknown or has a value that it cannot have.
    #[error("topic {name}: {reason}")]
    InvalidConfig {
        /// The topic.
        name: Arc<str>,
        /// Which setting and why.
        reason: String,
    },
    /// The caller may not create it.
    #[error("not authorized to create topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("topic {name} could not be created: {reason}")]
    Unavailable {
        /// The topic.
        name: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// A topic that was deleted.
#[derive(Clone, Debug)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// No such name.
    #[error("topic {0} does not exist")]
    UnknownName(Arc<str>),
    /// No such id.
    #[error("no topic has the id {0}")]
    UnknownId(Uuid),
    /// The server needs it.
    #[error("topic {0} belongs to the server and cannot be deleted")]
    Internal(Arc<str>),
    /// The caller may not delete it.
    #[error("not authorized to delete topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("topic could not be deleted: {0}")]
    Unavailable(String),
}

/// Topics to give more partitions; see `Broker::create_partitions`.
#[derive(Clone, Debug)]
pub struct CreatePartitions {
    /// Name and wanted total number of partitions of each.
    pub topics: Vec<(Arc<str>, i32)>,
    /// Checks everything and creates nothing.
    pub validate_only: bool,
    /// How long the caller waits.
    pub timeout: Duration,
}

/// Why a topic did not get more partitions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// No such name.
    #[error("topic {0} does not exist")]
    UnknownTopic(Arc<str>),
    /// The wanted number is not greater than the present one, or beyond the server's limit.
    #[error("topic {name} has {present} partitions and cannot get {wanted}: {reason}")]
    InvalidPartitions {
        /// The topic.
        name: Arc<str>,
        /// How many it has.
        present: i32,
        /// How many were asked for.
        wanted: i32,
        /// Which rule forbids it.
        reason: String,
    },
    /// The caller may not change it.
    #[error("not authorized to alter topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("partitions could not be created: {0}")]
    Unavailable(String),
}

/// One partition to cut at its front; see `Broker::delete_records`.
#[derive(Clone, Debug)]
pub struct DeleteRecords {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Records below this offset go; `None` takes the high watermark, so everything goes.
    pub before: Option<i64>,
}

/// Why records were not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    /// No such partition.
    #[error("partition {topic}-{partition} does not exist")]
    UnknownPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Beyond the high watermark, or negative.
    #[error("offset {offset} is outside of {log_start_offset}..={high_watermark}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: i64,
        /// The first offset that is there.
        log_start_offset: i64,
        /// The offset after the last record.
        high_watermark: i64,
    },
    /// The topic keeps the latest record of each key, so cutting its front would lose keys.
    #[error("topic {0} is compacted without delete; its records cannot be deleted")]
    Compacted(Arc<str>),
    /// The caller may not delete records.
    #[error("not authorized to delete records of topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("records could not be deleted: {0}")]
    Unavailable(String),
}

/// Whether a reader sees records of transactions that are still open or were aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Only up to the last stable offset, and told which transactions aborted.
    ReadCommitted,
}

/// A place in a partition, to be turned into an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first offset that is there.
    Earliest,
    /// The offset after the last record that the isolation level shows.
    Latest,
    /// The record with the greatest timestamp; the earliest of several.
    MaxTimestamp,
    /// The first record whose timestamp is at least this.
    Timestamp(TimestampMs),
}

/// One partition to ask; see `Broker::list_offsets`.
#[derive(Clone, Debug)]
pub struct OffsetQuery {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The place.
    pub at: OffsetAt,
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The timestamp of the record there, where the place is defined by one.
    pub timestamp_ms: Option<TimestampMs>,
}

/// Why an offset could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListOffsetsError {
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
    /// The record's place on disk is damaged or cannot be read.
    #[error("storage of {topic}-{partition} cannot be read: {reason}")]
    Storage {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// What happened.
        reason: String,
    },
}
