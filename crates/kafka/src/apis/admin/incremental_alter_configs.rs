//! IncrementalAlterConfigs: changes single settings of a resource (KIP-339).

use std::collections::HashSet;
use std::ops::RangeInclusive;

use annals_broker::api::configs::{AlterConfigs as Alter, ConfigChange, ConfigOperation};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    ApiKey, BrokerId, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::apis::values::node;
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, bool, int8, string};

use super::resources::{Refusal, alter, resource};

const CONFIG: Kind = Kind::Struct(&[string("Name"), int8("ConfigOperation"), string("Value")]);
const RESOURCE: Kind =
    Kind::Struct(&[int8("ResourceType"), string("ResourceName"), array("Configs", &CONFIG)]);

pub(crate) struct IncrementalAlterConfigs;

impl Api for IncrementalAlterConfigs {
    const KEY: ApiKey = ApiKey::IncrementalAlterConfigs;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const SHAPE: Shape =
        Shape { flexible_from: 1, fields: &[array("Resources", &RESOURCE), bool("ValidateOnly")] };

    type Request = IncrementalAlterConfigsRequest;
    type Response = IncrementalAlterConfigsResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let changes = request.resources.iter().map(|at| change(at, node(context))).collect();
        let results = alter(context, changes, request.validate_only).await;
        let responses = request.resources.into_iter().zip(results).map(|(resource, (code, why))| {
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(code)
                .with_error_message(why)
        });
        IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
    }
}

fn change(at: &AlterConfigsResource, node: BrokerId) -> Result<Alter, Refusal> {
    let mut seen = HashSet::new();
    if let Some(twice) = at.configs.iter().find(|config| !seen.insert(&config.name)) {
        return Err(invalid(format!("{} is changed more than once", twice.name)));
    }
    let operations = at.configs.iter().map(operation).collect::<Result<_, _>>()?;
    let resource = resource(at.resource_type, &at.resource_name, node)?;
    Ok(Alter { resource, change: ConfigChange::Update(operations) })
}

fn operation(config: &AlterableConfig) -> Result<ConfigOperation, Refusal> {
    let name = config.name.to_string();
    let missing = || invalid(format!("{name} is to be changed to null: delete it instead"));
    let value = config.value.as_ref().map(ToString::to_string).ok_or_else(missing);
    match config.config_operation {
        0 => Ok(ConfigOperation::Set(name.clone(), value?)),
        1 => Ok(ConfigOperation::Delete(name)),
        2 => Ok(ConfigOperation::Append(name.clone(), value?)),
        3 => Ok(ConfigOperation::Subtract(name.clone(), value?)),
        other => Err(invalid(format!("unknown operation {other} on {name}"))),
    }
}

fn invalid(why: String) -> Refusal {
    Refusal(ResponseError::InvalidRequest, why)
}
