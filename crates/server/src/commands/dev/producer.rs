//! The sample producer.

use std::time::Duration;

use annals_event::kafka;
use anyhow::{Context, Result};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::BaseProducer;

use super::events::{Sample, Shop};
use super::stats::Stats;
use super::topics;
use crate::client::Connection;
use crate::client::delivery::{self, Deliveries, Outgoing, add_headers};
use crate::interrupt::Interrupt;

/// Sends about `rate` events a second until `shutdown`.
pub(crate) fn run(connection: &Connection, rate: u64, stats: &Stats, shutdown: &Interrupt) -> Result<()> {
    let config = connection.config_with(&[
        ("client.id", "annals-dev-producer"),
        ("enable.idempotence", "true"),
        ("linger.ms", "1"),
    ]);
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> = connection.create(&config, deliveries.clone())?;
    delivery::warm_up(&producer, topics::TOPICS[0].0);
    let mut shop = Shop::new(&stats.clock);
    let start = stats.clock.monotonic();
    let mut sent = 0;
    loop {
        let due = start + Duration::from_secs_f64(sent as f64 / rate as f64);
        let pause = due.saturating_sub(stats.clock.monotonic());
        producer.poll(Duration::ZERO);
        if shutdown.wait(pause) {
            break;
        }
        for sample in shop.next()? {
            send(&producer, &sample, stats)?;
            sent += 1;
        }
        check(&deliveries)?;
    }
    delivery::drain(&producer, || true);
    check(&deliveries)
}

fn send(producer: &BaseProducer<Deliveries>, sample: &Sample, stats: &Stats) -> Result<()> {
    let message = kafka::encode(&sample.event);
    let headers = Some(add_headers(OwnedHeaders::new(), &message.headers));
    stats.sent(sample.topic, sample.event.id());
    let (key, value) = (message.key.as_deref(), message.value.as_deref());
    delivery::send(producer, sample.topic, Outgoing { key, value, partition: None, headers })
}

fn check(deliveries: &Deliveries) -> Result<()> {
    match deliveries.first_failure() {
        Some(reason) => Err(reason).context("a sample event could not be written"),
        None => Ok(()),
    }
}
