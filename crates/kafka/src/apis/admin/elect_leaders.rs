//! ElectLeaders: the one node leads every partition already (KIP-460).

use std::ops::RangeInclusive;

use annals_broker::api::topics::FoundTopic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ApiKey, ElectLeadersRequest, ElectLeadersResponse};

use crate::apis::values::message;
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, int8, int32, string};

use super::replicas::{check_partition, find};
use super::resources::Refusal;

const TOPIC: Kind = Kind::Struct(&[string("Topic"), array("Partitions", &INT32)]);

/// Preferred and unclean.
const ELECTION_TYPES: RangeInclusive<i8> = 0..=1;

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
            let results = asked.iter().map(|topic| refused(topic, |_| wrong_type())).collect();
            return ElectLeadersResponse::default()
                .with_error_code(wrong_type().0.code())
                .with_replica_election_results(results);
        }
        let found = find(context, asked.iter().map(|topic| &topic.topic)).await;
        let results = asked.iter().zip(found).map(|(topic, found)| answer(topic, &found)).collect();
        ElectLeadersResponse::default().with_replica_election_results(results)
    }
}

fn wrong_type() -> Refusal {
    Refusal(ResponseError::InvalidRequest, "there is no election of this type".to_owned())
}

fn answer(topic: &TopicPartitions, found: &FoundTopic) -> ReplicaElectionResult {
    refused(topic, |index| match check_partition(found, index) {
        Ok(()) => Refusal(ResponseError::ElectionNotNeeded, "the one node is the leader already".to_owned()),
        Err(refusal) => refusal,
    })
}

/// No election takes place: why, for each partition.
fn refused(topic: &TopicPartitions, why: impl Fn(i32) -> Refusal) -> ReplicaElectionResult {
    let partitions = topic.partitions.iter().map(|&index| {
        let Refusal(error, why) = why(index);
        PartitionResult::default()
            .with_partition_id(index)
            .with_error_code(error.code())
            .with_error_message(message(&why))
    });
    ReplicaElectionResult::default()
        .with_topic(topic.topic.clone())
        .with_partition_result(partitions.collect())
}
