//! Committed offsets of consumer groups.

use std::sync::Arc;

use annals_clock::{TimestampMs, Uuid};

use super::topics::TopicRef;

/// Offsets to commit; see `Broker::commit_offsets`.
#[derive(Clone, Debug)]
pub struct CommitOffsets {
    /// The group.
    pub group: Arc<str>,
    /// Who commits: `None` for a consumer that assigns partitions to itself and is in no group.
    pub member: Option<GroupMember>,
    /// The offsets.
    pub offsets: Vec<CommitOffset>,
}

/// A member of a group, with the proof that it still is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The generation that it knows; the member's epoch in the protocol of KIP-848.
    pub generation: i32,
    /// The id that the group gave it.
    pub member_id: Arc<str>,
    /// The name that it keeps over restarts, if it is a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
}

/// One offset to commit.
#[derive(Clone, Debug)]
pub struct CommitOffset {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record that was read, if known.
    pub leader_epoch: Option<i32>,
    /// Free text of the consumer.
    pub metadata: String,
    /// When the commit expires, where the client sets a retention time of its own.
    pub expires_at_ms: Option<TimestampMs>,
}

/// Why an offset was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
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
    /// The metadata text is longer than the server allows.
    #[error("metadata of {size_bytes} bytes exceeds {size_bytes_max}")]
    MetadataTooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        size_bytes_max: usize,
    },
    /// A group must have a name to commit as a member.
    #[error("group id {0:?} is not allowed here")]
    InvalidGroup(Arc<str>),
    /// Not a member of the group.
    #[error("member {member_id} is not in group {group}")]
    UnknownMember {
        /// The group.
        group: Arc<str>,
        /// The member.
        member_id: Arc<str>,
    },
    /// The group has rebalanced since.
    #[error("group {group} is in generation {current}, not {got}")]
    IllegalGeneration {
        /// The group.
        group: Arc<str>,
        /// Its generation.
        current: i32,
        /// The committed one.
        got: i32,
    },
    /// Another member has taken the static instance over.
    #[error("instance {0} was taken over by another member")]
    FencedInstance(Arc<str>),
    /// The group is between two generations.
    #[error("group {0} is rebalancing")]
    RebalanceInProgress(Arc<str>),
    /// The caller may not read the topic or use the group.
    #[error("not authorized for group or topic {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}

/// Asks for committed offsets; see `Broker::fetch_offsets`.
#[derive(Clone, Debug)]
pub struct FetchOffsets {
    /// The group.
    pub group: Arc<str>,
    /// Who asks, where it says so (KIP-848).
    pub member: Option<GroupMember>,
    /// Topics with their partitions; `None` asks for all that the group has committed.
    pub topics: Option<Vec<(TopicRef, Vec<i32>)>>,
    /// Refuse to tell offsets while a transaction that changes them is open.
    pub require_stable: bool,
}

/// The committed offsets of one topic.
#[derive(Clone, Debug)]
pub struct TopicOffsets {
    /// As it was asked for; the name where all were asked for.
    pub topic: TopicRef,
    /// The topic's id, where it still exists.
    pub id: Option<Uuid>,
    /// The partitions, in the order in which they were asked for.
    pub partitions: Vec<PartitionOffset>,
}

/// The committed offset of one partition.
#[derive(Clone, Debug)]
pub struct PartitionOffset {
    /// The partition.
    pub partition: i32,
    /// The commit; `None` if there is none.
    pub result: Result<Option<CommittedOffset>, PartitionOffsetError>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record that was read, if known.
    pub leader_epoch: Option<i32>,
    /// Free text of the consumer.
    pub metadata: String,
}

/// Why one partition's commit is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionOffsetError {
    /// A transaction that changes it is open.
    #[error("an open transaction changes this offset")]
    Unstable,
    /// No topic has this id.
    #[error("no topic has the id {0}")]
    UnknownTopicId(Uuid),
    /// The caller may not see the topic.
    #[error("not authorized for topic {0}")]
    NotAuthorized(Arc<str>),
}

/// Why no offsets of a group are told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchOffsetsError {
    /// Not a member of the group.
    #[error("member {0} is not in the group")]
    UnknownMember(Arc<str>),
    /// The group has moved on since the member's epoch.
    #[error("member epoch {0} is stale")]
    StaleMemberEpoch(i32),
    /// The caller may not use the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server cannot tell at present.
    #[error("offsets cannot be read: {0}")]
    Unavailable(String),
}

/// Why a group's commit could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteOffsetError {
    /// No such partition.
    #[error("partition {topic}-{partition} does not exist")]
    UnknownPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// A member of the group subscribes to the topic.
    #[error("the group is subscribed to topic {0}")]
    Subscribed(Arc<str>),
    /// The caller may not see the topic.
    #[error("not authorized for topic {0}")]
    NotAuthorized(Arc<str>),
}

/// Why no commit of a group could be deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteOffsetsError {
    /// No such group.
    #[error("group {0} does not exist")]
    UnknownGroup(Arc<str>),
    /// Its members are there and do not say what they subscribe to.
    #[error("group {0} is not empty")]
    NotEmpty(Arc<str>),
    /// The caller may not use the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("the server takes no writes: {0}")]
    Unavailable(String),
}

/// The outcome of deleting commits: one per partition, in the order of the request.
pub type DeletedOffsets = Result<Vec<Result<(), DeleteOffsetError>>, DeleteOffsetsError>;
