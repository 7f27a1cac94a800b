//! Topic configuration: names, ranges, changes, sources.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;

use annals_topics::batch::{Codec, Compression, CompressionPolicy, TimestampType};
use annals_topics::config::{
    BROKER_SPECS, Change, Cleanup, ConfigError, Durability, Overrides, Source, TOPIC_SPECS, TopicConfig,
    describe, describe_broker,
};

fn set(pairs: &[(&str, &str)]) -> Result<Overrides, ConfigError> {
    Overrides::from_pairs(pairs.iter().map(|(name, value)| (*name, Some(*value))))
}

fn resolve(pairs: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::resolve(&Overrides::default(), &set(pairs).unwrap())
}

#[test]
fn the_tables_are_sorted_and_their_defaults_valid() {
    assert!(TOPIC_SPECS.is_sorted_by(|a, b| a.name < b.name));
    assert!(BROKER_SPECS.is_sorted_by(|a, b| a.name < b.name));
    for spec in TOPIC_SPECS.iter().chain(&BROKER_SPECS) {
        assert_eq!(spec.check(spec.default), Ok(()), "{}", spec.name);
        assert!(spec.doc.ends_with('.') && !spec.doc.contains("  "), "{}", spec.name);
    }
}

#[test]
fn defaults_are_kafkas() {
    let config = TopicConfig::default();
    assert_eq!(config.cleanup, Cleanup { compact: false, delete: true });
    assert_eq!((config.retention.time_ms, config.retention.size_bytes), (Some(7 * 24 * 3_600_000), None));
    assert_eq!(config.batch_bytes_max, 1_048_588);
    assert_eq!(config.compression, CompressionPolicy::Producer);
    assert_eq!((config.timestamps.before_max_ms, config.timestamps.after_max_ms), (i64::MAX, 3_600_000));
    assert_eq!(config.timestamps.timestamp_type, TimestampType::Create);
    assert_eq!(config.compaction.delete_retention_ms, 86_400_000);
    assert_eq!(config.durability, None);
}

#[test]
fn values_are_typed() {
    let config = resolve(&[
        ("cleanup.policy", "compact, delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "1000"),
        ("compression.type", "zstd"),
        ("compression.zstd.level", "-5"),
        ("message.timestamp.type", "LogAppendTime"),
        ("annals.durability", "async"),
        ("min.insync.replicas", "2"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ]);
    assert_eq!(config.cleanup, Cleanup { compact: true, delete: true });
    assert_eq!((config.retention.time_ms, config.retention.size_bytes), (None, Some(1_000)));
    let zstd = Codec { compression: Compression::Zstd, level: Some(-5) };
    assert_eq!(config.compression, CompressionPolicy::Codec(zstd));
    assert_eq!(config.timestamps.timestamp_type, TimestampType::LogAppend);
    assert_eq!(config.durability, Some(Durability::Async));
    assert!((config.compaction.min_dirty_ratio - 0.1).abs() < 1e-9);
}

#[test]
fn compaction_alone_keeps_by_key_not_by_age() {
    let config = resolve(&[("cleanup.policy", "compact"), ("retention.ms", "5")]);
    assert_eq!((config.retention.time_ms, config.retention.size_bytes), (None, None));
}

#[test]
fn the_older_timestamp_bound_counts_where_the_newer_is_not_set() {
    let older = ("message.timestamp.difference.max.ms", "7");
    let timestamps = resolve(&[older]).timestamps;
    assert_eq!((timestamps.before_max_ms, timestamps.after_max_ms), (7, 7));
    let timestamps = resolve(&[older, ("message.timestamp.after.max.ms", "9")]).timestamps;
    assert_eq!((timestamps.before_max_ms, timestamps.after_max_ms), (7, 9));
}

#[test]
fn wrong_values_say_what_is_right() {
    let cases = [
        ("retention.ms", "soon", "a number from -1 to 9223372036854775807"),
        ("retention.ms", "-2", "a number from -1 to 9223372036854775807"),
        ("max.message.bytes", "3000000000", "a number from 0 to 2147483647"),
        ("cleanup.policy", "compact,shred", "one of compact, delete"),
        ("compression.type", "brotli", "one of uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("preallocate", "yes", "one of true, false"),
        ("min.cleanable.dirty.ratio", "NaN", "a number from 0 to 1"),
        ("remote.storage.enable", "true", "one of false"),
    ];
    for (name, value, right) in cases {
        let message = set(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(message, format!("invalid value {value:?} for {name}: expected {right}"));
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let nearest = |name| match set(&[(name, "1")]) {
        Err(ConfigError::Unknown { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("retention.sec"), Some("retention.ms"));
    assert_eq!(nearest("cleanup.polic"), Some("cleanup.policy"));
    assert_eq!(nearest("xyzzy"), None);
    assert_eq!(nearest(&"é".repeat(100_000)), None);
}

#[test]
fn changes_are_all_or_none() {
    let before = set(&[("retention.ms", "5")]).unwrap();
    let changes = [("retention.ms", Change::Delete), ("segment.ms", Change::Set(Some("0")))];
    assert!(before.changed(&changes).is_err());
    let after = before.changed(&changes[..1]).unwrap();
    assert!(after.is_empty());
    assert_eq!(before.get("retention.ms"), Some("5"));
}

#[test]
fn lists_grow_and_shrink() {
    let topic = Overrides::default();
    let topic = topic.changed(&[("cleanup.policy", Change::Append("compact,delete"))]).unwrap();
    assert_eq!(topic.get("cleanup.policy"), Some("delete,compact"));
    let topic = topic.changed(&[("cleanup.policy", Change::Subtract("delete"))]).unwrap();
    assert_eq!(topic.get("cleanup.policy"), Some("compact"));
    let error = topic.changed(&[("retention.ms", Change::Append("1"))]).unwrap_err();
    assert_eq!(error, ConfigError::NotAList { name: "retention.ms" });
}

#[test]
fn null_and_twice_are_refused() {
    let none = Overrides::default();
    assert_eq!(none.changed(&[("flush.ms", Change::Set(None))]), Err(ConfigError::Null { name: "flush.ms" }));
    let twice = [("flush.ms", Change::Delete), ("flush.ms", Change::Set(Some("1")))];
    assert_eq!(none.changed(&twice), Err(ConfigError::Duplicate { name: "flush.ms" }));
}

#[test]
fn lags_may_not_contradict() {
    let error = set(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")]).unwrap_err();
    assert!(matches!(error, ConfigError::Contradiction { smaller_value: 10, greater_value: 9, .. }));
}

#[test]
fn sources_are_told() {
    let server = set(&[("retention.ms", "100"), ("segment.ms", "50")]).unwrap();
    let topic = set(&[("retention.ms", "7")]).unwrap();
    assert_eq!(TopicConfig::resolve(&server, &topic).retention.time_ms, Some(7));
    let all = describe(&server, &topic);
    assert_eq!(all.len(), TOPIC_SPECS.len());
    let find = |name| all.iter().find(|described| described.name == name).unwrap();
    let retention = find("retention.ms");
    assert_eq!((retention.value.as_str(), retention.source), ("7", Source::Topic));
    let synonyms: Vec<_> = retention.synonyms.iter().map(|s| (s.name, s.value.as_str(), s.source)).collect();
    let expected = [
        ("retention.ms", "7", Source::Topic),
        ("log.retention.ms", "100", Source::Server),
        ("log.retention.ms", "604800000", Source::Default),
    ];
    assert_eq!(synonyms, expected);
    assert_eq!((find("segment.ms").value.as_str(), find("segment.ms").source), ("50", Source::Server));
    assert_eq!(find("flush.ms").source, Source::Default);
}

#[test]
fn a_broker_is_described_with_what_is_known_of_it() {
    let known = BTreeMap::from([("node.id", "3".to_owned()), ("unheard.of", "1".to_owned())]);
    let all = describe_broker(&known, &set(&[("retention.ms", "100")]).unwrap());
    assert!(all.is_sorted_by(|a, b| a.name < b.name));
    assert!(all.iter().all(|described| described.read_only));
    let value = |name| all.iter().find(|d| d.name == name).map(|d| (d.value.as_str(), d.source));
    assert_eq!(value("node.id"), Some(("3", Source::Server)));
    assert_eq!(value("log.retention.ms"), Some(("100", Source::Server)));
    assert_eq!(value("log.segment.bytes"), Some(("1073741824", Source::Default)));
    assert_eq!(value("unheard.of"), None);
}
