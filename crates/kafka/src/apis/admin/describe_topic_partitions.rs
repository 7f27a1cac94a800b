//! DescribeTopicPartitions: topics with their partitions, page by page (KIP-966).
//!
//! Topics come in the order of their names, so that a cursor means the same in the next request.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_broker::api::topics::{
    FoundTopic, TopicDescription, TopicError, TopicQuery, TopicRef, TopicSelection,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};

use crate::apis::values::{LEADER_EPOCH, node, shared, wire};
use crate::apis::{Api, Context, operations};
use crate::errors;
use crate::shape::{Kind, Shape, array, int32, optional, string};

const TOPIC: Kind = Kind::Struct(&[string("Name")]);

/// Partitions in one answer (`max.request.partition.size.limit`).
const PARTITIONS_MAX: i32 = 2000;

pub(crate) struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    const KEY: ApiKey = ApiKey::DescribeTopicPartitions;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const SHAPE: Shape = Shape {
        flexible_from: 0,
        fields: &[
            array("Topics", &TOPIC),
            int32("ResponsePartitionLimit"),
            optional("Cursor", &[string("TopicName"), int32("PartitionIndex")]),
        ],
    };

    type Request = DescribeTopicPartitionsRequest;
    type Response = DescribeTopicPartitionsResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let start =
            request.cursor.as_ref().map(|cursor| (shared(&cursor.topic_name), cursor.partition_index));
        let query = TopicQuery { selection: selection(&request), create_missing: false };
        let found = context.broker.topics(&context.caller, query).await;
        let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
        let (topics, next) = page(found, start, limit, node(context));
        DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next)
    }
}

fn selection(request: &DescribeTopicPartitionsRequest) -> TopicSelection {
    if request.topics.is_empty() {
        return TopicSelection::All;
    }
    let mut names: Vec<Arc<str>> = request.topics.iter().map(|topic| shared(&topic.name)).collect();
    names.sort_unstable();
    names.dedup();
    TopicSelection::Only(names.into_iter().map(TopicRef::Name).collect())
}

/// Cuts one page out of the topics; and where the next begins, if there is more.
fn page(
    found: Vec<FoundTopic>,
    start: Option<(Arc<str>, i32)>,
    limit: i32,
    node: BrokerId,
) -> (Vec<DescribeTopicPartitionsResponseTopic>, Option<Cursor>) {
    let mut named: Vec<_> = found.into_iter().filter_map(with_name).collect();
    named.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let (start_name, start_partition) = start.unwrap_or_default();
    let (mut topics, mut room) = (Vec::new(), limit);
    for (name, result) in named.into_iter().filter(|(name, _)| *name >= start_name) {
        let first = if name == start_name { start_partition.max(0) } else { 0 };
        if room == 0 {
            return (topics, Some(cursor(&name, first)));
        }
        let total = result.as_ref().map_or(0, |description| description.partitions);
        let end = total.min(first.saturating_add(room));
        topics.push(topic(&name, &result, first..end, node));
        room -= (end - first).max(0);
        if end < total {
            return (topics, Some(cursor(&name, end)));
        }
    }
    (topics, None)
}

fn with_name(found: FoundTopic) -> Option<(Arc<str>, Result<TopicDescription, TopicError>)> {
    match found.topic {
        TopicRef::Name(name) => Some((name, found.result)),
        // Nobody asks for ids here.
        TopicRef::Id(_) => None,
    }
}

fn cursor(name: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(wire(name).into()).with_partition_index(partition)
}

fn topic(
    name: &str,
    result: &Result<TopicDescription, TopicError>,
    partitions: std::ops::Range<i32>,
    node: BrokerId,
) -> DescribeTopicPartitionsResponseTopic {
    let topic = DescribeTopicPartitionsResponseTopic::default().with_name(Some(wire(name).into()));
    match result {
        Err(error) => topic.with_error_code(errors::topic(error).code()),
        Ok(description) => topic
            .with_topic_id(description.id)
            .with_is_internal(description.internal)
            .with_partitions(partitions.map(|index| partition(index, node)).collect())
            .with_topic_authorized_operations(operations::on_topic(true)),
    }
}

fn partition(index: i32, node: BrokerId) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(node)
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(vec![node])
        .with_isr_nodes(vec![node])
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

#[cfg(test)]
mod tests {
    use annals_clock::Uuid;

    use super::*;

    fn found(name: &str, partitions: i32) -> FoundTopic {
        let description =
            TopicDescription { name: name.into(), id: Uuid::nil(), partitions, internal: false };
        FoundTopic { topic: TopicRef::Name(name.into()), result: Ok(description) }
    }

    /// All pages, each as its topics with their partitions.
    fn pages(limit: i32) -> Vec<Vec<(String, Vec<i32>)>> {
        let (mut pages, mut start) = (Vec::new(), None);
        loop {
            let all = vec![found("b", 3), found("a", 2), found("c", 0), found("d", 1)];
            let (topics, next) = page(all, start, limit, BrokerId(1));
            let described = topics.iter().map(|topic| {
                let name = topic.name.as_ref().expect("named").to_string();
                (name, topic.partitions.iter().map(|partition| partition.partition_index).collect())
            });
            pages.push(described.collect());
            let Some(next) = next else { return pages };
            start = Some((shared(&next.topic_name), next.partition_index));
        }
    }

    #[test]
    fn pages_follow_on_each_other() {
        let named = |name: &str, partitions: &[i32]| (name.to_owned(), partitions.to_vec());
        let everything = vec![named("a", &[0, 1]), named("b", &[0, 1, 2]), named("c", &[]), named("d", &[0])];
        assert_eq!(pages(100), [everything]);
        let expected = [
            vec![named("a", &[0, 1])],
            vec![named("b", &[0, 1])],
            vec![named("b", &[2]), named("c", &[]), named("d", &[0])],
        ];
        assert_eq!(pages(2), expected);
    }
}
