//! Errors of the broker as Kafka's error codes, each in one exhaustive `match`.

use annals_broker::api::fetch::FetchError;
use annals_broker::api::produce::{InitProducerIdError, ProduceError};
use annals_broker::api::topics::{ListOffsetsError, TopicError};
use kafka_protocol::ResponseError;

pub(crate) fn topic(error: &TopicError) -> ResponseError {
    match error {
        TopicError::UnknownName(_) => ResponseError::UnknownTopicOrPartition,
        TopicError::UnknownId(_) => ResponseError::UnknownTopicId,
        TopicError::InvalidName { .. } => ResponseError::InvalidTopicException,
        TopicError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        // Clients ask again after a moment, as for a topic whose creation is under way.
        TopicError::Unavailable { .. } => ResponseError::LeaderNotAvailable,
    }
}

pub(crate) fn list_offsets(error: &ListOffsetsError) -> ResponseError {
    match error {
        ListOffsetsError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        ListOffsetsError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        ListOffsetsError::Storage { .. } => ResponseError::KafkaStorageError,
    }
}

pub(crate) fn fetch(error: &FetchError) -> ResponseError {
    match error {
        FetchError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        FetchError::UnknownTopicId(_) => ResponseError::UnknownTopicId,
        FetchError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
        FetchError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        FetchError::Corrupt(_) => ResponseError::CorruptMessage,
        FetchError::Storage(_) => ResponseError::KafkaStorageError,
    }
}

pub(crate) fn produce(error: &ProduceError) -> ResponseError {
    match error {
        ProduceError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        ProduceError::UnknownTopicId(_) => ResponseError::UnknownTopicId,
        ProduceError::Corrupt(_) => ResponseError::CorruptMessage,
        ProduceError::InvalidRecords { .. } => ResponseError::InvalidRecord,
        ProduceError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
        ProduceError::UnsupportedFormat { .. } => ResponseError::UnsupportedForMessageFormat,
        ProduceError::UnsupportedCompression(_) => ResponseError::UnsupportedCompressionType,
        ProduceError::BatchTooLarge { .. } => ResponseError::MessageTooLarge,
        ProduceError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
        ProduceError::DuplicateSequence { .. } => ResponseError::DuplicateSequenceNumber,
        ProduceError::Fenced { .. } => ResponseError::InvalidProducerEpoch,
        ProduceError::InvalidTransactionState { .. } => ResponseError::InvalidTxnState,
        ProduceError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
        ProduceError::EventStore(_) => ResponseError::PolicyViolation,
        // Both can be retried, so that a producer goes on by itself when there is space again, or after a restart.
        ProduceError::DiskFull => ResponseError::KafkaStorageError,
        ProduceError::Unavailable(_) => ResponseError::NotLeaderOrFollower,
    }
}

pub(crate) fn init_producer_id(error: &InitProducerIdError) -> ResponseError {
    match error {
        // The one error here at which clients stop and say why, rather than ask for ever.
        InitProducerIdError::TransactionsUnsupported(_) | InitProducerIdError::NotAuthorized => {
            ResponseError::TransactionalIdAuthorizationFailed
        }
        InitProducerIdError::InvalidTransactionTimeout => ResponseError::InvalidTransactionTimeout,
        InitProducerIdError::Fenced(_) => ResponseError::ProducerFenced,
        InitProducerIdError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}
