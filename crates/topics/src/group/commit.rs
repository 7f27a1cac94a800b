//! OffsetCommit and OffsetFetch: who may commit, and what is found.

use std::sync::Arc;

use uuid::Uuid;

use super::coordinator::GroupCoordinator;
use super::error::{CommitError, FetchError};
use super::message::{Caller, CommitRequest, Now, Output, Response, Waiter};
use super::state::{Group, State};
use super::write::{Then, Write};
use crate::offsets::commit::{Terms, decide};
use crate::offsets::{CommittedOffset, PartitionOffset};

impl Group {
    /// Whether the caller may commit now. Consumers in no group may while the group has no members, members only in
    /// their generation.
    pub(super) fn check_commit(&self, caller: Caller<'_>) -> Result<(), CommitError> {
        let is_anonymous = caller.member_id.is_empty() && caller.instance_id.is_none();
        match self.state {
            State::Dead => Err(CommitError::CoordinatorNotAvailable),
            State::Empty if caller.generation < 0 => Ok(()),
            _ if caller.generation < 0 && is_anonymous => Err(CommitError::UnknownMember),
            State::Empty | State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.check_commit_of_member(caller)
            }
        }
    }

    fn check_commit_of_member(&self, caller: Caller<'_>) -> Result<(), CommitError> {
        self.check_member(caller.member_id, caller.instance_id)?;
        if caller.generation != self.generation {
            return Err(CommitError::IllegalGeneration);
        }
        // Its assignment is on the way: it must not commit what it may just have lost.
        if self.state == State::CompletingRebalance { Err(CommitError::RebalanceInProgress) } else { Ok(()) }
    }
}

impl GroupCoordinator {
    /// Commits offsets. Answered when they are durable.
    ///
    /// A commit counts as a heartbeat. Partitions whose metadata is too large are refused, the others are committed.
    /// Whether the topics exist is the caller's question.
    pub fn commit(&mut self, request: &CommitRequest<'_>, waiter: Waiter, now: Now) -> Output {
        let mut out = Output::default();
        match self.check_commit(request.caller, now) {
            Ok(()) => self.decide_commit(request, waiter, now, &mut out),
            Err(error) => out.reply(waiter, Response::Commit(Err(error))),
        }
        self.settle(request.caller.group_id);
        out
    }

    fn check_commit(&mut self, caller: Caller<'_>, now: Now) -> Result<(), CommitError> {
        if self.is_loading() {
            return Err(CommitError::CoordinatorLoading);
        }
        let Some(group) = self.groups.get_mut(caller.group_id) else {
            return if caller.generation < 0 { Ok(()) } else { Err(CommitError::GroupIdNotFound) };
        };
        group.check_commit(caller)?;
        group.refresh_session(caller.member_id, now);
        Ok(())
    }

    fn decide_commit(&mut self, request: &CommitRequest<'_>, waiter: Waiter, now: Now, out: &mut Output) {
        let retention_ms =
            request.retention.map(|retention| i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
        let terms = Terms {
            committed_at_ms: now.wall_ms,
            expires_at_ms: retention_ms.map(|retention| now.wall_ms.saturating_add(retention)),
            metadata_size_bytes_max: self.options.offset_metadata_size_bytes_max,
        };
        let group_id = self.group_id(request.caller.group_id);
        let decision = decide(&self.offsets, &group_id, &request.topics, terms);
        let outcome = decision.outcome;
        if decision.records.is_empty() {
            return out.reply(waiter, Response::Commit(Ok(outcome)));
        }
        self.offsets.begin(&group_id, Arc::clone(&decision.keys));
        let then = Then::Commit { group_id, keys: decision.keys, waiter, outcome };
        out.writes.push(Write { records: decision.records, then });
    }

    /// What a group committed for a partition, as far as it is durable.
    ///
    /// # Errors
    /// [`FetchError::CoordinatorLoading`] until [`finish_loading`](Self::finish_loading).
    pub fn fetch(
        &self,
        group_id: &str,
        topic: &str,
        topic_id: Option<Uuid>,
        partition: i32,
    ) -> Result<Option<CommittedOffset>, FetchError> {
        let is_found = self.is_fetchable(group_id)?;
        Ok(is_found.then(|| self.offsets.get(group_id, topic, topic_id, partition)).flatten())
    }

    /// All that a group committed, ordered by topic and partition, as far as it is durable.
    ///
    /// # Errors
    /// [`FetchError::CoordinatorLoading`] until [`finish_loading`](Self::finish_loading).
    pub fn fetch_all(&self, group_id: &str) -> Result<impl Iterator<Item = PartitionOffset<'_>>, FetchError> {
        let is_found = self.is_fetchable(group_id)?;
        Ok(is_found.then(|| self.offsets.group(group_id)).into_iter().flatten())
    }

    fn is_fetchable(&self, group_id: &str) -> Result<bool, FetchError> {
        if self.is_loading() {
            return Err(FetchError::CoordinatorLoading);
        }
        Ok(self.groups.get(group_id).is_some_and(|group| group.state != State::Dead))
    }
}
