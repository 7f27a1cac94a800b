//! Virtual hosts, exchanges, queues and bindings: what can be declared, and what is there.

use annals_queues::queue::{Definition, Options};
use annals_queues::routing::{Binding, ExchangeDefinition};
use annals_queues::{Headers, Text};

use super::OwnerId;

/// An exchange to be there; see [`Broker::declare_exchange`](crate::Broker::declare_exchange).
#[derive(Clone, Debug)]
pub struct DeclareExchange {
    /// The virtual host.
    pub vhost: Text,
    /// Its name.
    pub name: Text,
    /// What it is to be.
    pub definition: ExchangeDefinition,
}

/// Why an exchange was not declared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeclareExchangeError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// There is one of this name that is something else.
    #[error("exchange {name:?} is there already and differs")]
    Inequivalent {
        /// Its name.
        name: Text,
        /// What it is.
        current: Box<ExchangeDefinition>,
    },
    /// A topic that it would lead to, or that would lead to it, cannot.
    #[error("exchange {name:?} cannot be joined to a topic: {reason}")]
    Topic {
        /// Its name.
        name: Text,
        /// Why.
        reason: String,
    },
    /// The default exchange cannot be declared.
    #[error("the default exchange cannot be declared")]
    Default,
    /// The name is longer than 255 bytes.
    #[error("a name of {0} bytes is too long: 255 are allowed")]
    NameTooLong(usize),
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}

/// An exchange to be gone; see [`Broker::delete_exchange`](crate::Broker::delete_exchange).
#[derive(Clone, Debug)]
pub struct DeleteExchange {
    /// The virtual host.
    pub vhost: Text,
    /// Its name.
    pub name: Text,
    /// Only if no binding leads away from it.
    pub if_unused: bool,
}

/// Why an exchange was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteExchangeError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// Bindings lead away from it.
    #[error("exchange {0:?} is in use")]
    InUse(Text),
    /// It is one that every virtual host has.
    #[error("exchange {0:?} cannot be deleted")]
    Predeclared(Text),
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}

/// A queue to be there; see [`Broker::declare_queue`](crate::Broker::declare_queue).
#[derive(Clone, Debug)]
pub struct DeclareQueue {
    /// The virtual host.
    pub vhost: Text,
    /// Its name; empty to be given one.
    pub name: Text,
    /// Who asks.
    pub owner: OwnerId,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it is for `owner` alone and goes with it.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its choices.
    pub options: Options,
    /// As declared: kept and shown, not acted upon.
    pub arguments: Headers,
}

/// A queue that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredQueue {
    /// Its name.
    pub name: Text,
    /// Messages that are ready.
    pub messages: u64,
    /// Consumers.
    pub consumers: u32,
    /// Whether it was not there before.
    pub created: bool,
}

/// Why a queue was not declared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeclareQueueError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// It is exclusive to another connection.
    #[error("queue {0:?} is exclusive to another connection")]
    Locked(Text),
    /// It cannot be a stream.
    #[error("queue {name:?} cannot be a stream: {reason}")]
    Stream {
        /// Its name.
        name: Text,
        /// Why.
        reason: String,
    },
    /// There is one of this name that is something else.
    #[error("queue {name:?} is there already and differs")]
    Inequivalent {
        /// Its name.
        name: Text,
        /// What it is.
        current: Box<Definition>,
    },
    /// The name is longer than 255 bytes.
    #[error("a name of {0} bytes is too long: 255 are allowed")]
    NameTooLong(usize),
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}

/// A queue to be gone; see [`Broker::delete_queue`](crate::Broker::delete_queue).
#[derive(Clone, Debug)]
pub struct DeleteQueue {
    /// The queue.
    pub queue: super::QueueRef,
    /// Only if it has no consumer.
    pub if_unused: bool,
    /// Only if it has no message that is ready.
    pub if_empty: bool,
}

/// Why a queue was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteQueueError {
    /// It did not answer. One that is not there counts as deleted for AMQP 0-9-1.
    #[error(transparent)]
    Queue(#[from] super::QueueError),
    /// It has consumers.
    #[error("queue {0:?} is in use")]
    InUse(Text),
    /// It has messages.
    #[error("queue {0:?} is not empty")]
    NotEmpty(Text),
}

/// A binding to be there, or gone; see [`Broker::bind`](crate::Broker::bind).
#[derive(Clone, Debug)]
pub struct Bind {
    /// The virtual host.
    pub vhost: Text,
    /// Who asks.
    pub owner: OwnerId,
    /// The binding.
    pub binding: Binding,
}

/// Why a binding was not made or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// The exchange that it would lead away from is not there.
    #[error("no exchange {0:?}")]
    UnknownSource(Text),
    /// The queue or exchange that it would lead to is not there.
    #[error("no queue or exchange {0:?}")]
    UnknownDestination(Text),
    /// The default exchange has exactly one binding for each queue.
    #[error("the default exchange cannot be bound or unbound")]
    Default,
    /// The queue is exclusive to another connection.
    #[error("queue {0:?} is exclusive to another connection")]
    Locked(Text),
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}

/// Why a virtual host was not made or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VhostError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    Unknown(Text),
    /// The name is empty or longer than 255 bytes.
    #[error("{0:?} cannot be the name of a virtual host")]
    Name(Text),
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}
