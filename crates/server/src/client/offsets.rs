//! Offsets of many partitions with one request per broker.
//!
//! ListOffsets takes a timestamp and knows two special ones, -2 for the earliest offset and -1 for the latest
//! (Kafka protocol guide, ListOffsets). The client library passes them through, so one call serves all three
//! questions.

use std::collections::BTreeMap;

use annals_clock::TimestampMs;
use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Partition;
use super::{ANSWER_TIMEOUT, Quiet, explain};

/// An offset for each partition.
pub(crate) type Offsets = BTreeMap<Partition, i64>;

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Which {
    /// The first record that is kept.
    Earliest,
    /// Behind the last record.
    Latest,
    /// The first record at or after a moment; behind the last record if there is none.
    At(TimestampMs),
}

impl Which {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::At(timestamp_ms) => timestamp_ms.max(0),
        }
    }
}

/// Looks up the offset that `which` asks for in each of `partitions`.
pub(crate) fn look_up(
    client: &BaseConsumer<Quiet>,
    partitions: &[Partition],
    which: Which,
) -> Result<Offsets> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let mut found = ask(client, partitions, which)?;
    let missing: Vec<Partition> = partitions.iter().filter(|p| !found.contains_key(*p)).cloned().collect();
    match which {
        Which::At(_) => found.extend(look_up(client, &missing, Which::Latest)?),
        Which::Earliest | Which::Latest => {
            if let Some(partition) = missing.first() {
                bail!("the broker gave no offset for {partition}");
            }
        }
    }
    Ok(found)
}

fn ask(client: &BaseConsumer<Quiet>, partitions: &[Partition], which: Which) -> Result<Offsets> {
    let mut question = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let timestamp = Offset::from_raw(which.timestamp());
        question
            .add_partition_offset(&partition.topic, partition.number, timestamp)
            .map_err(|error| explain(&error))?;
    }
    let answer = client
        .offsets_for_times(question, ANSWER_TIMEOUT)
        .map_err(|error| explain(&error))
        .context("cannot look up offsets")?;
    read_answer(&answer)
}

fn read_answer(answer: &TopicPartitionList) -> Result<Offsets> {
    let mut offsets = Offsets::new();
    for element in answer.elements() {
        let partition = Partition::new(element.topic(), element.partition());
        element
            .error()
            .map_err(|error| explain(&error))
            .with_context(|| format!("cannot look up an offset of {partition}"))?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(partition, offset);
        }
    }
    Ok(offsets)
}

/// A list for the client library with an offset for each partition.
pub(crate) fn to_list(offsets: &Offsets) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset))
            .map_err(|error| explain(&error))?;
    }
    Ok(list)
}
