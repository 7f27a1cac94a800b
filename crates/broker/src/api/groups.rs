//! Consumer groups of the classic protocol: join, synchronise, stay, leave, and what an operator asks about them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// A consumer that wants into a group; see `Broker::join_group`.
#[derive(Clone, Debug)]
pub struct JoinGroup {
    /// The group.
    pub group: Arc<str>,
    /// The id that the group gave it; empty at first.
    pub member_id: Arc<str>,
    /// The name that it keeps over restarts, if it is a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// Whether a first joiner is told its id and sent away to join again with it (KIP-394).
    pub require_known_member_id: bool,
    /// Whether the client knows of skipping the assignment when a static member returns (KIP-814).
    pub supports_skipping_assignment: bool,
    /// Out of the group when silent for this long.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// What kind of group it is, such as `consumer` or `connect`.
    pub protocol_type: Arc<str>,
    /// The assignment strategies that it offers, best first, each with its metadata.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Why it joins, for the log.
    pub reason: Option<String>,
}

/// The new generation, as one member learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The chosen assignment strategy.
    pub protocol: Arc<str>,
    /// The member that computes the assignment.
    pub leader: Arc<str>,
    /// This member's id.
    pub member_id: Arc<str>,
    /// Whether the leader is to keep the assignment as it is.
    pub skip_assignment: bool,
    /// All members: told to the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen strategy.
    pub metadata: Bytes,
}

/// Why a consumer did not get into a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Join again with this id.
    #[error("join again with member id {0}")]
    MemberIdRequired(Arc<str>),
    /// Not a member of the group.
    #[error("member {0} is not in the group")]
    UnknownMember(Arc<str>),
    /// Another member has taken the static instance over.
    #[error("instance {0} was taken over by another member")]
    FencedInstance(Arc<str>),
    /// Another type of group, or no strategy in common with its members.
    #[error("the group's members support none of the offered protocols")]
    InconsistentProtocol,
    /// Shorter or longer than the server allows.
    #[error("a session timeout of {0:?} is out of range")]
    InvalidSessionTimeout(Duration),
    /// Not a legal group id.
    #[error("group id {0:?} is not allowed")]
    InvalidGroup(Arc<str>),
    /// The group has as many members as the server allows.
    #[error("the group is full: it has {0} members")]
    GroupFull(usize),
    /// The rebalance ended without this member; it may join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The caller may not use the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server is shutting down or still loading.
    #[error("the coordinator is not available: {0}")]
    Unavailable(String),
}

/// A member that brings or awaits its assignment; see `Broker::sync_group`.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// The group.
    pub group: Arc<str>,
    /// The generation that it joined.
    pub generation: i32,
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// What kind of group it believes this to be; `None` from clients that do not tell.
    pub protocol_type: Option<Arc<str>>,
    /// The strategy that it believes to be chosen; `None` from clients that do not tell.
    pub protocol: Option<Arc<str>>,
    /// From the leader: everybody's assignment.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// One member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The chosen strategy.
    pub protocol: Arc<str>,
    /// The assignment, in the strategy's own encoding.
    pub assignment: Bytes,
}

/// Why a member got no assignment, or is told to join again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Not a member of the group.
    #[error("member {0} is not in the group")]
    UnknownMember(Arc<str>),
    /// Another member has taken the static instance over.
    #[error("instance {0} was taken over by another member")]
    FencedInstance(Arc<str>),
    /// The group has another generation.
    #[error("generation {0} is not the group's")]
    IllegalGeneration(i32),
    /// Join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// Another type or strategy than the group's.
    #[error("protocol type or name differ from the group's")]
    InconsistentProtocol,
    /// Not a legal group id.
    #[error("group id {0:?} is not allowed")]
    InvalidGroup(Arc<str>),
    /// The caller may not use the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server is shutting down or still loading.
    #[error("the coordinator is not available: {0}")]
    Unavailable(String),
}

/// A sign of life; see `Broker::heartbeat`.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group: Arc<str>,
    /// The generation that the member knows.
    pub generation: i32,
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
}

/// A member to take out of a group.
#[derive(Clone, Debug)]
pub struct LeavingMember {
    /// Its id; may be empty where the static name is given.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// Why it leaves, for the log.
    pub reason: Option<String>,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// All members have their assignment.
    Stable,
    /// No members; it may have committed offsets.
    Empty,
    /// Gone.
    Dead,
}

/// A group with its members.
#[derive(Clone, Debug)]
pub struct GroupDescription {
    /// What it is doing.
    pub state: GroupState,
    /// What kind of group it is; empty if nobody has joined yet.
    pub protocol_type: Arc<str>,
    /// The chosen strategy; empty unless stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member with what it subscribed to and got.
#[derive(Clone, Debug)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// The host that it connects from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen strategy.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Why a group is not described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeGroupError {
    /// No such group.
    #[error("group {0} not found")]
    UnknownGroup(Arc<str>),
    /// The caller may not see the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server is shutting down or still loading.
    #[error("the coordinator is not available: {0}")]
    Unavailable(String),
}

/// One group of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: Arc<str>,
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// What it is doing.
    pub state: GroupState,
}

/// Why a group was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteGroupError {
    /// No such group.
    #[error("group {0} does not exist")]
    UnknownGroup(Arc<str>),
    /// It has members.
    #[error("group {0} is not empty")]
    NotEmpty(Arc<str>),
    /// Not a legal group id.
    #[error("group id {0:?} is not allowed")]
    InvalidGroup(Arc<str>),
    /// The caller may not delete the group.
    #[error("not authorized for group {0}")]
    NotAuthorized(Arc<str>),
    /// The server takes no writes at present.
    #[error("the coordinator is not available: {0}")]
    Unavailable(String),
}
