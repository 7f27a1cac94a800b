//! ListConfigResources: what there is that has settings (KIP-1142; version 0 is ListClientMetricsResources of KIP-1000).
//!
//! Topics and the server have settings here. Client metrics, broker loggers and groups have none, so there are none of them.

use std::ops::RangeInclusive;

use annals_broker::api::topics::{TopicQuery, TopicRef, TopicSelection};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ApiKey, ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{node, wire};
use crate::apis::{Api, Context};
use crate::shape::{INT8, Shape, array};

use super::resources::{self, BROKER, CLIENT_METRICS, TOPIC};

pub(crate) struct ListConfigResources;

impl Api for ListConfigResources {
    const KEY: ApiKey = ApiKey::ListConfigResources;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const SHAPE: Shape = Shape { flexible_from: 0, fields: &[array("ResourceTypes", &INT8).since(1)] };

    type Request = ListConfigResourcesRequest;
    type Response = ListConfigResourcesResponse;

    async fn handle(
        context: &Context,
        version: i16,
        request: ListConfigResourcesRequest,
    ) -> ListConfigResourcesResponse {
        let asked = &request.resource_types;
        if asked.iter().any(|&kind| !resources::is_listed(kind)) {
            return ListConfigResourcesResponse::default()
                .with_error_code(ResponseError::UnsupportedVersion.code());
        }
        let is_asked = |kind| {
            if version == 0 { kind == CLIENT_METRICS } else { asked.is_empty() || asked.contains(&kind) }
        };
        let mut found = Vec::new();
        if is_asked(TOPIC) {
            let query = TopicQuery { selection: TopicSelection::All, create_missing: false };
            let topics = context.broker.topics(&context.caller, query).await;
            found.extend(topics.iter().filter_map(|topic| match &topic.topic {
                TopicRef::Name(name) => Some(resource(TOPIC, wire(name))),
                TopicRef::Id(_) => None,
            }));
        }
        if is_asked(BROKER) {
            found.push(resource(BROKER, wire(&node(context).to_string())));
        }
        ListConfigResourcesResponse::default().with_config_resources(found)
    }
}

fn resource(kind: i8, name: StrBytes) -> ConfigResource {
    ConfigResource::default().with_resource_type(kind).with_resource_name(name)
}
