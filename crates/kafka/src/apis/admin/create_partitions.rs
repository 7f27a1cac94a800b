//! CreatePartitions: more partitions for topics (KIP-195).

use std::collections::HashSet;
use std::ops::RangeInclusive;

use annals_broker::api::topics::{CreatePartitions as Create, CreatePartitionsError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{ApiKey, BrokerId, CreatePartitionsRequest, CreatePartitionsResponse};

use crate::apis::values::{message, millis, node, shared};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, bool, int32, string};

use super::replicas;

const ASSIGNMENT: Kind = Kind::Struct(&[array("BrokerIds", &INT32)]);
const TOPIC: Kind = Kind::Struct(&[string("Name"), int32("Count"), array("Assignments", &ASSIGNMENT)]);

pub(crate) struct CreatePartitions;

impl Api for CreatePartitions {
    const KEY: ApiKey = ApiKey::CreatePartitions;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const SHAPE: Shape = Shape {
        flexible_from: 2,
        fields: &[array("Topics", &TOPIC), int32("TimeoutMs"), bool("ValidateOnly")],
    };

    type Request = CreatePartitionsRequest;
    type Response = CreatePartitionsResponse;

    async fn handle(context: &Context, _: i16, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let mut refusals = refusals(&request.topics, node(context));
        if request.topics.iter().any(|topic| given(topic).is_some()) {
            let counts = counts(context, &request.topics).await;
            for ((topic, refusal), count) in request.topics.iter().zip(&mut refusals).zip(counts) {
                *refusal = refusal.take().or_else(|| miscounted(topic, count?));
            }
        }
        let accepted = request.topics.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
        let topics = accepted.map(|(topic, _)| (shared(&topic.name), topic.count)).collect();
        let (validate_only, timeout) = (request.validate_only, millis(request.timeout_ms));
        let create = Create { topics, validate_only, timeout };
        let mut created = context.broker.create_partitions(&context.caller, create).await.into_iter();
        let results = request.topics.iter().zip(refusals).map(|(topic, refusal)| {
            let refusal = refusal.or_else(|| {
                let error = created.next()?.err()?;
                Some(Refusal(error_code(&error), error.to_string()))
            });
            answer(topic, refusal)
        });
        let results = results.collect();
        CreatePartitionsResponse::default().with_results(results)
    }
}

/// Code and message of what is refused.
struct Refusal(ResponseError, String);

/// What is refused without asking the broker, for each topic.
fn refusals(topics: &[CreatePartitionsTopic], node: BrokerId) -> Vec<Option<Refusal>> {
    let mut seen = HashSet::new();
    let twice: HashSet<_> =
        topics.iter().map(|topic| &topic.name).filter(|name| !seen.insert(*name)).collect();
    let refusal = |topic: &CreatePartitionsTopic| {
        if twice.contains(&topic.name) {
            let why = "the request names this topic more than once".to_owned();
            return Some(Refusal(ResponseError::InvalidRequest, why));
        }
        let mut nodes = topic.assignments.iter().flatten().map(|assignment| &assignment.broker_ids);
        let refused = nodes.find_map(|nodes| replicas::check_nodes(nodes, node).err());
        refused.map(|why| Refusal(ResponseError::InvalidReplicaAssignment, why))
    };
    topics.iter().map(refusal).collect()
}

/// How many partitions each topic has; `None` where there is no such topic.
async fn counts(context: &Context, topics: &[CreatePartitionsTopic]) -> Vec<Option<i32>> {
    let found = replicas::find(context, topics.iter().map(|topic| &topic.name)).await;
    found.into_iter().map(|found| Some(found.result.ok()?.partitions)).collect()
}

/// For how many partitions nodes are given, if for any.
fn given(topic: &CreatePartitionsTopic) -> Option<usize> {
    topic.assignments.as_ref().map(Vec::len).filter(|&given| given > 0)
}

/// Where nodes are given, there is one list for each partition that is new.
fn miscounted(topic: &CreatePartitionsTopic, count: i32) -> Option<Refusal> {
    let given = given(topic)?;
    let new = topic.count.saturating_sub(count);
    let why = || format!("{new} partitions are to be added, and {given} assignments are given");
    (new > 0 && usize::try_from(new) != Ok(given))
        .then(|| Refusal(ResponseError::InvalidReplicaAssignment, why()))
}

fn answer(topic: &CreatePartitionsTopic, refusal: Option<Refusal>) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
    match refusal {
        None => result,
        Some(Refusal(error, why)) => result.with_error_code(error.code()).with_error_message(message(&why)),
    }
}

fn error_code(error: &CreatePartitionsError) -> ResponseError {
    match error {
        CreatePartitionsError::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
        CreatePartitionsError::InvalidPartitions { .. } => ResponseError::InvalidPartitions,
        CreatePartitionsError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        CreatePartitionsError::Unavailable(_) => ResponseError::KafkaStorageError,
    }
}
