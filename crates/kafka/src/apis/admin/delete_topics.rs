//! DeleteTopics: by name, and from version 6 on also by id.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use annals_broker::api::topics::{DeleteTopicError, DeletedTopic, TopicRef};
use annals_clock::Uuid;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{ApiKey, DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

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
        let by_name = |name| DeleteTopicState::default().with_name(Some(name));
        let topics: Vec<DeleteTopicState> = match version {
            6.. => request.topics,
            _ => request.topic_names.into_iter().map(by_name).collect(),
        };
        let planned = plan(&topics);
        let wanted = planned.iter().flatten().cloned().collect();
        let mut deleted = context.broker.delete_topics(&context.caller, wanted).await.into_iter();
        let results = topics.into_iter().zip(planned).map(|(topic, plan)| {
            let result = plan.and_then(|_| match deleted.next() {
                Some(result) => result.map_err(|error| Refusal::from(&error)),
                None => {
                    Err(Refusal(ResponseError::UnknownServerError, "the topic was not decided".to_owned()))
                }
            });
            result.map_or_else(|refusal| refused(topic, &refusal, version), |deleted| done(&deleted))
        });
        DeleteTopicsResponse::default().with_responses(results.collect())
    }
}

/// Why a topic is not deleted: code and message.
struct Refusal(ResponseError, String);

impl From<&DeleteTopicError> for Refusal {
    fn from(error: &DeleteTopicError) -> Self {
        Self(error_code(error), error.to_string())
    }
}

/// What goes to the broker. A topic that is there twice is refused each time, as by Apache Kafka.
fn plan(topics: &[DeleteTopicState]) -> Vec<Result<TopicRef, Refusal>> {
    let mut seen = HashSet::new();
    let twice: HashSet<_> = topics.iter().filter(|topic| !seen.insert(key(topic))).map(key).collect();
    let refuse = |why: &str| Err(Refusal(ResponseError::InvalidRequest, why.to_owned()));
    let plan = |topic: &DeleteTopicState| match (&topic.name, topic.topic_id) {
        _ if twice.contains(&key(topic)) => refuse("the request names this topic more than once"),
        (Some(name), id) if id.is_nil() => Ok(TopicRef::Name(shared(name))),
        (Some(_), _) => refuse("a topic is named by its name or by its id, not by both"),
        (None, id) if id.is_nil() => refuse("neither name nor id of the topic are given"),
        (None, id) => Ok(TopicRef::Id(id)),
    };
    topics.iter().map(plan).collect()
}

fn key(topic: &DeleteTopicState) -> (Option<&TopicName>, Uuid) {
    (topic.name.as_ref(), topic.topic_id)
}

fn done(deleted: &DeletedTopic) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(Some(wire(&deleted.name).into())).with_topic_id(deleted.id)
}

fn refused(topic: DeleteTopicState, Refusal(error, why): &Refusal, version: i16) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_error_code(error.code())
        .with_error_message(message(why).filter(|_| version >= 5))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_once_and_in_one_way() {
        let by = |name: Option<&str>, id: u128| {
            let name = name.map(|name| TopicName(wire(name)));
            DeleteTopicState::default().with_name(name).with_topic_id(Uuid::from_u128(id))
        };
        let topics = [
            by(Some("a"), 0),
            by(None, 7),
            by(Some("b"), 7),
            by(None, 0),
            by(Some("c"), 0),
            by(Some("c"), 0),
        ];
        let planned = plan(&topics).into_iter().map(|plan| plan.map_err(|Refusal(error, _)| error));
        let invalid = || Err(ResponseError::InvalidRequest);
        let (name, id) = (TopicRef::Name("a".into()), TopicRef::Id(Uuid::from_u128(7)));
        let expected = [Ok(name), Ok(id), invalid(), invalid(), invalid(), invalid()];
        assert_eq!(planned.collect::<Vec<_>>(), expected);
    }
}
