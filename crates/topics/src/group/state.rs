//! One group: its state, its members, and the bookkeeping that all operations share.
//!
//! Invariants: `awaiting_join` is the number of members that wait for a join; `protocol_support` counts for each
//! protocol name the members that support it; a group with members has a protocol type and a leader among them; a
//! member that waits for nothing has a session deadline; `wake_at` is no later than the earliest deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::TimestampMs;
use bytes::Bytes;

use super::error::{JoinError, MemberError, SyncError};
use super::member::{Member, owned_protocols};
use super::message::{Event, JoinRequest, Joined, Now, Output, Protocol, Response, Synced, Waiter};
use super::options::Options;
use super::record::{GroupImage, MemberImage};
use super::subscription;
use super::write::{Then, Write};
use crate::offsets::{Record, RecordKey};

/// The protocol type of consumers, the only one whose member metadata the broker reads.
const CONSUMER: &str = "consumer";

/// The state of a group, as DescribeGroups and ListGroups show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No members. Offsets may be committed by consumers that are in no group.
    Empty,
    /// Members are joining the next generation.
    PreparingRebalance,
    /// All have joined; the leader works out the assignment.
    CompletingRebalance,
    /// All members have, or can ask for, their assignment.
    Stable,
    /// The group is being deleted.
    Dead,
}

impl State {
    /// The name that Kafka's clients know.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

/// The surroundings of one input.
pub(super) struct Turn<'a> {
    pub(super) options: &'a Options,
    pub(super) now: Now,
    pub(super) out: &'a mut Output,
}

/// What waits for the join phase to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum JoinTimer {
    /// The first generation of an empty group: more time while members keep arriving.
    Initial { deadline: Duration, delay: Duration, remaining: Duration },
    /// Members of the last generation have this long to join again.
    Rebalance { deadline: Duration },
}

impl JoinTimer {
    pub(super) fn deadline(self) -> Duration {
        match self {
            JoinTimer::Initial { deadline, .. } | JoinTimer::Rebalance { deadline } => deadline,
        }
    }
}

/// A static member that came back under a new id, until that is durable.
#[derive(Debug)]
pub(super) struct StaticRejoin {
    pub(super) waiter: Waiter,
    pub(super) old_id: Arc<str>,
    pub(super) new_id: Arc<str>,
    pub(super) old_protocols: Vec<Protocol>,
    pub(super) old_session_timeout: Duration,
    pub(super) old_rebalance_timeout: Duration,
    /// The leader before the change, for clients that cannot be told to skip the assignment.
    pub(super) old_leader: Arc<str>,
    pub(super) supports_skip_assignment: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) state: State,
    pub(super) previous: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids that were handed out and not used yet, and until when they may be.
    pub(super) pending_join: BTreeMap<Arc<str>, Duration>,
    /// Members of this generation that have not asked for their assignment yet.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    protocol_support: BTreeMap<Arc<str>, usize>,
    pub(super) awaiting_join: usize,
    /// The topics that consumers read, if that is known.
    pub(super) subscribed: Option<BTreeSet<Box<str>>>,
    pub(super) state_since_ms: Option<TimestampMs>,
    pub(super) new_member_added: bool,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_deadline: Option<Duration>,
    pub(super) wake_at: Option<Duration>,
    /// Under which time the coordinator has the group in its timers.
    pub(super) registered: Option<Duration>,
    /// A record of the group has been written, so its end needs a tombstone.
    pub(super) is_stored: bool,
}

impl Group {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Dead,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            protocol_support: BTreeMap::new(),
            awaiting_join: 0,
            subscribed: None,
            state_since_ms: None,
            new_member_added: false,
            join_timer: None,
            sync_deadline: None,
            wake_at: None,
            registered: None,
            is_stored: false,
        }
    }

    /// Whether the group is nothing but its name: no members, promised ids or record.
    pub(super) fn is_trivial(&self) -> bool {
        self.state == State::Empty
            && !self.is_stored
            && self.members.is_empty()
            && self.pending_join.is_empty()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn transition(&mut self, to: State, now: Now) {
        self.previous = std::mem::replace(&mut self.state, to);
        self.state_since_ms = Some(now.wall_ms);
    }

    /// Whether `member_id` is a member, and the holder of the instance id if one is given.
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), MemberError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(MemberError::UnknownMember),
                Some(holder) if holder.as_ref() != member_id => return Err(MemberError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(MemberError::UnknownMember) }
    }

    // --- members ---

    pub(super) fn add(&mut self, member: Member) {
        if self.members.is_empty() {
            self.protocol_support.clear();
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&member.id));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&member.id));
        self.count_protocols(&member.protocols, 1);
        self.pending_join.remove(&member.id);
        self.awaiting_join += usize::from(member.waiting_join.is_some());
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Removes a member; whoever waits in its name is told that it is unknown.
    pub(super) fn remove(&mut self, member_id: &str, reason: &str, turn: &mut Turn<'_>) -> bool {
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        let Some(mut member) = self.members.remove(member_id) else { return false };
        self.answer_join(&mut member, Err(JoinError::UnknownMember), turn.out);
        answer_sync(&mut member, Err(SyncError::UnknownMember), turn.out);
        self.count_protocols(&member.protocols, -1);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        let (group_id, reason) = (Arc::clone(&self.id), reason.to_owned());
        turn.out.events.push(Event::MemberRemoved { group_id, member_id: member.id, reason });
        true
    }

    /// Gives a static member a new id, and fences whoever waits under the old one.
    pub(super) fn replace_static(&mut self, old_id: &str, new_id: &Arc<str>, out: &mut Output) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        self.answer_join(&mut member, Err(JoinError::FencedInstanceId), out);
        answer_sync(&mut member, Err(SyncError::FencedInstanceId), out);
        if self.is_leader(old_id) {
            self.leader = Some(Arc::clone(new_id));
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(Arc::clone(new_id));
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(new_id));
        }
        member.id = Arc::clone(new_id);
        member.is_new = false;
        self.members.insert(Arc::clone(new_id), member);
    }

    /// Takes over what a member says when it joins again, and lets it wait.
    pub(super) fn update(
        &mut self,
        member_id: &str,
        request: &JoinRequest<'_>,
        waiter: Waiter,
        out: &mut Output,
    ) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        self.answer_join(&mut member, Err(JoinError::Superseded), out);
        self.count_protocols(&member.protocols, -1);
        member.protocols = owned_protocols(&request.protocols);
        self.count_protocols(&member.protocols, 1);
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.waiting_join = Some(waiter);
        self.awaiting_join += 1;
        self.members.insert(Arc::clone(&member.id), member);
    }

    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: &[Protocol]) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let old = std::mem::replace(&mut member.protocols, protocols.to_vec());
        self.count_protocols(&old, -1);
        self.count_protocols(protocols, 1);
    }

    fn count_protocols(&mut self, protocols: &[Protocol], by: isize) {
        for protocol in protocols {
            let count = self.protocol_support.entry(Arc::clone(&protocol.name)).or_default();
            *count = count.saturating_add_signed(by);
        }
        if by < 0 {
            self.protocol_support.retain(|_, count| *count > 0);
        }
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending_join.is_empty()
    }

    /// The longest rebalance timeout among the members.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    // --- protocols ---

    /// How many members support the protocol.
    pub(super) fn support_of(&self, protocol: &str) -> usize {
        self.protocol_support.get(protocol).copied().unwrap_or_default()
    }

    /// Whether all members support the protocol. True for any if there are no members.
    fn is_candidate(&self, protocol: &str) -> bool {
        self.support_of(protocol) == self.members.len()
    }

    /// Whether a member with these protocols can be in the group with the others.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.is_candidate(&protocol.name))
    }

    /// The protocol with the most votes of those that all members support. Of equals, the leader's preference wins.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.vote(|name| self.is_candidate(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.members.get(self.leader.as_ref()?)?;
        let preferred = leader.vote(|name| votes.get(name) == Some(&most));
        preferred
            .cloned()
            .or_else(|| votes.iter().find(|(_, count)| **count == most).map(|(&name, _)| name.into()))
    }

    /// The topics that the members read, if they are consumers and their subscriptions can be read.
    pub(super) fn compute_subscribed(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_ref());
            all.extend(subscription::topics(&metadata)?.into_iter().map(Box::from));
        }
        Some(all)
    }

    /// Whether a member reads the topic. If it is not known what a group of consumers reads, it may be anything.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    // --- answers ---

    pub(super) fn answer_join(
        &mut self,
        member: &mut Member,
        result: Result<Joined, JoinError>,
        out: &mut Output,
    ) {
        if let Some(waiter) = member.waiting_join.take() {
            self.awaiting_join -= 1;
            out.reply(waiter, Response::Join(result));
        }
    }

    /// The current generation as a member sees it.
    pub(super) fn joined(&self, member_id: &Arc<str>) -> Joined {
        Joined {
            member_id: Arc::clone(member_id),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            members: if self.is_leader(member_id) { self.members_for_leader() } else { Vec::new() },
        }
    }

    fn members_for_leader(&self) -> Vec<super::message::JoinedMember> {
        self.members.values().map(|member| member.for_leader(self.protocol.as_ref())).collect()
    }

    pub(super) fn synced(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        }
    }

    // --- time ---

    pub(super) fn wake(&mut self, deadline: Duration) {
        self.wake_at = Some(self.wake_at.map_or(deadline, |wake_at| wake_at.min(deadline)));
    }

    /// Starts a member's session anew.
    pub(super) fn refresh_session(&mut self, member_id: &str, now: Now) {
        let timeout = self.members.get(member_id).map(|member| member.session_timeout);
        self.refresh_session_for(member_id, timeout.unwrap_or_default(), now);
    }

    pub(super) fn refresh_session_for(&mut self, member_id: &str, timeout: Duration, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            let deadline = now.elapsed.saturating_add(timeout);
            member.session_deadline = Some(deadline);
            self.wake(deadline);
        }
    }

    // --- persistence ---

    /// The group as it would be stored, with the given assignments instead of the members' own.
    pub(super) fn image(&self, assignments: Option<&BTreeMap<&str, Bytes>>) -> GroupImage {
        let assignment = |member: &Member| match assignments {
            Some(assignments) => assignments.get(member.id.as_ref()).cloned().unwrap_or_default(),
            None => member.assignment.clone(),
        };
        GroupImage {
            generation: self.generation,
            state_since_ms: self.state_since_ms,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(|member| member_image(member, assignment(member))).collect(),
        }
    }

    pub(super) fn store(&mut self, image: &GroupImage, then: Then, out: &mut Output) {
        self.is_stored = true;
        let key = RecordKey::Group { group_id: &self.id }.encode();
        out.writes.push(Write { records: vec![Record { key, value: Some(image.encode()) }], then });
    }

    pub(super) fn from_image(id: Arc<str>, image: GroupImage) -> Self {
        let mut group = Self::new(id);
        group.is_stored = true;
        group.state = if image.members.is_empty() { State::Empty } else { State::Stable };
        group.generation = image.generation;
        group.protocol_type = image.protocol_type;
        group.protocol = image.protocol;
        group.leader = image.leader;
        group.state_since_ms = image.state_since_ms;
        for member in image.members {
            group.add(loaded_member(member));
        }
        group.subscribed = group.compute_subscribed();
        // Sessions start at the first tick, whenever that is: a deadline counted from here would be a guess.
        group.wake_at = (!group.members.is_empty()).then_some(Duration::ZERO);
        group
    }

    /// Takes over a durable record of a group that is in use: the assignment of the generation that waits for it. Of
    /// a generation that is over by now, only a later record matters.
    pub(super) fn install(&mut self, image: GroupImage) {
        self.is_stored = true;
        if self.state != State::CompletingRebalance || self.generation != image.generation {
            return;
        }
        for stored in image.members {
            if let Some(member) = self.members.get_mut(&stored.id) {
                member.assignment = stored.assignment;
            }
        }
        self.previous = std::mem::replace(&mut self.state, State::Stable);
    }
}

pub(super) fn answer_sync(member: &mut Member, result: Result<Synced, SyncError>, out: &mut Output) -> bool {
    match member.waiting_sync.take() {
        Some(waiter) => {
            out.reply(waiter, Response::Sync(result));
            true
        }
        None => false,
    }
}

fn member_image(member: &Member, assignment: Bytes) -> MemberImage {
    MemberImage {
        id: Arc::clone(&member.id),
        instance_id: member.instance_id.clone(),
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        session_timeout: member.session_timeout,
        rebalance_timeout: member.rebalance_timeout,
        protocols: member.protocols.clone(),
        assignment,
    }
}

fn loaded_member(image: MemberImage) -> Member {
    Member {
        id: image.id,
        instance_id: image.instance_id,
        client_id: image.client_id,
        client_host: image.client_host,
        session_timeout: image.session_timeout,
        rebalance_timeout: image.rebalance_timeout,
        protocols: image.protocols,
        assignment: image.assignment,
        is_new: false,
        waiting_join: None,
        waiting_sync: None,
        session_deadline: None,
    }
}
