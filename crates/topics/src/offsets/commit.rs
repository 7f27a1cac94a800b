//! Deciding an offset commit: which partitions are accepted, and the records that make them durable.
//!
//! Whether the member may commit at all is the group's question; see [`crate::group`].

use std::sync::Arc;

use crate::TimestampMs;
use uuid::Uuid;

use super::record::{OffsetValue, Record, RecordKey};
use super::store::{CommitKeys, CommittedOffset, OffsetStore};

/// The offsets that a client commits for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCommit {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id, where the caller knows it.
    pub topic_id: Option<Uuid>,
    /// The partitions.
    pub partitions: Vec<PartitionCommit>,
}

/// The offset that a client commits for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionCommit {
    /// The partition's index.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record consumed; negative means unknown.
    pub leader_epoch: i32,
    /// Client metadata; empty if it sent none.
    pub metadata: Box<str>,
}

/// What became of each partition of a [`TopicCommit`], in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCommitted {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id, as in the request.
    pub topic_id: Option<Uuid>,
    /// Partition index and outcome.
    pub partitions: Vec<(i32, Result<(), PartitionCommitError>)>,
}

/// Why one partition of a commit was refused. The others of the request are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartitionCommitError {
    /// The client's metadata is longer than `offset.metadata.max.bytes`.
    #[error("offset metadata of {length} bytes is larger than offset.metadata.max.bytes={limit}")]
    MetadataTooLarge {
        /// The length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// A decided commit.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) outcome: Vec<TopicCommitted>,
    pub(crate) records: Vec<Record>,
    pub(crate) keys: CommitKeys,
}

/// When a commit happens, and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) committed_at_ms: TimestampMs,
    pub(crate) expires_at_ms: Option<TimestampMs>,
    pub(crate) metadata_size_bytes_max: usize,
}

/// Turns a commit of `group_id` into records.
pub(crate) fn decide(store: &OffsetStore, group_id: &str, topics: &[TopicCommit], terms: Terms) -> Decision {
    let mut records = Vec::new();
    let mut keys = Vec::with_capacity(topics.len());
    let mut outcome = Vec::with_capacity(topics.len());
    for commit in topics {
        records.extend(store.remove_other_incarnation(group_id, &commit.topic, commit.topic_id));
        let (partitions, accepted) = decide_topic(group_id, commit, terms, &mut records);
        keys.push((Arc::clone(&commit.topic), accepted));
        outcome.push(TopicCommitted {
            topic: Arc::clone(&commit.topic),
            topic_id: commit.topic_id,
            partitions,
        });
    }
    Decision { outcome, records, keys: keys.into() }
}

type Outcomes = Vec<(i32, Result<(), PartitionCommitError>)>;

fn decide_topic(
    group_id: &str,
    commit: &TopicCommit,
    terms: Terms,
    records: &mut Vec<Record>,
) -> (Outcomes, Box<[i32]>) {
    let mut accepted = Vec::with_capacity(commit.partitions.len());
    let mut outcomes = Vec::with_capacity(commit.partitions.len());
    for partition in &commit.partitions {
        let checked = check(partition, terms);
        if checked.is_ok() {
            accepted.push(partition.partition);
            records.push(record(group_id, commit, partition, terms));
        }
        outcomes.push((partition.partition, checked));
    }
    (outcomes, accepted.into())
}

fn check(partition: &PartitionCommit, terms: Terms) -> Result<(), PartitionCommitError> {
    let (length, limit) = (partition.metadata.len(), terms.metadata_size_bytes_max);
    if length > limit { Err(PartitionCommitError::MetadataTooLarge { length, limit }) } else { Ok(()) }
}

fn record(group_id: &str, commit: &TopicCommit, partition: &PartitionCommit, terms: Terms) -> Record {
    let key = RecordKey::Offset { group_id, topic: &commit.topic, partition: partition.partition };
    let committed = CommittedOffset {
        offset: partition.offset,
        leader_epoch: Some(partition.leader_epoch).filter(|&epoch| epoch >= 0),
        metadata: partition.metadata.clone(),
        committed_at_ms: terms.committed_at_ms,
        expires_at_ms: terms.expires_at_ms,
    };
    let value = OffsetValue { committed, topic_id: commit.topic_id };
    Record { key: key.encode(), value: Some(value.encode()) }
}
