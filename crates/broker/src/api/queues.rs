//! Exchanges, bindings and queues: declaring, publishing, consuming, settling.
//!
//! The words are those of all queue protocols together. An *owner* is a connection: what is exclusive belongs to one and
//! goes with it. A *lease* is a message that was delivered and is not settled yet; whoever holds it names it by a
//! [`Lease`](settle::Lease), which means the same on every connection.
//!
//! ```
//! use std::sync::Arc;
//! use annals_broker::{Broker, Options};
//! use annals_broker::api::Caller;
//! use annals_broker::api::queues::consume::Get;
//! use annals_broker::api::queues::publish::{NewMessage, Publish};
//! use annals_broker::api::queues::settle::Settlement;
//! use annals_broker::api::queues::topology::DeclareQueue;
//! use annals_broker::api::queues::{Headers, Message, QueueOptions, QueueRef, Text};
//! use annals_clock::Clock;
//! use annals_journal::DiskFiles;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let files = Arc::new(DiskFiles::open(directory.path())?);
//! let broker = Broker::open(Options::default(), Default::default(), files, Clock::system())?;
//! let (caller, owner, vhost) = (Caller::internal(), broker.new_owner(), Text::from("/"));
//! let declare = DeclareQueue {
//!     vhost: vhost.clone(), name: "tasks".into(), owner, durable: true, exclusive: false, auto_delete: false,
//!     options: QueueOptions::default(), arguments: Headers::new(),
//! };
//! broker.declare_queue(&caller, declare).await?;
//!
//! let message =
//!     Message { routing_key: "tasks".into(), body: "one".into(), persistent: true, ..Message::default() };
//! let publish = Publish {
//!     vhost: vhost.clone(), exchange: Text::empty(), messages: vec![NewMessage { message, more_keys: Vec::new() }],
//! };
//! broker.publish(&caller, publish).await?.durable().await?;
//!
//! let queue = QueueRef { vhost, name: "tasks".into(), owner };
//! let got = broker.get(&caller, Get { queue, no_ack: false, max: 10 }).await?;
//! assert_eq!(got.deliveries[0].message.body, "one");
//! broker.settle(&caller, &[got.deliveries[0].lease], Settlement::Accept);
//! broker.close();
//! # Ok(()) }
//! ```

pub mod admin;
pub mod arguments;
pub mod consume;
pub mod difference;
pub mod properties;
pub mod publish;
pub mod rights;
pub mod sessions;
pub mod settle;
pub mod topology;

pub use annals_queues::queue::{
    DeadLetter, Definition as QueueDefinition, Options as QueueOptions, Overflow, StreamOptions,
};
pub use annals_queues::routing::{
    Binding, Destination, ExchangeDefinition, ExchangeKind, HELD_BACK, LogStart, QueueId, TopicSource,
    topic_matches,
};
pub use annals_queues::{Death, DeathReason, Deaths, Headers, Message, Properties, Text, Value};

/// The number of a connection, drawn by [`Broker::new_owner`](crate::Broker::new_owner). What is exclusive belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);

/// A queue by name, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRef {
    /// The virtual host.
    pub vhost: Text,
    /// The queue.
    pub name: Text,
    /// Who asks: exclusive queues answer their owner only.
    pub owner: OwnerId,
}

/// Why a queue did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// No such virtual host.
    #[error("no virtual host {0:?}")]
    UnknownVhost(Text),
    /// No such queue.
    #[error("no queue {name:?} in virtual host {vhost:?}")]
    Unknown {
        /// The virtual host.
        vhost: Text,
        /// The queue.
        name: Text,
    },
    /// It is exclusive to another connection.
    #[error("queue {name:?} in virtual host {vhost:?} is exclusive to another connection")]
    Locked {
        /// The virtual host.
        vhost: Text,
        /// The queue.
        name: Text,
    },
    /// It is a stream: messages cannot be taken from it.
    #[error("queue {name:?} in virtual host {vhost:?} is a stream: it can only be consumed")]
    Stream {
        /// The virtual host.
        vhost: Text,
        /// The queue.
        name: Text,
    },
    /// The storage failed, or the server is shutting down.
    #[error("the server cannot do it now: {0}")]
    Unavailable(String),
}
