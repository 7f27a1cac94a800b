//! What a scrape shows, with values worked out by hand.

use std::time::Duration;

use annals_clock::Clock;
use annals_journal::FaultFiles;
use annals_topics::batch::BatchOptions;
use bytes::Bytes;

use super::{Metrics, TOPICS_MAX};
use crate::groups::tests::{World, batch};

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.encode(&mut text).unwrap();
    text
}

/// The value of the series that is written exactly so.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = text(metrics);
    let line =
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))?;
    line.parse().ok()
}

#[tokio::test]
async fn lag_is_told_in_records_and_in_time() {
    let world = World::new();
    let metrics = world.broker.metrics();
    let now_ms = Clock::system().now_ms();
    world.create("orders", 2).await;
    world.produce("orders", 0, 10, now_ms - 90_000).await;
    world.produce("orders", 0, 5, now_ms - 30_000).await;
    world.produce("orders", 1, 4, now_ms - 60_000).await;
    let records = "annals_group_lag_records{group=\"billing\",topic=\"orders\"}";
    let seconds = "annals_group_lag_seconds{group=\"billing\",topic=\"orders\"}";
    assert_eq!(value(metrics, records), None, "nobody has read anything");

    // 3 + 5 records are left in partition 0, the first of them 90 s old; 4 in partition 1, 60 s old.
    world.commit("billing", "orders", 0, 7).await.unwrap();
    world.commit("billing", "orders", 1, 0).await.unwrap();
    assert_eq!(value(metrics, records), Some(12.0));
    let age = value(metrics, seconds).unwrap();
    assert!((90.0..150.0).contains(&age), "{age}");

    world.commit("billing", "orders", 0, 10).await.unwrap();
    world.commit("billing", "orders", 1, 4).await.unwrap();
    assert_eq!(value(metrics, records), Some(5.0));
    let age = value(metrics, seconds).unwrap();
    assert!((30.0..90.0).contains(&age), "{age}");

    world.commit("billing", "orders", 0, 15).await.unwrap();
    assert_eq!((value(metrics, records), value(metrics, seconds)), (Some(0.0), Some(0.0)));
    assert_eq!(value(metrics, "annals_group_members{group=\"billing\"}"), Some(0.0));
    assert_eq!(value(metrics, "annals_groups{state=\"Empty\"}"), Some(1.0));
    assert_eq!(value(metrics, "annals_group_lag_left_out"), Some(0.0));

    world.broker.delete_groups(&world.caller, vec!["billing".into()]).await.remove(0).unwrap();
    assert!(!text(metrics).contains("billing"), "a deleted group has no series");
}

#[tokio::test]
async fn topics_are_counted_until_they_are_deleted() {
    let world = World::new();
    let metrics = world.broker.metrics();
    world.create("orders", 1).await;
    world.produce("orders", 0, 10, 1_700_000_000_000).await;
    world.produce("orders", 0, 2, 1_700_000_000_000).await;
    assert_eq!(value(metrics, "annals_topic_appended_records_total{topic=\"orders\"}"), Some(12.0));
    assert_eq!(
        (value(metrics, "annals_topics"), value(metrics, "annals_partitions")),
        (Some(1.0), Some(1.0))
    );
    // The batches are the only data in the partition's log, so its facts say how many bytes were counted.
    let log = world.broker.inner.state.table.topics()[0].partitions[0].log;
    let bytes = world.broker.journal().log(log).unwrap().bytes as f64;
    assert_eq!(value(metrics, "annals_topic_appended_bytes_total{topic=\"orders\"}"), Some(bytes));

    let topic = crate::api::topics::TopicRef::Name("orders".into());
    world.broker.delete_topics(&world.caller, vec![topic]).await.remove(0).unwrap();
    assert!(!text(metrics).contains("orders"));
}

#[tokio::test]
async fn records_count_once_they_are_durable_and_a_duplicate_never() {
    let files = FaultFiles::new();
    let world = World::open(&files);
    let metrics = world.broker.metrics();
    world.create("orders", 1).await;
    let appended = "annals_topic_appended_records_total{topic=\"orders\"}";
    let first = world.produce_as(7, 0, "orders", 5).await;
    assert_eq!(value(metrics, appended), None, "decided, and nobody knows yet whether it is on the disk");
    first.durable().await.remove(0).unwrap();
    assert_eq!(value(metrics, appended), Some(5.0));
    let again = world.produce_as(7, 0, "orders", 5).await.durable().await.remove(0).unwrap();
    assert_eq!(again.base_offset, 0, "the producer did not hear the answer and sent it again");
    assert_eq!(value(metrics, appended), Some(5.0));
    files.wait_for_spare();
    files.fail_syncs(true);
    world.produce_as(7, 5, "orders", 3).await.durable().await.remove(0).unwrap_err();
    assert_eq!(value(metrics, appended), Some(5.0));
}

#[tokio::test]
async fn fetched_records_are_counted_however_their_batches_are_cut() {
    let batch = |count| batch(count, 1_700_000_000_000, BatchOptions::default());
    let (three, four) = (batch(3), batch(4));
    let stored = [&three[..], &four[..], &batch(5)[..]].concat();
    let metrics = Metrics::default();
    for size in [1, 7, three.len(), three.len() + 1, three.len() + 60, stored.len()] {
        let pieces: Vec<Bytes> = stored.chunks(size).map(Bytes::copy_from_slice).collect();
        metrics.fetched(&format!("by-{size}").into(), &pieces);
        let counted = |what: &str| {
            value(&metrics, &format!("annals_topic_fetched_{what}_total{{topic=\"by-{size}\"}}"))
        };
        assert_eq!((counted("records"), counted("bytes")), (Some(12.0), Some(stored.len() as f64)), "{size}");
    }
    metrics.fetched(&"waited-for".into(), &[]);
    assert!(!text(&metrics).contains("waited-for"));
}

#[test]
fn topics_beyond_the_limit_are_counted_together() {
    let metrics = Metrics::default();
    for topic in 0..TOPICS_MAX + 5 {
        metrics.fetched(&format!("topic-{topic}").into(), &[Bytes::from_static(&[0; 10])]);
    }
    metrics.fetched(&"topic-7".into(), &[Bytes::from_static(&[0; 5])]);
    assert_eq!(value(&metrics, "annals_topic_fetched_bytes_total{topic=\"topic-7\"}"), Some(15.0));
    assert_eq!(value(&metrics, "annals_topic_fetched_bytes_total{topic=\"~other\"}"), Some(50.0));
    assert_eq!(text(&metrics).matches("annals_topic_fetched_bytes_total{").count(), TOPICS_MAX + 1);
    metrics.topic_deleted("topic-7");
    metrics.fetched(&"new".into(), &[Bytes::from_static(&[0])]);
    assert_eq!(value(&metrics, "annals_topic_fetched_bytes_total{topic=\"new\"}"), Some(1.0));
}

#[tokio::test]
async fn the_journal_is_measured_and_its_stop_is_seen() {
    let files = FaultFiles::new();
    let world = World::open(&files);
    let metrics = world.broker.metrics();
    world.create("orders", 1).await;
    world.produce("orders", 0, 10, 1_700_000_000_000).await;
    // The definition and the records: two appends, none of them asynchronous.
    assert_eq!(value(metrics, "annals_append_seconds_count{durability=\"sync\"}"), Some(2.0));
    assert_eq!(value(metrics, "annals_append_seconds_count{durability=\"async\"}"), Some(0.0));
    // After a quiet moment there is one more, for the marker.
    assert!(value(metrics, "annals_journal_sync_seconds_count") >= Some(2.0));
    assert_eq!(value(metrics, "annals_journal_groups_per_sync_sum"), Some(2.0));
    assert!(value(metrics, "annals_journal_written_bytes_total") > Some(100.0));
    assert_eq!(value(metrics, "annals_journal_writable"), Some(1.0));
    assert_eq!(value(metrics, "annals_journal_disk_full"), Some(0.0));
    assert!(value(metrics, "annals_recovery_seconds").is_some());
    files.wait_for_spare();
    files.fail_syncs(true);
    world.commit("billing", "orders", 0, 1).await.unwrap_err();
    assert_eq!(value(metrics, "annals_journal_writable"), Some(0.0));
}

#[test]
fn front_ends_count_what_is_open_and_what_was_answered() {
    let metrics = Metrics::default();
    let kafka = metrics.protocol("kafka");
    let (first, second) = (kafka.connection_opened(), kafka.clone().connection_opened());
    drop(first);
    let mut memory = kafka.memory(100);
    memory.resize(70);
    let more = metrics.protocol("kafka").memory(5);
    kafka.connection_refused("too_many");
    kafka.error("oversized_frame");
    kafka.error("oversized_frame");
    kafka.request("Fetch", "NONE", Duration::from_millis(3));
    kafka.request("Fetch", "NOT_LEADER_OR_FOLLOWER", Duration::from_millis(30));
    let check = |series: &str, expected: f64| assert_eq!(value(&metrics, series), Some(expected), "{series}");
    check("annals_connections{protocol=\"kafka\"}", 1.0);
    check("annals_connections_opened_total{protocol=\"kafka\"}", 2.0);
    check("annals_connections_refused_total{protocol=\"kafka\",reason=\"too_many\"}", 1.0);
    check("annals_memory_in_flight_bytes{protocol=\"kafka\"}", 75.0);
    check("annals_errors_total{protocol=\"kafka\",kind=\"oversized_frame\"}", 2.0);
    check("annals_kafka_requests_total{api=\"Fetch\",error=\"NONE\"}", 1.0);
    check("annals_kafka_request_seconds_count{api=\"Fetch\"}", 2.0);
    check("annals_kafka_request_seconds_bucket{le=\"0.005\",api=\"Fetch\"}", 1.0);
    drop((second, memory, more));
    check("annals_connections{protocol=\"kafka\"}", 0.0);
    check("annals_memory_in_flight_bytes{protocol=\"kafka\"}", 0.0);
}

#[test]
fn the_text_is_whole_and_each_name_is_described_once() {
    let metrics = Metrics::default();
    let _kafka = metrics.protocol("kafka");
    let text = text(&metrics);
    assert!(text.ends_with("# EOF\n"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("annals_build_info{{version=\"{version}\"}} 1\n")), "{text}");
    let mut names: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is described twice");
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        assert!(line.ends_with('.'), "{line}");
    }
    let mut open = String::new();
    metrics.encode_open(&mut open).unwrap();
    assert!(!open.contains("# EOF"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_measured() {
    let metrics = Metrics::default();
    assert!(value(&metrics, "process_resident_memory_bytes") > Some(100_000.0));
    assert!(value(&metrics, "process_open_fds") > Some(0.0));
    assert!(value(&metrics, "process_cpu_seconds_total").is_some());
}
