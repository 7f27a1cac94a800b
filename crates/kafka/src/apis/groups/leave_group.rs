//! LeaveGroup (key 13): members go at once, instead of when their session runs out.
//!
//! Versions up to 2 name one member, whose error is the request's; later ones any number, static ones by their name
//! alone if need be (KIP-345). Version 5 gives a reason (KIP-800).

use std::ops::RangeInclusive;

use annals_broker::api::groups::{LeavingMember, MemberError};
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{ApiKey, LeaveGroupRequest, LeaveGroupResponse};

use crate::apis::values::shared;
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, string};

use super::member_error;

/// Takes members out of their group.
pub(crate) struct LeaveGroup;

const MEMBER: Kind =
    Kind::Struct(&[string("MemberId"), string("GroupInstanceId"), string("Reason").since(5)]);

/// The first version that names several members.
const MEMBERS_FROM: i16 = 3;

impl Api for LeaveGroup {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const SHAPE: Shape = Shape {
        flexible_from: 4,
        fields: &[
            string("GroupId"),
            string("MemberId").until(2),
            array("Members", &MEMBER).since(MEMBERS_FROM),
        ],
    };
    type Request = LeaveGroupRequest;
    type Response = LeaveGroupResponse;

    async fn handle(context: &Context, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let members = match version {
            MEMBERS_FROM.. => request.members,
            _ => {
                vec![MemberIdentity::default().with_member_id(request.member_id).with_group_instance_id(None)]
            }
        };
        let leaving = members.iter().map(leaving).collect();
        match context.broker.leave_group(&context.caller, shared(&request.group_id), leaving).await {
            Ok(results) => response(version, members, results),
            Err(error) => LeaveGroupResponse::default().with_error_code(member_error(&error).code()),
        }
    }
}

fn leaving(member: &MemberIdentity) -> LeavingMember {
    LeavingMember {
        member_id: shared(&member.member_id),
        instance_id: member.group_instance_id.as_deref().map(shared),
        reason: member.reason.as_ref().map(ToString::to_string),
    }
}

fn response(
    version: i16,
    members: Vec<MemberIdentity>,
    results: Vec<Result<(), MemberError>>,
) -> LeaveGroupResponse {
    let code =
        |result: Result<(), MemberError>| result.map_or_else(|error| member_error(&error).code(), |()| 0);
    let mut codes = results.into_iter().map(code);
    if version < MEMBERS_FROM {
        return LeaveGroupResponse::default().with_error_code(codes.next().unwrap_or(0));
    }
    let member = |(member, code): (MemberIdentity, i16)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    };
    LeaveGroupResponse::default().with_members(members.into_iter().zip(codes).map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_error_is_the_requests_own_until_version_2() {
        let member = || vec![MemberIdentity::default().with_member_id("m".into())];
        let unknown = || vec![Err(MemberError::UnknownMember("m".into()))];
        let old = response(2, member(), unknown());
        assert_eq!((old.error_code, old.members.len()), (25, 0));
        let new = response(3, member(), unknown());
        assert_eq!((new.error_code, new.members[0].error_code), (0, 25));
    }
}
