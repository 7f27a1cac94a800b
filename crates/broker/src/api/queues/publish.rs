//! Publishing: decided in the order of the calls, acknowledged when durable.
//!
//! [`Broker::publish`](crate::Broker::publish) routes, decides and gives a [`PublishTicket`](crate::PublishTicket). What it
//! says about each message (that no queue wanted it, that a full queue refused it) is known at once; that the others are
//! stored is known when [`PublishTicket::durable`](crate::PublishTicket::durable) resolves. Dropping a ticket takes nothing
//! back.

use std::sync::Arc;

use annals_queues::{Message, Text};

use super::settle::{Lease, Settlement};

/// Messages for one exchange; see [`Broker::publish`](crate::Broker::publish). Many at once cost much less than one by one.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The virtual host.
    pub vhost: Text,
    /// The exchange; empty for the default exchange.
    pub exchange: Text,
    /// The messages. Queues get them in this order.
    pub messages: Vec<NewMessage>,
}

/// One message to publish.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// The message. Its exchange and time of publishing are filled in by the broker.
    pub message: Message,
    /// More keys to route by, beside its own (`CC` and `BCC` of RabbitMQ).
    pub more_keys: Vec<Text>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// So many queues have it; those that are to keep it will, once the ticket resolves.
    Queued(u32),
    /// No queue wanted it. Here it is again.
    Unroutable(Arc<Message>),
    /// A queue that was full refused it. Others may have it.
    Refused,
}

/// Why nothing of a publish was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// No such exchange.
    #[error("no exchange {exchange:?} in virtual host {vhost:?}")]
    UnknownExchange {
        /// The virtual host.
        vhost: Text,
        /// The exchange.
        exchange: Text,
    },
    /// Clients may not publish there.
    #[error("exchange {0:?} is internal")]
    Internal(Text),
    /// It is larger than one write can be.
    #[error("{bytes} bytes are too many for one publish: {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// An exchange leads to a topic that is gone.
    #[error("no topic {0}")]
    UnknownTopic(Arc<str>),
    /// A lease that a transaction was to settle is not held any more. Nothing of the transaction was done.
    #[error("lease {} of {} is not held", .0.number, .0.queue)]
    UnknownLease(Lease),
    /// The disk is full. Publishing resumes by itself when there is space.
    #[error("the disk is full")]
    DiskFull,
    /// The storage failed, or the server is shutting down.
    #[error("the server takes no messages: {0}")]
    Unavailable(String),
}

/// Publishes and settlements that happen together or not at all; see
/// [`Broker::commit_queues`](crate::Broker::commit_queues).
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What is published, in order.
    pub publishes: Vec<Publish>,
    /// What is settled.
    pub settlements: Vec<(Lease, Settlement)>,
}
