//! Consumer groups: Kafka's classic group protocol as a state machine.
//!
//! A group is a set of consumers that share the partitions of some topics. The broker does not know how partitions are
//! shared out; it brings the members together, lets one of them (the leader) decide, and passes its decision on.
//! Whenever the set of members or what they want changes, the group *rebalances*: all members join again and a new
//! *generation* begins. Whatever a member does, it says for which generation, and the word of an old one does not count.
//!
//! ```text
//!                        first member joins            initial delay or rebalance timeout over,
//!                                                      or all members have joined again
//!   (created) ──► Empty ─────────────────► PreparingRebalance ─────────────────► CompletingRebalance
//!                  │ ▲                       │   ▲    ▲                            │            │
//!                  │ └───────────────────────┘   │    └────────────────────────────┘            │
//!   offsets expired│   nobody is left            │     a member joins, leaves, times out,       │ the leader's
//!   or deleted     │                             │     or does not sync in time                 │ assignment
//!                  ▼                             │                                              │ is durable
//!                 Dead                           └────────────────────────────── Stable ◄───────┘
//!        (until the tombstone is durable)
//! ```
//!
//! The way of one rebalance: each member sends JoinGroup and waits. When all have, or the time is up, each is answered
//! with the generation, the protocol that got most votes, and the leader; the leader also learns who the members are.
//! Each sends SyncGroup and waits; the leader's carries the assignment. It is stored, and then everybody is answered.
//! From then on members send heartbeats, and learn by them that a new rebalance has begun.
//!
//! How a member stays or goes:
//! - A *dynamic* member is gone when it leaves, is silent for its session timeout, or does not join again within the
//!   rebalance timeout.
//! - A *static* member (`group.instance.id`, KIP-345) keeps its place until its session ends. If it comes back without
//!   its member id, it gets a new id and its old assignment without a rebalance, and the old id is fenced.
//! - A member id that was handed out (KIP-394) and not used within the session timeout is forgotten; while it is
//!   outstanding, a rebalance waits for it.
//! - A member that waits for the coordinator is excused from heartbeats.
//!
//! Invariants: each waiter is answered exactly once. All members of a generation are told the same protocol and the
//! same leader. An assignment is durable before anybody hears of it. Nothing here reads a clock, draws a random
//! number, or does I/O, and equal inputs give equal outputs. What is stored is in the compacted `offsets` log, see
//! [`crate::offsets`]; a restart applies it and the groups go on: a heartbeat of the same generation is good.
//!
//! Differences from Apache Kafka, none of which a client can trip over: the initial delay is shorter; group size and
//! outstanding member ids are bounded; a join or sync that the same member repeats answers the earlier one with an
//! error instead of forgetting it; a static member that comes back to a full group is let in; a group in which nobody
//! got further than being handed an id is forgotten with that id, and giving back such an id causes no rebalance; the
//! limit of offset metadata counts bytes, as its name says, where Kafka counts UTF-16 units.
//!
//! Sources: Kafka protocol guide; KIP-62, 134, 211, 345, 389, 394, 496, 559, 800, 814; behaviour of the group
//! coordinator of Apache Kafka 4.

mod admin;
mod commit;
mod coordinator;
mod error;
mod expire;
mod join;
mod leave;
mod member;
mod message;
mod options;
mod rebalance;
mod record;
mod session;
mod state;
mod subscription;
mod sync;
mod write;

#[cfg(test)]
mod tests;

pub use admin::{Description, Listing, MemberDescription};
pub use coordinator::GroupCoordinator;
pub use error::{
    ApplyError, CommitError, DeleteGroupError, DeleteOffsetsError, DescribeError, FetchError,
    GroupSubscribedToTopic, HeartbeatError, JoinError, LeaveError, MemberError, SyncError, WriteError,
};
pub use message::{
    Caller, CommitRequest, Event, JoinRequest, Joined, JoinedMember, Leaver, Left, Now, Output, Protocol,
    Reply, Response, SyncRequest, Synced, TopicOffsetsDeleted, Waiter,
};
pub use options::Options;
pub use state::State;
pub use write::Write;
