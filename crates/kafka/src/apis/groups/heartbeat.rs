//! Heartbeat (key 12): a member says that it is alive, and hears whether it has to join again.

use std::ops::RangeInclusive;

use annals_broker::api::groups;
use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse};

use crate::apis::values::shared;
use crate::apis::{Api, Context};
use crate::shape::{Shape, int32, string};

use super::member_error;

/// Takes a member's sign of life.
pub(crate) struct Heartbeat;

impl Api for Heartbeat {
    const KEY: ApiKey = ApiKey::Heartbeat;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const SHAPE: Shape = Shape {
        flexible_from: 4,
        fields: &[
            string("GroupId"),
            int32("GenerationId"),
            string("MemberId"),
            string("GroupInstanceId").since(3),
        ],
    };
    type Request = HeartbeatRequest;
    type Response = HeartbeatResponse;

    async fn handle(context: &Context, _: i16, request: HeartbeatRequest) -> HeartbeatResponse {
        let heartbeat = groups::Heartbeat {
            group: shared(&request.group_id),
            generation: request.generation_id,
            member_id: shared(&request.member_id),
            instance_id: request.group_instance_id.as_deref().map(shared),
        };
        let result = context.broker.heartbeat(&context.caller, heartbeat).await;
        let code = result.map_or_else(|error| member_error(&error).code(), |()| 0);
        HeartbeatResponse::default().with_error_code(code)
    }
}
