//! CreateTopics: topics with their settings. There is one node, so replicas are checked here and go no further.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use annals_broker::api::configs::ConfigEntry;
use annals_broker::api::topics::{CreateTopicError, CreateTopics as Create, CreatedTopic, NewTopic};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{ApiKey, BrokerId, CreateTopicsRequest, CreateTopicsResponse, TopicName};

use crate::apis::values::{message, millis, node, shared};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, bool, int16, int32, string};

use super::{replicas, resources};

const ASSIGNMENT: Kind = Kind::Struct(&[int32("PartitionIndex"), array("BrokerIds", &INT32)]);
const CONFIG: Kind = Kind::Struct(&[string("Name"), string("Value")]);
const TOPIC: Kind = Kind::Struct(&[
    string("Name"),
    int32("NumPartitions"),
    int16("ReplicationFactor"),
    array("Assignments", &ASSIGNMENT),
    array("Configs", &CONFIG),
]);

pub(crate) struct CreateTopics;

impl Api for CreateTopics {
    const KEY: ApiKey = ApiKey::CreateTopics;
    const VERSIONS: RangeInclusive<i16> = 2..=7;
    const SHAPE: Shape = Shape {
        flexible_from: 5,
        fields: &[array("Topics", &TOPIC), int32("TimeoutMs"), bool("ValidateOnly")],
    };

    type Request = CreateTopicsRequest;
    type Response = CreateTopicsResponse;

    async fn handle(context: &Context, version: i16, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let planned = plan(&request.topics, node(context));
        let topics = planned.iter().filter_map(|plan| plan.as_ref().ok().cloned()).collect();
        let (validate_only, timeout) = (request.validate_only, millis(request.timeout_ms));
        let create = Create { topics, validate_only, timeout };
        let mut created = context.broker.create_topics(&context.caller, create).await.into_iter();
        let results = request.topics.iter().zip(planned).map(|(topic, plan)| {
            let name = topic.name.clone();
            let result = plan.and_then(|_| match created.next() {
                Some(result) => result.map_err(|error| Refusal::from(&error)),
                None => Err(Refusal::unanswered()),
            });
            result.map_or_else(
                |refusal| refused(name.clone(), refusal),
                |topic| accepted(name.clone(), topic, version),
            )
        });
        let results = results.collect();
        CreateTopicsResponse::default().with_topics(results)
    }
}

/// Why a topic is not created: code and message.
struct Refusal(ResponseError, String);

impl Refusal {
    fn unanswered() -> Self {
        Self(ResponseError::UnknownServerError, "the topic was not decided".to_owned())
    }
}

impl From<&CreateTopicError> for Refusal {
    fn from(error: &CreateTopicError) -> Self {
        Self(error_code(error), error.to_string())
    }
}

/// What goes to the broker. A name that is there twice is refused each time, as by Apache Kafka.
fn plan(topics: &[CreatableTopic], node: BrokerId) -> Vec<Result<NewTopic, Refusal>> {
    let mut seen = HashSet::new();
    let twice: HashSet<_> =
        topics.iter().map(|topic| &topic.name).filter(|name| !seen.insert(*name)).collect();
    let plan = |topic: &CreatableTopic| match twice.contains(&topic.name) {
        true => Err(Refusal(
            ResponseError::InvalidRequest,
            "the request names this topic more than once".to_owned(),
        )),
        false => new_topic(topic, node),
    };
    topics.iter().map(plan).collect()
}

fn new_topic(topic: &CreatableTopic, node: BrokerId) -> Result<NewTopic, Refusal> {
    let partitions = if topic.assignments.is_empty() {
        let factor = replicas::check_factor(topic.replication_factor);
        factor.map_err(|why| Refusal(ResponseError::InvalidReplicationFactor, why))?;
        Some(topic.num_partitions).filter(|&count| count != -1)
    } else {
        Some(assigned_partitions(topic, node)?)
    };
    let configs = topic.configs.iter();
    let configs =
        configs.map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)));
    Ok(NewTopic { name: shared(&topic.name), partitions, configs: configs.collect() })
}

/// How many partitions an explicit assignment has: all of them on the one node, numbered from zero without a gap.
fn assigned_partitions(topic: &CreatableTopic, node: BrokerId) -> Result<i32, Refusal> {
    let refuse = |why: &str| Refusal(ResponseError::InvalidReplicaAssignment, why.to_owned());
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let why = "an assignment of replicas excludes numbers of partitions and replicas: both must be -1";
        return Err(Refusal(ResponseError::InvalidRequest, why.to_owned()));
    }
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..topic.assignments.len() as i32) {
        return Err(refuse("the assigned partitions must be numbered from 0 without a gap"));
    }
    let check = |at: &CreatableReplicaAssignment| replicas::check_nodes(&at.broker_ids, node);
    topic.assignments.iter().try_for_each(check).map_err(|why| refuse(&why))?;
    Ok(topic.assignments.len() as i32)
}

fn accepted(name: TopicName, topic: CreatedTopic, version: i16) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name).with_error_message(None);
    if version < 5 {
        return result;
    }
    result
        .with_topic_id(topic.id)
        .with_num_partitions(topic.partitions)
        .with_replication_factor(1)
        .with_configs(Some(topic.configs.into_iter().map(config).collect()))
}

fn config(entry: ConfigEntry) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_config_source(resources::source(entry.source))
        .with_is_sensitive(entry.sensitive)
        .with_read_only(entry.read_only)
        .with_name(entry.name.into())
        .with_value(entry.value.map(Into::into))
}

fn refused(name: TopicName, Refusal(error, why): Refusal) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(message(&why))
}

fn error_code(error: &CreateTopicError) -> ResponseError {
    match error {
        CreateTopicError::AlreadyExists(_) => ResponseError::TopicAlreadyExists,
        CreateTopicError::InvalidName { .. } => ResponseError::InvalidTopicException,
        CreateTopicError::InvalidPartitions { .. } => ResponseError::InvalidPartitions,
        CreateTopicError::InvalidConfig { .. } => ResponseError::InvalidConfig,
        CreateTopicError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        CreateTopicError::Unavailable { .. } => ResponseError::KafkaStorageError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis::values::wire;

    fn topic(partitions: i32, factor: i16) -> CreatableTopic {
        let name = TopicName(wire("orders"));
        CreatableTopic::default()
            .with_name(name)
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
    }

    fn assigned(indexes: &[i32], node: i32) -> CreatableTopic {
        let assignment = |&index: &i32| {
            let nodes = vec![BrokerId(node)];
            CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(nodes)
        };
        topic(-1, -1).with_assignments(indexes.iter().map(assignment).collect())
    }

    #[track_caller]
    fn assert_partitions(topic: &CreatableTopic, expected: Result<Option<i32>, ResponseError>) {
        let planned = new_topic(topic, BrokerId(1)).map(|topic| topic.partitions);
        assert_eq!(planned.map_err(|Refusal(error, _)| error), expected);
    }

    #[test]
    fn partitions_and_replicas_fit_one_node() {
        assert_partitions(&topic(3, 1), Ok(Some(3)));
        assert_partitions(&topic(-1, -1), Ok(None));
        assert_partitions(&topic(1, 3), Err(ResponseError::InvalidReplicationFactor));
        assert_partitions(&assigned(&[1, 0], 1), Ok(Some(2)));
        assert_partitions(&assigned(&[0, 2], 1), Err(ResponseError::InvalidReplicaAssignment));
        assert_partitions(&assigned(&[0], 2), Err(ResponseError::InvalidReplicaAssignment));
        assert_partitions(&assigned(&[0], 1).with_num_partitions(1), Err(ResponseError::InvalidRequest));
    }

    #[test]
    fn a_topic_that_is_named_twice_is_refused_twice() {
        let topics = [topic(1, 1), topic(2, 1), topic(1, 1).with_name(TopicName(wire("other")))];
        let planned = plan(&topics, BrokerId(1));
        assert_eq!(planned.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true]);
    }
}
