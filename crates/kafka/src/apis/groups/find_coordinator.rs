//! FindCoordinator (key 10): which node coordinates a group or a transactional producer. There is one node: this one.
//!
//! Versions up to 3 ask about one key, later ones about any number (KIP-699). A transactional producer is sent here as
//! well: whether it is served is answered by InitProducerId, where every client reports a refusal at once. A refusal
//! here would leave librdkafka asking for ever. Share groups (KIP-932, key type 2) have no coordinator.

use std::ops::RangeInclusive;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::wire;
use crate::apis::{Api, Context};
use crate::shape::{STRING, Shape, array, int8, string};

/// Tells which node coordinates a group or a transactional producer.
pub(crate) struct FindCoordinator;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// The first version that asks about several keys.
const KEYS_FROM: i16 = 4;

impl Api for FindCoordinator {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const SHAPE: Shape = Shape {
        flexible_from: 3,
        fields: &[
            string("Key").until(3),
            int8("KeyType").since(1),
            array("CoordinatorKeys", &STRING).since(KEYS_FROM),
        ],
    };
    type Request = FindCoordinatorRequest;
    type Response = FindCoordinatorResponse;

    async fn handle(
        context: &Context,
        version: i16,
        request: FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let kind = request.key_type;
        if version >= KEYS_FROM {
            let coordinators =
                request.coordinator_keys.into_iter().map(|key| coordinator(context, kind, key));
            return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
        }
        let found = coordinator(context, kind, request.key);
        FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_error_message(found.error_message)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port)
    }
}

fn coordinator(context: &Context, kind: i8, key: StrBytes) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key).with_error_message(None);
    match refusal(kind) {
        None => coordinator
            .with_node_id(context.options.node_id.into())
            .with_host(wire(&context.advertised.host))
            .with_port(context.advertised.port.into()),
        Some(reason) => coordinator
            .with_node_id((-1).into())
            .with_port(-1)
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some(reason.into())),
    }
}

/// Why there is no coordinator of this kind.
fn refusal(kind: i8) -> Option<String> {
    match kind {
        GROUP | TRANSACTION => None,
        SHARE => Some("share groups are not served".to_owned()),
        kind => Some(format!("unknown coordinator type {kind}")),
    }
}
