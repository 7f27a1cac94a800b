//! The offset at which each partition starts.

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;

use super::position::Position;
use crate::client::Quiet;
use crate::client::cluster::Partition;
use crate::client::offsets::{Offsets, Which, look_up};

/// Looks up where `from` is in each of `partitions`.
pub(crate) fn offsets(
    client: &BaseConsumer<Quiet>,
    partitions: &[Partition],
    from: Position,
) -> Result<Offsets> {
    match from {
        Position::Beginning => look_up(client, partitions, Which::Earliest),
        Position::End => look_up(client, partitions, Which::Latest),
        Position::Time(timestamp_ms) => look_up(client, partitions, Which::At(timestamp_ms)),
        Position::Offset(offset) => clamp(client, partitions, |_, _| offset),
        Position::Last(count) => clamp(client, partitions, |_, end| end.saturating_sub(count)),
    }
}

/// An offset computed from start and end, moved to where there are records.
fn clamp(
    client: &BaseConsumer<Quiet>,
    partitions: &[Partition],
    wanted: impl Fn(i64, i64) -> i64,
) -> Result<Offsets> {
    let start = look_up(client, partitions, Which::Earliest)?;
    let mut end = look_up(client, partitions, Which::Latest)?;
    for (partition, end) in &mut end {
        let start = start[partition];
        *end = wanted(start, *end).clamp(start, (*end).max(start));
    }
    Ok(end)
}
