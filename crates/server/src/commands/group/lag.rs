//! How far behind a group is, in time.
//!
//! Records behind say little: a thousand may be a second or a day. Time lag is the age of the first record
//! that the group has not consumed, and to know it that record is read, one of each partition, all partitions
//! at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use annals_clock::{Clock, TimestampMs};
use anyhow::Result;
use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use crate::client::cluster::Partition;
use crate::client::offsets::{Offsets, to_list};
use crate::client::{Connection, Quiet, explain};

/// How long to wait for one more record where none may come, for example where only transaction markers are
/// left.
const PATIENCE: Duration = Duration::from_secs(3);

/// The timestamps of the records at `offsets`, or of the next ones where those are gone. Partitions without a
/// record there are left out.
pub(crate) fn timestamps(
    connection: &Connection,
    offsets: &Offsets,
    clock: &Clock,
) -> Result<BTreeMap<Partition, TimestampMs>> {
    let mut found = BTreeMap::new();
    if offsets.is_empty() {
        return Ok(found);
    }
    let reader = reader(connection)?;
    reader.assign(&to_list(offsets)?).map_err(|error| explain(&error))?;
    let mut open: BTreeSet<&Partition> = offsets.keys().collect();
    let mut deadline = clock.monotonic() + PATIENCE;
    while !open.is_empty() && clock.monotonic() < deadline {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = Partition::new(message.topic(), message.partition());
                pause(&reader, &partition)?;
                open.remove(&partition);
                deadline = clock.monotonic() + PATIENCE;
                found.entry(partition).or_insert(message.timestamp().to_millis().unwrap_or(-1));
            }
            Some(Err(KafkaError::PartitionEOF(number))) => close_ended(&mut open, offsets, number),
            Some(Err(error)) => return Err(explain(&error)),
            None => {}
        }
    }
    found.retain(|_, timestamp_ms| *timestamp_ms >= 0);
    Ok(found)
}

/// Gives up on the partition that ended. The client library tells its number alone, so this waits for nothing
/// only where that number is the number of one partition.
fn close_ended(open: &mut BTreeSet<&Partition>, offsets: &Offsets, number: i32) {
    if offsets.keys().filter(|partition| partition.number == number).count() == 1 {
        open.retain(|partition| partition.number != number);
    }
}

/// One record is enough, so fetches are kept as small as brokers allow.
fn reader(connection: &Connection) -> Result<BaseConsumer<Quiet>> {
    let mut config = connection.config_with(&[
        ("max.partition.fetch.bytes", "1024"),
        ("fetch.wait.max.ms", "50"),
        ("auto.offset.reset", "earliest"),
    ]);
    config.set("group.id", "annals-lag");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    connection.create(&config, Quiet)
}

fn pause(reader: &BaseConsumer<Quiet>, partition: &Partition) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&partition.topic, partition.number);
    reader.pause(&list).map_err(|error| explain(&error))
}
