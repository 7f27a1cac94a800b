//! What members do: join, synchronise, stay, leave.

use std::sync::Arc;

use annals_topics::group::{
    self, HeartbeatError, JoinRequest, LeaveError, Leaver, Protocol, Response, SyncRequest,
};

use super::{Refused, unexpected};
use crate::api::Caller;
use crate::api::groups::{
    Heartbeat, JoinError, JoinGroup, Joined, JoinedMember, LeavingMember, MemberError, SyncGroup, Synced,
};
use crate::{Broker, Inner};

impl Broker {
    /// Joins a group. Answered when the new generation begins, which may take as long as the group's rebalance timeout.
    ///
    /// Dropping the future gives up the wait, not the membership; that ends with the session.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join_group(&self, caller: &Caller, request: JoinGroup) -> Result<Joined, JoinError> {
        let inner = &*self.inner;
        let client_host = format!("/{}", caller.peer.ip());
        let fresh_id = inner.clock.uuid_v4();
        let join = JoinRequest {
            group_id: &request.group,
            member_id: &request.member_id,
            instance_id: request.instance_id.as_deref(),
            client_id: caller.client_id.as_deref().unwrap_or_default(),
            client_host: &client_host,
            protocol_type: &request.protocol_type,
            protocols: protocols(&request),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            require_known_member_id: request.require_known_member_id,
            supports_skip_assignment: request.supports_skipping_assignment,
            fresh_id,
            reason: request.reason.as_deref(),
        };
        let response = inner.groups.ask(&inner.clock, |groups, waiter, now| groups.join(&join, waiter, now));
        match response.await {
            Ok(Response::Join(Ok(joined))) => Ok(joined.into()),
            Ok(Response::Join(Err(error))) => Err(inner.join_error(error, &request)),
            Ok(other) => Err(JoinError::Unavailable(unexpected(&other))),
            Err(refused) => Err(JoinError::Unavailable(refused.to_string())),
        }
    }

    /// Brings the assignment, from the leader, and awaits this member's share of it. Answered when that is durable.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub async fn sync_group(&self, _caller: &Caller, request: SyncGroup) -> Result<Synced, MemberError> {
        let inner = &*self.inner;
        let speaker = Speaker { member_id: &request.member_id, instance_id: request.instance_id.as_ref() };
        let assignments = request.assignments.iter().map(|(member, bytes)| (&**member, bytes.clone()));
        let sync = SyncRequest {
            caller: speaker.of(&request.group, request.generation),
            protocol_type: request.protocol_type.as_deref(),
            protocol: request.protocol.as_deref(),
            assignments: assignments.collect(),
        };
        let response = inner.groups.ask(&inner.clock, |groups, waiter, now| groups.sync(&sync, waiter, now));
        match response.await {
            Ok(Response::Sync(Ok(synced))) => Ok(synced.into()),
            Ok(Response::Sync(Err(error))) => Err(inner.sync_error(error, &request)),
            Ok(other) => Err(MemberError::Unavailable(unexpected(&other))),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Tells that a member is alive.
    ///
    /// # Errors
    /// See [`MemberError`]; [`MemberError::RebalanceInProgress`] asks the member to join again, and counts as a sign of
    /// life.
    pub async fn heartbeat(&self, _caller: &Caller, request: Heartbeat) -> Result<(), MemberError> {
        let inner = &*self.inner;
        let speaker = Speaker { member_id: &request.member_id, instance_id: request.instance_id.as_ref() };
        let caller = speaker.of(&request.group, request.generation);
        let beat =
            inner.groups.act(&inner.clock, |groups, now| (groups.heartbeat(caller, now), Default::default()));
        beat?.map_err(|error| match error {
            HeartbeatError::InvalidGroupId => MemberError::InvalidGroup(Arc::clone(&request.group)),
            HeartbeatError::CoordinatorNotAvailable => MemberError::Unavailable(error.to_string()),
            HeartbeatError::UnknownMember => speaker.unknown(),
            HeartbeatError::FencedInstanceId => speaker.fenced(),
            HeartbeatError::IllegalGeneration => MemberError::IllegalGeneration(request.generation),
            HeartbeatError::RebalanceInProgress => MemberError::RebalanceInProgress,
        })
    }

    /// Takes members out of a group: one outcome for each, in their order.
    ///
    /// # Errors
    /// See [`MemberError`]; then no member left.
    pub async fn leave_group(
        &self,
        _caller: &Caller,
        group: Arc<str>,
        members: Vec<LeavingMember>,
    ) -> Result<Vec<Result<(), MemberError>>, MemberError> {
        let inner = &*self.inner;
        let leavers: Vec<_> = members.iter().map(leaver).collect();
        let left = inner.groups.act(&inner.clock, |groups, now| groups.leave(&group, &leavers, now))?;
        let left = left.map_err(|error| match error {
            LeaveError::InvalidGroupId => MemberError::InvalidGroup(Arc::clone(&group)),
            LeaveError::CoordinatorLoading | LeaveError::CoordinatorNotAvailable => {
                MemberError::Unavailable(error.to_string())
            }
        })?;
        let outcome = |(outcome, member): (Result<(), group::MemberError>, &LeavingMember)| {
            let speaker = Speaker { member_id: &member.member_id, instance_id: member.instance_id.as_ref() };
            outcome.map_err(|error| match error {
                group::MemberError::UnknownMember => speaker.unknown(),
                group::MemberError::FencedInstanceId => speaker.fenced(),
            })
        };
        Ok(left.into_iter().zip(&members).map(outcome).collect())
    }
}

fn leaver(member: &LeavingMember) -> Leaver<'_> {
    let LeavingMember { member_id, instance_id, reason } = member;
    Leaver { member_id, instance_id: instance_id.as_deref(), reason: reason.as_deref() }
}

fn protocols(request: &JoinGroup) -> Vec<Protocol> {
    let protocol = |(name, metadata): &(Arc<str>, _)| Protocol {
        name: Arc::clone(name),
        metadata: Clone::clone(metadata),
    };
    request.protocols.iter().map(protocol).collect()
}

impl Inner {
    fn join_error(&self, error: group::JoinError, request: &JoinGroup) -> JoinError {
        use group::JoinError as Cause;
        let group = || Arc::clone(&request.group);
        match error {
            Cause::InvalidGroupId => JoinError::InvalidGroup(group()),
            Cause::InvalidSessionTimeout { given, .. } => JoinError::InvalidSessionTimeout(given),
            Cause::CoordinatorLoading | Cause::CoordinatorNotAvailable => {
                JoinError::Unavailable(error.to_string())
            }
            Cause::InconsistentProtocol => JoinError::InconsistentProtocol,
            Cause::GroupMaxSizeReached { limit } => JoinError::GroupFull(limit),
            Cause::MemberIdRequired { member_id } => JoinError::MemberIdRequired(member_id),
            Cause::UnknownMember => JoinError::UnknownMember(Arc::clone(&request.member_id)),
            Cause::FencedInstanceId => {
                JoinError::FencedInstance(request.instance_id.clone().unwrap_or_else(|| "".into()))
            }
            Cause::Superseded => JoinError::RebalanceInProgress,
            Cause::NotStored(error) => JoinError::Unavailable(self.why_not_stored(error)),
        }
    }

    fn sync_error(&self, error: group::SyncError, request: &SyncGroup) -> MemberError {
        use group::SyncError as Cause;
        let speaker = Speaker { member_id: &request.member_id, instance_id: request.instance_id.as_ref() };
        match error {
            Cause::InvalidGroupId => MemberError::InvalidGroup(Arc::clone(&request.group)),
            Cause::CoordinatorNotAvailable => MemberError::Unavailable(error.to_string()),
            Cause::UnknownMember => speaker.unknown(),
            Cause::FencedInstanceId => speaker.fenced(),
            Cause::IllegalGeneration => MemberError::IllegalGeneration(request.generation),
            Cause::InconsistentProtocol => MemberError::InconsistentProtocol,
            Cause::RebalanceInProgress => MemberError::RebalanceInProgress,
            Cause::NotStored(error) => MemberError::Unavailable(self.why_not_stored(error)),
        }
    }
}

/// A member as it calls itself.
struct Speaker<'a> {
    member_id: &'a Arc<str>,
    instance_id: Option<&'a Arc<str>>,
}

impl<'a> Speaker<'a> {
    fn of(&self, group_id: &'a str, generation: i32) -> group::Caller<'a> {
        let instance_id = self.instance_id.map(AsRef::as_ref);
        group::Caller { group_id, generation, member_id: self.member_id, instance_id }
    }

    fn unknown(&self) -> MemberError {
        MemberError::UnknownMember(Arc::clone(self.member_id))
    }

    fn fenced(&self) -> MemberError {
        MemberError::FencedInstance(self.instance_id.cloned().unwrap_or_else(|| "".into()))
    }
}

impl From<Refused> for MemberError {
    fn from(refused: Refused) -> Self {
        Self::Unavailable(refused.to_string())
    }
}

impl From<group::Joined> for Joined {
    fn from(joined: group::Joined) -> Self {
        let member = |member: group::JoinedMember| {
            let group::JoinedMember { member_id, instance_id, metadata } = member;
            JoinedMember { member_id, instance_id, metadata }
        };
        Self {
            generation: joined.generation,
            protocol_type: joined.protocol_type.unwrap_or_else(|| "".into()),
            protocol: joined.protocol.unwrap_or_else(|| "".into()),
            leader: joined.leader,
            member_id: joined.member_id,
            skip_assignment: joined.skip_assignment,
            members: joined.members.into_iter().map(member).collect(),
        }
    }
}

impl From<group::Synced> for Synced {
    fn from(synced: group::Synced) -> Self {
        Self {
            protocol_type: synced.protocol_type.unwrap_or_else(|| "".into()),
            protocol: synced.protocol.unwrap_or_else(|| "".into()),
            assignment: synced.assignment,
        }
    }
}
