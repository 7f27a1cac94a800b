//! Topics and partitions as the broker describes them.

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use serde::Serialize;

use super::{ANSWER_TIMEOUT, Quiet, explain};
use crate::nearest;

/// Topics that the broker keeps for itself.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// One partition of a topic. Equal to itself only, and ordered as people list partitions.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Partition {
    /// The topic's name.
    pub(crate) topic: String,
    /// The partition's number.
    pub(crate) number: i32,
}

impl Partition {
    /// The partition `number` of `topic`.
    pub(crate) fn new(topic: &str, number: i32) -> Self {
        Self { topic: topic.to_owned(), number }
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.topic, self.number)
    }
}

/// A topic and where its partitions are.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Topic {
    /// The topic's name.
    pub(crate) name: String,
    /// Its partitions, by number.
    pub(crate) partitions: Vec<Placement>,
}

/// Where the replicas of a partition are.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Placement {
    /// The partition's number.
    pub(crate) partition: i32,
    /// The broker that serves it, or -1.
    pub(crate) leader: i32,
    /// The brokers that hold it.
    pub(crate) replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub(crate) in_sync: Vec<i32>,
}

impl Topic {
    /// The topic's partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        self.partitions.iter().map(|placement| Partition::new(&self.name, placement.partition))
    }

    /// Whether the broker keeps it for itself.
    pub(crate) fn is_internal(&self) -> bool {
        INTERNAL.contains(&self.name.as_str())
    }

    fn from_metadata(topic: &MetadataTopic) -> Self {
        let mut partitions: Vec<Placement> =
            topic.partitions().iter().map(Placement::from_metadata).collect();
        partitions.sort_by_key(|placement| placement.partition);
        Self { name: topic.name().to_owned(), partitions }
    }
}

impl Placement {
    fn from_metadata(partition: &rdkafka::metadata::MetadataPartition) -> Self {
        Self {
            partition: partition.id(),
            leader: partition.leader(),
            replicas: partition.replicas().to_vec(),
            in_sync: partition.isr().to_vec(),
        }
    }
}

/// All topics, by name.
pub(crate) fn topics(client: &BaseConsumer<Quiet>) -> Result<Vec<Topic>> {
    let metadata = client
        .fetch_metadata(None, ANSWER_TIMEOUT)
        .map_err(|error| explain(&error))
        .context("cannot list topics")?;
    let mut topics: Vec<Topic> = metadata.topics().iter().map(Topic::from_metadata).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// One topic.
///
/// # Errors
/// If it does not exist; names the one that was probably meant. Never creates it.
pub(crate) fn topic(client: &BaseConsumer<Quiet>, name: &str) -> Result<Topic> {
    if let Some(topic) = find(client, name)? {
        return Ok(topic);
    }
    let all = topics(client)?;
    let hint = nearest::hint(name, all.iter().map(|topic| topic.name.as_str()));
    bail!("topic \"{name}\" does not exist{hint}")
}

/// One topic, if it exists. Never creates it.
pub(crate) fn find(client: &BaseConsumer<Quiet>, name: &str) -> Result<Option<Topic>> {
    let metadata = client
        .fetch_metadata(Some(name), ANSWER_TIMEOUT)
        .map_err(|error| explain(&error))
        .with_context(|| format!("cannot look up topic \"{name}\""))?;
    let found = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
    Ok(found.map(Topic::from_metadata).filter(|topic| !topic.partitions.is_empty()))
}

/// The number of brokers and the address of the first, to show what was connected to.
pub(crate) fn brokers(client: &BaseConsumer<Quiet>) -> Result<Vec<String>> {
    let metadata = client.fetch_metadata(None, ANSWER_TIMEOUT).map_err(|error| explain(&error))?;
    Ok(metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect())
}
