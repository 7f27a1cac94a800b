//! Where `annals group reset` moves offsets to.

use annals_clock::{Clock, TimestampMs};
use anyhow::{Result, bail};
use rdkafka::consumer::BaseConsumer;

use crate::client::Quiet;
use crate::client::cluster::Partition;
use crate::client::offsets::{Offsets, Which, look_up};
use crate::moment;

/// The target: exactly one of these is given.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// To the first record that is kept
    #[arg(long)]
    to_earliest: bool,

    /// Behind the last record: skip what is there
    #[arg(long)]
    to_latest: bool,

    /// To this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,

    /// To the first record at or after this time (RFC 3339, milliseconds, or "10m ago")
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to_time: Option<TimestampMs>,

    /// By so many records, forwards or (negative) backwards
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
}

fn parse_time(text: &str) -> Result<TimestampMs, String> {
    moment::parse(text, Clock::system().now_ms())
}

impl TargetArgs {
    /// The new offset of each partition, within what the broker keeps.
    pub(crate) fn resolve(
        &self,
        client: &BaseConsumer<Quiet>,
        partitions: &[Partition],
        committed: &Offsets,
    ) -> Result<Offsets> {
        let start = look_up(client, partitions, Which::Earliest)?;
        let end = look_up(client, partitions, Which::Latest)?;
        if let Some(timestamp_ms) = self.to_time {
            return look_up(client, partitions, Which::At(timestamp_ms));
        }
        let mut targets = Offsets::new();
        for partition in partitions {
            let (start, end) = (start[partition], end[partition]);
            let wanted = self.wanted(partition, start, end, committed)?;
            targets.insert(partition.clone(), wanted.clamp(start, end));
        }
        Ok(targets)
    }

    fn wanted(&self, partition: &Partition, start: i64, end: i64, committed: &Offsets) -> Result<i64> {
        if let Some(offset) = self.to_offset {
            return Ok(offset);
        }
        if let Some(records) = self.shift_by {
            let Some(offset) = committed.get(partition) else {
                bail!("the group has no offset for {partition} to shift from; use --to-offset");
            };
            return Ok(offset.saturating_add(records));
        }
        Ok(if self.to_earliest { start } else { end })
    }
}
