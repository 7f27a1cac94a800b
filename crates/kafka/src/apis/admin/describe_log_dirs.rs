//! DescribeLogDirs: what partitions take on disk, and what is free (KIP-113, KIP-827).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use annals_broker::api::cluster::LogDir;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::apis::values::wire;
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, string};

const TOPIC: Kind = Kind::Struct(&[string("Topic"), array("Partitions", &INT32)]);

pub(crate) struct DescribeLogDirs;

impl Api for DescribeLogDirs {
    const KEY: ApiKey = ApiKey::DescribeLogDirs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const SHAPE: Shape = Shape { flexible_from: 2, fields: &[array("Topics", &TOPIC)] };

    type Request = DescribeLogDirsRequest;
    type Response = DescribeLogDirsResponse;

    async fn handle(context: &Context, _: i16, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let wanted = request.topics.as_deref().map(wanted);
        let dirs = context.broker.log_dirs(&context.caller).await;
        let results = dirs.iter().map(|dir| describe(dir, wanted.as_ref())).collect();
        DescribeLogDirsResponse::default().with_results(results)
    }
}

/// The asked-for partitions of each topic.
type Wanted<'a> = HashMap<&'a str, HashSet<i32>>;

fn wanted(topics: &[DescribableLogDirTopic]) -> Wanted<'_> {
    let mut wanted = Wanted::new();
    for topic in topics {
        wanted.entry(topic.topic.as_str()).or_default().extend(&topic.partitions);
    }
    wanted
}

fn describe(dir: &LogDir, wanted: Option<&Wanted<'_>>) -> DescribeLogDirsResult {
    let mut topics = BTreeMap::<&str, Vec<DescribeLogDirsPartition>>::new();
    for partition in &dir.partitions {
        let is_wanted = |wanted: &Wanted<'_>| {
            wanted.get(&*partition.topic).is_some_and(|of_topic| of_topic.contains(&partition.partition))
        };
        if wanted.is_none_or(is_wanted) {
            let described = DescribeLogDirsPartition::default()
                .with_partition_index(partition.partition)
                .with_partition_size(partition.size_bytes);
            topics.entry(&partition.topic).or_default().push(described);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default().with_name(wire(name).into()).with_partitions(partitions)
    });
    DescribeLogDirsResult::default()
        .with_log_dir(wire(&dir.path))
        .with_topics(topics.collect())
        .with_total_bytes(dir.total_bytes)
        .with_usable_bytes(dir.usable_bytes)
}
