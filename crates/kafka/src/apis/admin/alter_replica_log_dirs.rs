//! AlterReplicaLogDirs: moving replicas between data directories. There is one directory, so each stays where it is (KIP-113).

use std::ops::RangeInclusive;

use annals_broker::api::topics::FoundTopic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirTopic;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ApiKey};

use crate::apis::values::NO_ERROR;
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, string};

use super::replicas::{check_partition, find};
use super::resources::Refusal;

const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &INT32)]);
const DIR: Kind = Kind::Struct(&[string("Path"), array("Topics", &TOPIC)]);

pub(crate) struct AlterReplicaLogDirs;

impl Api for AlterReplicaLogDirs {
    const KEY: ApiKey = ApiKey::AlterReplicaLogDirs;
    const VERSIONS: RangeInclusive<i16> = 1..=2;
    const SHAPE: Shape = Shape { flexible_from: 2, fields: &[array("Dirs", &DIR)] };

    type Request = AlterReplicaLogDirsRequest;
    type Response = AlterReplicaLogDirsResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: AlterReplicaLogDirsRequest,
    ) -> AlterReplicaLogDirsResponse {
        let dirs = context.broker.log_dirs(&context.caller).await;
        let mut results = Vec::new();
        for wanted in &request.dirs {
            let is_here = dirs.iter().any(|dir| dir.path == wanted.path.as_str());
            let found = find(context, wanted.topics.iter().map(|topic| &topic.name)).await;
            results
                .extend(wanted.topics.iter().zip(found).map(|(topic, found)| answer(topic, &found, is_here)));
        }
        AlterReplicaLogDirsResponse::default().with_results(results)
    }
}

fn answer(
    topic: &AlterReplicaLogDirTopic,
    found: &FoundTopic,
    is_here: bool,
) -> AlterReplicaLogDirTopicResult {
    let code = |index| match check_partition(found, index) {
        _ if !is_here => ResponseError::LogDirNotFound.code(),
        Ok(()) => NO_ERROR,
        Err(Refusal(error, _)) => error.code(),
    };
    let partitions = topic.partitions.iter().map(|&index| {
        AlterReplicaLogDirPartitionResult::default().with_partition_index(index).with_error_code(code(index))
    });
    AlterReplicaLogDirTopicResult::default()
        .with_topic_name(topic.name.clone())
        .with_partitions(partitions.collect())
}
