//! JoinGroup: how members come in, come back, and change what they support.
//!
//! Sources: Kafka protocol guide (JoinGroup), KIP-62 (rebalance timeout), KIP-134 (initial delay), KIP-345 (static
//! members), KIP-389 (group size), KIP-394 (member id required), KIP-814 (skip assignment).

use std::sync::Arc;

use super::error::{JoinError, WriteError};
use super::member::Member;
use super::message::{JoinRequest, Joined, Output, Response, Waiter};
use super::options::Options;
use super::state::{Group, State, StaticRejoin, Turn};
use super::write::Then;

/// One JoinGroup and whoever waits for its answer.
pub(super) struct Join<'a> {
    pub(super) request: &'a JoinRequest<'a>,
    pub(super) waiter: Waiter,
}

impl Join<'_> {
    fn refuse(&self, error: JoinError, out: &mut Output) {
        out.reply(self.waiter, Response::Join(Err(error)));
    }

    /// A member id that nobody had before: readable for operators, unique by the caller's randomness.
    fn new_member_id(&self) -> Arc<str> {
        let name = self.request.instance_id.unwrap_or(self.request.client_id);
        format!("{name}-{}", self.request.fresh_id).into()
    }

    fn reason(&self) -> &str {
        client_reason(self.request.reason)
    }
}

/// The longest reason that a client may give, as in KIP-800; more of it is not shown.
const REASON_SIZE_BYTES_MAX: usize = 255;

/// Why a client does something, as an operator may read it.
pub(super) fn client_reason(reason: Option<&str>) -> &str {
    let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or("not provided");
    &reason[..reason.floor_char_boundary(REASON_SIZE_BYTES_MAX)]
}

/// What can be checked without the group.
pub(super) fn check_request(request: &JoinRequest<'_>, options: &Options) -> Result<(), JoinError> {
    if request.group_id.is_empty() {
        return Err(JoinError::InvalidGroupId);
    }
    let (given, min, max) =
        (request.session_timeout, options.session_timeout_min, options.session_timeout_max);
    if given < min || given > max {
        return Err(JoinError::InvalidSessionTimeout { given, min, max });
    }
    Ok(())
}

impl Group {
    pub(super) fn join(&mut self, join: &Join<'_>, turn: &mut Turn<'_>) {
        let request = join.request;
        if self.state == State::Dead {
            join.refuse(JoinError::CoordinatorNotAvailable, turn.out);
        } else if !self.has_room_for(request, turn.options.group_size_max) {
            self.remove(request.member_id, "the group has reached its maximum size", turn);
            join.refuse(JoinError::GroupMaxSizeReached { limit: turn.options.group_size_max }, turn.out);
            self.complete_join_if_ready(turn);
        } else if !self.supports(request.protocol_type, &request.protocols) {
            join.refuse(JoinError::InconsistentProtocol, turn.out);
        } else if request.member_id.is_empty() {
            self.join_new(join, turn);
        } else {
            self.join_known(join, turn);
        }
    }

    /// Whether the group may take this member. While it rebalances those count who have joined, so that a group that
    /// is too large shrinks to its limit.
    fn has_room_for(&self, request: &JoinRequest<'_>, limit: usize) -> bool {
        let holder = request.instance_id.and_then(|id| self.static_members.get(id));
        let member = self.members.get(holder.map_or(request.member_id, AsRef::as_ref));
        let promised = if request.member_id.is_empty() { self.pending_join.len() } else { 0 };
        match self.state {
            State::Empty | State::Dead => promised < limit,
            State::PreparingRebalance => {
                let is_waiting = member.is_some_and(|member| member.waiting_join.is_some());
                is_waiting || self.awaiting_join + promised < limit
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() + promised < limit
            }
        }
    }

    /// Somebody without a member id.
    fn join_new(&mut self, join: &Join<'_>, turn: &mut Turn<'_>) {
        let new_id = join.new_member_id();
        let holder = join.request.instance_id.and_then(|id| self.static_members.get(id)).cloned();
        match (join.request.instance_id, holder) {
            (Some(_), Some(old_id)) => self.rejoin_static(join, &old_id, &new_id, turn),
            (None, _) if join.request.require_known_member_id => self.promise_id(join, new_id, turn),
            (Some(_) | None, _) => self.add_member(join, &new_id, turn),
        }
    }

    /// Hands out a member id to join with. So a client that repeats a join that it believes lost does not become two
    /// members (KIP-394).
    fn promise_id(&mut self, join: &Join<'_>, member_id: Arc<str>, turn: &mut Turn<'_>) {
        let deadline = turn.now.elapsed.saturating_add(join.request.session_timeout);
        self.pending_join.insert(Arc::clone(&member_id), deadline);
        self.wake(deadline);
        join.refuse(JoinError::MemberIdRequired { member_id }, turn.out);
    }

    fn add_member(&mut self, join: &Join<'_>, member_id: &Arc<str>, turn: &mut Turn<'_>) {
        let mut member = Member::new(Arc::clone(member_id), join.request);
        member.waiting_join = Some(join.waiter);
        if self.members.is_empty() {
            self.protocol_type = Some(join.request.protocol_type.into());
        }
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.new_member_added = true;
        }
        self.add(member);
        self.refresh_session_for(member_id, turn.options.new_member_join_timeout, turn.now);
        let reason = format!("member {member_id} joins; client reason: {}", join.reason());
        self.rebalance_or_complete(&reason, turn);
    }

    /// Somebody with a member id: it uses the id that it was promised, or comes back.
    fn join_known(&mut self, join: &Join<'_>, turn: &mut Turn<'_>) {
        let (member_id, instance_id) = (join.request.member_id, join.request.instance_id);
        if instance_id.is_none() && self.pending_join.contains_key(member_id) {
            return self.add_member(join, &member_id.into(), turn);
        }
        if let Err(error) = self.check_member(member_id, instance_id) {
            return join.refuse(error.into(), turn.out);
        }
        let is_unchanged = self.matches(join.request);
        let is_leader = self.is_leader(member_id);
        match self.state {
            // A leader that joins again wants a rebalance: it has seen something that changes the assignment.
            State::Stable if is_unchanged && !is_leader => self.answer_at_once(join, turn),
            // The answer to its join was lost.
            State::CompletingRebalance if is_unchanged => self.answer_at_once(join, turn),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(member_id, join.request, join.waiter, turn.out);
                let who = if is_leader { "leader" } else { "member" };
                let reason = format!("{who} {member_id} rejoins; client reason: {}", join.reason());
                self.rebalance_or_complete(&reason, turn);
            }
            State::Empty | State::Dead => join.refuse(JoinError::UnknownMember, turn.out),
        }
    }

    fn matches(&self, request: &JoinRequest<'_>) -> bool {
        let member = self.members.get(request.member_id);
        member.is_some_and(|member| member.protocols == request.protocols)
    }

    /// The generation goes on as it is.
    fn answer_at_once(&mut self, join: &Join<'_>, turn: &mut Turn<'_>) {
        let Some((member_id, _)) = self.members.get_key_value(join.request.member_id) else { return };
        turn.out.reply(join.waiter, Response::Join(Ok(self.joined(member_id))));
    }

    /// Answers the join that a member waits for, if it waits.
    pub(super) fn answer_join_of(
        &mut self,
        member_id: &str,
        result: impl FnOnce(&Self) -> Result<Joined, JoinError>,
        out: &mut Output,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(waiter) = member.waiting_join.take() {
            self.awaiting_join -= 1;
            out.reply(waiter, Response::Join(result(self)));
        }
    }

    // --- a static member that comes back without its member id ---

    fn rejoin_static(&mut self, join: &Join<'_>, old_id: &str, new_id: &Arc<str>, turn: &mut Turn<'_>) {
        let Some(undo) = self.replace_holder(join, old_id, new_id, turn) else { return };
        let reason =
            format!("static member {new_id} takes the place of {old_id}; client reason: {}", join.reason());
        match self.state {
            // The assignment stands, and the member finds it under its new id.
            State::Stable if self.select_protocol() == self.protocol => {
                let then = Then::Rejoin { group_id: Arc::clone(&self.id), rejoin: Box::new(undo) };
                let image = self.image(None);
                self.store(&image, then, turn.out);
            }
            // The leader may be assigning to the old id just now.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(&reason, turn),
            State::PreparingRebalance | State::Empty | State::Dead => self.complete_join_if_ready(turn),
        }
    }

    fn replace_holder(
        &mut self,
        join: &Join<'_>,
        old_id: &str,
        new_id: &Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Option<StaticRejoin> {
        let old = self.members.get(old_id)?;
        let undo = StaticRejoin {
            waiter: join.waiter,
            old_id: Arc::clone(&old.id),
            new_id: Arc::clone(new_id),
            old_protocols: old.protocols.clone(),
            old_session_timeout: old.session_timeout,
            old_rebalance_timeout: old.rebalance_timeout,
            old_leader: self.leader.clone()?,
            supports_skip_assignment: join.request.supports_skip_assignment,
        };
        self.replace_static(old_id, new_id, turn.out);
        self.update(new_id, join.request, join.waiter, turn.out);
        self.refresh_session(new_id, turn.now);
        Some(undo)
    }

    fn waits_for(&self, rejoin: &StaticRejoin) -> bool {
        let member = self.members.get(&rejoin.new_id);
        self.state == State::Stable && member.is_some_and(|member| member.waiting_join == Some(rejoin.waiter))
    }

    /// The new id is durable. If a rebalance has begun meanwhile, the member takes part in it and waits for its end.
    pub(super) fn rejoin_stored(&mut self, rejoin: &StaticRejoin, turn: &mut Turn<'_>) {
        if !self.waits_for(rejoin) {
            return;
        }
        let mut joined = self.joined(&rejoin.new_id);
        if rejoin.supports_skip_assignment {
            joined.skip_assignment = self.is_leader(&rejoin.new_id);
        } else {
            // A client that does not know about skipping would assign if it were told that it leads.
            joined.leader = Arc::clone(&rejoin.old_leader);
            joined.members.clear();
        }
        self.answer_join_of(&rejoin.new_id, |_| Ok(joined), turn.out);
        // Its session may have run out, excused, while the journal was slow.
        self.refresh_session(&rejoin.new_id, turn.now);
    }

    /// The new id could not be stored: the member is what it was.
    pub(super) fn rejoin_failed(&mut self, rejoin: &StaticRejoin, error: WriteError, turn: &mut Turn<'_>) {
        if !self.waits_for(rejoin) {
            return;
        }
        self.answer_join_of(&rejoin.new_id, |_| Err(JoinError::NotStored(error)), turn.out);
        self.set_protocols(&rejoin.new_id, &rejoin.old_protocols);
        if let Some(member) = self.members.get_mut(&rejoin.new_id) {
            member.session_timeout = rejoin.old_session_timeout;
            member.rebalance_timeout = rejoin.old_rebalance_timeout;
        }
        self.replace_static(&rejoin.new_id, &rejoin.old_id, turn.out);
        self.refresh_session(&rejoin.old_id, turn.now);
        // A later write that is still on its way may hold the new id and succeed: the last word must be this one.
        let image = self.image(None);
        self.store(&image, Then::Nothing, turn.out);
    }
}
