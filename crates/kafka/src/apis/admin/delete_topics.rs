//! DeleteTopics: by name, and from version 6 on also by id.

use std::ops::RangeInclusive;

use annals_broker::api::topics::{DeleteTopicError, DeletedTopic, TopicRef};
use annals_clock::Uuid;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{ApiKey, DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{message, shared, wire};
use crate::apis::{Api, Context};
use crate::shape::{Kind, STRING, Shape, array, int32, string, uuid};

const TOPIC: Kind = Kind::Struct(&[string("Name").since(6), uuid("TopicId").since(6)]);

pub(crate) struct DeleteTopics;

impl Api for DeleteTopics {
    const KEY: ApiKey = ApiKey::DeleteTopics;
    const VERSIONS: RangeInclusive<i16> = 1..=6;
    const SHAPE: Shape = Shape {
        flexible_from: 4,
        fields: &[
            array("Topics", &TOPIC).since(6),
            array("TopicNames", &STRING).until(5),
            int32("TimeoutMs"),
        ],
    };

    type Request = DeleteTopicsRequest;
    type Response = DeleteTopicsResponse;

    async fn handle(context: &Context, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let topics: Vec<TopicRef> = if version >= 6 {
            request.topics.iter().map(by_name_or_id).collect()
        } else {
            request.topic_names.iter().map(|name| TopicRef::Name(shared(name))).collect()
        };
        let deleted = context.broker.delete_topics(&context.caller, topics.clone()).await;
        let results = topics.into_iter().zip(deleted).map(|(topic, result)| answer(&topic, result, version));
        DeleteTopicsResponse::default().with_responses(results.collect())
    }
}

fn by_name_or_id(topic: &DeleteTopicState) -> TopicRef {
    match &topic.name {
        Some(name) => TopicRef::Name(shared(name)),
        None => TopicRef::Id(topic.topic_id),
    }
}

fn answer(
    topic: &TopicRef,
    result: Result<DeletedTopic, DeleteTopicError>,
    version: i16,
) -> DeletableTopicResult {
    match result {
        Ok(deleted) => named(Some(wire(&deleted.name)), deleted.id),
        Err(error) => {
            let asked = match topic {
                TopicRef::Name(name) => named(Some(wire(name)), Uuid::nil()),
                TopicRef::Id(id) => named(None, *id),
            };
            asked
                .with_error_code(error_code(&error).code())
                .with_error_message(message(&error).filter(|_| version >= 5))
        }
    }
}

fn named(name: Option<StrBytes>, id: Uuid) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(name.map(Into::into)).with_topic_id(id)
}

fn error_code(error: &DeleteTopicError) -> ResponseError {
    match error {
        DeleteTopicError::UnknownName(_) => ResponseError::UnknownTopicOrPartition,
        DeleteTopicError::UnknownId(_) => ResponseError::UnknownTopicId,
        DeleteTopicError::Internal(_) => ResponseError::InvalidTopicException,
        DeleteTopicError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        DeleteTopicError::Unavailable(_) => ResponseError::KafkaStorageError,
    }
}
