//! DescribeQuorum: who decides about the metadata (KIP-595, KIP-836, KIP-853). It is the one node, alone.

use std::ops::RangeInclusive;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{ApiKey, DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{LEADER_EPOCH, message, node, wire};
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, int32, string};

/// The topic that Kafka keeps metadata in: one partition. Here it stands for a log of the journal.
const METADATA: &str = "__cluster_metadata";

const PARTITION: Kind = Kind::Struct(&[int32("PartitionIndex")]);
const TOPIC: Kind = Kind::Struct(&[string("TopicName"), array("Partitions", &PARTITION)]);

pub(crate) struct DescribeQuorum;

impl Api for DescribeQuorum {
    const KEY: ApiKey = ApiKey::DescribeQuorum;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape = Shape { flexible_from: 0, fields: &[array("Topics", &TOPIC)] };

    type Request = DescribeQuorumRequest;
    type Response = DescribeQuorumResponse;

    async fn handle(
        context: &Context,
        version: i16,
        request: DescribeQuorumRequest,
    ) -> DescribeQuorumResponse {
        let topics = request.topics.iter().map(|topic| describe(context, version, topic)).collect();
        let response = DescribeQuorumResponse::default().with_error_message(None).with_topics(topics);
        if version < 2 { response } else { response.with_nodes(vec![this_node(context)]) }
    }
}

fn describe(context: &Context, version: i16, topic: &AskedTopic) -> TopicData {
    let partitions = topic.partitions.iter().map(|partition| match partition.partition_index {
        0 if topic.topic_name.as_str() == METADATA => alone(context, version),
        index => unknown(version, index),
    });
    TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
}

/// The one voter is the leader, which has all that there is.
fn alone(context: &Context, version: i16) -> PartitionData {
    let end = context.broker.metadata_end_offset();
    let voter = ReplicaState::default().with_replica_id(node(context)).with_log_end_offset(end);
    let voter = if version < 1 {
        voter
    } else {
        let now_ms = context.clock.now_ms();
        voter.with_last_fetch_timestamp(now_ms).with_last_caught_up_timestamp(now_ms)
    };
    PartitionData::default()
        .with_error_message(None)
        .with_leader_id(node(context))
        .with_leader_epoch(LEADER_EPOCH)
        .with_high_watermark(end)
        .with_current_voters(vec![voter])
}

fn unknown(version: i16, index: i32) -> PartitionData {
    let why = if version < 2 { None } else { message(&"only the metadata have a quorum") };
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
        .with_error_message(why)
}

/// Where to reach it. There is no endpoint for controllers alone.
fn this_node(context: &Context) -> Node {
    let listener = Listener::default()
        .with_name(StrBytes::from_static_str("PLAINTEXT"))
        .with_host(wire(&context.advertised.host))
        .with_port(context.advertised.port);
    Node::default().with_node_id(node(context)).with_listeners(vec![listener])
}
