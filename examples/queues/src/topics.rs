//! Topics: keys are words between dots, and queues are bound with patterns. `*` stands for one word, `#` for any number, none
//! included.
//!
//! The events are those of an order on its way through a shop, and the services listen to what they need.

use lapin::{BasicProperties, ExchangeKind};

use crate::Error;
use crate::broker::{channel, connect, new_exchange, next_text, publish, subscribe};

const EXCHANGE: &str = "example.shop";

/// The way of order O-123, and the failure of another one.
const EVENTS: [&str; 5] =
    ["order.created", "payment.processed.visa", "inventory.reserved.nyc", "order.shipped", "payment.failed"];

/// Who listens to which patterns, and to which of the events that comes down.
const SERVICES: [(&str, &[&str], &[usize]); 7] = [
    ("Payment", &["order.created"], &[0]),
    ("Inventory", &["order.created", "payment.processed.*"], &[0, 1]),
    ("Shipping", &["inventory.#"], &[2]),
    ("Order", &["order.shipped", "*.failed"], &[3, 4]),
    ("Analytics", &["order.*"], &[0, 3]),
    ("Email", &["#"], &[0, 1, 2, 3, 4]),
    // Two patterns match the same event: it comes once. `payment.*` has no place for a third word.
    ("Fraud", &["payment.*", "#.failed"], &[4]),
];

/// Five events for seven services.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let connection = connect(uri).await?;
    let publisher = channel(&connection).await?;
    new_exchange(&publisher, EXCHANGE, ExchangeKind::Topic).await?;
    let mut listening = Vec::new();
    for (name, patterns, events) in SERVICES {
        let channel = connection.create_channel().await?;
        // The last event is for all, so that one too many would come before it.
        let keys = [patterns, &["the.end"]].concat();
        listening.push((name, subscribe(&channel, EXCHANGE, &keys).await?, events));
    }
    for key in EVENTS.into_iter().chain(["the.end"]) {
        publish(&publisher, EXCHANGE, key, key, BasicProperties::default()).await?;
    }
    let mut lines = Vec::new();
    for (name, messages, events) in &mut listening {
        let mut got = Vec::new();
        loop {
            match next_text(messages).await? {
                end if end == "the.end" => break,
                event => got.push(event),
            }
        }
        let expected: Vec<&str> = events.iter().map(|&number| EVENTS[number]).collect();
        if got != expected {
            return Err(format!("{name} got {got:?} instead of {expected:?}").into());
        }
        lines.push(format!("{name} gets {}", got.join(", ")));
    }
    Ok(lines)
}
