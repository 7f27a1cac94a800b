//! ListGroups, DescribeGroups, DeleteGroups, OffsetDelete, and what the deletion of a topic means to groups.

use std::sync::Arc;

use bytes::Bytes;

use super::coordinator::GroupCoordinator;
use super::error::{DeleteGroupError, DeleteOffsetsError, DescribeError, GroupSubscribedToTopic};
use super::member::Member;
use super::message::{Output, Response, Waiter};
use super::state::{Group, State};
use super::write::{Then, Write};
use crate::offsets::{Record, RecordKey};

/// How many tombstones one write carries when a topic is deleted.
const TOMBSTONES_PER_WRITE_MAX: usize = 10_000;

/// A line of ListGroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing<'a> {
    /// The group's id.
    pub group_id: &'a str,
    /// What kind of group it is; empty if it only has offsets.
    pub protocol_type: &'a str,
    /// Its state.
    pub state: State,
}

/// The answer to DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The group's id.
    pub group_id: Arc<str>,
    /// Its state.
    pub state: State,
    /// The generation.
    pub generation: i32,
    /// What kind of group it is; empty if it only has offsets.
    pub protocol_type: Arc<str>,
    /// The selected protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members, ordered by id.
    pub members: Vec<MemberDescription>,
}

/// A member in a [`Description`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// The member's id.
    pub member_id: Arc<str>,
    /// `group.instance.id`, for a static member.
    pub instance_id: Option<Arc<str>>,
    /// The client's id.
    pub client_id: Arc<str>,
    /// The client's host.
    pub client_host: Arc<str>,
    /// What the member told the leader; empty unless the group is stable.
    pub metadata: Bytes,
    /// What the leader gave the member.
    pub assignment: Bytes,
}

impl Group {
    fn describe(&self) -> Description {
        let is_stable = self.state == State::Stable;
        let protocol = self.protocol.clone().filter(|_| is_stable);
        Description {
            group_id: Arc::clone(&self.id),
            state: self.state,
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            members: self.members.values().map(|member| describe_member(member, protocol.as_ref())).collect(),
            protocol: protocol.unwrap_or_else(|| "".into()),
        }
    }
}

fn describe_member(member: &Member, protocol: Option<&Arc<str>>) -> MemberDescription {
    MemberDescription {
        member_id: Arc::clone(&member.id),
        instance_id: member.instance_id.clone(),
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        metadata: member.metadata(protocol),
        assignment: member.assignment.clone(),
    }
}

impl GroupCoordinator {
    /// All groups, ordered by id.
    pub fn list(&self) -> impl Iterator<Item = Listing<'_>> {
        self.groups.values().map(|group| Listing {
            group_id: &group.id,
            protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
            state: group.state,
        })
    }

    /// One group with its members.
    ///
    /// # Errors
    /// See [`DescribeError`].
    pub fn describe(&self, group_id: &str) -> Result<Description, DescribeError> {
        if self.is_loading() {
            return Err(DescribeError::CoordinatorLoading);
        }
        let group = self.groups.get(group_id).filter(|group| group.state != State::Dead);
        group.map(Group::describe).ok_or(DescribeError::GroupIdNotFound)
    }

    /// Deletes a group that has no members, with its offsets. Answered when that is durable.
    pub fn delete_group(&mut self, group_id: &str, waiter: Waiter) -> Output {
        let mut out = Output::default();
        match self.start_deletion(group_id) {
            Ok(records) => {
                let then = Then::Delete { group_ids: vec![self.group_id(group_id)], waiter: Some(waiter) };
                out.writes.push(Write { records, then });
            }
            Err(error) => out.reply(waiter, Response::DeleteGroup(Err(error))),
        }
        out
    }

    fn start_deletion(&mut self, group_id: &str) -> Result<Vec<Record>, DeleteGroupError> {
        if self.is_loading() {
            return Err(DeleteGroupError::CoordinatorLoading);
        }
        let group = self.groups.get_mut(group_id).ok_or(DeleteGroupError::GroupIdNotFound)?;
        match group.state {
            State::Dead => Err(DeleteGroupError::GroupIdNotFound),
            State::Empty => {
                let mut records = self.offsets.remove_group(group_id);
                records.push(group.mark_dead());
                Ok(records)
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                Err(DeleteGroupError::NonEmptyGroup)
            }
        }
    }

    /// Deletes a group's offsets for some partitions (KIP-496). Answered when that is durable.
    ///
    /// Topics that a member is subscribed to are refused, the others are deleted. A partition without an offset is no
    /// error.
    pub fn delete_offsets(
        &mut self,
        group_id: &str,
        topics: &[(Arc<str>, Vec<i32>)],
        waiter: Waiter,
    ) -> Output {
        let mut out = Output::default();
        let group = match self.offsets_deletable(group_id) {
            Ok(group) => group,
            Err(error) => {
                out.reply(waiter, Response::DeleteOffsets(Err(error)));
                return out;
            }
        };
        let (mut records, mut outcome) = (Vec::new(), Vec::with_capacity(topics.len()));
        for (topic, partitions) in topics {
            let is_refused = group.is_subscribed(topic);
            if !is_refused {
                records.extend(self.offsets.remove_partitions(group_id, topic, partitions));
            }
            let result = if is_refused { Err(GroupSubscribedToTopic) } else { Ok(()) };
            outcome.push((Arc::clone(topic), result));
        }
        if records.is_empty() {
            out.reply(waiter, Response::DeleteOffsets(Ok(outcome)));
        } else {
            out.writes.push(Write { records, then: Then::DeleteOffsets { waiter, outcome } });
        }
        out
    }

    fn offsets_deletable(&self, group_id: &str) -> Result<&Group, DeleteOffsetsError> {
        if group_id.is_empty() {
            return Err(DeleteOffsetsError::InvalidGroupId);
        }
        if self.is_loading() {
            return Err(DeleteOffsetsError::CoordinatorLoading);
        }
        let group = self.groups.get(group_id).ok_or(DeleteOffsetsError::GroupIdNotFound)?;
        match group.state {
            State::Dead => Err(DeleteOffsetsError::GroupIdNotFound),
            State::Empty => Ok(group),
            _ if group.uses_consumer_protocol() => Ok(group),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                Err(DeleteOffsetsError::NonEmptyGroup)
            }
        }
    }

    /// Removes all groups' offsets for a topic that has been deleted. Nobody waits for it; doing it again is harmless.
    pub fn topic_deleted(&mut self, topic: &str) -> Output {
        let mut out = Output::default();
        let records = self.offsets.remove_topic(topic);
        let chunks = records.chunks(TOMBSTONES_PER_WRITE_MAX);
        out.writes.extend(chunks.map(|chunk| Write { records: chunk.to_vec(), then: Then::Nothing }));
        out
    }
}

impl Group {
    /// Closes the group for everybody; the tombstone ends it when it is durable.
    pub(super) fn mark_dead(&mut self) -> Record {
        self.state = State::Dead;
        self.pending_join.clear();
        Record { key: RecordKey::Group { group_id: &self.id }.encode(), value: None }
    }
}
