//! ElectLeaders: the one node leads every partition already (KIP-460).

use std::ops::RangeInclusive;

use annals_broker::api::topics::{FoundTopic, TopicQuery, TopicRef, TopicSelection};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ApiKey, ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::shared;
use crate::apis::{Api, Context};
use crate::errors;
use crate::shape::{INT32, Kind, Shape, array, int8, int32, string};

const TOPIC: Kind = Kind::Struct(&[string("Topic"), array("Partitions", &INT32)]);

/// Preferred and unclean.
const ELECTION_TYPES: RangeInclusive<i8> = 0..=1;
const WRONG_TYPE: (ResponseError, &str) =
    (ResponseError::InvalidRequest, "there is no election of this type");

pub(crate) struct ElectLeaders;

impl Api for ElectLeaders {
    const KEY: ApiKey = ApiKey::ElectLeaders;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape = Shape {
        flexible_from: 2,
        fields: &[int8("ElectionType").since(1), array("TopicPartitions", &TOPIC), int32("TimeoutMs")],
    };

    type Request = ElectLeadersRequest;
    type Response = ElectLeadersResponse;

    /// Null asks for all partitions that need an election, and there are none.
    async fn handle(context: &Context, _: i16, request: ElectLeadersRequest) -> ElectLeadersResponse {
        let asked = request.topic_partitions.unwrap_or_default();
        if !ELECTION_TYPES.contains(&request.election_type) {
            let results = asked.iter().map(|topic| refused(topic, |_| WRONG_TYPE)).collect();
            return ElectLeadersResponse::default()
                .with_error_code(WRONG_TYPE.0.code())
                .with_replica_election_results(results);
        }
        let names = asked.iter().map(|topic| TopicRef::Name(shared(&topic.topic))).collect();
        let query = TopicQuery { selection: TopicSelection::Only(names), create_missing: false };
        let found = context.broker.topics(&context.caller, query).await;
        let results = asked.iter().zip(found).map(|(topic, found)| answer(topic, &found)).collect();
        ElectLeadersResponse::default().with_replica_election_results(results)
    }
}

fn answer(topic: &TopicPartitions, found: &FoundTopic) -> ReplicaElectionResult {
    refused(topic, |index| match &found.result {
        Ok(description) if (0..description.partitions).contains(&index) => {
            (ResponseError::ElectionNotNeeded, "the one node is the leader already")
        }
        Ok(_) => (ResponseError::UnknownTopicOrPartition, "no such partition"),
        Err(error) => (errors::topic(error), "no such topic"),
    })
}

/// No election takes place: why, for each partition.
fn refused(
    topic: &TopicPartitions,
    why: impl Fn(i32) -> (ResponseError, &'static str),
) -> ReplicaElectionResult {
    let partitions = topic.partitions.iter().map(|&index| {
        let (error, message) = why(index);
        PartitionResult::default()
            .with_partition_id(index)
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
    });
    ReplicaElectionResult::default()
        .with_topic(topic.topic.clone())
        .with_partition_result(partitions.collect())
}
