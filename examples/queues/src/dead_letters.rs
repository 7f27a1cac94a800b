//! Errors: a message that cannot be processed is tried again after a delay that grows, and parked when that does not help.
//!
//! ```text
//!                   +-- retry.1 (100 ms) --+
//!   payments <------+-- retry.2 (200 ms) --+<-- a failure that may pass
//!      |            +-- retry.3 (400 ms) --+
//!      +--> consumer --------------------------> parked: a failure that stays, or the fourth one
//! ```
//!
//! A retry queue is one in which messages wait: their time to live runs out, and the queue's dead letters go back to where
//! they came from. Each delay has its own queue, since a message leaves only from a queue's head. The consumer moves a
//! message by publishing it, waiting for the confirm, and acknowledging the old one: a crash between may double it, and
//! never loses it.

use std::collections::BTreeMap;
use std::time::Duration;

use annals::Clock;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};

use crate::Error;
use crate::broker::{channel, connect, consume, new_queue, next, publish};

const QUEUE: &str = "example.payments";
const PARKED: &str = "example.payments.parked";
/// How long the first, second and third retry wait.
const DELAYS_MS: [u32; 3] = [100, 200, 400];
/// Which attempt a message is at, counted from 1; without the header it is the first.
const ATTEMPT: &str = "attempt";
const REASON: &str = "reason";

/// Why a payment was not made.
enum PaymentError {
    /// It may work later.
    Passing(&'static str),
    /// It will not.
    Lasting(&'static str),
}

/// The payment service: what becomes of each order depends on the order.
fn pay(order: &str, attempt: u32) -> Result<(), PaymentError> {
    match (order, attempt) {
        ("O-124", 1 | 2) => Err(PaymentError::Passing("gateway timeout")),
        ("O-125", _) => Err(PaymentError::Passing("gateway down")),
        ("O-126", _) => Err(PaymentError::Lasting("insufficient funds")),
        _ => Ok(()),
    }
}

async fn declare(channel: &Channel) -> Result<(), Error> {
    new_queue(channel, QUEUE, FieldTable::default()).await?;
    new_queue(channel, PARKED, FieldTable::default()).await?;
    for (number, delay_ms) in (1..).zip(DELAYS_MS) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongUInt(delay_ms));
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(QUEUE.into()));
        new_queue(channel, &retry_queue(number), arguments).await?;
    }
    Ok(())
}

fn retry_queue(number: u32) -> String {
    format!("{QUEUE}.retry.{number}")
}

/// The consumer, and when it moved what into a retry queue.
struct Payments {
    channel: Channel,
    orders: Consumer,
    clock: Clock,
    moved: BTreeMap<String, Duration>,
}

impl Payments {
    /// Takes one order and returns what became of it.
    async fn work(&mut self) -> Result<String, Error> {
        let delivery = next(&mut self.orders).await?;
        let order = String::from_utf8(delivery.data.clone())?;
        let attempt = attempt(&delivery);
        self.check_delay(&order, attempt)?;
        let told = match pay(&order, attempt) {
            Ok(()) => format!("{order}: paid at attempt {attempt}"),
            Err(PaymentError::Lasting(reason)) => self.park(&order, attempt, reason).await?,
            Err(PaymentError::Passing(reason)) => match DELAYS_MS.get(attempt as usize - 1) {
                Some(delay_ms) => {
                    let next = properties(attempt + 1, reason);
                    self.moved.insert(order.clone(), self.clock.monotonic());
                    publish(&self.channel, "", &retry_queue(attempt), &order, next).await?;
                    format!("{order}: {reason} at attempt {attempt}, again in {delay_ms} ms")
                }
                None => self.park(&order, attempt, reason).await?,
            },
        };
        delivery.acker.ack(BasicAckOptions::default()).await?;
        Ok(told)
    }

    async fn park(&self, order: &str, attempt: u32, reason: &str) -> Result<String, Error> {
        publish(&self.channel, "", PARKED, order, properties(attempt, reason)).await?;
        Ok(format!("{order}: {reason} at attempt {attempt}, parked"))
    }

    /// A retry that comes before its time is a mistake of the broker.
    fn check_delay(&self, order: &str, attempt: u32) -> Result<(), Error> {
        let Some(moved) = self.moved.get(order) else { return Ok(()) };
        let (waited, delay_ms) = (self.clock.monotonic() - *moved, DELAYS_MS[attempt as usize - 2]);
        // The broker counts in whole milliseconds.
        if waited + Duration::from_millis(1) < Duration::from_millis(delay_ms.into()) {
            return Err(format!("{order} came back after {waited:?} instead of {delay_ms} ms").into());
        }
        Ok(())
    }
}

fn properties(attempt: u32, reason: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(ATTEMPT.into(), AMQPValue::LongInt(attempt.cast_signed()));
    headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    BasicProperties::default().with_headers(headers)
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

fn attempt(delivery: &Delivery) -> u32 {
    match header(delivery, ATTEMPT) {
        Some(AMQPValue::LongInt(attempt)) => attempt.cast_unsigned(),
        _ => 1,
    }
}

/// Four payments: one works, one works at the third attempt, one never does, one is hopeless.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let connection = connect(uri).await?;
    let producer = channel(&connection).await?;
    declare(&producer).await?;
    let orders = consume(&producer, QUEUE, 1).await?;
    let clock = Clock::system();
    let mut payments = Payments { channel: producer, orders, clock, moved: BTreeMap::new() };
    let mut lines = Vec::new();
    // One after the other, so that the story is always the same.
    for (order, attempts) in [("O-123", 1), ("O-124", 3), ("O-125", 4), ("O-126", 1)] {
        publish(&payments.channel, "", QUEUE, order, BasicProperties::default()).await?;
        for _ in 0..attempts {
            lines.push(payments.work().await?);
        }
    }
    while let Some(parked) = payments.channel.basic_get(PARKED.into(), BasicGetOptions::default()).await? {
        let reason = match header(&parked.delivery, REASON) {
            Some(AMQPValue::LongString(reason)) => reason.to_string(),
            _ => String::new(),
        };
        let order = String::from_utf8_lossy(&parked.delivery.data);
        lines.push(format!(
            "an operator finds {order} after {} attempts: {reason}",
            attempt(&parked.delivery)
        ));
        parked.delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(lines)
}
