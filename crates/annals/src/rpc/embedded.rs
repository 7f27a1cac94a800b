//! Requests over the queues of a data directory that is open in this process: no network, no second copy.
//!
//! Requests and replies are transient messages: they stay in memory, where who asks is as well. Replies go to a queue that
//! is the requester's alone and goes with its consumer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::Caller;
use annals_broker::api::queues::consume::{Consume, ConsumerEvent, Delivery};
use annals_broker::api::queues::publish::{NewMessage, Publish, Published};
use annals_broker::api::queues::settle::{Lease, Settlement};
use annals_broker::api::queues::topology::{DeclareQueue, DeclareQueueError};
use annals_broker::api::queues::{
    Headers, LogStart, Message as Stored, OwnerId, Properties, QueueOptions, QueueRef, Text, Value,
};
use annals_broker::{Broker, Consumer};
use async_trait::async_trait;

use super::Client;
use super::transport::{
    Incoming, Message, Outgoing, Receipt, Replies, Requests, Sent, Serving, Transport, TransportError,
};
use crate::{Annals, Clock};

/// The virtual host that there always is.
const VHOST: &str = "/";

/// The queues cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("there are no queues here: open a data directory, or connect to the AMQP port of a server")]
pub struct NoQueues;

impl Annals {
    /// Requests and replies over the queues of this data directory; see [`rpc`](crate::rpc). Each call makes a client of its
    /// own, with its own place for replies.
    ///
    /// # Errors
    /// [`NoQueues`] if this is no open data directory.
    pub fn rpc(&self) -> Result<Client, NoQueues> {
        let (broker, open) = self.broker().ok_or(NoQueues)?;
        let core = Core { broker, clock: self.clock().clone(), caller: Caller::internal(), _open: open };
        Ok(Client::over(Arc::new(Embedded { core: Arc::new(core) }), self.clock().clone()))
    }
}

struct Embedded {
    core: Arc<Core>,
}

/// What everything here needs.
struct Core {
    broker: Broker,
    clock: Clock,
    caller: Caller,
    /// Keeps the data open.
    _open: Arc<dyn Send + Sync>,
}

impl Core {
    async fn declare(&self, name: &str, owner: OwnerId, for_replies: bool) -> Result<Text, TransportError> {
        let declare = DeclareQueue {
            vhost: VHOST.into(),
            name: name.into(),
            owner,
            durable: !for_replies,
            exclusive: for_replies,
            auto_delete: for_replies,
            options: QueueOptions::default(),
            arguments: Headers::new(),
        };
        match self.broker.declare_queue(&self.caller, declare).await {
            Ok(declared) => Ok(declared.name),
            // It is used as it is.
            Err(DeclareQueueError::Inequivalent { name, .. }) => Ok(name),
            Err(error) => Err(TransportError::new(error)),
        }
    }

    fn consume(
        &self,
        name: &Text,
        owner: OwnerId,
        no_ack: bool,
        window: u16,
    ) -> Result<Consumer, TransportError> {
        let consume = Consume {
            queue: QueueRef { vhost: VHOST.into(), name: name.clone(), owner },
            tag: "rpc".into(),
            session: 0,
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch: window.into(),
            shared: None,
            start: LogStart::Next,
            arguments: Headers::new(),
        };
        self.broker.consume(&self.caller, consume).map_err(TransportError::new)
    }

    async fn publish(
        &self,
        queue: &str,
        message: Message,
        reply_to: Option<Text>,
    ) -> Result<Sent, TransportError> {
        let message = to_stored(queue, message, reply_to);
        let messages = vec![NewMessage { message, more_keys: Vec::new() }];
        let publish = Publish { vhost: VHOST.into(), exchange: Text::empty(), messages };
        let ticket = self.broker.publish(&self.caller, publish).await.map_err(TransportError::new)?;
        let sent = match ticket.outcomes().first() {
            Some(Published::Unroutable(_)) => Sent::NoQueue,
            Some(Published::Refused) => Sent::Refused,
            Some(Published::Queued(_)) | None => Sent::Queued,
        };
        ticket.durable().await.map_err(TransportError::new)?;
        Ok(sent)
    }

    fn settle(&self, lease: Lease, settlement: Settlement) {
        // Takes effect at once; after a crash there are no transient messages to be settled.
        drop(self.broker.settle(&self.caller, &[lease], settlement));
    }
}

#[async_trait]
impl Transport for Embedded {
    async fn open_requests(&self) -> Result<Requests, TransportError> {
        let owner = self.core.broker.new_owner();
        let address = self.core.declare("", owner, true).await?;
        let consumer = self.core.consume(&address, owner, true, 0)?;
        let replies = Inbox::new(&self.core, consumer);
        let outgoing = Out { core: Arc::clone(&self.core), address };
        Ok(Requests { outgoing: Arc::new(outgoing), replies: Box::new(replies) })
    }

    async fn serve(&self, subject: &str, window: u16) -> Result<Box<dyn Serving>, TransportError> {
        let owner = self.core.broker.new_owner();
        let name = self.core.declare(subject, owner, false).await?;
        let consumer = self.core.consume(&name, owner, false, window)?;
        Ok(Box::new(Taking { inbox: Some(Inbox::new(&self.core, consumer)) }))
    }
}

struct Out {
    core: Arc<Core>,
    address: Text,
}

#[async_trait]
impl Outgoing for Out {
    async fn send(&self, subject: &str, message: Message) -> Result<Sent, TransportError> {
        self.core.publish(subject, message, Some(self.address.clone())).await
    }
}

/// What a consumer was handed, one by one.
struct Inbox {
    core: Arc<Core>,
    consumer: Consumer,
    buffered: VecDeque<Delivery>,
    ended: bool,
}

impl Inbox {
    fn new(core: &Arc<Core>, consumer: Consumer) -> Self {
        let core = Arc::clone(core);
        Self { core, consumer, buffered: VecDeque::new(), ended: false }
    }

    async fn next(&mut self) -> Result<Delivery, TransportError> {
        loop {
            if let Some(delivery) = self.buffered.pop_front() {
                return Ok(delivery);
            }
            if self.ended {
                return Err(TransportError::new("the queue was deleted"));
            }
            match self.consumer.next().await {
                ConsumerEvent::Deliveries(deliveries) => self.buffered = deliveries.into(),
                ConsumerEvent::Cancelled => self.ended = true,
            }
        }
    }
}

#[async_trait]
impl Replies for Inbox {
    async fn next(&mut self) -> Result<Message, TransportError> {
        let delivery = Inbox::next(self).await?;
        Ok(from_stored(&delivery.message, &self.core.clock))
    }
}

/// Requests that are taken.
struct Taking {
    inbox: Option<Inbox>,
}

#[async_trait]
impl Serving for Taking {
    async fn next(&mut self) -> Result<Incoming, TransportError> {
        let inbox = self.inbox.as_mut().ok_or_else(|| TransportError::new("it was stopped"))?;
        let delivery = inbox.next().await?;
        let message = from_stored(&delivery.message, &inbox.core.clock);
        let receipt = Held { core: Arc::clone(&inbox.core), lease: Some(delivery.lease) };
        Ok(Incoming { message, redelivered: delivery.redelivered, receipt: Box::new(receipt) })
    }

    async fn stop(&mut self) {
        self.give_back();
    }
}

impl Taking {
    fn give_back(&mut self) {
        let Some(Inbox { core, consumer, buffered, .. }) = self.inbox.take() else { return };
        // First the consumer, so that it is not handed the same again.
        drop(consumer);
        for delivery in buffered {
            core.settle(delivery.lease, Settlement::Requeue { counts: false });
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A request in somebody's hands.
struct Held {
    core: Arc<Core>,
    lease: Option<Lease>,
}

#[async_trait]
impl Receipt for Held {
    async fn finish(mut self: Box<Self>, reply: Option<(String, Message)>) -> Result<(), TransportError> {
        if let Some((reply_to, message)) = reply {
            // Without its queue the requester is gone, and the reply with it.
            self.core.publish(&reply_to, message, None).await?;
        }
        if let Some(lease) = self.lease.take() {
            self.core.settle(lease, Settlement::Accept);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.core.settle(lease, Settlement::Requeue { counts: true });
        }
    }
}

fn to_stored(queue: &str, message: Message, reply_to: Option<Text>) -> Stored {
    let Message { id, correlation_id, reply_to: _, content_type, expires, headers, body } = message;
    let headers = headers.into_iter().map(|(name, value)| (name.into(), Value::Text(value.into())));
    let properties = Properties {
        content_type: content_type.map(Into::into),
        headers: Headers(headers.collect()),
        correlation_id: correlation_id.map(Into::into),
        reply_to,
        message_id: id.map(Into::into),
        ..Properties::default()
    };
    Stored {
        routing_key: queue.into(),
        properties: Some(Box::new(properties)),
        body,
        // A part of a millisecond is one.
        ttl_ms: expires.map(|expires| u64::try_from(expires.as_millis()).unwrap_or(u64::MAX).max(1)),
        ..Stored::default()
    }
}

fn from_stored(stored: &Stored, clock: &Clock) -> Message {
    let waited_ms = u64::try_from(clock.now_ms() - stored.published_ms).unwrap_or(0);
    let expires = stored.ttl_ms.map(|ttl_ms| Duration::from_millis(ttl_ms.saturating_sub(waited_ms)));
    let none = Properties::default();
    let properties = stored.properties.as_deref().unwrap_or(&none);
    let text = |text: &Option<Text>| text.as_ref().map(ToString::to_string);
    let headers = properties.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.as_text()?.to_string())));
    Message {
        id: text(&properties.message_id),
        correlation_id: text(&properties.correlation_id),
        reply_to: text(&properties.reply_to),
        content_type: text(&properties.content_type),
        expires,
        headers: headers.collect(),
        body: stored.body.clone(),
    }
}
