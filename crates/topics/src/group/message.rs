//! What goes into a [`GroupCoordinator`](super::GroupCoordinator) and what comes out of it, in plain types.

use std::sync::Arc;
use std::time::Duration;

use crate::TimestampMs;
use bytes::Bytes;
use uuid::Uuid;

use super::error::{
    CommitError, DeleteGroupError, DeleteOffsetsError, GroupSubscribedToTopic, JoinError, MemberError,
    SyncError,
};
use super::write::Write;
use crate::offsets::{TopicCommit, TopicCommitted};

/// The time at which an input happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed start that never goes backwards. Timeouts count in it.
    pub elapsed: Duration,
    /// Wall-clock time. Commit timestamps and retention count in it.
    pub wall_ms: TimestampMs,
}

/// Whom a [`Reply`] is for: a number that the caller chose when it handed in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// An assignment protocol that a member supports, with what the member wants the leader to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The protocol's name, such as `range` or `cooperative-sticky`.
    pub name: Arc<str>,
    /// Opaque to the group, except that the topics of a consumer's subscription are read from it.
    pub metadata: Bytes,
}

/// A JoinGroup.
#[derive(Debug, Clone)]
pub struct JoinRequest<'a> {
    /// The group to join.
    pub group_id: &'a str,
    /// The member's id, or empty if it has none yet.
    pub member_id: &'a str,
    /// `group.instance.id`, for a static member (KIP-345).
    pub instance_id: Option<&'a str>,
    /// The client's id; new member ids begin with it.
    pub client_id: &'a str,
    /// The client's host, shown in descriptions.
    pub client_host: &'a str,
    /// What kind of group it is: `consumer`, `connect`, ...
    pub protocol_type: &'a str,
    /// The protocols that the member supports, the preferred first.
    pub protocols: Vec<Protocol>,
    /// The member is removed when it is silent for this long.
    pub session_timeout: Duration,
    /// How long a rebalance waits for this member. JoinGroup version 0 has none: give the session timeout.
    pub rebalance_timeout: Duration,
    /// Whether the client can join again with an id that it is given (JoinGroup version 4 and up, KIP-394).
    pub require_known_member_id: bool,
    /// Whether the client understands that a leader may be told to skip the assignment (version 9 and up, KIP-814).
    pub supports_skip_assignment: bool,
    /// Randomness for a new member id.
    pub fresh_id: Uuid,
    /// Why the client joins, for the operator (KIP-800).
    pub reason: Option<&'a str>,
}

/// Who speaks: a member of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The group.
    pub group_id: &'a str,
    /// The generation that the member believes to be in; -1 for a consumer that is in no group.
    pub generation: i32,
    /// The member's id; empty for a consumer that is in no group.
    pub member_id: &'a str,
    /// `group.instance.id`, for a static member.
    pub instance_id: Option<&'a str>,
}

/// A SyncGroup.
#[derive(Debug, Clone)]
pub struct SyncRequest<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// The protocol type that the member believes to be in use, if it says (KIP-559).
    pub protocol_type: Option<&'a str>,
    /// The protocol that the member believes to be in use, if it says (KIP-559).
    pub protocol: Option<&'a str>,
    /// From the leader: each member's id and assignment. Others send none.
    pub assignments: Vec<(&'a str, Bytes)>,
}

/// One member in a LeaveGroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaver<'a> {
    /// The member's id; may be empty if the instance id is given, for an administrator (KIP-345).
    pub member_id: &'a str,
    /// `group.instance.id`, for a static member.
    pub instance_id: Option<&'a str>,
    /// Why it leaves, for the operator (KIP-800).
    pub reason: Option<&'a str>,
}

/// An OffsetCommit.
#[derive(Debug, Clone)]
pub struct CommitRequest<'a> {
    /// Who commits. Generation -1 and an empty member id for a consumer that is in no group.
    pub caller: Caller<'a>,
    /// An explicit retention (OffsetCommit versions 2 to 4), instead of `offsets.retention.minutes`.
    pub retention: Option<Duration>,
    /// What is committed.
    pub topics: Vec<TopicCommit>,
}

/// The answer to a JoinGroup once the generation has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The kind of group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the members voted for.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// The leader need not assign: the group goes on with the assignment that it has (KIP-814).
    pub skip_assignment: bool,
    /// For the leader: all members and their metadata. Empty for others.
    pub members: Vec<JoinedMember>,
}

/// What the leader learns about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: Arc<str>,
    /// `group.instance.id`, for a static member.
    pub instance_id: Option<Arc<str>>,
    /// The member's metadata for the selected protocol.
    pub metadata: Bytes,
}

/// The answer to a SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The kind of group.
    pub protocol_type: Option<Arc<str>>,
    /// The selected protocol.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave this member; empty if nothing.
    pub assignment: Bytes,
}

/// Outcome of a LeaveGroup for each member, in the order of the request.
pub type Left = Vec<Result<(), MemberError>>;

/// Outcome of an OffsetDelete for one topic.
pub type TopicOffsetsDeleted = (Arc<str>, Result<(), GroupSubscribedToTopic>);

/// An answer that the caller must deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whom it is for.
    pub waiter: Waiter,
    /// The answer.
    pub response: Response,
}

/// The answers to the requests that wait: for other members, or for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`join`](super::GroupCoordinator::join).
    Join(Result<Joined, JoinError>),
    /// To [`sync`](super::GroupCoordinator::sync).
    Sync(Result<Synced, SyncError>),
    /// To [`commit`](super::GroupCoordinator::commit).
    Commit(Result<Vec<TopicCommitted>, CommitError>),
    /// To [`delete_group`](super::GroupCoordinator::delete_group).
    DeleteGroup(Result<(), DeleteGroupError>),
    /// To [`delete_offsets`](super::GroupCoordinator::delete_offsets); topics in the order of the request.
    DeleteOffsets(Result<Vec<TopicOffsetsDeleted>, DeleteOffsetsError>),
}

/// Something that an operator may want to see in a log or count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A rebalance has begun.
    RebalanceStarted {
        /// The group.
        group_id: Arc<str>,
        /// The generation that ends.
        generation: i32,
        /// What caused it.
        reason: String,
    },
    /// All members have joined the new generation, or the group is empty now.
    GenerationStarted {
        /// The group.
        group_id: Arc<str>,
        /// The generation that begins.
        generation: i32,
        /// How many members it has.
        members: usize,
    },
    /// The assignment is durable and the group is stable.
    RebalanceCompleted {
        /// The group.
        group_id: Arc<str>,
        /// The generation.
        generation: i32,
    },
    /// A member left or was removed.
    MemberRemoved {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// What an input has led to.
///
/// Deliver the replies, append the writes to the journal in this order, and hand each back to
/// [`complete`](super::GroupCoordinator::complete).
#[derive(Debug, Default)]
#[must_use = "replies must be delivered and writes must be completed"]
pub struct Output {
    /// Answers to deliver now.
    pub replies: Vec<Reply>,
    /// Records to make durable.
    pub writes: Vec<Write>,
    /// What happened, for logs and metrics.
    pub events: Vec<Event>,
}

impl Output {
    pub(super) fn reply(&mut self, waiter: Waiter, response: Response) {
        self.replies.push(Reply { waiter, response });
    }
}
