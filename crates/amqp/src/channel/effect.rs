//! What a channel wants: the effects of its machine, and the questions among them that it waits for.
//!
//! Everything that a method leads to is one of these, in order. Whoever drives the machine carries them out; a question
//! ([`Effect::Ask`]) is answered by [`super::Channel::answer`], and until then the channel takes no further method. The type
//! parameter is what the broker knows a delivery by.

use bytes::Bytes;

use crate::methods::{Method, basic, exchange, queue};
use crate::reply::ReplyCode;
use crate::wire::outbound::Content;
use crate::wire::text::Text;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect<L> {
    /// Tell the client.
    Send(Method),
    /// Tell the client with a message.
    SendMessage(Method, Content),
    /// Ask the broker.
    Ask(Ask<L>),
    /// Publish. The channel goes on meanwhile.
    Publish(Publish),
    /// Settle deliveries. The channel goes on meanwhile.
    Settle(Settlement<L>),
    /// Receive replies under this address, or no longer.
    Replies(Option<Text>),
    /// All consumers together hold so many unsettled deliveries at most; 0 for any number.
    Window(u16),
    /// Cancel all consumers, and give all of these deliveries back.
    Release(Vec<L>),
    /// The channel's number is free again.
    Free,
}

/// A question that the channel waits for. The names in it are complete: short cuts are resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask<L> {
    DeclareExchange(exchange::Declare),
    DeleteExchange(exchange::Delete),
    /// Whether there is such an exchange that clients may publish to.
    Publishable(Text),
    BindExchange(exchange::Bind),
    UnbindExchange(exchange::Unbind),
    DeclareQueue(queue::Declare),
    BindQueue(queue::Bind),
    UnbindQueue(queue::Unbind),
    PurgeQueue(queue::Purge),
    DeleteQueue(queue::Delete),
    /// Whether an address for replies is there.
    FindReplies(Text),
    Consume(Consume),
    Cancel(u32),
    Get(basic::Get),
    Commit(Transaction<L>),
}

/// A consumer to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consume {
    /// What the channel knows it by.
    pub(crate) key: u32,
    /// With its tag, whoever has chosen it.
    pub(crate) consume: basic::Consume,
    /// Deliveries that it may have unacknowledged; 0 for any number.
    pub(crate) prefetch: u16,
}

/// What the broker answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The queue is there.
    Queue { message_count: u32, consumer_count: u32 },
    /// So many messages went.
    Count(u32),
    /// There is no message.
    Empty,
}

/// A message on its way in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    /// Its number, if the client wants to know that it is safe.
    pub(crate) number: Option<u64>,
    pub(crate) mandatory: bool,
    pub(crate) exchange: Text,
    pub(crate) routing_key: Text,
    pub(crate) content: Content,
    /// What the property `reply-to` is to be, if it was the name that stands for the channel's own address.
    pub(crate) reply_to: Option<Text>,
}

/// What becomes of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are done with.
    Ack,
    /// They go back to where they were.
    Requeue,
    /// They are rejected, and dead-lettered where the queue has it so.
    Reject,
}

/// Deliveries and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settlement<L> {
    pub(crate) verdict: Verdict,
    pub(crate) leases: Vec<L>,
}

/// What happens together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transaction<L> {
    pub(crate) publishes: Vec<Publish>,
    pub(crate) settlements: Vec<Settlement<L>>,
}

/// A message that a publisher gets back.
pub(super) fn returned(publish: &Publish, properties: Bytes) -> (Method, Content) {
    let code = ReplyCode::NoRoute;
    let method = basic::Return {
        reply_code: code.number(),
        reply_text: code.name().into(),
        exchange: publish.exchange.clone(),
        routing_key: publish.routing_key.clone(),
    };
    (method.into(), Content { properties, body: publish.content.body.clone() })
}
