//! OffsetForLeaderEpoch: where a leader's reign ended, so that a consumer notices a truncated log (KIP-320).
//!
//! There is one leader and one epoch here, which reigns until the end of the log.

use std::ops::RangeInclusive;

use annals_broker::api::topics::{FoundOffset, Isolation, ListOffsetsError, OffsetAt, OffsetQuery};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::apis::values::{LEADER_EPOCH, check_leader_epoch, shared};
use crate::apis::{Api, Context};
use crate::errors;
use crate::shape::{Kind, Shape, array, int32, string};

const PARTITION: Kind =
    Kind::Struct(&[int32("Partition"), int32("CurrentLeaderEpoch"), int32("LeaderEpoch")]);
const TOPIC: Kind = Kind::Struct(&[string("Topic"), array("Partitions", &PARTITION)]);

pub(crate) struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const VERSIONS: RangeInclusive<i16> = 2..=4;
    const SHAPE: Shape =
        Shape { flexible_from: 4, fields: &[int32("ReplicaId").since(3), array("Topics", &TOPIC)] };

    type Request = OffsetForLeaderEpochRequest;
    type Response = OffsetForLeaderEpochResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let ends = request.topics.iter().flat_map(|topic| {
            let topic_name = shared(&topic.topic);
            topic.partitions.iter().map(move |partition| OffsetQuery {
                topic: topic_name.clone(),
                partition: partition.partition,
                at: OffsetAt::Latest,
            })
        });
        let isolation = Isolation::ReadUncommitted;
        let ends = context.broker.list_offsets(&context.caller, isolation, ends.collect()).await;
        let mut ends = ends.into_iter();
        let topics = request.topics.iter().map(|topic| answer(topic, &mut ends)).collect();
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }
}

type End = Result<Option<FoundOffset>, ListOffsetsError>;

fn answer(topic: &OffsetForLeaderTopic, ends: &mut impl Iterator<Item = End>) -> OffsetForLeaderTopicResult {
    let partitions = topic.partitions.iter().zip(ends).map(|(asked, end)| partition(asked, end));
    OffsetForLeaderTopicResult::default()
        .with_topic(topic.topic.clone())
        .with_partitions(partitions.collect())
}

/// An epoch that never was has no end, which is no error.
fn partition(asked: &OffsetForLeaderPartition, end: End) -> EpochEndOffset {
    let response =
        EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(-1).with_end_offset(-1);
    let end = end.map_err(|error| errors::list_offsets(&error));
    match end.and_then(|end| check_leader_epoch(asked.current_leader_epoch).map(|()| end)) {
        Err(error) => response.with_error_code(error.code()),
        Ok(Some(end)) if asked.leader_epoch == LEADER_EPOCH => {
            response.with_leader_epoch(LEADER_EPOCH).with_end_offset(end.offset)
        }
        Ok(_) => response,
    }
}
