use std::sync::Arc;

use annals_clock::Uuid;
use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use kafka_protocol::messages::fetch_response::{self, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::close::Close;
use crate::memory::Share;
use crate::records::Source;

/// Nothing is read again here.
#[derive(Debug)]
struct NoSource;

impl Sources for NoSource {
    fn source(&self, _: &Wanted) -> Arc<dyn Source> {
        Arc::new(Self)
    }

    fn stored(&self, _: &Wanted, _: &StoredRecords) -> Arc<dyn Source> {
        Arc::new(Self)
    }
}

impl Source for NoSource {
    fn read(&self, _: i64, _: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>> {
        Box::pin(std::future::pending())
    }
}

fn wanted(topic: TopicRef, partition: i32) -> Wanted {
    Wanted { topic, partition, leader_epoch: -1, offset: 0, max_bytes: 0 }
}

fn fetched(records: &[usize]) -> Outcome {
    Ok(Fetched {
        high_watermark: 70,
        last_stable_offset: 60,
        log_start_offset: 5,
        records: records.iter().map(|size| Bytes::from(vec![7; *size])).collect(),
        stored: None,
        aborted: vec![AbortedTransaction { producer_id: 9, first_offset: 11 }],
    })
}

fn expected_partition(head: &Head, partition: i32, outcome: &Outcome) -> PartitionData {
    let data = PartitionData::default().with_partition_index(partition);
    let fetched = match outcome {
        Ok(fetched) => fetched,
        Err(error) => {
            return data
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_aborted_transactions(Some(Vec::new()))
                .with_records(Some(Bytes::new()));
        }
    };
    let aborted = fetched.aborted.iter().map(|aborted| {
        fetch_response::AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first_offset)
    });
    data.with_high_watermark(fetched.high_watermark)
        .with_last_stable_offset(fetched.last_stable_offset)
        .with_log_start_offset(fetched.log_start_offset)
        .with_aborted_transactions((head.isolation == Isolation::ReadCommitted).then(|| aborted.collect()))
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(fetched.records.concat().into()))
}

fn expected(head: &Head, topics: &[(TopicRef, Vec<(i32, Outcome)>)]) -> Bytes {
    let topics = topics.iter().map(|(topic, partitions)| {
        let data = partitions.iter().map(|(index, outcome)| expected_partition(head, *index, outcome));
        let response = FetchableTopicResponse::default().with_partitions(data.collect());
        match topic {
            TopicRef::Name(name) => response.with_topic(TopicName(StrBytes::from_string(name.to_string()))),
            TopicRef::Id(id) => response.with_topic_id(*id),
        }
    });
    let response = FetchResponse::default()
        .with_error_code(head.error_code)
        .with_session_id(if head.version >= 7 { head.session_id } else { 0 })
        .with_responses(topics.collect());
    let mut rope =
        crate::apis::encode(ApiKey::Fetch, head.version, head.correlation_id, &response).expect("encodes");
    rope.copy_to_bytes(rope.remaining())
}

#[track_caller]
fn assert_same(head: &Head, topics: &[(TopicRef, Vec<(i32, Outcome)>)]) {
    let all: Vec<(Wanted, &Outcome)> = topics
        .iter()
        .flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(index, outcome)| (wanted(topic.clone(), *index), outcome))
        })
        .collect();
    let all: Vec<(&Wanted, &Outcome)> = all.iter().map(|(wanted, outcome)| (wanted, *outcome)).collect();
    let mut ours = response(head, &all, &NoSource);
    assert_eq!(ours.copy_to_bytes(ours.remaining()), expected(head, topics), "version {}", head.version);
}

#[test]
fn every_version_is_the_same_bytes_as_from_a_general_encoder() {
    for version in super::super::VERSIONS {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let head = Head { version, correlation_id: 77, error_code: NO_ERROR, session_id: 12, isolation };
            let topic = |number: u8| match version {
                13.. => TopicRef::Id(Uuid::from_bytes([number; 16])),
                _ => TopicRef::Name(format!("topic-{number}").into()),
            };
            assert_same(&head, &[]);
            assert_same(
                &head,
                &[
                    (topic(1), vec![(0, fetched(&[])), (5, Err(ResponseError::OffsetOutOfRange))]),
                    (topic(2), vec![(1, fetched(&[100, 5000, 2049, 3])), (2, fetched(&[70_000]))]),
                    (topic(1), vec![(9, fetched(&[1]))]),
                ],
            );
        }
    }
}

#[test]
fn an_error_of_the_whole_request_has_no_partitions() {
    let error_code = ResponseError::FetchSessionIdNotFound.code();
    let isolation = Isolation::ReadUncommitted;
    assert_same(&Head { version: 12, correlation_id: 1, error_code, session_id: 0, isolation }, &[]);
}
