//! Produce: records into partitions.
//!
//! Decided in the order of the requests, acknowledged when durable; the next request is read in between. A client that
//! asks for no acknowledgement gets no response, and learns of a failure by the connection being closed, as from
//! Apache Kafka. Versions 0 to 2 are told but refused: librdkafka takes their absence for a server without
//! compression (KAFKA-18659).

use annals_broker::ProduceTicket;
use annals_broker::api::produce::{
    Acks, ProduceError, ProducePartition, ProduceRequest as Records, ProduceResult, Produced, RecordError,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use crate::close::Close;
use crate::errors;
use crate::shape::{Kind, Shape, array, bytes, int16, int32, string, uuid};
use crate::trace;

use super::values::{message, millis, topic_ref};
use super::{Answered, Call, Context, Entry, Serve};

const PARTITION: Kind = Kind::Struct(&[int32("Index"), bytes("Records")]);
const TOPIC: Kind =
    Kind::Struct(&[string("Name").until(12), uuid("TopicId").since(13), array("PartitionData", &PARTITION)]);

/// What the client is told of a batch that it may only write within a transaction.
const NO_TRANSACTIONS: &str = "transactions are not supported by this server version";

const SHAPE: Shape = Shape {
    flexible_from: 9,
    fields: &[string("TransactionalId"), int16("Acks"), int32("TimeoutMs"), array("TopicData", &TOPIC)],
};

pub(crate) const ENTRY: Entry =
    Entry::new::<ProduceRequest>(ApiKey::Produce, 3..=13, SHAPE, Serve::Produce).announced_from(0);

/// The answer to a request, there or on its way; `None` where the client wants none.
pub(crate) type Acknowledgement = BoxFuture<'static, Result<Option<Answered>, Close>>;

/// Decides a request. Returns when the next may be decided.
pub(crate) async fn start(context: &Context, call: Call) -> Result<Acknowledgement, Close> {
    let request: ProduceRequest = call.decode()?;
    trace::topics(request.topic_data.len());
    let acks = match request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return refuse(&request, &call, ResponseError::InvalidRequiredAcks, None),
    };
    if request.transactional_id.is_some() {
        let error = ResponseError::TransactionalIdAuthorizationFailed;
        return refuse(&request, &call, error, Some(NO_TRANSACTIONS));
    }
    let timeout = millis(request.timeout_ms);
    let (topics, partitions) = take_records(request.topic_data);
    let ticket = context.broker.produce(&context.caller, Records { acks, timeout, partitions }).await;
    Ok(acknowledge(ticket, topics, acks, call.into_answered()).boxed())
}

/// Takes the records out of the request; what remains is the frame of the response.
fn take_records(mut topics: Vec<TopicProduceData>) -> (Vec<TopicProduceData>, Vec<ProducePartition>) {
    let mut partitions = Vec::new();
    for topic in &mut topics {
        let reference = topic_ref(&topic.name, topic.topic_id);
        partitions.extend(topic.partition_data.iter_mut().map(|partition| ProducePartition {
            topic: reference.clone(),
            partition: partition.index,
            records: partition.records.take().unwrap_or_default(),
        }));
    }
    (topics, partitions)
}

async fn acknowledge(
    ticket: ProduceTicket,
    topics: Vec<TopicProduceData>,
    acks: Acks,
    call: Call,
) -> Result<Option<Answered>, Close> {
    let result = ticket.durable().await;
    if acks == Acks::None {
        let failure = result.into_iter().find_map(Result::err);
        return failure.map_or(Ok(None), |error| Err(Close::UnansweredProduce(error.to_string())));
    }
    call.encode(&response(&topics, result, call.version)).map(Some)
}

/// Refuses the whole request: every partition gets the same error.
fn refuse(
    request: &ProduceRequest,
    call: &Call,
    error: ResponseError,
    why: Option<&'static str>,
) -> Result<Acknowledgement, Close> {
    if request.acks == 0 {
        return Err(Close::UnansweredProduce(why.map_or_else(|| error.to_string(), str::to_owned)));
    }
    let message = why.map(StrBytes::from_static_str);
    let refused = |index| partition(index, call.version, error.code(), message.clone());
    let topics = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| refused(partition.index)).collect();
        topic_response(topic, partitions)
    });
    let answered = call.encode(&ProduceResponse::default().with_responses(topics.collect()))?;
    Ok(ready(Ok(Some(answered))).boxed())
}

fn response(topics: &[TopicProduceData], result: ProduceResult, version: i16) -> ProduceResponse {
    let mut results = result.into_iter();
    let topics = topics.iter().map(|topic| {
        let asked = topic.partition_data.iter();
        let answered = asked.zip(&mut results).map(|(asked, result)| match result {
            Ok(produced) => written(asked.index, produced),
            Err(error) => failed(asked.index, version, error),
        });
        topic_response(topic, answered.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

fn topic_response(
    topic: &TopicProduceData,
    partitions: Vec<PartitionProduceResponse>,
) -> TopicProduceResponse {
    TopicProduceResponse::default()
        .with_name(topic.name.clone())
        .with_topic_id(topic.topic_id)
        .with_partition_responses(partitions)
}

fn written(index: i32, produced: Produced) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(produced.base_offset)
        .with_log_append_time_ms(produced.log_append_time_ms.unwrap_or(-1))
        .with_log_start_offset(produced.log_start_offset)
}

fn failed(index: i32, version: i16, error: ProduceError) -> PartitionProduceResponse {
    let response = partition(index, version, errors::produce(&error).code(), message(&error));
    match error {
        ProduceError::InvalidRecords { records, .. } | ProduceError::InvalidTimestamp { records, .. }
            if version >= 8 =>
        {
            response.with_record_errors(records.into_iter().map(record_error).collect())
        }
        _ => response,
    }
}

fn partition(index: i32, version: i16, code: i16, message: Option<StrBytes>) -> PartitionProduceResponse {
    let message = message.filter(|_| version >= 8);
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(message)
}

fn record_error(error: RecordError) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(error.index)
        .with_batch_index_error_message(Some(error.reason.into()))
}
