//! What configs belong to, what they are, in the numbers of the protocol, and how they are changed.
//!
//! There is one node, so the settings of "the node" and "all nodes" are the same. Other kinds of resources have no
//! settings here and are refused by name.

use annals_broker::api::configs::{
    AlterConfigs, AlterConfigsError, ConfigKind, ConfigResource, ConfigSource, DescribeConfigsError,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::apis::Context;
use crate::apis::values::{NO_ERROR, message, shared};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Whether resources of this kind can be listed. Of those without settings here, there are none.
pub(crate) fn is_listed(kind: i8) -> bool {
    [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP].contains(&kind)
}

/// Code and message of a refused resource.
pub(crate) struct Refusal(pub(crate) ResponseError, pub(crate) String);

impl From<&DescribeConfigsError> for Refusal {
    fn from(error: &DescribeConfigsError) -> Self {
        let code = match error {
            DescribeConfigsError::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            DescribeConfigsError::InvalidTopic(_) => ResponseError::InvalidTopicException,
            DescribeConfigsError::NotAuthorized => ResponseError::TopicAuthorizationFailed,
        };
        Self(code, error.to_string())
    }
}

impl From<&AlterConfigsError> for Refusal {
    fn from(error: &AlterConfigsError) -> Self {
        let code = match error {
            AlterConfigsError::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            AlterConfigsError::InvalidConfig(_) => ResponseError::InvalidConfig,
            AlterConfigsError::InvalidRequest(_) => ResponseError::InvalidRequest,
            AlterConfigsError::NotAuthorized => ResponseError::TopicAuthorizationFailed,
            AlterConfigsError::Unavailable(_) => ResponseError::KafkaStorageError,
        };
        Self(code, error.to_string())
    }
}

/// Hands the changes that can be read to the broker. The error code and message of each, in order.
pub(crate) async fn alter(
    context: &Context,
    changes: Vec<Result<AlterConfigs, Refusal>>,
    validate_only: bool,
) -> Vec<(i16, Option<StrBytes>)> {
    let readable = changes.iter().filter_map(|change| change.as_ref().ok().cloned()).collect();
    let altered = context.broker.alter_configs(&context.caller, readable, validate_only).await;
    let mut altered = altered.into_iter();
    let results = changes.into_iter().map(|change| {
        change.and_then(|_| match altered.next() {
            Some(result) => result.map_err(|error| Refusal::from(&error)),
            None => Err(Refusal(ResponseError::UnknownServerError, "not answered".to_owned())),
        })
    });
    results.map(told).collect()
}

fn told(result: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (NO_ERROR, None),
        Err(Refusal(error, why)) => (error.code(), message(&why)),
    }
}

/// Reads type and name of a resource.
pub(crate) fn resource(kind: i8, name: &StrBytes, node: BrokerId) -> Result<ConfigResource, Refusal> {
    let refuse = |why| Err(Refusal(ResponseError::InvalidRequest, why));
    match kind {
        TOPIC => Ok(ConfigResource::Topic(shared(name))),
        BROKER if name.is_empty() || name.parse() == Ok(node.0) => Ok(ConfigResource::Server),
        BROKER => refuse(format!("unexpected broker id {name:?}: this server is {}", node.0)),
        _ => refuse(format!("configs of {} are not supported by this server version", kind_name(kind))),
    }
}

fn kind_name(kind: i8) -> &'static str {
    match kind {
        BROKER_LOGGER => "broker loggers",
        CLIENT_METRICS => "client metrics",
        GROUP => "groups",
        _ => "this resource type",
    }
}

/// A source as a number of Kafka's `ConfigSource`.
pub(crate) fn source(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Server => 4,
        ConfigSource::Default => 5,
    }
}

/// A kind as a number of Kafka's `ConfigType`.
pub(crate) fn config_type(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::String => 2,
        ConfigKind::Int => 3,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
    }
}
