//! AlterConfigs: replaces all settings of a resource. Deprecated in favour of IncrementalAlterConfigs, and still used.

use std::ops::RangeInclusive;

use annals_broker::api::configs::{AlterConfigs as Alter, ConfigChange};
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, ApiKey, BrokerId};

use crate::apis::values::node;
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, bool, int8, string};

use super::resources::{Refusal, alter, resource};

const CONFIG: Kind = Kind::Struct(&[string("Name"), string("Value")]);
const RESOURCE: Kind =
    Kind::Struct(&[int8("ResourceType"), string("ResourceName"), array("Configs", &CONFIG)]);

pub(crate) struct AlterConfigs;

impl Api for AlterConfigs {
    const KEY: ApiKey = ApiKey::AlterConfigs;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape =
        Shape { flexible_from: 2, fields: &[array("Resources", &RESOURCE), bool("ValidateOnly")] };

    type Request = AlterConfigsRequest;
    type Response = AlterConfigsResponse;

    async fn handle(context: &Context, _: i16, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let changes = request.resources.iter().map(|at| change(at, node(context))).collect();
        let results = alter(context, changes, request.validate_only).await;
        let responses = request.resources.into_iter().zip(results).map(|(resource, (code, why))| {
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(code)
                .with_error_message(why)
        });
        AlterConfigsResponse::default().with_responses(responses.collect())
    }
}

fn change(at: &AlterConfigsResource, node: BrokerId) -> Result<Alter, Refusal> {
    let configs = at.configs.iter();
    let configs =
        configs.map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)));
    let change = ConfigChange::Replace(configs.collect());
    Ok(Alter { resource: resource(at.resource_type, &at.resource_name, node)?, change })
}
