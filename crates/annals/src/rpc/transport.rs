//! What requests and replies travel over: one narrow trait. Annals in this process implements it, and AMQP 0-9-1 does
//! (a server, RabbitMQ). The client and the responder above it are the same for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A message as every transport knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its own id.
    pub id: Option<String>,
    /// What a reply is matched by.
    pub correlation_id: Option<String>,
    /// Where the reply goes. A transport fills it in when it sends a request.
    pub reply_to: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// How long it may wait in a queue. When it arrives: what is left, or the most that can be left.
    pub expires: Option<Duration>,
    /// Names and texts.
    pub headers: BTreeMap<String, String>,
    /// The content.
    pub body: Bytes,
}

/// Why a transport did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TransportError {
    reason: String,
}

impl TransportError {
    /// An error that says why.
    #[expect(clippy::needless_pass_by_value, reason = "so it fits into map_err")]
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// What became of a request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A queue has it.
    Queued,
    /// There is no such queue.
    NoQueue,
    /// The queue is full.
    Refused,
}

/// Queues, as far as requests and replies need them.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Makes a place for replies. It goes with what is returned, and is nobody else's.
    async fn open_requests(&self) -> Result<Requests, TransportError>;

    /// Starts to take requests from the queue of `subject`, which is made if it is not there and used as it is otherwise. No
    /// more than `window` are taken and not finished at a time.
    async fn serve(&self, subject: &str, window: u16) -> Result<Box<dyn Serving>, TransportError>;
}

/// A way out for requests, and where their replies arrive.
pub struct Requests {
    /// The way out.
    pub outgoing: Arc<dyn Outgoing>,
    /// Where replies arrive.
    pub replies: Box<dyn Replies>,
}

/// Sends requests.
#[async_trait]
pub trait Outgoing: Send + Sync {
    /// Puts a request into the queue of `subject` for at most `message.expires`, its reply to come to the replies that were
    /// made with this. Cancelling it may leave the request sent.
    async fn send(&self, subject: &str, message: Message) -> Result<Sent, TransportError>;
}

/// Receives replies.
#[async_trait]
pub trait Replies: Send {
    /// The next reply. An error is the end. Cancelling the wait loses nothing.
    async fn next(&mut self) -> Result<Message, TransportError>;
}

/// Receives requests. Dropping it gives back what was not handed out.
#[async_trait]
pub trait Serving: Send {
    /// The next request. An error is the end. Cancelling the wait loses nothing.
    async fn next(&mut self) -> Result<Incoming, TransportError>;

    /// Takes no more requests; what was handed out can still be finished.
    async fn stop(&mut self);
}

/// A request that was taken.
pub struct Incoming {
    /// The request.
    pub message: Message,
    /// Whether it was handed out before, to somebody who did not finish it.
    pub redelivered: bool,
    /// By what it is finished.
    pub receipt: Box<dyn Receipt>,
}

/// The duty to finish a request. Dropping it, or losing the connection, gives the request to somebody else.
#[async_trait]
pub trait Receipt: Send {
    /// Sends the reply, if there is one and it is wanted, to `reply.0`, and then finishes the request.
    async fn finish(self: Box<Self>, reply: Option<(String, Message)>) -> Result<(), TransportError>;
}
