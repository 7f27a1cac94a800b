//! Replicas, as clients may ask for them: there is one node, so every partition has that one replica.

use annals_broker::api::topics::{FoundTopic, TopicQuery, TopicRef, TopicSelection};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerId, TopicName};

use crate::apis::Context;
use crate::apis::values::shared;
use crate::errors;

use super::resources::Refusal;

/// What is known of topics, in their order. None is created for that.
pub(crate) async fn find(context: &Context, names: impl Iterator<Item = &TopicName>) -> Vec<FoundTopic> {
    let names = names.map(|name| TopicRef::Name(shared(name))).collect();
    let query = TopicQuery { selection: TopicSelection::Only(names), create_missing: false };
    context.broker.topics(&context.caller, query).await
}

/// Checks that there is this partition.
pub(crate) fn check_partition(found: &FoundTopic, index: i32) -> Result<(), Refusal> {
    match &found.result {
        Ok(topic) if (0..topic.partitions).contains(&index) => Ok(()),
        Ok(_) => Err(Refusal(ResponseError::UnknownTopicOrPartition, "no such partition".to_owned())),
        Err(error) => Err(Refusal(errors::topic(error), "no such topic".to_owned())),
    }
}

/// Checks a wanted replication factor; -1 leaves it to the server.
pub(crate) fn check_factor(factor: i16) -> Result<(), String> {
    match factor {
        -1 | 1 => Ok(()),
        _ => Err(format!(
            "replication factor {factor} cannot be reached: this server is one node, use 1 or -1 (its default)"
        )),
    }
}

/// Checks the nodes that a partition is wanted on.
pub(crate) fn check_nodes(nodes: &[BrokerId], node: BrokerId) -> Result<(), String> {
    match nodes {
        [only] if *only == node => Ok(()),
        _ => Err(format!("partitions can only be assigned to the one node {}, not to {nodes:?}", node.0)),
    }
}
