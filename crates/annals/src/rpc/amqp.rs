//! Requests over AMQP 0-9-1: a server of Annals, or RabbitMQ.
//!
//! Replies come by direct reply-to, which needs no queue and no right to make one. Requests are published with confirms and
//! as mandatory, so that a subject without a queue is known at once. A reply is published on the channel on which its
//! request came, before the acknowledgement: a server takes both in that order, so that no confirm is needed. One connection
//! serves everything; who finds it broken makes a new one.
//! Source: RabbitMQ's documentation, "Direct Reply-to" and "Consumer Acknowledgements and Publisher Confirms".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    PublisherConfirm,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::transport::{
    Incoming, Message, Outgoing, Receipt, Replies, Requests, Sent, Serving, Transport, TransportError,
};

/// The name that stands for the requester's own address.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// How long a server may take to let the client in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Delivery mode of messages that do not survive a restart: who asks does not wait that long.
const TRANSIENT: u8 = 1;

pub(super) struct Amqp {
    uri: String,
    connection: tokio::sync::Mutex<Arc<Connection>>,
}

impl Amqp {
    pub(super) async fn connect(uri: &str) -> Result<Self, TransportError> {
        if !uri.starts_with("amqp://") {
            return Err(TransportError::new("an address looks like amqp://USER:PASSWORD@HOST:PORT/VHOST"));
        }
        let connection = tokio::sync::Mutex::new(connect(uri).await?);
        Ok(Self { uri: uri.to_owned(), connection })
    }

    async fn channel(&self) -> Result<Channel, TransportError> {
        let mut connection = self.connection.lock().await;
        if !connection.status().connected() {
            *connection = connect(&self.uri).await?;
        }
        let connection = Arc::clone(&connection);
        connection.create_channel().await.map_err(error)
    }

    /// Makes the queue if it is not there. A declare that fails takes its channel with it.
    async fn make_queue(&self, subject: &ShortString) -> Result<(), TransportError> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        if channel.queue_declare(subject.clone(), passive, FieldTable::default()).await.is_ok() {
            return Ok(());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await?;
        channel.queue_declare(subject.clone(), options, FieldTable::default()).await.map_err(error)?;
        Ok(())
    }
}

async fn connect(uri: &str) -> Result<Arc<Connection>, TransportError> {
    let properties = ConnectionProperties::default().with_connection_name("annals requests".into());
    match tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect(uri, properties)).await {
        Ok(connected) => Ok(Arc::new(connected.map_err(error)?)),
        Err(_) => Err(TransportError::new("the server does not answer")),
    }
}

fn error(error: lapin::Error) -> TransportError {
    TransportError::new(error)
}

fn short(text: impl Into<String>) -> Result<ShortString, TransportError> {
    ShortString::try_new(text.into()).map_err(TransportError::new)
}

#[async_trait]
impl Transport for Amqp {
    async fn open_requests(&self) -> Result<Requests, TransportError> {
        let channel = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(error)?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default());
        let replies = In(replies.await.map_err(error)?);
        Ok(Requests {
            outgoing: Arc::new(Out { channel, confirms: Mutex::default() }),
            replies: Box::new(replies),
        })
    }

    async fn serve(&self, subject: &str, window: u16) -> Result<Box<dyn Serving>, TransportError> {
        let subject = short(subject)?;
        self.make_queue(&subject).await?;
        let channel = self.channel().await?;
        channel.basic_qos(window, BasicQosOptions::default()).await.map_err(error)?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(subject, "".into(), options, FieldTable::default());
        let consumer = consumer.await.map_err(error)?;
        Ok(Box::new(Taking { channel, consumer }))
    }
}

struct Out {
    channel: Channel,
    /// Confirms that are awaited. A confirm that nobody awaits any more would be kept for ever.
    confirms: Mutex<JoinSet<()>>,
}

impl Out {
    fn confirmed(&self, confirm: PublisherConfirm) -> oneshot::Receiver<lapin::Result<Confirmation>> {
        let (sender, receiver) = oneshot::channel();
        let mut confirms = self.confirms.lock().unwrap_or_else(PoisonError::into_inner);
        while confirms.try_join_next().is_some() {}
        confirms.spawn(async move { drop(sender.send(confirm.await)) });
        receiver
    }
}

#[async_trait]
impl Outgoing for Out {
    async fn send(&self, subject: &str, message: Message) -> Result<Sent, TransportError> {
        let message = Message { reply_to: Some(REPLY_TO.to_owned()), ..message };
        let confirm = publish(&self.channel, subject, message, true).await?;
        let confirmed =
            self.confirmed(confirm).await.map_err(|_| TransportError::new("the channel closed"))?;
        Ok(match confirmed.map_err(error)? {
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Sent::NoQueue,
            Confirmation::Nack(None) => Sent::Refused,
            Confirmation::Ack(None) | Confirmation::NotRequested => Sent::Queued,
        })
    }
}

async fn publish(
    channel: &Channel,
    queue: &str,
    message: Message,
    mandatory: bool,
) -> Result<PublisherConfirm, TransportError> {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let (properties, body) = to_properties(message)?;
    channel.basic_publish("".into(), short(queue)?, options, &body, properties).await.map_err(error)
}

struct In(Consumer);

#[async_trait]
impl Replies for In {
    async fn next(&mut self) -> Result<Message, TransportError> {
        next(&mut self.0).await.map(|(message, _, _)| message)
    }
}

struct Taking {
    channel: Channel,
    consumer: Consumer,
}

#[async_trait]
impl Serving for Taking {
    async fn next(&mut self) -> Result<Incoming, TransportError> {
        let (message, redelivered, acker) = next(&mut self.consumer).await?;
        let receipt = Held { channel: self.channel.clone(), acker };
        Ok(Incoming { message, redelivered, receipt: Box::new(receipt) })
    }

    async fn stop(&mut self) {
        // What was prefetched goes back when the last of the channel's handles is dropped, and so it does if this fails.
        let _ = self.channel.basic_cancel(self.consumer.tag(), Default::default()).await;
    }
}

struct Held {
    channel: Channel,
    acker: Acker,
}

#[async_trait]
impl Receipt for Held {
    async fn finish(self: Box<Self>, reply: Option<(String, Message)>) -> Result<(), TransportError> {
        if let Some((reply_to, message)) = reply {
            publish(&self.channel, &reply_to, message, false).await?;
        }
        match self.acker.ack(BasicAckOptions::default()).await.map_err(error)? {
            true => Ok(()),
            false => Err(TransportError::new("the connection was lost: somebody else gets the request")),
        }
    }
}

async fn next(consumer: &mut Consumer) -> Result<(Message, bool, Acker), TransportError> {
    match consumer.next().await {
        Some(Ok(Delivery { properties, data, redelivered, acker, .. })) => {
            Ok((from_properties(&properties, data), redelivered, acker))
        }
        Some(Err(cause)) => Err(error(cause)),
        None => Err(TransportError::new("the server ended the consumer")),
    }
}

fn to_properties(message: Message) -> Result<(BasicProperties, bytes::Bytes), TransportError> {
    let Message { id, correlation_id, reply_to, content_type, expires, headers, body } = message;
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(short(name)?, AMQPValue::LongString(value.into()));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(TRANSIENT).with_headers(table);
    if let Some(id) = id {
        properties = properties.with_message_id(short(id)?);
    }
    if let Some(id) = correlation_id {
        properties = properties.with_correlation_id(short(id)?);
    }
    if let Some(reply_to) = reply_to {
        properties = properties.with_reply_to(short(reply_to)?);
    }
    if let Some(content_type) = content_type {
        properties = properties.with_content_type(short(content_type)?);
    }
    if let Some(expires) = expires {
        // A part of a millisecond is one; RabbitMQ takes no more than this.
        let ms = expires.as_millis().clamp(1, u32::MAX.into());
        properties = properties.with_expiration(short(ms.to_string())?);
    }
    Ok((properties, body))
}

fn from_properties(properties: &BasicProperties, data: Vec<u8>) -> Message {
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let ms = properties.expiration().as_ref().and_then(|text| text.as_str().parse().ok());
    let headers = properties.headers().as_ref().map(FieldTable::inner).into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| match value {
        AMQPValue::LongString(value) => Some((name.to_string(), value.to_string())),
        _ => None,
    });
    Message {
        id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        content_type: text(properties.content_type()),
        expires: ms.map(Duration::from_millis),
        headers: headers.collect(),
        body: data.into(),
    }
}
