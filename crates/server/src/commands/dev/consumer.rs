//! The sample consumer: a member of a group that follows all sample topics.

use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset};

use super::GROUP;
use super::stats::Stats;
use super::topics::TOPICS;
use crate::client::cluster::Partition;
use crate::client::offsets::Offsets;
use crate::client::{Connection, Quiet, explain};
use crate::interrupt::Interrupt;

/// How often the positions are noted.
const NOTE_EVERY: Duration = Duration::from_millis(200);

/// Follows the topics until `shutdown`, then commits and leaves the group.
pub(crate) fn run(connection: &Connection, stats: &Stats, shutdown: &Interrupt) -> Result<()> {
    let mut config = connection.config_with(&[
        ("client.id", "annals-dev-consumer"),
        ("auto.offset.reset", "latest"),
        ("auto.commit.interval.ms", "1000"),
        ("session.timeout.ms", "10000"),
        ("fetch.wait.max.ms", "500"),
    ]);
    config.set("group.id", GROUP);
    let consumer: BaseConsumer<Quiet> = connection.create(&config, Quiet)?;
    consumer.subscribe(&TOPICS.map(|(name, _)| name)).map_err(|error| explain(&error))?;
    let mut noted = Duration::ZERO;
    while !shutdown.is_raised() {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => stats.consumed(event_id(&message)),
            // The client library reconnects and retries by itself.
            Some(Err(error)) => tracing::debug!(%error, "the sample consumer goes on"),
            None => {}
        }
        if stats.clock.monotonic() >= noted + NOTE_EVERY {
            noted = stats.clock.monotonic();
            stats.positions(positions(&consumer)?);
        }
    }
    Ok(())
}

fn event_id<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a str> {
    let id = message.headers()?.iter().find(|header| header.key == "ce_id")?;
    std::str::from_utf8(id.value?).ok()
}

fn positions(consumer: &BaseConsumer<Quiet>) -> Result<Offsets> {
    let list = consumer.position().map_err(|error| explain(&error))?;
    let known = list.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((Partition::new(element.topic(), element.partition()), offset)),
        _ => None,
    });
    Ok(known.collect())
}
