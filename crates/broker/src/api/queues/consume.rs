//! Consuming: a [`Consumer`](crate::Consumer) is handed messages as long as its window has room; `Broker::get` asks for one.

use std::sync::Arc;

use annals_queues::routing::LogStart;
use annals_queues::{Headers, Message, Text};

use super::settle::Lease;
use super::{QueueError, QueueRef};

/// A consumer to be added to a queue; see [`Broker::consume`](crate::Broker::consume).
#[derive(Clone, Debug)]
pub struct Consume {
    /// The queue.
    pub queue: QueueRef,
    /// What the client calls the consumer: shown to people.
    pub tag: Text,
    /// Which of the connection's sessions it belongs to (AMQP 0-9-1: the channel): shown to people.
    pub session: u16,
    /// Messages are settled by being delivered.
    pub no_ack: bool,
    /// No other consumer beside it.
    pub exclusive: bool,
    /// Consumers with a higher number are served first, as long as their windows have room.
    pub priority: i32,
    /// The most unsettled messages that it holds; 0 for no limit.
    pub prefetch: u32,
    /// A window that it shares with other consumers, if there is one.
    pub shared: Option<Arc<crate::SharedWindow>>,
    /// Where to begin, if the queue is a stream.
    pub start: LogStart,
    /// As given: kept and shown, not acted upon.
    pub arguments: Headers,
}

/// Why a consumer was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is an exclusive consumer, or this one would be exclusive and is not alone.
    #[error("queue {0:?} is in exclusive use")]
    ExclusiveUse(Text),
    /// A consumer of a stream needs a limit to what it holds.
    #[error("queue {0:?} is a stream: its consumers need a limit to what they hold")]
    StreamWithoutLimit(Text),
    /// A consumer of a stream has to acknowledge.
    #[error("queue {0:?} is a stream: its consumers have to acknowledge")]
    StreamWithoutAcks(Text),
    /// Consumers of streams do not share a limit with others.
    #[error("queue {0:?} is a stream: its consumers cannot share a limit")]
    StreamInSharedWindow(Text),
}

/// One message in the hands of a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What it is settled by. One that is settled by being delivered is not in anybody's window, and need not be named.
    pub lease: Lease,
    /// The message.
    pub message: Arc<Message>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it came back in a way that counts.
    pub delivery_count: u32,
    /// Its place in the queue, which only rises from message to message of one priority.
    pub sequence: u64,
    /// Its offset, if the queue is a stream.
    pub stream_offset: Option<u64>,
}

/// What a consumer learns.
#[derive(Clone, Debug)]
pub enum ConsumerEvent {
    /// Messages, in order; at least one.
    Deliveries(Vec<Delivery>),
    /// There will be no more: the queue is gone. Comes once.
    Cancelled,
}

/// What [`Broker::get`](crate::Broker::get) asks for.
#[derive(Clone, Debug)]
pub struct Get {
    /// The queue.
    pub queue: QueueRef,
    /// The message is settled by being delivered.
    pub no_ack: bool,
    /// The most messages, at least 1.
    pub max: usize,
}

/// What [`Broker::get`](crate::Broker::get) gave.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Messages, in order; none if the queue has none ready.
    pub deliveries: Vec<Delivery>,
    /// How many are ready still.
    pub remaining: u64,
}
