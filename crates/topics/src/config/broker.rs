//! The server's settings under the names that Kafka's tools ask a broker for (DescribeConfigs of a broker).
//!
//! The values are the caller's: what is known about the running server, and the defaults for the rest. All are
//! read-only here; they change in the server's configuration file.

use std::collections::BTreeMap;

use super::spec::TOPIC_SPECS;
use super::{Described, Effect, Kind, Overrides, Source, Spec, Synonym};

const ANY: i64 = i64::MAX;

/// The broker's settings that are no topic defaults, by name.
pub static BROKER_SPECS: [Spec; 32] = [
    setting("advertised.listeners", Kind::Text, "", "The addresses that clients are told."),
    setting(
        "auto.create.topics.enable",
        Kind::Boolean,
        "true",
        "Whether asking for an unknown topic creates it.",
    ),
    setting("broker.id", Kind::Int(-1, i32::MAX), "0", "The id of this server among Kafka brokers."),
    setting("broker.rack", Kind::Text, "", "Where the server stands."),
    setting(
        "connections.max.idle.ms",
        Kind::Long(-1, ANY),
        "600000",
        "After which silence a connection is closed.",
    ),
    setting(
        "controller.quorum.voters",
        Kind::List,
        "",
        "The members of Kafka's controller quorum. There is none.",
    ),
    setting("default.replication.factor", Kind::Int(1, 1), "1", "Replicas of a new topic. Always 1."),
    setting("delete.topic.enable", Kind::Boolean, "true", "Whether topics can be deleted."),
    setting("fetch.max.bytes", Kind::Int(1024, i32::MAX), "57671680", "The most bytes of one fetch answer."),
    setting(
        "group.consumer.max.session.timeout.ms",
        Kind::Int(1, i32::MAX),
        "60000",
        "The longest session timeout of the newer group protocol.",
    ),
    setting(
        "group.initial.rebalance.delay.ms",
        Kind::Int(0, i32::MAX),
        "3000",
        "How long an empty group waits for more members before its first rebalance.",
    ),
    setting(
        "group.max.session.timeout.ms",
        Kind::Int(1, i32::MAX),
        "1800000",
        "The longest session timeout that a group member may ask for.",
    ),
    setting("group.max.size", Kind::Int(1, i32::MAX), "2147483647", "The most members of one group."),
    setting(
        "group.min.session.timeout.ms",
        Kind::Int(1, i32::MAX),
        "6000",
        "The shortest session timeout that a group member may ask for.",
    ),
    setting(
        "inter.broker.protocol.version",
        Kind::Text,
        "4.1-IV1",
        "The version of Kafka whose behaviour is followed, for tools that tell features by it.",
    ),
    setting("listeners", Kind::Text, "", "The addresses that the server listens on."),
    setting("log.dir", Kind::Text, "", "The data directory."),
    setting("log.dirs", Kind::Text, "", "The data directory."),
    setting(
        "log.retention.check.interval.ms",
        Kind::Long(1, ANY),
        "300000",
        "How often retention is looked at.",
    ),
    setting("max.connections", Kind::Int(0, i32::MAX), "2147483647", "The most connections at once."),
    setting(
        "max.connections.per.ip",
        Kind::Int(0, i32::MAX),
        "2147483647",
        "The most connections at once from one address.",
    ),
    setting("node.id", Kind::Int(0, i32::MAX), "0", "The id of this server."),
    setting("num.partitions", Kind::Int(1, i32::MAX), "1", "Partitions of a new topic that does not say."),
    setting(
        "offset.metadata.max.bytes",
        Kind::Int(0, i32::MAX),
        "4096",
        "The longest note beside a committed offset.",
    ),
    setting(
        "offsets.retention.minutes",
        Kind::Int(1, i32::MAX),
        "10080",
        "How long the offsets of an empty group are kept.",
    ),
    setting("process.roles", Kind::List, "broker,controller", "What this process does."),
    setting(
        "producer.id.expiration.ms",
        Kind::Int(1, i32::MAX),
        "86400000",
        "After which idle time an idempotent producer is forgotten.",
    ),
    setting("queued.max.requests", Kind::Int(1, i32::MAX), "500", "Requests that may wait."),
    setting(
        "replica.fetch.max.bytes",
        Kind::Int(0, i32::MAX),
        "1048576",
        "Bytes of one replica's fetch. There is one replica.",
    ),
    setting("socket.request.max.bytes", Kind::Int(1, i32::MAX), "104857600", "The largest request."),
    setting(
        "transaction.max.timeout.ms",
        Kind::Int(1, i32::MAX),
        "900000",
        "The longest that a transaction may stay open.",
    ),
    setting(
        "transactional.id.expiration.ms",
        Kind::Int(1, i32::MAX),
        "604800000",
        "After which idle time a transactional id is forgotten.",
    ),
];

const fn setting(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Spec {
    Spec { name, kind, default, server_names: &[], effect: Effect::Applied, doc }
}

/// The broker's settings, by name: what the caller knows of them, then the defaults for topics, each under its first
/// server name.
///
/// `known` may name settings that are not in [`BROKER_SPECS`]; they are left out, for want of a meaning.
pub fn describe_broker(known: &BTreeMap<&str, String>, topic_defaults: &Overrides) -> Vec<Described> {
    let own = BROKER_SPECS.iter().map(|spec| describe_one(spec, known.get(spec.name).map(String::as_str)));
    let of_topics = TOPIC_SPECS.iter().filter_map(|spec| {
        let name = spec.server_names.first()?;
        Some(describe_one(&Spec { name, ..*spec }, topic_defaults.get(spec.name)))
    });
    let mut all: Vec<_> = own.chain(of_topics).collect();
    all.sort_by_key(|described| described.name);
    all
}

fn describe_one(spec: &Spec, value: Option<&str>) -> Described {
    let places = [value.map(|value| (value, Source::Server)), Some((spec.default, Source::Default))];
    let synonym = |(value, source): (&str, _)| Synonym { name: spec.name, value: value.to_owned(), source };
    Described::of(spec, places.into_iter().flatten().map(synonym).collect(), true)
}
