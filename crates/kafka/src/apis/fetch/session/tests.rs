use annals_broker::api::fetch::Fetched;
use annals_clock::ManualClock;
use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::FetchPartition as AskedPartition;
use kafka_protocol::protocol::StrBytes;

use super::*;

const BY_NAME: i16 = 12;

fn sessions(sessions_max: usize) -> (Sessions, ManualClock) {
    let (clock, manual) = Clock::manual(0, 7);
    (Sessions::new(sessions_max, clock), manual)
}

fn request(session_id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> FetchRequest {
    let topic = || TopicName(StrBytes::from_static_str("t"));
    let asked = partitions
        .iter()
        .map(|partition| AskedPartition::default().with_partition(*partition).with_partition_max_bytes(100));
    let topics = vec![FetchTopic::default().with_topic(topic()).with_partitions(asked.collect())];
    let gone = vec![ForgottenTopic::default().with_topic(topic()).with_partitions(forgotten.to_vec())];
    FetchRequest::default()
        .with_session_id(session_id)
        .with_session_epoch(epoch)
        .with_topics(topics)
        .with_forgotten_topics_data(gone)
}

fn fetched(high_watermark: i64, records: usize) -> Outcome {
    let records = if records == 0 { Vec::new() } else { vec![Bytes::from(vec![0; records])] };
    let (last_stable_offset, aborted) = (high_watermark, Vec::new());
    Ok(Fetched { high_watermark, last_stable_offset, log_start_offset: 0, records, stored: None, aborted })
}

fn order(turn: &Turn) -> Vec<i32> {
    turn.wanted.iter().map(|wanted| wanted.partition).collect()
}

#[test]
fn an_incremental_answer_leaves_out_what_has_not_changed() {
    let (sessions, _clock) = sessions(10);
    let first = sessions.begin(&request(0, 0, &[0, 1, 2], &[]), BY_NAME).expect("opens");
    assert_ne!(first.session_id, 0);
    let told = sessions.finish(&first, &[fetched(5, 0), fetched(5, 0), fetched(5, 0)]);
    assert_eq!(told, [true; 3], "a full answer tells of all");

    let second = sessions.begin(&request(first.session_id, 1, &[], &[]), BY_NAME).expect("goes on");
    assert_eq!(order(&second), [0, 1, 2], "all partitions of the session are read");
    let told =
        sessions.finish(&second, &[fetched(5, 0), fetched(6, 0), Err(ResponseError::KafkaStorageError)]);
    assert_eq!(told, [false, true, true], "a moved high watermark and an error are news");

    let third = sessions.begin(&request(first.session_id, 2, &[3], &[1]), BY_NAME).expect("goes on");
    assert_eq!(order(&third), [0, 2, 3], "one was forgotten and one added");
    let told = sessions.finish(&third, &[fetched(5, 0), fetched(5, 0), fetched(5, 0)]);
    assert_eq!(told, [false, true, true], "the end of an error and an added partition are news");
}

#[test]
fn partitions_with_records_go_to_the_end_of_the_queue() {
    let (sessions, _clock) = sessions(10);
    let turn = sessions.begin(&request(0, 0, &[0, 1, 2], &[]), BY_NAME).expect("opens");
    sessions.finish(&turn, &[fetched(9, 100), fetched(9, 0), fetched(9, 0)]);
    let turn = sessions.begin(&request(turn.session_id, 1, &[], &[]), BY_NAME).expect("goes on");
    assert_eq!(order(&turn), [1, 2, 0]);
    sessions.finish(&turn, &[fetched(9, 100), fetched(9, 100), fetched(9, 0)]);
    let turn = sessions.begin(&request(turn.session_id, 2, &[1], &[]), BY_NAME).expect("goes on");
    assert_eq!(order(&turn), [0, 1, 2], "a changed offset does not change the place");
}

#[test]
fn epochs_that_do_not_follow_and_unknown_sessions_are_refused() {
    let (sessions, _clock) = sessions(10);
    let id = sessions.begin(&request(0, 0, &[0], &[]), BY_NAME).expect("opens").session_id;
    let refused = |id, epoch, version| sessions.begin(&request(id, epoch, &[], &[]), version).map(drop);
    assert_eq!(refused(id, 2, BY_NAME), Err(ResponseError::InvalidFetchSessionEpoch));
    assert_eq!(refused(id, -5, BY_NAME), Err(ResponseError::InvalidFetchSessionEpoch));
    assert_eq!(refused(id.wrapping_add(1), 1, BY_NAME), Err(ResponseError::FetchSessionIdNotFound));
    assert_eq!(refused(0, 1, BY_NAME), Err(ResponseError::FetchSessionIdNotFound));
    assert_eq!(refused(id, 1, 13), Err(ResponseError::FetchSessionTopicIdError));
    assert_eq!(refused(id, 1, BY_NAME), Ok(()));
    assert_eq!(refused(id, 1, BY_NAME), Err(ResponseError::InvalidFetchSessionEpoch), "a repeated request");

    let last = sessions.begin(&request(id, -1, &[0], &[]), BY_NAME).expect("is served without a session");
    assert_eq!(last.session_id, 0);
    assert_eq!(refused(id, 2, BY_NAME), Err(ResponseError::FetchSessionIdNotFound), "it was ended");
}

#[test]
fn epochs_wrap_to_one() {
    let (sessions, _clock) = sessions(10);
    let id = sessions.begin(&request(0, 0, &[0], &[]), BY_NAME).expect("opens").session_id;
    sessions.table().sessions.get_mut(&id).expect("there").epoch = i32::MAX;
    assert!(sessions.begin(&request(id, i32::MAX, &[], &[]), BY_NAME).is_ok());
    assert!(sessions.begin(&request(id, 1, &[], &[]), BY_NAME).is_ok());
}

#[test]
fn sessions_are_bounded_and_only_rested_ones_give_way() {
    let (sessions, clock) = sessions(2);
    let open = |partitions: &[i32]| {
        sessions.begin(&request(0, 0, partitions, &[]), BY_NAME).expect("served").session_id
    };
    let (first, second) = (open(&[0]), open(&[0]));
    assert_eq!(open(&[0]), 0, "served, but without a session");
    clock.advance(Duration::from_secs(100));
    sessions.begin(&request(second, 1, &[], &[]), BY_NAME).expect("goes on");
    clock.advance(Duration::from_secs(30));
    assert_ne!(open(&[0]), 0, "the first has rested");
    let gone = sessions.begin(&request(first, 1, &[], &[]), BY_NAME).map(drop);
    assert_eq!(gone, Err(ResponseError::FetchSessionIdNotFound));
    assert_eq!(sessions.table().sessions.len(), 2);
}

#[test]
fn partitions_are_bounded_over_all_sessions() {
    let (mut sessions, _clock) = sessions(10);
    sessions.partitions_max = 4;
    let id = sessions.begin(&request(0, 0, &[0, 1, 2], &[]), BY_NAME).expect("opens").session_id;
    assert_ne!(id, 0);
    assert_eq!(sessions.begin(&request(0, 0, &[0, 1], &[]), BY_NAME).expect("served").session_id, 0);
    let grown = sessions.begin(&request(id, 1, &[5, 6], &[]), BY_NAME).map(drop);
    assert_eq!(grown, Err(ResponseError::FetchSessionIdNotFound));
    assert_eq!(sessions.table().partitions, 0, "what was ended is not counted");
}

#[test]
fn names_that_no_topic_can_have_are_served_without_a_session() {
    let (sessions, _clock) = sessions(10);
    let absurd = |id, epoch| {
        let mut request = request(id, epoch, &[0], &[]);
        request.topics[0].topic = TopicName(StrBytes::from_string("x".repeat(250)));
        sessions.begin(&request, BY_NAME).map(|turn| turn.session_id)
    };
    assert_eq!(absurd(0, 0), Ok(0));
    let id = sessions.begin(&request(0, 0, &[0], &[]), BY_NAME).expect("opens").session_id;
    assert_eq!(absurd(id, 1), Err(ResponseError::FetchSessionIdNotFound));
    assert_eq!(sessions.table().partitions, 0);
}
