//! SyncGroup (key 14): the leader brings the assignment of a new generation, and each member gets its share.
//!
//! From version 5 on the members name the protocol that they believe to be chosen (KIP-559), and must.

use std::ops::RangeInclusive;

use annals_broker::api::groups::{self, MemberError, Synced};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};

use crate::apis::values::{shared, wire};
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, bytes, int32, string};

use super::{STOPPING, member_error};

/// Gives each member its assignment.
pub(crate) struct SyncGroup;

const ASSIGNMENT: Kind = Kind::Struct(&[string("MemberId"), bytes("Assignment")]);

/// The first version that names the protocol.
const PROTOCOL_FROM: i16 = 5;

impl Api for SyncGroup {
    const KEY: ApiKey = ApiKey::SyncGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const SHAPE: Shape = Shape {
        flexible_from: 4,
        fields: &[
            string("GroupId"),
            int32("GenerationId"),
            string("MemberId"),
            string("GroupInstanceId").since(3),
            string("ProtocolType").since(PROTOCOL_FROM),
            string("ProtocolName").since(PROTOCOL_FROM),
            array("Assignments", &ASSIGNMENT),
        ],
    };
    type Request = SyncGroupRequest;
    type Response = SyncGroupResponse;

    async fn handle(context: &Context, version: i16, request: SyncGroupRequest) -> SyncGroupResponse {
        if version >= PROTOCOL_FROM && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            return error_response(member_error(&MemberError::InconsistentProtocol));
        }
        let synced = context.broker.sync_group(&context.caller, sync(request));
        match context.unless_stopping(synced).await {
            Some(Ok(synced)) => response(version, synced),
            Some(Err(error)) => error_response(member_error(&error)),
            None => error_response(STOPPING),
        }
    }
}

fn sync(request: SyncGroupRequest) -> groups::SyncGroup {
    let assignments = request.assignments.into_iter();
    groups::SyncGroup {
        group: shared(&request.group_id),
        generation: request.generation_id,
        member_id: shared(&request.member_id),
        instance_id: request.group_instance_id.as_deref().map(shared),
        protocol_type: request.protocol_type.as_deref().map(shared),
        protocol: request.protocol_name.as_deref().map(shared),
        assignments: assignments.map(|share| (shared(&share.member_id), share.assignment)).collect(),
    }
}

fn response(version: i16, synced: Synced) -> SyncGroupResponse {
    let response = SyncGroupResponse::default().with_assignment(synced.assignment);
    if version < PROTOCOL_FROM {
        return response;
    }
    response
        .with_protocol_type(Some(wire(&synced.protocol_type)))
        .with_protocol_name(Some(wire(&synced.protocol)))
}

fn error_response(error: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(error.code())
        .with_protocol_type(None)
        .with_protocol_name(None)
}
