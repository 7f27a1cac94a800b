//! What a connection asks of the broker, within its virtual host: the narrow place through which all of it goes.
//!
//! A trait, so that connections can be tested without a broker. Questions return futures; publishes and settlements are
//! decided at once, in the order in which they are made, and what becomes of a publish is told by its ticket.

pub(crate) mod broker;
pub(crate) mod translate;

use std::fmt;

use annals_broker::api::queues::OwnerId;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

use crate::channel::effect::{Answer, Ask, Consume, Publish, Settlement, Transaction};
use crate::channel::publishing::Outcome;
use crate::methods::basic;
use crate::reply::Exception;

/// A consumer of a connection: its channel, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConsumerKey {
    pub(crate) channel: u16,
    /// Tells channels apart that had the same number.
    pub(crate) generation: u64,
    pub(crate) number: u32,
}

/// A message as it is handed out.
pub(crate) trait Deliverable {
    /// The exchange that it was published to.
    fn exchange(&self) -> &[u8];
    /// The key that it was published with.
    fn routing_key(&self) -> &[u8];
    fn body(&self) -> &Bytes;
    /// Whether it was handed out before.
    fn redelivered(&self) -> bool;
    /// Writes its properties.
    fn put_properties(&self, out: &mut BytesMut);
}

/// A message and what it is settled by.
#[derive(Debug)]
pub(crate) struct Delivery<L, M> {
    pub(crate) lease: L,
    pub(crate) message: M,
}

/// A message that was asked for.
#[derive(Debug)]
pub(crate) struct Got<L, M> {
    pub(crate) delivery: Delivery<L, M>,
    /// Messages that are left.
    pub(crate) message_count: u32,
}

/// Something for a consumer.
#[derive(Debug)]
pub(crate) enum Arrival<L, M> {
    Delivery(ConsumerKey, Delivery<L, M>),
    /// Its queue is gone.
    Gone(ConsumerKey),
}

/// What is known at once of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Queues have it, or will.
    Queued,
    /// No queue wants it.
    Unroutable,
    /// A queue that is full has refused it.
    Refused,
}

/// What came of publishes so far.
#[derive(Debug)]
pub(crate) struct Published<T> {
    /// Of each, in order.
    pub(crate) fates: Vec<Fate>,
    /// How often queues took one of them in.
    pub(crate) copies: u64,
    /// Tells when they are as safe as they get; `None` if they are already.
    pub(crate) ticket: Option<T>,
}

/// What is left of a consumer, and what to wait for, if there is something.
pub(crate) type Cancelled<L, M> = (Vec<Delivery<L, M>>, Option<BoxFuture<'static, ()>>);

/// The answer to a question for a message.
pub(crate) type GetAnswer<B> = Result<Option<Got<<B as Backend>::Lease, <B as Backend>::Message>>, Exception>;

/// A connection's way to the broker. Dropping it without [`Backend::close`] gives back whatever it holds all the same.
pub(crate) trait Backend: Send + 'static {
    /// What a delivery is settled by.
    type Lease: Clone + fmt::Debug + PartialEq + Send + Sync;
    type Message: Deliverable + Send;
    type Ticket: Future<Output = Outcome> + Send + Unpin;

    /// The connection's number: what is exclusive belongs to it.
    fn owner(&self) -> OwnerId;

    /// Asks about exchanges and queues.
    fn ask(&self, ask: Ask<Self::Lease>) -> BoxFuture<'static, Result<Answer, Exception>>;

    /// Asks for one message.
    fn get(&self, get: basic::Get) -> BoxFuture<'static, GetAnswer<Self>>
    where
        Self: Sized;

    /// Begins a consumer.
    fn consume(&mut self, key: ConsumerKey, consume: Consume) -> Result<(), Exception>;

    /// Hands a consumer nothing any more; it is to be ended. What it holds can be given back before another one is served in
    /// its stead.
    fn retire(&mut self, key: ConsumerKey);

    /// As [`Backend::retire`], for all consumers.
    fn retire_all(&mut self);

    /// Ends a consumer: nothing comes for it any more. What it was handed and has not taken goes back, but what was
    /// settled by being handed out: that is returned, to be delivered all the same, with what to wait for before the end may
    /// be told.
    fn cancel(&mut self, key: ConsumerKey) -> Cancelled<Self::Lease, Self::Message>;

    /// Limits what all consumers of a channel hold together; 0 for no limit.
    fn set_window(&mut self, channel: u16, generation: u64, limit: u16);

    /// Publishes to one exchange, in order. Waits only while there is no room. After an error nothing was published.
    fn publish(
        &self,
        publishes: &[Publish],
    ) -> impl Future<Output = Result<Published<Self::Ticket>, Exception>> + Send;

    /// Lets publishes and settlements happen as one.
    fn commit(
        &self,
        transaction: Transaction<Self::Lease>,
    ) -> BoxFuture<'static, Result<Vec<Fate>, Exception>>;

    /// Settles deliveries.
    fn settle(&self, settlement: Settlement<Self::Lease>);

    /// The next thing for any consumer, if there is one now.
    fn next(&mut self) -> Option<Arrival<Self::Lease, Self::Message>>;

    /// Waits until [`Backend::next`] may have something. Cancel safe.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Why publishing has to wait, if it has to.
    fn blocked(&self) -> Option<String>;

    /// Ends everything that belongs to the connection: its consumers, and its exclusive queues.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
