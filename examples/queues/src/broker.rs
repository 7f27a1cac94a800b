//! What all stories need of a broker.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};

use crate::Error;

pub(crate) async fn connect(uri: &str) -> Result<Connection, Error> {
    Ok(Connection::connect(uri, ConnectionProperties::default()).await?)
}

/// A channel whose publishes are confirmed.
pub(crate) async fn channel(connection: &Connection) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A durable queue, new and empty.
pub(crate) async fn new_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Error> {
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await?;
    Ok(())
}

/// A durable exchange, new and without bindings.
pub(crate) async fn new_exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), Error> {
    channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
    Ok(())
}

/// A queue that is this connection's alone and goes with it, bound to `exchange` with each of `keys`. Returns its consumer.
pub(crate) async fn subscribe(channel: &Channel, exchange: &str, keys: &[&str]) -> Result<Consumer, Error> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
    for &key in keys {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.clone(), exchange.into(), key.into(), options, FieldTable::default())
            .await?;
    }
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    Ok(channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?)
}

/// Consumes `queue` with acknowledgements, holding at most `prefetch` messages.
pub(crate) async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, Error> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
}

/// Publishes and waits until the broker has it on disk. Returns whether any queue wanted it.
pub(crate) async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> Result<bool, Error> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = properties.with_delivery_mode(2);
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
    match sent.await?.await? {
        Confirmation::Ack(returned) => Ok(returned.is_none()),
        refused => Err(format!("the broker refuses {key}: {refused:?}").into()),
    }
}

/// The next message.
pub(crate) async fn next(consumer: &mut Consumer) -> Result<Delivery, Error> {
    Ok(consumer.next().await.ok_or("the consumer was cancelled")??)
}

/// The next message's body.
pub(crate) async fn next_text(consumer: &mut Consumer) -> Result<String, Error> {
    Ok(String::from_utf8(next(consumer).await?.data)?)
}
