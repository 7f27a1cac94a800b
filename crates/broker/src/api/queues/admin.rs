//! What operators see and do.

use std::sync::Arc;

use annals_queues::queue::Definition;
pub use annals_queues::queue::{Counters, MoveState, Movement, ProcessingTime};
use annals_queues::{Headers, Message, Text, TimestampMs};

use super::{OwnerId, QueueError, QueueId, QueueRef};

/// One queue, as it is now.
#[derive(Clone, Debug)]
pub struct QueueInfo {
    /// What it was declared as.
    pub definition: Arc<Definition>,
    /// Who it is exclusive to.
    pub owner: Option<OwnerId>,
    /// Messages that are ready.
    pub ready: u64,
    /// Messages that were delivered and are not settled.
    pub unacknowledged: u64,
    /// Messages that are not due yet.
    pub delayed: u64,
    /// Messages that are given only to who asks for them by their place.
    pub deferred: u64,
    /// Bytes in the bodies of ready messages. After a restart an estimate, where no limit needs to know it.
    pub ready_bytes: u64,
    /// Bytes in the bodies of messages that were delivered and are not settled.
    pub unacknowledged_bytes: u64,
    /// When the oldest ready message came in. `None` if there is none, and for a moment after a restart, until it was
    /// read.
    pub oldest_ms: Option<TimestampMs>,
    /// Consumers.
    pub consumers: Vec<ConsumerInfo>,
    /// What happened since the start.
    pub counters: Counters,
    /// How long messages were held until they were accepted, since the start.
    pub processing_time: ProcessingTime,
}

/// One consumer of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerInfo {
    /// What the client calls it.
    pub tag: Text,
    /// The connection.
    pub owner: OwnerId,
    /// Which of the connection's sessions it belongs to.
    pub session: u16,
    /// As given.
    pub arguments: Headers,
    /// Whether messages are settled by being delivered.
    pub no_ack: bool,
    /// Whether it is alone by its own wish.
    pub exclusive: bool,
    /// Whether it is served now: with a single active consumer, the others wait.
    pub active: bool,
    /// The most unsettled messages that it holds; 0 for no limit.
    pub prefetch: u32,
    /// Its priority.
    pub priority: i32,
    /// How many messages it holds.
    pub unacknowledged: u64,
}

/// A look at messages without taking them; see [`Broker::peek`](crate::Broker::peek).
#[derive(Clone, Debug)]
pub struct Peek {
    /// The queue.
    pub queue: QueueRef,
    /// From this sequence on.
    pub from: u64,
    /// The most messages.
    pub max: usize,
}

/// A message that was looked at.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Its place in the queue.
    pub sequence: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Whether somebody holds it.
    pub leased: bool,
}

/// A message that is not due yet; see [`Broker::scheduled`](crate::Broker::scheduled).
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// What it is cancelled by, if it is persistent.
    pub sequence: u64,
    /// Whether it survives a restart.
    pub persistent: bool,
    /// When it is due.
    pub due_ms: TimestampMs,
    /// The message.
    pub message: Arc<Message>,
}

/// Messages to be moved from a queue; see [`Broker::start_move`](crate::Broker::start_move).
#[derive(Clone, Debug)]
pub struct Move {
    /// From where.
    pub source: QueueRef,
    /// Where to: an exchange in the same virtual host, and a key. Without it, a dead letter goes back to where it died.
    pub target: Option<(Text, Text)>,
    /// The most messages; without it, all that are ready now.
    pub max: Option<u64>,
    /// The most messages a second.
    pub rate: Option<u32>,
}

/// Names a move. Written as the queue's number, a hyphen and the move's number in it: `12-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId {
    /// The queue that messages are taken from.
    pub queue: QueueId,
    /// The number of the move in it, from 1.
    pub number: u64,
}

impl std::fmt::Display for MoveId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.queue.0, self.number)
    }
}

impl std::str::FromStr for MoveId {
    type Err = NoMoveId;

    fn from_str(text: &str) -> Result<Self, NoMoveId> {
        let parse = || {
            let (queue, number) = text.split_once('-')?;
            Some(Self { queue: QueueId(queue.parse().ok()?), number: number.parse().ok()? })
        };
        parse().ok_or_else(|| NoMoveId(text.to_owned()))
    }
}

/// A text that does not name a move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a move: it looks like 12-1")]
pub struct NoMoveId(pub String);

/// How far a move is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveProgress {
    /// The move.
    pub id: MoveId,
    /// The virtual host.
    pub vhost: Text,
    /// The queue that messages are taken from.
    pub source: Text,
    /// What was asked for, and what came of it.
    pub movement: Movement,
}

/// What a move would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovePreview {
    /// How many messages it would take.
    pub messages: u64,
    /// Of those that lie in the journal: how many each queue would get, by name. A message may go to several.
    pub targets: Vec<(Text, u64)>,
    /// Of those that lie in the journal: how many no queue would get. The move stops at the first.
    pub unroutable: u64,
}

/// Why a move did not begin, or is not known, or what stopped it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// No such move, or it ended long ago.
    #[error("no move {0}")]
    Unknown(MoveId),
    /// It has ended before everything was moved, because somebody wished so.
    #[error("the move was cancelled after {moved} messages")]
    Cancelled {
        /// Messages that were moved before.
        moved: u64,
    },
    /// A message cannot be routed: it stays where it is, and so do the ones behind it.
    #[error("after {moved} messages: no queue for exchange {exchange:?} and key {routing_key:?}")]
    Unroutable {
        /// Messages that were moved before.
        moved: u64,
        /// The exchange.
        exchange: Text,
        /// The key.
        routing_key: Text,
    },
}
