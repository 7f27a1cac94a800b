//! Topic configs: how they are written on the command line, and how they are read from the broker.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, ConfigEntry, ConfigSource, ResourceSpecifier};

use crate::client::{Quiet, admin_options, code_text, explain, wait};
use crate::nearest;

/// The topic configs of Apache Kafka 4.1, to find the one that was meant.
const KNOWN: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// A config as `NAME=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("\"{text}\" is not a config; write retention.ms=3600000")),
    }
}

/// Whether Apache Kafka 4.1 has a topic config of this name.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Words for a config that the broker refused: it answers with a code alone, so the likely slip is found
/// here.
pub(crate) fn refusal<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let unknown = names.into_iter().find(|name| !is_known(name));
    match unknown {
        Some(name) => {
            format!("\"{name}\" is not a topic config{}", nearest::hint(name, KNOWN.iter().copied()))
        }
        None => "the broker refused a value; see \"annals topic describe --all-configs\"".to_owned(),
    }
}

/// All configs of a topic, with where each value comes from.
pub(crate) fn read(admin: &AdminClient<Quiet>, topic: &str) -> Result<Vec<ConfigEntry>> {
    let resources = [ResourceSpecifier::Topic(topic)];
    let answer = wait(admin.describe_configs(&resources, &admin_options(false)))?;
    let answer = answer.map_err(|error| explain(&error)).context("cannot read configs")?;
    match answer.into_iter().next() {
        Some(Ok(resource)) => Ok(resource.entries),
        Some(Err(code)) => bail!("cannot read configs of topic \"{topic}\": {}", code_text(code)),
        None => bail!("the broker gave no configs for topic \"{topic}\""),
    }
}

/// The configs that were set on the topic itself.
pub(crate) fn own(entries: &[ConfigEntry]) -> BTreeMap<String, String> {
    let own = entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::{parse_pair, refusal};

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("retention").unwrap_err().contains("\"retention\""));
    }

    #[test]
    fn a_misspelt_config_is_found() {
        assert!(refusal(["retention.ms", "retenton.bytes"]).contains("did you mean \"retention.bytes\"?"));
        assert!(refusal(["retention.ms"]).contains("value"));
    }
}
