//! Publish and subscribe: the publisher knows no subscriber, and each subscriber gets every message.
//!
//! A fanout exchange copies what is published to the queue of each subscriber. A subscriber sees what is published after it
//! came; adding one changes nothing for the others, and without any the publisher notices nothing.

use lapin::{BasicProperties, ExchangeKind};

use crate::Error;
use crate::broker::{channel, connect, new_exchange, next_text, publish, subscribe};

const EXCHANGE: &str = "example.order-events";

/// Payment, inventory and e-mail hear of an order; analytics comes later and hears of the next one.
///
/// # Errors
/// If the broker does not do its part.
pub async fn story(uri: &str) -> Result<Vec<String>, Error> {
    let connection = connect(uri).await?;
    let publisher = channel(&connection).await?;
    new_exchange(&publisher, EXCHANGE, ExchangeKind::Fanout).await?;
    let event = |id: &str| format!(r#"{{"eventType":"OrderCreated","orderId":"{id}","total":150}}"#);
    let properties = || BasicProperties::default().with_content_type("application/json".into());
    let mut lines = Vec::new();

    let heard = publish(&publisher, EXCHANGE, "", &event("O-122"), properties()).await?;
    lines.push(format!("O-122 is published; is anybody there? {heard}"));

    let mut subscribers = Vec::new();
    for name in ["Payment", "Inventory", "Email"] {
        let channel = connection.create_channel().await?;
        subscribers.push((name, subscribe(&channel, EXCHANGE, &[""]).await?));
    }
    publish(&publisher, EXCHANGE, "", &event("O-123"), properties()).await?;
    let channel = connection.create_channel().await?;
    subscribers.push(("Analytics", subscribe(&channel, EXCHANGE, &[""]).await?));
    publish(&publisher, EXCHANGE, "", &event("O-124"), properties()).await?;

    for (name, messages) in &mut subscribers {
        let count = if *name == "Analytics" { 1 } else { 2 };
        for _ in 0..count {
            lines.push(format!("{name} gets {}", next_text(messages).await?));
        }
    }
    Ok(lines)
}
