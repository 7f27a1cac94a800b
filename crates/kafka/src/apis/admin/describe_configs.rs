//! DescribeConfigs: settings of topics and of the server.

use std::ops::RangeInclusive;

use annals_broker::api::configs::{ConfigEntry, ConfigQuery, ConfigResource, ConfigSource, ConfigSynonym};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{message, node, wire};
use crate::apis::{Api, Context};
use crate::shape::{Kind, STRING, Shape, array, bool, int8, string};

use super::resources::{self, Refusal};

const RESOURCE: Kind =
    Kind::Struct(&[int8("ResourceType"), string("ResourceName"), array("ConfigurationKeys", &STRING)]);

const ADVERTISED: &str = "advertised.listeners";

pub(crate) struct DescribeConfigs;

impl Api for DescribeConfigs {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const SHAPE: Shape = Shape {
        flexible_from: 4,
        fields: &[
            array("Resources", &RESOURCE),
            bool("IncludeSynonyms"),
            bool("IncludeDocumentation").since(3),
        ],
    };

    type Request = DescribeConfigsRequest;
    type Response = DescribeConfigsResponse;

    async fn handle(context: &Context, _: i16, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
        let queries: Vec<_> = request.resources.iter().map(|at| query(at, node(context))).collect();
        let asked = queries.iter().filter_map(|query| query.as_ref().ok().cloned()).collect();
        let mut described = context.broker.describe_configs(&context.caller, asked).await.into_iter();
        let detail =
            Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
        let results = request.resources.iter().zip(queries).map(|(resource, query)| {
            let entries = query.and_then(|query| match described.next() {
                Some(Ok(entries)) if query.resource == ConfigResource::Server => {
                    Ok(with_address(entries, context))
                }
                Some(result) => result.map_err(|error| Refusal::from(&error)),
                None => Err(Refusal(ResponseError::UnknownServerError, "not answered".to_owned())),
            });
            answer(resource, entries, detail)
        });
        let results = results.collect();
        DescribeConfigsResponse::default().with_results(results)
    }
}

/// What the client wants to see of each setting, besides its value.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

/// No names, or null, means all.
fn query(resource: &DescribeConfigsResource, node: BrokerId) -> Result<ConfigQuery, Refusal> {
    let names = resource.configuration_keys.as_ref().filter(|names| !names.is_empty());
    let names = names.map(|names| names.iter().map(ToString::to_string).collect());
    let resource = resources::resource(resource.resource_type, &resource.resource_name, node)?;
    Ok(ConfigQuery { resource, names })
}

/// With what only this endpoint knows: where clients reach it.
fn with_address(mut entries: Vec<ConfigEntry>, context: &Context) -> Vec<ConfigEntry> {
    if let Some(entry) = entries.iter_mut().find(|entry| entry.name == ADVERTISED) {
        let value = format!("PLAINTEXT://{}", context.advertised);
        entry.synonyms.insert(
            0,
            ConfigSynonym { name: ADVERTISED, value: value.clone(), source: ConfigSource::Server },
        );
        (entry.value, entry.source) = (Some(value), ConfigSource::Server);
    }
    entries
}

fn answer(
    resource: &DescribeConfigsResource,
    entries: Result<Vec<ConfigEntry>, Refusal>,
    detail: Detail,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match entries {
        Ok(entries) => {
            let configs = entries.iter().map(|entry| config(entry, detail)).collect();
            result.with_error_message(None).with_configs(configs)
        }
        Err(Refusal(error, why)) => result.with_error_code(error.code()).with_error_message(message(&why)),
    }
}

fn config(entry: &ConfigEntry, detail: Detail) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(wire(&entry.name))
        .with_value(entry.value.as_deref().map(wire))
        .with_read_only(entry.read_only)
        .with_config_source(resources::source(entry.source))
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(if detail.synonyms { synonyms(entry) } else { Vec::new() })
        .with_config_type(resources::config_type(entry.kind))
        .with_documentation(detail.documentation.then(|| StrBytes::from_static_str(entry.documentation)))
}

/// Where the value could come from, the one in force first.
fn synonyms(entry: &ConfigEntry) -> Vec<DescribeConfigsSynonym> {
    let synonym = |place: &ConfigSynonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(place.name))
            .with_value(Some(wire(&place.value)))
            .with_source(resources::source(place.source))
    };
    entry.synonyms.iter().map(synonym).collect()
}
