//! JoinGroup (key 11): a consumer enters its group and waits for the next generation.
//!
//! From version 4 on a new member is told its id first and joins again with it (KIP-394): the error answer carries the
//! id. Version 5 knows static members (KIP-345); version 7 echoes the protocol type (KIP-559); version 8 gives a reason
//! (KIP-800); version 9 lets a returning static leader keep the assignment (KIP-814).

use std::ops::RangeInclusive;
use std::time::Duration;

use annals_broker::api::groups::{self, JoinError, Joined, JoinedMember};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{ApiKey, JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{millis, shared, wire};
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, bytes, int32, string};

use super::STOPPING;

/// Lets a consumer into its group.
pub(crate) struct JoinGroup;

const PROTOCOL: Kind = Kind::Struct(&[string("Name"), bytes("Metadata")]);

impl Api for JoinGroup {
    const KEY: ApiKey = ApiKey::JoinGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=9;
    const SHAPE: Shape = Shape {
        flexible_from: 6,
        fields: &[
            string("GroupId"),
            int32("SessionTimeoutMs"),
            int32("RebalanceTimeoutMs").since(1),
            string("MemberId"),
            string("GroupInstanceId").since(5),
            string("ProtocolType"),
            array("Protocols", &PROTOCOL),
            string("Reason").since(8),
        ],
    };
    type Request = JoinGroupRequest;
    type Response = JoinGroupResponse;

    async fn handle(context: &Context, version: i16, request: JoinGroupRequest) -> JoinGroupResponse {
        let member_id = request.member_id.clone();
        let joining = context.broker.join_group(&context.caller, join(version, request));
        match context.unless_stopping(joining).await {
            Some(Ok(joined)) => response(version, joined),
            Some(Err(error)) => refusal(version, member_id, &error),
            None => error_response(version, member_id, STOPPING),
        }
    }
}

fn join(version: i16, request: JoinGroupRequest) -> groups::JoinGroup {
    let session_timeout = millis(request.session_timeout_ms);
    let rebalance_timeout: Duration =
        if version >= 1 { millis(request.rebalance_timeout_ms) } else { session_timeout };
    groups::JoinGroup {
        group: shared(&request.group_id),
        member_id: shared(&request.member_id),
        require_known_member_id: version >= 4 && request.group_instance_id.is_none(),
        instance_id: request.group_instance_id.as_deref().map(shared),
        supports_skipping_assignment: version >= 9,
        session_timeout,
        rebalance_timeout,
        protocol_type: shared(&request.protocol_type),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (shared(&protocol.name), protocol.metadata))
            .collect(),
        reason: request.reason.map(|reason| reason.to_string()),
    }
}

fn response(version: i16, joined: Joined) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(wire(&joined.protocol_type)).filter(|kind| !kind.is_empty()))
        .with_protocol_name(protocol_name(version, &joined.protocol))
        .with_leader(wire(&joined.leader))
        .with_skip_assignment(joined.skip_assignment && version >= 9)
        .with_member_id(wire(&joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect())
}

fn member(member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember::default()
        .with_member_id(wire(&member.member_id))
        .with_group_instance_id(member.instance_id.as_deref().map(wire))
        .with_metadata(member.metadata)
}

fn refusal(version: i16, member_id: StrBytes, error: &JoinError) -> JoinGroupResponse {
    let member_id = if let JoinError::MemberIdRequired(given) = error { wire(given) } else { member_id };
    error_response(version, member_id, error_of(error))
}

fn error_response(version: i16, member_id: StrBytes, error: ResponseError) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name(protocol_name(version, ""))
        .with_member_id(member_id)
}

/// No protocol is null from version 7 on, and empty before.
fn protocol_name(version: i16, name: &str) -> Option<StrBytes> {
    if name.is_empty() && version >= 7 { None } else { Some(wire(name)) }
}

fn error_of(error: &JoinError) -> ResponseError {
    match error {
        JoinError::MemberIdRequired(_) => ResponseError::MemberIdRequired,
        JoinError::UnknownMember(_) => ResponseError::UnknownMemberId,
        JoinError::FencedInstance(_) => ResponseError::FencedInstanceId,
        JoinError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        JoinError::InvalidSessionTimeout(_) => ResponseError::InvalidSessionTimeout,
        JoinError::InvalidGroup(_) => ResponseError::InvalidGroupId,
        JoinError::GroupFull(_) => ResponseError::GroupMaxSizeReached,
        JoinError::RebalanceInProgress => ResponseError::RebalanceInProgress,
        JoinError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        JoinError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_has_one_timeout_for_both() {
        let request = JoinGroupRequest::default().with_session_timeout_ms(6_000);
        assert_eq!(join(0, request).rebalance_timeout, Duration::from_secs(6));
    }

    #[test]
    fn a_new_member_is_asked_back_unless_it_is_static_or_old() {
        let new = JoinGroupRequest::default();
        assert!(join(4, new.clone()).require_known_member_id);
        assert!(!join(3, new.clone()).require_known_member_id);
        assert!(!join(5, new.with_group_instance_id(Some("i".into()))).require_known_member_id);
    }

    #[test]
    fn an_error_echoes_the_member_id_and_a_required_one_is_told() {
        let unknown = refusal(6, "m".into(), &JoinError::UnknownMember("m".into()));
        assert_eq!((&*unknown.member_id, unknown.protocol_name.as_deref()), ("m", Some("")));
        let required = refusal(7, "".into(), &JoinError::MemberIdRequired("m-1".into()));
        assert_eq!((&*required.member_id, required.protocol_name), ("m-1", None));
        assert_eq!((required.error_code, required.generation_id), (79, -1));
    }
}
