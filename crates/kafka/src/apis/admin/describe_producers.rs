//! DescribeProducers: who has lately written to partitions (KIP-664).

use std::ops::RangeInclusive;

use annals_broker::api::cluster::{ActiveProducer, DescribeProducersError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{ApiKey, DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use crate::apis::values::{message, shared};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, string};

const TOPIC: Kind = Kind::Struct(&[string("Name"), array("PartitionIndexes", &INT32)]);

pub(crate) struct DescribeProducers;

impl Api for DescribeProducers {
    const KEY: ApiKey = ApiKey::DescribeProducers;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const SHAPE: Shape = Shape { flexible_from: 0, fields: &[array("Topics", &TOPIC)] };

    type Request = DescribeProducersRequest;
    type Response = DescribeProducersResponse;

    async fn handle(
        context: &Context,
        _: i16,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let partitions = request.topics.iter().flat_map(|topic| {
            let name = shared(&topic.name);
            topic.partition_indexes.iter().map(move |&partition| (name.clone(), partition))
        });
        let results = context.broker.describe_producers(&context.caller, partitions.collect()).await;
        let mut results = results.into_iter();
        let topics = request.topics.iter().map(|topic| answer(topic, &mut results)).collect();
        DescribeProducersResponse::default().with_topics(topics)
    }
}

fn answer(
    topic: &TopicRequest,
    results: &mut impl Iterator<Item = Result<Vec<ActiveProducer>, DescribeProducersError>>,
) -> TopicResponse {
    let partitions = topic.partition_indexes.iter().zip(results).map(|(&index, result)| {
        let response = PartitionResponse::default().with_partition_index(index);
        match result {
            Ok(producers) => response.with_active_producers(producers.iter().map(producer).collect()),
            Err(error) => {
                response.with_error_code(error_code(&error).code()).with_error_message(message(&error))
            }
        }
    });
    TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

fn producer(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(producer.epoch.into())
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch.unwrap_or(-1))
        .with_current_txn_start_offset(producer.transaction_start_offset.unwrap_or(-1))
}

fn error_code(error: &DescribeProducersError) -> ResponseError {
    match error {
        DescribeProducersError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        DescribeProducersError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
    }
}
