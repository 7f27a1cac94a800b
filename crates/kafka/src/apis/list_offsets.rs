//! ListOffsets: the offsets at the start, at the end, or at a time.
//!
//! Nothing is tiered here, so the start of what is local is the start, and the end of what is tiered is nowhere.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_broker::api::topics::{FoundOffset, OffsetAt, OffsetQuery};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};

use crate::errors;
use crate::shape::{Kind, Shape, array, int8, int32, int64, string};

use super::values::{LEADER_EPOCH, check_leader_epoch, isolation};
use super::{Api, Context};

const PARTITION: Kind =
    Kind::Struct(&[int32("PartitionIndex"), int32("CurrentLeaderEpoch").since(4), int64("Timestamp")]);
const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &PARTITION)]);

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(crate) struct ListOffsets;

impl Api for ListOffsets {
    const KEY: ApiKey = ApiKey::ListOffsets;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    const SHAPE: Shape = Shape {
        flexible_from: 6,
        fields: &[
            int32("ReplicaId"),
            int8("IsolationLevel").since(2),
            array("Topics", &TOPIC),
            int32("TimeoutMs").since(10),
        ],
    };

    type Request = ListOffsetsRequest;
    type Response = ListOffsetsResponse;

    async fn handle(context: &Context, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let plans: Vec<Plan> = request.topics.iter().flat_map(|topic| plans(topic, version)).collect();
        let queries = plans.iter().filter_map(|plan| match plan {
            Plan::Ask(query) => Some(query.clone()),
            Plan::Nowhere | Plan::Refuse(_) => None,
        });
        let isolation = isolation(request.isolation_level);
        let found = context.broker.list_offsets(&context.caller, isolation, queries.collect()).await;
        let mut found = found.into_iter().map(|found| found.map_err(|error| errors::list_offsets(&error)));
        let mut answers = plans.into_iter().map(|plan| match plan {
            Plan::Ask(_) => found.next().unwrap_or(Err(ResponseError::UnknownServerError)),
            Plan::Nowhere => Ok(None),
            Plan::Refuse(error) => Err(error),
        });
        let topics = request.topics.iter().map(|topic| answer(topic, &mut answers, version)).collect();
        ListOffsetsResponse::default().with_topics(topics)
    }
}

/// What to do about one partition.
enum Plan {
    Ask(OffsetQuery),
    /// There is no such place here, which is no error.
    Nowhere,
    Refuse(ResponseError),
}

fn plans(topic: &ListOffsetsTopic, version: i16) -> impl Iterator<Item = Plan> + '_ {
    let name: Arc<str> = topic.name.as_str().into();
    topic.partitions.iter().map(move |partition| plan(&name, partition, version))
}

fn plan(topic: &Arc<str>, partition: &ListOffsetsPartition, version: i16) -> Plan {
    if let Err(error) = check_leader_epoch(partition.current_leader_epoch) {
        return Plan::Refuse(error);
    }
    let at = match partition.timestamp {
        LATEST => OffsetAt::Latest,
        EARLIEST => OffsetAt::Earliest,
        MAX_TIMESTAMP if version >= 7 => OffsetAt::MaxTimestamp,
        EARLIEST_LOCAL if version >= 8 => OffsetAt::Earliest,
        LATEST_TIERED if version >= 9 => return Plan::Nowhere,
        timestamp if timestamp >= 0 => OffsetAt::Timestamp(timestamp),
        _ => return Plan::Refuse(ResponseError::UnsupportedVersion),
    };
    Plan::Ask(OffsetQuery { topic: Arc::clone(topic), partition: partition.partition_index, at })
}

fn answer(
    topic: &ListOffsetsTopic,
    answers: &mut impl Iterator<Item = Result<Option<FoundOffset>, ResponseError>>,
    version: i16,
) -> ListOffsetsTopicResponse {
    let partitions = topic.partitions.iter().zip(answers).map(|(asked, answer)| {
        let response = ListOffsetsPartitionResponse::default()
            .with_partition_index(asked.partition_index)
            .with_timestamp(-1)
            .with_offset(-1);
        match answer {
            Ok(Some(found)) => at(response, found, version),
            Ok(None) => response,
            Err(error) => response.with_error_code(error.code()),
        }
    });
    ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

fn at(
    response: ListOffsetsPartitionResponse,
    found: FoundOffset,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let epoch = if version >= 4 { LEADER_EPOCH } else { -1 };
    response
        .with_offset(found.offset)
        .with_timestamp(found.timestamp_ms.unwrap_or(-1))
        .with_leader_epoch(epoch)
}
