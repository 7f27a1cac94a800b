//! What an operator asks about groups: list, describe, delete.

use std::sync::Arc;

use annals_topics::group::{self, DescribeError, Response, State};

use super::unexpected;
use crate::api::Caller;
use crate::api::groups::{
    DeleteGroupError, DescribeGroupError, GroupDescription, GroupState, ListedGroup, MemberDescription,
};
use crate::{Broker, Inner};

impl Broker {
    /// Describes groups with their members, in the order of the request.
    pub async fn describe_groups(
        &self,
        _caller: &Caller,
        groups: Vec<Arc<str>>,
    ) -> Vec<Result<GroupDescription, DescribeGroupError>> {
        let describe = |group: Arc<str>| {
            let described = self.inner.groups.look(|groups| groups.describe(&group));
            described.map(GroupDescription::from).map_err(|error| match error {
                DescribeError::CoordinatorLoading => DescribeGroupError::Unavailable(error.to_string()),
                DescribeError::GroupIdNotFound => DescribeGroupError::UnknownGroup(group),
            })
        };
        groups.into_iter().map(describe).collect()
    }

    /// All groups, by id.
    pub async fn list_groups(&self, _caller: &Caller) -> Vec<ListedGroup> {
        let listed = |listing: group::Listing<'_>| ListedGroup {
            group: listing.group_id.into(),
            protocol_type: listing.protocol_type.into(),
            state: listing.state.into(),
        };
        let is_there = |listing: &group::Listing<'_>| listing.state != State::Dead;
        self.inner.groups.look(|groups| groups.list().filter(is_there).map(listed).collect())
    }

    /// Deletes groups that have no members, with their offsets. Durable on return; in the order of the request.
    pub async fn delete_groups(
        &self,
        _caller: &Caller,
        groups: Vec<Arc<str>>,
    ) -> Vec<Result<(), DeleteGroupError>> {
        let inner = &*self.inner;
        let submit = |group: &Arc<str>| {
            inner.groups.submit(&inner.clock, |groups, waiter, _| groups.delete_group(group, waiter))
        };
        // All of them first, so that they share a sync.
        let waiting: Vec<_> = groups.iter().map(submit).collect();
        let mut results = Vec::with_capacity(groups.len());
        for (waiting, group) in waiting.into_iter().zip(groups) {
            let answer = match waiting {
                Ok(waiting) => waiting.answer().await,
                Err(refused) => Err(refused),
            };
            results.push(match answer {
                Ok(Response::DeleteGroup(result)) => result.map_err(|error| inner.delete_error(error, group)),
                Ok(other) => Err(DeleteGroupError::Unavailable(unexpected(&other))),
                Err(refused) => Err(DeleteGroupError::Unavailable(refused.to_string())),
            });
        }
        results
    }
}

impl Inner {
    fn delete_error(&self, error: group::DeleteGroupError, group: Arc<str>) -> DeleteGroupError {
        match error {
            group::DeleteGroupError::CoordinatorLoading => DeleteGroupError::Unavailable(error.to_string()),
            group::DeleteGroupError::GroupIdNotFound => DeleteGroupError::UnknownGroup(group),
            group::DeleteGroupError::NonEmptyGroup => DeleteGroupError::NotEmpty(group),
            group::DeleteGroupError::NotStored(error) => {
                DeleteGroupError::Unavailable(self.why_not_stored(error))
            }
        }
    }
}

impl From<State> for GroupState {
    fn from(state: State) -> Self {
        match state {
            State::Empty => Self::Empty,
            State::PreparingRebalance => Self::PreparingRebalance,
            State::CompletingRebalance => Self::CompletingRebalance,
            State::Stable => Self::Stable,
            State::Dead => Self::Dead,
        }
    }
}

impl From<group::Description> for GroupDescription {
    fn from(group: group::Description) -> Self {
        let member = |member: group::MemberDescription| {
            let group::MemberDescription {
                member_id,
                instance_id,
                client_id,
                client_host,
                metadata,
                assignment,
            } = member;
            MemberDescription { member_id, instance_id, client_id, client_host, metadata, assignment }
        };
        Self {
            state: group.state.into(),
            protocol_type: group.protocol_type,
            protocol: group.protocol,
            members: group.members.into_iter().map(member).collect(),
        }
    }
}
