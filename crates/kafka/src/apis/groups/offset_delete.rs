//! OffsetDelete: takes a group's committed offsets of topics that it no longer subscribes to (KIP-496).

use std::ops::RangeInclusive;

use annals_broker::api::offsets::{DeleteOffsetError, DeleteOffsetsError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetDeleteRequest, OffsetDeleteResponse};

use crate::apis::values::{code, shared};
use crate::apis::{Api, Context};
use crate::shape::{Kind, NEVER, Shape, array, int32, string};

const PARTITION: Kind = Kind::Struct(&[int32("PartitionIndex")]);
const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &PARTITION)]);

pub(crate) struct OffsetDelete;

impl Api for OffsetDelete {
    const KEY: ApiKey = ApiKey::OffsetDelete;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const SHAPE: Shape =
        Shape { flexible_from: NEVER, fields: &[string("GroupId"), array("Topics", &TOPIC)] };

    type Request = OffsetDeleteRequest;
    type Response = OffsetDeleteResponse;

    async fn handle(context: &Context, _: i16, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        if request.group_id.is_empty() {
            return OffsetDeleteResponse::default().with_error_code(ResponseError::InvalidGroupId.code());
        }
        let partitions = request.topics.iter().flat_map(|topic| {
            let name = shared(&topic.name);
            topic.partitions.iter().map(move |partition| (name.clone(), partition.partition_index))
        });
        let group = shared(&request.group_id);
        match context.broker.delete_offsets(&context.caller, group, partitions.collect()).await {
            Err(error) => OffsetDeleteResponse::default().with_error_code(error_code(&error).code()),
            Ok(results) => {
                let mut results = results.into_iter();
                let topics = request.topics.iter().map(|topic| answer(topic, &mut results));
                OffsetDeleteResponse::default().with_topics(topics.collect())
            }
        }
    }
}

fn answer(
    topic: &OffsetDeleteRequestTopic,
    results: &mut impl Iterator<Item = Result<(), DeleteOffsetError>>,
) -> OffsetDeleteResponseTopic {
    let partitions = topic.partitions.iter().zip(results).map(|(asked, result)| {
        OffsetDeleteResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(&result, partition_error_code))
    });
    OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

fn partition_error_code(error: &DeleteOffsetError) -> ResponseError {
    match error {
        DeleteOffsetError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        DeleteOffsetError::Subscribed(_) => ResponseError::GroupSubscribedToTopic,
        DeleteOffsetError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
    }
}

fn error_code(error: &DeleteOffsetsError) -> ResponseError {
    match error {
        DeleteOffsetsError::UnknownGroup(_) => ResponseError::GroupIdNotFound,
        DeleteOffsetsError::NotEmpty(_) => ResponseError::NonEmptyGroup,
        DeleteOffsetsError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        DeleteOffsetsError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}
