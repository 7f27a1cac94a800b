//! DeleteRecords: cuts partitions at their front (KIP-107). Offset -1 is the end.

use std::ops::RangeInclusive;

use annals_broker::api::topics::{DeleteRecords as Delete, DeleteRecordsError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{ApiKey, DeleteRecordsRequest, DeleteRecordsResponse};

use crate::apis::values::{code, shared};
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, int32, int64, string};

const PARTITION: Kind = Kind::Struct(&[int32("PartitionIndex"), int64("Offset")]);
const TOPIC: Kind = Kind::Struct(&[string("Name"), array("Partitions", &PARTITION)]);

/// Everything up to the high watermark.
const TO_THE_END: i64 = -1;

pub(crate) struct DeleteRecords;

impl Api for DeleteRecords {
    const KEY: ApiKey = ApiKey::DeleteRecords;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape = Shape { flexible_from: 2, fields: &[array("Topics", &TOPIC), int32("TimeoutMs")] };

    type Request = DeleteRecordsRequest;
    type Response = DeleteRecordsResponse;

    async fn handle(context: &Context, _: i16, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let partitions = request.topics.iter().flat_map(|topic| {
            let name = shared(&topic.name);
            topic.partitions.iter().map(move |partition| Delete {
                topic: name.clone(),
                partition: partition.partition_index,
                before: Some(partition.offset).filter(|&offset| offset != TO_THE_END),
            })
        });
        let results = context.broker.delete_records(&context.caller, partitions.collect()).await;
        let mut results = results.into_iter();
        let topics = request.topics.iter().map(|topic| answer(topic, &mut results)).collect();
        DeleteRecordsResponse::default().with_topics(topics)
    }
}

fn answer(
    topic: &DeleteRecordsTopic,
    results: &mut impl Iterator<Item = Result<i64, DeleteRecordsError>>,
) -> DeleteRecordsTopicResult {
    let partitions = topic.partitions.iter().zip(results).map(|(asked, result)| {
        DeleteRecordsPartitionResult::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(&result, error_code))
            .with_low_watermark(result.unwrap_or(-1))
    });
    DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

fn error_code(error: &DeleteRecordsError) -> ResponseError {
    match error {
        DeleteRecordsError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        DeleteRecordsError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
        DeleteRecordsError::Compacted(_) => ResponseError::PolicyViolation,
        DeleteRecordsError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        DeleteRecordsError::Unavailable(_) => ResponseError::KafkaStorageError,
    }
}
