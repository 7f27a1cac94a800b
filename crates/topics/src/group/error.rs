//! Why an operation on a group was refused: one enum for each operation.
//!
//! A front-end maps each variant to its protocol's code; the variant names are those of the Kafka protocol guide.
//! `kind` tells every other caller what to do.

use std::time::Duration;

use crate::ErrorKind;
use crate::offsets::DecodeError;

/// Why records could not be made durable. Given by the owner of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The journal takes no writes now.
    #[error("the journal does not accept writes")]
    Unavailable,
    /// The records are larger than the journal takes at once.
    #[error("the records are too large for one append")]
    TooLarge,
}

/// A member id or group instance id that does not hold the place that it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The group has no such member.
    #[error("the group has no such member; join it again")]
    UnknownMember,
    /// Another member id has taken over the group instance id.
    #[error("the group instance id has been taken over by another member")]
    FencedInstanceId,
}

/// Why a JoinGroup was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The session timeout is out of bounds.
    #[error("session timeout {given:?} is not between {min:?} and {max:?}")]
    InvalidSessionTimeout {
        /// What the client asked for.
        given: Duration,
        /// `group.min.session.timeout.ms`
        min: Duration,
        /// `group.max.session.timeout.ms`
        max: Duration,
    },
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// The group is being deleted.
    #[error("the group is being deleted; try again")]
    CoordinatorNotAvailable,
    /// The member shares no protocol with the group, or has another protocol type.
    #[error("the member supports no protocol that the whole group supports")]
    InconsistentProtocol,
    /// The group is full.
    #[error("the group has reached group.max.size={limit}")]
    GroupMaxSizeReached {
        /// The limit.
        limit: usize,
    },
    /// Join again with this member id, which is reserved for the length of the session timeout (KIP-394).
    #[error("join again with member id {member_id}")]
    MemberIdRequired {
        /// The id to join with.
        member_id: std::sync::Arc<str>,
    },
    /// The group does not know the member id, or removed the member while it waited.
    #[error("the group has no such member; join it without a member id")]
    UnknownMember,
    /// Another member id has taken over the group instance id.
    #[error("the group instance id has been taken over by another member")]
    FencedInstanceId,
    /// The same member sent another JoinGroup, which takes the place of this one.
    #[error("a later join of the same member takes the place of this one")]
    Superseded,
    /// The change of the group could not be made durable.
    #[error("the group could not be stored")]
    NotStored(#[source] WriteError),
}

/// Why a SyncGroup was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The group is being deleted.
    #[error("the group is being deleted; try again")]
    CoordinatorNotAvailable,
    /// The group has no such member.
    #[error("the group has no such member; join it again")]
    UnknownMember,
    /// Another member id has taken over the group instance id.
    #[error("the group instance id has been taken over by another member")]
    FencedInstanceId,
    /// The group is in another generation.
    #[error("the group is in another generation; join it again")]
    IllegalGeneration,
    /// The protocol type or name is not the one that was selected.
    #[error("the group uses another protocol")]
    InconsistentProtocol,
    /// A new generation is being formed.
    #[error("the group is rebalancing; join it again")]
    RebalanceInProgress,
    /// The assignment could not be made durable.
    #[error("the assignment could not be stored")]
    NotStored(#[source] WriteError),
}

/// Why a heartbeat was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The group is being deleted.
    #[error("the group is being deleted; try again")]
    CoordinatorNotAvailable,
    /// The group has no such member.
    #[error("the group has no such member; join it again")]
    UnknownMember,
    /// Another member id has taken over the group instance id.
    #[error("the group instance id has been taken over by another member")]
    FencedInstanceId,
    /// The group is in another generation.
    #[error("the group is in another generation; join it again")]
    IllegalGeneration,
    /// A new generation is being formed. The heartbeat counted.
    #[error("the group is rebalancing; join it again")]
    RebalanceInProgress,
}

/// Why a whole LeaveGroup was refused. Each member has its own outcome besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaveError {
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// The group is being deleted.
    #[error("the group is being deleted; try again")]
    CoordinatorNotAvailable,
}

/// Why a whole OffsetCommit was refused. Each partition has its own outcome besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// The group is being deleted.
    #[error("the group is being deleted; try again")]
    CoordinatorNotAvailable,
    /// A member of a group that does not exist. OffsetCommit before version 9 calls it an illegal generation.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group has no such member, or has members and the caller names none.
    #[error("the group has no such member; join it again")]
    UnknownMember,
    /// Another member id has taken over the group instance id.
    #[error("the group instance id has been taken over by another member")]
    FencedInstanceId,
    /// The group is in another generation.
    #[error("the group is in another generation; join it again")]
    IllegalGeneration,
    /// The member has joined the new generation and does not have its assignment yet.
    #[error("the group is rebalancing; commit after the assignment has arrived")]
    RebalanceInProgress,
    /// The offsets could not be made durable.
    #[error("the offsets could not be stored")]
    NotStored(#[source] WriteError),
}

/// Why an OffsetFetch was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
}

/// Why a DescribeGroups was refused for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// There is no such group. DescribeGroups before version 6 shows it as a dead one.
    #[error("there is no such group")]
    GroupIdNotFound,
}

/// Why a DeleteGroups was refused for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeleteGroupError {
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group has members.
    #[error("the group has members; stop them first")]
    NonEmptyGroup,
    /// The deletion could not be made durable.
    #[error("the deletion could not be stored")]
    NotStored(#[source] WriteError),
}

/// Why an OffsetDelete was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeleteOffsetsError {
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The groups are still being read from the journal.
    #[error("the coordinator is loading its groups")]
    CoordinatorLoading,
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group has members and does not use the consumer protocol, so what they read is not known.
    #[error("the group has members whose subscription is not known; stop them first")]
    NonEmptyGroup,
    /// The deletion could not be made durable.
    #[error("the deletion could not be stored")]
    NotStored(#[source] WriteError),
}

/// The topic's offsets stay because a member of the group is subscribed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the group is subscribed to the topic")]
pub struct GroupSubscribedToTopic;

/// Why a record of the `offsets` log could not be applied. The state is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The key cannot be read.
    #[error("the key of a group record cannot be read")]
    Key(#[source] DecodeError),
    /// The value cannot be read.
    #[error("the value of a group record cannot be read")]
    Value(#[source] DecodeError),
}

impl From<MemberError> for JoinError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::UnknownMember => Self::UnknownMember,
            MemberError::FencedInstanceId => Self::FencedInstanceId,
        }
    }
}

impl From<MemberError> for SyncError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::UnknownMember => Self::UnknownMember,
            MemberError::FencedInstanceId => Self::FencedInstanceId,
        }
    }
}

impl From<MemberError> for HeartbeatError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::UnknownMember => Self::UnknownMember,
            MemberError::FencedInstanceId => Self::FencedInstanceId,
        }
    }
}

impl From<MemberError> for CommitError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::UnknownMember => Self::UnknownMember,
            MemberError::FencedInstanceId => Self::FencedInstanceId,
        }
    }
}

impl WriteError {
    /// What the caller can do.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Unavailable => ErrorKind::Unavailable,
            Self::TooLarge => ErrorKind::FixInput,
        }
    }
}

impl JoinError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading
            | Self::CoordinatorNotAvailable
            | Self::MemberIdRequired { .. }
            | Self::UnknownMember
            | Self::Superseded => ErrorKind::Retry,
            Self::FencedInstanceId => ErrorKind::Fenced,
            Self::InvalidGroupId
            | Self::InvalidSessionTimeout { .. }
            | Self::InconsistentProtocol
            | Self::GroupMaxSizeReached { .. } => ErrorKind::FixInput,
            Self::NotStored(error) => error.kind(),
        }
    }
}

impl SyncError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorNotAvailable
            | Self::UnknownMember
            | Self::IllegalGeneration
            | Self::RebalanceInProgress => ErrorKind::Retry,
            Self::FencedInstanceId => ErrorKind::Fenced,
            Self::InvalidGroupId | Self::InconsistentProtocol => ErrorKind::FixInput,
            Self::NotStored(error) => error.kind(),
        }
    }
}

impl HeartbeatError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorNotAvailable
            | Self::UnknownMember
            | Self::IllegalGeneration
            | Self::RebalanceInProgress => ErrorKind::Retry,
            Self::FencedInstanceId => ErrorKind::Fenced,
            Self::InvalidGroupId => ErrorKind::FixInput,
        }
    }
}

impl MemberError {
    /// What the caller can do.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::UnknownMember => ErrorKind::Retry,
            Self::FencedInstanceId => ErrorKind::Fenced,
        }
    }
}

impl LeaveError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading | Self::CoordinatorNotAvailable => ErrorKind::Retry,
            Self::InvalidGroupId => ErrorKind::FixInput,
        }
    }
}

impl FetchError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading => ErrorKind::Retry,
        }
    }
}

impl DescribeError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading => ErrorKind::Retry,
            Self::GroupIdNotFound => ErrorKind::Unavailable,
        }
    }
}

impl DeleteGroupError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading => ErrorKind::Retry,
            Self::GroupIdNotFound => ErrorKind::Unavailable,
            Self::NonEmptyGroup => ErrorKind::FixInput,
            Self::NotStored(error) => error.kind(),
        }
    }
}

impl DeleteOffsetsError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading => ErrorKind::Retry,
            Self::GroupIdNotFound => ErrorKind::Unavailable,
            Self::InvalidGroupId | Self::NonEmptyGroup => ErrorKind::FixInput,
            Self::NotStored(error) => error.kind(),
        }
    }
}

impl GroupSubscribedToTopic {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::FixInput
    }
}

impl ApplyError {
    /// What the caller can do: nothing but report it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_) | Self::Value(_) => ErrorKind::Corrupt,
        }
    }
}

impl CommitError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CoordinatorLoading
            | Self::CoordinatorNotAvailable
            | Self::UnknownMember
            | Self::IllegalGeneration
            | Self::RebalanceInProgress => ErrorKind::Retry,
            Self::FencedInstanceId => ErrorKind::Fenced,
            Self::GroupIdNotFound => ErrorKind::Unavailable,
            Self::NotStored(error) => error.kind(),
        }
    }
}
