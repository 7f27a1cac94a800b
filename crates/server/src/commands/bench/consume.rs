//! `annals bench consume`

use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::load::Load;
use super::{produce, report};
use crate::client::cluster::{self, Partition};
use crate::client::offsets::{Offsets, Which, look_up, to_list};
use crate::client::{Quiet, explain};

/// How long to go without a record before giving up.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Reads what is in the topic, once, as far as the count of the load goes.
pub(crate) fn run(load: &Load<'_>) -> Result<report::Run> {
    let client = load.connection.consumer(&[])?;
    let partitions: Vec<Partition> = cluster::topic(&client, load.topic())?.partitions().collect();
    if load.is_fresh() && stored(&client, &partitions)? == 0 {
        produce::run(load)?;
    }
    let start = look_up(&client, &partitions, Which::Earliest)?;
    let available = stored(&client, &partitions)?;
    if available == 0 {
        bail!("topic \"{}\" is empty; fill it with \"annals bench produce --keep\"", load.topic());
    }
    let wanted = load.args.count.unwrap_or(u64::MAX).min(available);
    read(load, &start, wanted)
}

fn stored(client: &BaseConsumer<Quiet>, partitions: &[Partition]) -> Result<u64> {
    let (start, end) =
        (look_up(client, partitions, Which::Earliest)?, look_up(client, partitions, Which::Latest)?);
    Ok(partitions.iter().map(|partition| (end[partition] - start[partition]).unsigned_abs()).sum())
}

fn read(load: &Load<'_>, start: &Offsets, wanted: u64) -> Result<report::Run> {
    let reader = reader(load)?;
    reader.assign(&to_list(start)?).map_err(|error| explain(&error))?;
    let mut open = start.len();
    let (mut records, mut bytes) = (0, 0);
    let begin = load.clock.monotonic();
    let mut last = begin;
    while records < wanted && open > 0 && !load.interrupt.is_raised() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                records += 1;
                bytes += (message.key_len() + message.payload_len()) as u64;
                last = load.clock.monotonic();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(explain(&error)),
            None if load.clock.monotonic() > last + SILENCE_MAX => bail!("no record came for 10 s"),
            None => {}
        }
    }
    Ok(report::Run::of_bytes("consume", records, bytes, last - begin, None))
}

fn reader(load: &Load<'_>) -> Result<BaseConsumer<Quiet>> {
    let mut config = load.connection.config_with(&[
        ("fetch.message.max.bytes", "4194304"),
        ("queued.max.messages.kbytes", "65536"),
        ("queued.min.messages", "1000000"),
        ("check.crcs", "false"),
    ]);
    config
        .set("group.id", "annals-bench")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
    load.connection.create(&config, Quiet)
}
