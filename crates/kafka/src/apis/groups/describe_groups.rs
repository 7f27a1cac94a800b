//! DescribeGroups (key 15): the members of groups and what they got.
//!
//! A group that does not exist is `Dead` without an error up to version 5, and an error with a message from
//! version 6 on (KIP-1043).

use std::ops::RangeInclusive;

use annals_broker::api::groups::{DescribeGroupError, GroupDescription, GroupState, MemberDescription};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use crate::apis::values::{shared, wire};
use crate::apis::{Api, Context, operations};
use crate::shape::{STRING, Shape, array, bool};

use super::state_name;

/// Describes groups.
pub(crate) struct DescribeGroups;

impl Api for DescribeGroups {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const SHAPE: Shape = Shape {
        flexible_from: 5,
        fields: &[array("Groups", &STRING), bool("IncludeAuthorizedOperations").since(3)],
    };
    type Request = DescribeGroupsRequest;
    type Response = DescribeGroupsResponse;

    async fn handle(
        context: &Context,
        version: i16,
        request: DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let wanted = request.groups.iter().map(|group| shared(group)).collect();
        let results = context.broker.describe_groups(&context.caller, wanted).await;
        let with_operations = request.include_authorized_operations;
        let groups = request.groups.into_iter().zip(results).map(|(group, result)| match result {
            Ok(description) => described(group, description, with_operations),
            Err(error) => refused(version, group, &error),
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

fn described(group: GroupId, description: GroupDescription, with_operations: bool) -> DescribedGroup {
    DescribedGroup::default()
        .with_error_message(None)
        .with_group_id(group)
        .with_group_state(state_name(description.state).into())
        .with_protocol_type(wire(&description.protocol_type))
        .with_protocol_data(wire(&description.protocol))
        .with_members(description.members.into_iter().map(member).collect())
        .with_authorized_operations(operations::on_group(with_operations))
}

fn member(member: MemberDescription) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(wire(&member.member_id))
        .with_group_instance_id(member.instance_id.as_deref().map(wire))
        .with_client_id(wire(&member.client_id))
        .with_client_host(wire(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

fn refused(version: i16, group: GroupId, error: &DescribeGroupError) -> DescribedGroup {
    let has_message = version >= 6;
    let (code, state) = match error {
        DescribeGroupError::UnknownGroup(_) if has_message => {
            (ResponseError::GroupIdNotFound.code(), state_name(GroupState::Dead))
        }
        DescribeGroupError::UnknownGroup(_) => (0, state_name(GroupState::Dead)),
        DescribeGroupError::NotAuthorized(_) => (ResponseError::GroupAuthorizationFailed.code(), ""),
        DescribeGroupError::Unavailable(_) => (ResponseError::CoordinatorNotAvailable.code(), ""),
    };
    DescribedGroup::default()
        .with_error_code(code)
        .with_error_message(has_message.then(|| error.to_string().into()))
        .with_group_id(group)
        .with_group_state(state.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_group_is_dead_and_from_version_6_on_an_error() {
        let unknown = DescribeGroupError::UnknownGroup("g".into());
        let old = refused(5, GroupId("g".into()), &unknown);
        assert_eq!((old.error_code, &*old.group_state, old.error_message), (0, "Dead", None));
        let new = refused(6, GroupId("g".into()), &unknown);
        assert_eq!((new.error_code, &*new.group_state), (69, "Dead"));
        assert_eq!(new.error_message.as_deref(), Some("group g not found"));
    }
}
