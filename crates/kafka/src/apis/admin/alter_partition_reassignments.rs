//! AlterPartitionReassignments: moving replicas. With one node, each stays where it is (KIP-455).

use std::ops::RangeInclusive;

use annals_broker::api::topics::FoundTopic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey, BrokerId,
};

use crate::apis::values::{NO_ERROR, message, node};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, bool, int32, string};

use super::replicas::{check_nodes, check_partition, find};
use super::resources::Refusal;

const PARTITION: Kind = Kind::Struct(&[int32("PartitionIndex"), array("Replicas", &INT32)]);
const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &PARTITION)]);

pub(crate) struct AlterPartitionReassignments;

impl Api for AlterPartitionReassignments {
    const KEY: ApiKey = ApiKey::AlterPartitionReassignments;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const SHAPE: Shape = Shape {
        flexible_from: 0,
        fields: &[int32("TimeoutMs"), bool("AllowReplicationFactorChange").since(1), array("Topics", &TOPIC)],
    };

    type Request = AlterPartitionReassignmentsRequest;
    type Response = AlterPartitionReassignmentsResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let found = find(context, request.topics.iter().map(|topic| &topic.name)).await;
        let topics = request.topics.iter().zip(found);
        let responses = topics.map(|(topic, found)| answer(topic, &found, node(context))).collect();
        AlterPartitionReassignmentsResponse::default()
            .with_allow_replication_factor_change(request.allow_replication_factor_change)
            .with_responses(responses)
    }
}

fn answer(topic: &ReassignableTopic, found: &FoundTopic, node: BrokerId) -> ReassignableTopicResponse {
    let partitions = topic.partitions.iter().map(|partition| {
        let (error_code, why) = match reassign(partition, found, node) {
            Ok(()) => (NO_ERROR, None),
            Err(Refusal(error, why)) => (error.code(), message(&why)),
        };
        ReassignablePartitionResponse::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(error_code)
            .with_error_message(why)
    });
    ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

/// Null cancels a reassignment, and there is none.
fn reassign(partition: &ReassignablePartition, found: &FoundTopic, node: BrokerId) -> Result<(), Refusal> {
    check_partition(found, partition.partition_index)?;
    let Some(replicas) = &partition.replicas else {
        let why = "nothing is being reassigned".to_owned();
        return Err(Refusal(ResponseError::NoReassignmentInProgress, why));
    };
    check_nodes(replicas, node).map_err(|why| Refusal(ResponseError::InvalidReplicaAssignment, why))
}
