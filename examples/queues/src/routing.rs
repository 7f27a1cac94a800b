//! Routing: a direct exchange gives a message to the queues that are bound with exactly its key.
//!
//! The keys here are the kinds of events: domain, integration and system events. A queue may be bound with several keys, and
//! several queues with the same. A message whose key nobody is bound with comes back, if the publisher asks for that.

use lapin::{BasicProperties, ExchangeKind};

use crate::Error;
use crate::broker::{channel, connect, new_exchange, next_text, publish, subscribe};

const EXCHANGE: &str = "example.events";

/// Events, with their kinds.
const EVENTS: [(&str, &str); 5] = [
    ("domain", "OrderPlaced"),
    ("domain", "PaymentReceived"),
    ("integration", "CustomerCreated"),
    ("system", "ServiceStarted"),
    ("system", "HealthCheckPassed"),
];

/// Who listens to which kinds, and how many of the events that makes.
const LISTENERS: [(&str, &[&str], usize); 3] = [
    ("Shipping", &["domain"], 2),
    ("Partners", &["domain", "integration"], 3),
    ("Operations", &["system"], 2),
];

/// Five events for three listeners, and one for nobody.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let connection = connect(uri).await?;
    let publisher = channel(&connection).await?;
    new_exchange(&publisher, EXCHANGE, ExchangeKind::Direct).await?;
    let mut listening = Vec::new();
    for (name, keys, count) in LISTENERS {
        let channel = connection.create_channel().await?;
        listening.push((name, subscribe(&channel, EXCHANGE, keys).await?, count));
    }
    for (kind, name) in EVENTS {
        publish(&publisher, EXCHANGE, kind, name, BasicProperties::default()).await?;
    }
    let mut lines = Vec::new();
    for (name, messages, count) in &mut listening {
        let mut got = Vec::new();
        for _ in 0..*count {
            got.push(next_text(messages).await?);
        }
        lines.push(format!("{name} gets {}", got.join(", ")));
    }
    let wanted = publish(&publisher, EXCHANGE, "audit", "AuditStarted", BasicProperties::default()).await?;
    lines.push(format!("AuditStarted comes back: {}", !wanted));
    Ok(lines)
}
