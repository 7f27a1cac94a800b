//! Metadata: the node, and topics with their partitions. Creates topics that are asked for, where client and server agree.
//!
//! Asking for no topics means all of them in version 0 and none of them later, where null means all.

use std::ops::RangeInclusive;

use annals_broker::api::topics::{FoundTopic, TopicDescription, TopicQuery, TopicRef, TopicSelection};
use annals_clock::Uuid;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, BrokerId, MetadataRequest, MetadataResponse, TopicName};

use crate::errors;
use crate::shape::{Kind, Shape, array, bool, string, uuid};
use crate::trace;

use super::values::{LEADER_EPOCH, node, topic_ref, wire};
use super::{Api, Context, operations};

const TOPIC: Kind = Kind::Struct(&[uuid("TopicId").since(10), string("Name")]);

pub(crate) struct Metadata;

impl Api for Metadata {
    const KEY: ApiKey = ApiKey::Metadata;
    const VERSIONS: RangeInclusive<i16> = 0..=13;
    const SHAPE: Shape = Shape {
        flexible_from: 9,
        fields: &[
            array("Topics", &TOPIC),
            bool("AllowAutoTopicCreation").since(4),
            bool("IncludeClusterAuthorizedOperations").since(8).until(10),
            bool("IncludeTopicAuthorizedOperations").since(8),
        ],
    };

    type Request = MetadataRequest;
    type Response = MetadataResponse;

    async fn handle(context: &Context, version: i16, request: MetadataRequest) -> MetadataResponse {
        trace::topics(request.topics.as_ref().map_or(0, Vec::len));
        let create_missing = request.allow_auto_topic_creation;
        let query = TopicQuery { selection: selection(&request, version), create_missing };
        let found = context.broker.topics(&context.caller, query).await;
        let operations = operations::on_topic(request.include_topic_authorized_operations);
        let topics = found.iter().map(|found| topic(found, node(context), operations, version));
        let mut response = MetadataResponse::default()
            .with_brokers(vec![broker(context)])
            .with_cluster_id(Some(wire(&context.broker.cluster_id())))
            .with_controller_id(node(context))
            .with_topics(topics.collect());
        if (8..=10).contains(&version) {
            response.cluster_authorized_operations =
                operations::on_cluster(request.include_cluster_authorized_operations);
        }
        response
    }
}

fn selection(request: &MetadataRequest, version: i16) -> TopicSelection {
    match &request.topics {
        None => TopicSelection::All,
        Some(topics) if topics.is_empty() && version == 0 => TopicSelection::All,
        Some(topics) => {
            let name = |name: &Option<TopicName>| name.clone().unwrap_or_default();
            TopicSelection::Only(
                topics.iter().map(|topic| topic_ref(&name(&topic.name), topic.topic_id)).collect(),
            )
        }
    }
}

fn broker(context: &Context) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(node(context))
        .with_host(wire(&context.advertised.host))
        .with_port(context.advertised.port.into())
}

fn topic(found: &FoundTopic, node: BrokerId, operations: i32, version: i16) -> MetadataResponseTopic {
    match &found.result {
        Ok(description) if version >= 8 => {
            described(description, node).with_topic_authorized_operations(operations)
        }
        Ok(description) => described(description, node),
        Err(error) => unknown(&found.topic, version).with_error_code(errors::topic(error).code()),
    }
}

fn described(description: &TopicDescription, node: BrokerId) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(wire(&description.name).into()))
        .with_topic_id(description.id)
        .with_is_internal(description.internal)
        .with_partitions((0..description.partitions).map(|index| partition(index, node)).collect())
}

fn partition(index: i32, node: BrokerId) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(node)
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(vec![node])
        .with_isr_nodes(vec![node])
}

/// A topic that is not there, as it was asked for. Before version 12 a name cannot be null.
fn unknown(topic: &TopicRef, version: i16) -> MetadataResponseTopic {
    let (name, id) = match topic {
        TopicRef::Name(name) => (Some(wire(name).into()), Uuid::nil()),
        TopicRef::Id(id) => ((version < 12).then(TopicName::default), *id),
    };
    MetadataResponseTopic::default().with_name(name).with_topic_id(id)
}
