//! Committed offsets: where each consumer group continues reading.
//!
//! An offset belongs to a group, a topic and a partition. Committing decides against the store and gives records for
//! the compacted `offsets` log; when they are durable, and again at every restart, applying the same records builds
//! the store. Group metadata lives in the same log under its own kind of key, see [`RecordKey`].
//!
//! [`crate::group::GroupCoordinator`] owns an [`OffsetStore`] and puts the group's rules in front of it: who may
//! commit, what may be deleted, what expires.
//!
//! Sources: Kafka protocol guide (OffsetCommit, OffsetFetch, OffsetDelete), KIP-211 (expiry), KIP-320 (leader epoch),
//! KIP-496 (OffsetDelete).

pub(crate) mod codec;
pub(crate) mod commit;
mod record;
pub(crate) mod store;

pub use codec::DecodeError;
pub use commit::{PartitionCommit, PartitionCommitError, TopicCommit, TopicCommitted};
pub use record::{OffsetValue, Record, RecordKey};
pub use store::{CommittedOffset, OffsetStore, PartitionOffset};
