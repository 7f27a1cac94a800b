//! The broker itself behind a connection: every question, with its errors in RabbitMQ's words.
//!
//! Each consumer of the broker waits in a future of its own, and all of them in one set, so that a connection with thousands
//! of them looks only at those that have something. What one has handed over waits here until there is room for it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use annals_broker::api::Caller;
use annals_broker::api::queues::admin::QueueInfo;
use annals_broker::api::queues::arguments::{self, ArgumentError, Joined, KindError, Lifetime};
use annals_broker::api::queues::consume::{
    Consume as ConsumeRequest, ConsumeError, ConsumerEvent, Delivery as HandedOver, Get,
};
use annals_broker::api::queues::difference::{DeclaredQueue, exchange_difference};
use annals_broker::api::queues::publish::{
    Publish as PublishRequest, PublishError, Published as Outcomes, Transaction as TransactionRequest,
};
use annals_broker::api::queues::settle::{Lease, Settlement as Settle};
use annals_broker::api::queues::topology::{
    Bind, BindError, DeclareExchange, DeclareExchangeError, DeclareQueue, DeclareQueueError, DeleteExchange,
    DeleteExchangeError, DeleteQueue, DeleteQueueError,
};
use annals_broker::api::queues::{
    Binding, Destination, ExchangeDefinition, ExchangeKind, LogStart, OwnerId, QueueError, QueueRef,
    Text as Name, Value as HeaderValue,
};
use annals_broker::{Broker, Consumer, ConsumerRef, PublishTicket, SharedWindow};
use annals_clock::Clock;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::translate::{self, Outgoing, name};
use super::{Arrival, Backend, Cancelled, ConsumerKey, Delivery, Fate, GetAnswer, Got, Published};
use crate::channel::effect::{Answer, Ask, Consume, Publish, Settlement, Transaction, Verdict};
use crate::channel::publishing::Outcome;
use crate::methods::{basic, exchange, queue};
use crate::reply::{
    Exception, Named, access_refused, internal_error, not_found, not_implemented, precondition_failed,
    resource_error, resource_locked,
};
use crate::wire::table::Table;
use crate::wire::text::Text;

/// Names of exchanges and queues that are the server's begin like this.
const RESERVED: &str = "amq.";

/// A connection's way to the broker.
pub(crate) struct BrokerBackend {
    shared: Arc<Inner>,
    /// Windows of channels that limit what all their consumers hold together.
    windows: HashMap<(u16, u64), Arc<SharedWindow>>,
    consumers: HashMap<ConsumerKey, Arc<Seat>>,
    waiting: FuturesUnordered<Waiting>,
    arrived: VecDeque<Arrival<Lease, Outgoing>>,
}

/// What questions need that outlive a call.
struct Inner {
    broker: Broker,
    clock: Clock,
    caller: Caller,
    vhost: Name,
    /// As texts show it.
    vhost_text: String,
    owner: OwnerId,
}

impl BrokerBackend {
    pub(crate) fn new(broker: Broker, clock: Clock, caller: Caller, vhost: &str) -> Self {
        let owner = broker.new_owner();
        let vhost_text = vhost.to_owned();
        let shared = Arc::new(Inner { broker, clock, caller, vhost: vhost.into(), vhost_text, owner });
        Self {
            shared,
            windows: HashMap::new(),
            consumers: HashMap::new(),
            waiting: FuturesUnordered::new(),
            arrived: VecDeque::new(),
        }
    }

    fn window(&mut self, channel: u16, generation: u64) -> Arc<SharedWindow> {
        Arc::clone(self.windows.entry((channel, generation)).or_insert_with(|| SharedWindow::new(0)))
    }

    /// Looks at one consumer that has something.
    fn look(&mut self, heard: Heard) {
        let Heard::Event { key, consumer, event } = heard else { return };
        let Some(seat) = self.consumers.get(&key) else { return };
        match event {
            ConsumerEvent::Deliveries(deliveries) => {
                let arrivals = deliveries
                    .into_iter()
                    .map(|one| Arrival::Delivery(key, delivery(one, seat.shows_counts)));
                self.arrived.extend(arrivals);
                seat.sit(key, consumer);
                self.waiting.push(Waiting(Arc::clone(seat)));
            }
            ConsumerEvent::Cancelled => {
                self.consumers.remove(&key);
                self.arrived.push_back(Arrival::Gone(key));
            }
        }
    }

    /// The end of a queue that goes with its last consumer. Whoever is told that the consumer is gone finds it gone too.
    fn auto_deleted(&self, seat: &Seat) -> Option<BoxFuture<'static, ()>> {
        let queue = seat.auto_delete.clone()?;
        let shared = Arc::clone(&self.shared);
        let delete = async move {
            let request = DeleteQueue { queue, if_unused: true, if_empty: false };
            // Another consumer may have come, or the queue may be gone already.
            let _ = shared.broker.delete_queue(&shared.caller, request).await;
        };
        Some(delete.boxed())
    }

    /// What has arrived for a consumer and was not taken.
    fn take_arrived(&mut self, key: ConsumerKey) -> Vec<Delivery<Lease, Outgoing>> {
        let (its, others): (Vec<_>, Vec<_>) = self.arrived.drain(..).partition(
            |arrival| matches!(arrival, Arrival::Delivery(of, _) | Arrival::Gone(of) if *of == key),
        );
        self.arrived = others.into();
        let deliveries = its.into_iter().filter_map(|arrival| match arrival {
            Arrival::Delivery(_, delivery) => Some(delivery),
            Arrival::Gone(_) => None,
        });
        deliveries.collect()
    }
}

impl Backend for BrokerBackend {
    type Lease = Lease;
    type Message = Outgoing;
    type Ticket = BoxFuture<'static, Outcome>;

    fn owner(&self) -> OwnerId {
        self.shared.owner
    }

    fn ask(&self, ask: Ask<Lease>) -> BoxFuture<'static, Result<Answer, Exception>> {
        let shared = Arc::clone(&self.shared);
        async move {
            match ask {
                Ask::DeclareExchange(declare) => shared.declare_exchange(declare).await,
                Ask::DeleteExchange(delete) => shared.delete_exchange(delete).await,
                Ask::Publishable(exchange) => shared.check_publishable(&exchange),
                Ask::BindExchange(bind) => {
                    shared.check_match(&bind.source, &bind.arguments)?;
                    shared.bind(shared.exchange_binding(&bind), true).await
                }
                Ask::UnbindExchange(unbind) => shared.bind(shared.exchange_unbinding(&unbind), false).await,
                Ask::DeclareQueue(declare) => shared.declare_queue(declare).await,
                Ask::BindQueue(bind) => {
                    shared.check_match(&bind.exchange, &bind.arguments)?;
                    let destination = Destination::Queue(name(&bind.queue));
                    let bind =
                        shared.binding(&bind.exchange, destination, &bind.routing_key, &bind.arguments);
                    shared.bind(bind, true).await
                }
                Ask::UnbindQueue(unbind) => {
                    let destination = Destination::Queue(name(&unbind.queue));
                    let (exchange, key) = (&unbind.exchange, &unbind.routing_key);
                    shared.bind(shared.binding(exchange, destination, key, &unbind.arguments), false).await
                }
                Ask::PurgeQueue(purge) => shared.purge_queue(&purge).await,
                Ask::DeleteQueue(delete) => shared.delete_queue(&delete).await,
                Ask::FindReplies(_) | Ask::Consume(_) | Ask::Cancel(_) | Ask::Get(_) | Ask::Commit(_) => {
                    Err(internal_error("a question that is asked in another way"))
                }
            }
        }
        .boxed()
    }

    fn get(&self, get: basic::Get) -> BoxFuture<'static, GetAnswer<Self>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let request = Get { queue: shared.queue_ref(&get.queue), no_ack: get.no_ack, max: 1 };
            let got = shared.broker.get(&shared.caller, request).await;
            let got = got.map_err(|error| shared.queue_error(&error))?;
            let message_count = u32::try_from(got.remaining).unwrap_or(u32::MAX);
            let Some(first) = got.deliveries.into_iter().next() else { return Ok(None) };
            let queue = shared.queue_ref(&get.queue);
            let info = (first.delivery_count > 0).then(|| shared.broker.queue_info(&shared.caller, &queue));
            let shows_counts = info.is_some_and(|info| info.is_ok_and(|info| is_quorum(&info)));
            Ok(Some(Got { delivery: delivery(first, shows_counts), message_count }))
        }
        .boxed()
    }

    fn consume(&mut self, key: ConsumerKey, consume: Consume) -> Result<(), Exception> {
        let Consume { key: _, consume, prefetch } = consume;
        let shared = Arc::clone(&self.shared);
        let shown = Named::queue(&consume.queue, &shared.vhost_text);
        let arguments = translate::headers(&consume.arguments);
        let priority = arguments::consumer_priority(&arguments).map_err(|error| invalid(&error, shown))?;
        let request = ConsumeRequest {
            queue: shared.queue_ref(&consume.queue),
            tag: name(&consume.consumer_tag).detached(),
            session: key.channel,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: prefetch.into(),
            shared: Some(self.window(key.channel, key.generation)),
            start: shared.start_of(&consume)?,
            arguments,
        };
        let queue = request.queue.clone();
        let consumer = shared.broker.consume(&shared.caller, request);
        let consumer = consumer.map_err(|error| shared.consume_error(&error))?;
        let info = shared.broker.queue_info(&shared.caller, &queue);
        let shows_counts = info.as_ref().is_ok_and(is_quorum);
        let auto_delete = info.is_ok_and(|info| info.definition.auto_delete).then_some(queue);
        let reference = consumer.reference();
        let seat = Arc::new(Seat { consumer: reference, auto_delete, shows_counts, state: Mutex::default() });
        seat.sit(key, consumer);
        self.consumers.insert(key, Arc::clone(&seat));
        self.waiting.push(Waiting(seat));
        Ok(())
    }

    fn retire(&mut self, key: ConsumerKey) {
        if let Some(seat) = self.consumers.get(&key) {
            self.shared.broker.retire_consumer(seat.consumer);
        }
    }

    fn retire_all(&mut self) {
        self.consumers.values().for_each(|seat| self.shared.broker.retire_consumer(seat.consumer));
    }

    fn cancel(&mut self, key: ConsumerKey) -> Cancelled<Lease, Outgoing> {
        let mut left = self.take_arrived(key);
        let Some(seat) = self.consumers.remove(&key) else { return (left, None) };
        self.shared.broker.retire_consumer(seat.consumer);
        let (rest, leaving) = seat.leave();
        left.extend(rest.into_iter().map(|one| delivery(one, seat.shows_counts)));
        let (done, leased): (Vec<_>, Vec<_>) = left.into_iter().partition(|one| one.lease.number == 0);
        if !leased.is_empty() {
            let leases: Vec<Lease> = leased.into_iter().map(|one| one.lease).collect();
            drop(self.shared.broker.settle(&self.shared.caller, &leases, Settle::Requeue { counts: false }));
        }
        // Ends it: what lies in its box goes back to the queue, where it can, and only then is another one served.
        drop(leaving);
        (done, self.auto_deleted(&seat))
    }

    fn set_window(&mut self, channel: u16, generation: u64, limit: u16) {
        let window = self.window(channel, generation);
        self.shared.broker.resize_window(&window, limit.into());
    }

    async fn publish(&self, publishes: &[Publish]) -> Result<Published<Self::Ticket>, Exception> {
        let count = publishes.len();
        let request = self.shared.publish_request(publishes)?;
        match self.shared.broker.publish(&self.shared.caller, request).await {
            Ok(ticket) => Ok(published(ticket)),
            // What cannot be stored now is refused: the publisher may try again.
            Err(error @ (PublishError::DiskFull | PublishError::Unavailable(_))) => {
                tracing::warn!("messages were refused: {error}");
                Ok(Published { fates: vec![Fate::Refused; count], copies: 0, ticket: None })
            }
            Err(error) => Err(self.shared.publish_error(&error)),
        }
    }

    fn commit(&self, transaction: Transaction<Lease>) -> BoxFuture<'static, Result<Vec<Fate>, Exception>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut request = TransactionRequest::default();
            for publish in &transaction.publishes {
                request.publishes.push(shared.publish_request(std::slice::from_ref(publish))?);
            }
            for Settlement { verdict, leases } in transaction.settlements {
                let settle = settlement(verdict);
                request.settlements.extend(leases.into_iter().map(|lease| (lease, settle)));
            }
            let ticket = shared.broker.commit_queues(&shared.caller, request).await;
            let ticket = ticket.map_err(|error| shared.publish_error(&error))?;
            let fates = fates(&ticket);
            ticket.durable().await.map_err(|error| shared.publish_error(&error))?;
            Ok(fates)
        }
        .boxed()
    }

    fn settle(&self, settlement_: Settlement<Lease>) {
        let Settlement { verdict, leases } = settlement_;
        // It takes effect at once; nobody waits for the disk.
        drop(self.shared.broker.settle(&self.shared.caller, &leases, settlement(verdict)));
    }

    fn next(&mut self) -> Option<Arrival<Lease, Outgoing>> {
        while self.arrived.is_empty() {
            let heard = self.waiting.next().now_or_never().flatten()?;
            self.look(heard);
        }
        self.arrived.pop_front()
    }

    async fn ready(&mut self) {
        if !self.arrived.is_empty() {
            return;
        }
        match self.waiting.next().await {
            Some(heard) => self.look(heard),
            None => std::future::pending().await,
        }
    }

    fn blocked(&self) -> Option<String> {
        self.shared.broker.is_disk_full().then(|| "low on disk".to_owned())
    }

    async fn close(&mut self) {
        let keys: Vec<ConsumerKey> = self.consumers.keys().copied().collect();
        for key in keys {
            drop(self.cancel(key));
        }
        self.shared.broker.release_owner(self.shared.owner).await;
    }
}

/// What is known of each message at once, and the way to learn the rest.
fn published(ticket: PublishTicket) -> Published<BoxFuture<'static, Outcome>> {
    let (fates, copies) = (fates(&ticket), copies(&ticket));
    if ticket.is_settled() {
        return Published { fates, copies, ticket: None };
    }
    let outcome = async move {
        match ticket.durable().await {
            Ok(()) => Outcome::Safe,
            Err(error) => {
                tracing::error!("messages may be lost: {error}");
                Outcome::Failed
            }
        }
    };
    Published { fates, copies, ticket: Some(outcome.boxed()) }
}

fn copies(ticket: &PublishTicket) -> u64 {
    let count =
        |outcome: &Outcomes| if let Outcomes::Queued(count) = outcome { u64::from(*count) } else { 0 };
    ticket.outcomes().iter().map(count).sum()
}

fn fates(ticket: &PublishTicket) -> Vec<Fate> {
    let fate = |outcome: &Outcomes| match outcome {
        Outcomes::Queued(_) => Fate::Queued,
        Outcomes::Unroutable(_) => Fate::Unroutable,
        Outcomes::Refused => Fate::Refused,
    };
    ticket.outcomes().iter().map(fate).collect()
}

fn settlement(verdict: Verdict) -> Settle {
    match verdict {
        Verdict::Ack => Settle::Accept,
        Verdict::Requeue => Settle::Requeue { counts: true },
        Verdict::Reject => Settle::Reject,
    }
}

/// `shows_count` says whether the client is told how often it came back.
fn delivery(one: HandedOver, shows_count: bool) -> Delivery<Lease, Outgoing> {
    let HandedOver { lease, message, redelivered, delivery_count, sequence: _, stream_offset } = one;
    let delivery_count = if shows_count { delivery_count } else { 0 };
    Delivery { lease, message: Outgoing { message, redelivered, delivery_count, stream_offset } }
}

/// Whether a queue was declared as a quorum queue. All count deliveries; only those tell clients, as with RabbitMQ: some clients
/// take no header that they do not know.
fn is_quorum(info: &QueueInfo) -> bool {
    let kind = info.definition.arguments.get("x-queue-type").and_then(HeaderValue::as_text);
    kind.is_some_and(|kind| *kind == "quorum")
}

/// Where a consumer waits. It can be taken away from there at any time.
struct Seat {
    consumer: ConsumerRef,
    /// The queue, if it goes with its last consumer.
    auto_delete: Option<QueueRef>,
    shows_counts: bool,
    state: Mutex<Sitting>,
}

#[derive(Default)]
struct Sitting {
    waits: Option<BoxFuture<'static, Heard>>,
    waker: Option<Waker>,
}

/// What came of waiting.
enum Heard {
    Event {
        key: ConsumerKey,
        consumer: Consumer,
        event: ConsumerEvent,
    },
    /// The consumer was taken away.
    Nothing,
}

/// A consumer that was taken away. It ends when this is dropped.
type Leaving = Box<dyn Send>;

/// A seat in the set of those that wait.
struct Waiting(Arc<Seat>);

impl Seat {
    /// Lets a consumer wait here.
    fn sit(&self, key: ConsumerKey, mut consumer: Consumer) {
        let waits = async move {
            let event = consumer.next().await;
            Heard::Event { key, consumer, event }
        };
        self.lock().waits = Some(waits.boxed());
    }

    /// Takes the consumer away; returns what it was handed and had not told yet, and what ends it by being dropped.
    fn leave(&self) -> (Vec<HandedOver>, Option<Leaving>) {
        let Sitting { waits, waker } = std::mem::take(&mut *self.lock());
        // The set finds the seat empty, and forgets it.
        waker.into_iter().for_each(Waker::wake);
        let Some(mut waits) = waits else { return (Vec::new(), None) };
        let Some(heard) = (&mut waits).now_or_never() else { return (Vec::new(), Some(Box::new(waits))) };
        let Heard::Event { mut consumer, event, .. } = heard else { return (Vec::new(), None) };
        let (mut left, mut next) = (Vec::new(), Some(event));
        while let Some(ConsumerEvent::Deliveries(deliveries)) = next {
            left.extend(deliveries);
            next = consumer.try_next();
        }
        (left, Some(Box::new(consumer)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sitting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Waiting {
    type Output = Heard;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Heard> {
        let mut sitting = self.0.lock();
        let Some(waits) = &mut sitting.waits else { return Poll::Ready(Heard::Nothing) };
        let polled = waits.as_mut().poll(context);
        match polled {
            Poll::Ready(_) => *sitting = Sitting::default(),
            Poll::Pending => sitting.waker = Some(context.waker().clone()),
        }
        polled
    }
}

impl Inner {
    fn queue_ref(&self, queue: &Text) -> QueueRef {
        QueueRef { vhost: self.vhost.clone(), name: name(queue), owner: self.owner }
    }

    async fn declare_exchange(&self, declare: exchange::Declare) -> Result<Answer, Exception> {
        let shown = Named::exchange(&declare.exchange, &self.vhost_text);
        let exists = self.broker.exchange(&self.caller, &self.vhost, &name(&declare.exchange)).is_some();
        match (exists, declare.passive) {
            (true, true) => return Ok(Answer::Done),
            (false, true) => return Err(not_found(format!("no {shown}"))),
            (false, false) if declare.exchange.starts_with(RESERVED) => {
                return Err(reserved("exchange", &declare.exchange));
            }
            _ => {}
        }
        let given = translate::headers(&declare.arguments);
        let joined = arguments::joined(&given, self.clock.now_ms());
        let Joined { topic, source, start } = joined.map_err(|error| invalid(&error, shown))?;
        let (kind, delayed) =
            arguments::exchange_kind(&declare.kind, &given).map_err(|error| unknown_kind(&error, shown))?;
        let definition = ExchangeDefinition {
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            delayed,
            alternate: arguments::alternate(&given),
            topic,
            source,
            arguments: given,
        };
        let request = DeclareExchange {
            vhost: self.vhost.clone(),
            name: name(&declare.exchange).detached(),
            definition: definition.clone(),
        };
        match self.broker.declare_exchange_from(&self.caller, request, start).await {
            Ok(_) => Ok(Answer::Done),
            Err(DeclareExchangeError::Inequivalent { name: _, current }) => {
                let difference = exchange_difference(&current, &definition);
                difference.map_or(Ok(Answer::Done), |found| Err(precondition_failed(found.of(&shown))))
            }
            Err(DeclareExchangeError::UnknownVhost(vhost)) => Err(no_vhost(&vhost)),
            Err(DeclareExchangeError::Default) => Err(default_exchange()),
            Err(DeclareExchangeError::Topic { name: _, reason }) => {
                Err(precondition_failed(format!("invalid arguments for {shown}: {reason}")))
            }
            Err(error @ DeclareExchangeError::NameTooLong(_)) => Err(precondition_failed(error.to_string())),
            Err(error @ DeclareExchangeError::Unavailable(_)) => Err(internal_error(error.to_string())),
        }
    }

    /// Whether clients may publish to an exchange.
    fn check_publishable(&self, exchange: &Text) -> Result<Answer, Exception> {
        let exchange = name(exchange);
        match self.broker.exchange(&self.caller, &self.vhost, &exchange) {
            Some(definition) if definition.internal => {
                Err(self.publish_error(&PublishError::Internal(exchange)))
            }
            Some(_) => Ok(Answer::Done),
            None => {
                let vhost = self.vhost.clone();
                Err(self.publish_error(&PublishError::UnknownExchange { vhost, exchange }))
            }
        }
    }

    async fn delete_exchange(&self, delete: exchange::Delete) -> Result<Answer, Exception> {
        let shown = Named::exchange(&delete.exchange, &self.vhost_text);
        let (vhost, name) = (self.vhost.clone(), name(&delete.exchange));
        let request = DeleteExchange { vhost, name, if_unused: delete.if_unused };
        match self.broker.delete_exchange(&self.caller, request).await {
            // One that was not there is deleted too.
            Ok(_) => Ok(Answer::Done),
            Err(DeleteExchangeError::UnknownVhost(vhost)) => Err(no_vhost(&vhost)),
            Err(DeleteExchangeError::InUse(_)) => Err(precondition_failed(format!("{shown} in use"))),
            Err(DeleteExchangeError::Predeclared(_)) => {
                Err(access_refused(format!("deletion of system {shown} not allowed")))
            }
            Err(error @ DeleteExchangeError::Unavailable(_)) => Err(internal_error(error.to_string())),
        }
    }

    async fn declare_queue(&self, declare: queue::Declare) -> Result<Answer, Exception> {
        if declare.passive {
            return self.count_queue(&declare.queue);
        }
        let shown = Named::queue(&declare.queue, &self.vhost_text);
        let durable = declare.durable && !declare.exclusive;
        let given = translate::headers(&declare.arguments);
        let queue::Declare { durable: lasts, exclusive, auto_delete, .. } = declare;
        let lifetime = Lifetime { durable: lasts, exclusive, auto_delete };
        if let Some(property) = arguments::impossible_property(&given, lifetime) {
            return Err(precondition_failed(format!("invalid property '{property}' for {shown}")));
        }
        let options = arguments::queue_options(&given).map_err(|error| invalid(&error, shown))?;
        let request = DeclareQueue {
            vhost: self.vhost.clone(),
            name: name(&declare.queue).detached(),
            owner: self.owner,
            durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            options,
            arguments: given.clone(),
        };
        match self.broker.declare_queue(&self.caller, request).await {
            Ok(found) => Ok(Answer::Queue {
                message_count: u32::try_from(found.messages).unwrap_or(u32::MAX),
                consumer_count: found.consumers,
            }),
            Err(DeclareQueueError::Inequivalent { name: _, current }) => {
                if current.exclusive != declare.exclusive {
                    return Err(locked(shown));
                }
                let declared = DeclaredQueue { durable, auto_delete: declare.auto_delete, arguments: &given };
                match declared.difference(&current) {
                    Some(found) => Err(precondition_failed(found.of(&shown))),
                    None => self.count_queue(&declare.queue),
                }
            }
            Err(DeclareQueueError::UnknownVhost(vhost)) => Err(no_vhost(&vhost)),
            Err(DeclareQueueError::Locked(_)) => Err(locked(shown)),
            Err(DeclareQueueError::Stream { name: _, reason }) => {
                Err(precondition_failed(format!("invalid arguments for {shown}: {reason}")))
            }
            Err(error @ DeclareQueueError::NameTooLong(_)) => Err(precondition_failed(error.to_string())),
            Err(error @ DeclareQueueError::Unavailable(_)) => Err(internal_error(error.to_string())),
        }
    }

    fn count_queue(&self, queue: &Text) -> Result<Answer, Exception> {
        let info = self.broker.use_queue(&self.caller, &self.queue_ref(queue));
        let info = info.map_err(|error| self.queue_error(&error))?;
        Ok(Answer::Queue {
            message_count: u32::try_from(info.ready).unwrap_or(u32::MAX),
            consumer_count: u32::try_from(info.consumers.len()).unwrap_or(u32::MAX),
        })
    }

    async fn purge_queue(&self, purge: &queue::Purge) -> Result<Answer, Exception> {
        let purged = self.broker.purge_queue(&self.caller, &self.queue_ref(&purge.queue)).await;
        let count = purged.map_err(|error| match error {
            QueueError::Stream { vhost: _, name } => self.not_of_streams("queue.purge", &name),
            error => self.queue_error(&error),
        })?;
        Ok(Answer::Count(u32::try_from(count).unwrap_or(u32::MAX)))
    }

    async fn delete_queue(&self, delete: &queue::Delete) -> Result<Answer, Exception> {
        let shown = Named::queue(&delete.queue, &self.vhost_text);
        let queue = self.queue_ref(&delete.queue);
        let request = DeleteQueue { queue, if_unused: delete.if_unused, if_empty: delete.if_empty };
        match self.broker.delete_queue(&self.caller, request).await {
            Ok(count) => Ok(Answer::Count(u32::try_from(count).unwrap_or(u32::MAX))),
            // One that is not there is deleted already.
            Err(DeleteQueueError::Queue(QueueError::Unknown { .. })) => Ok(Answer::Count(0)),
            Err(DeleteQueueError::Queue(error)) => Err(self.queue_error(&error)),
            Err(DeleteQueueError::InUse(_)) => Err(precondition_failed(format!("{shown} in use"))),
            Err(DeleteQueueError::NotEmpty(_)) => Err(precondition_failed(format!("{shown} not empty"))),
        }
    }

    /// Checks the arguments of a binding, where its source looks at them.
    fn check_match(&self, source: &Text, arguments: &Table) -> Result<(), Exception> {
        let found = self.broker.exchange(&self.caller, &self.vhost, &name(source));
        let matches = found.is_some_and(|definition| definition.kind == ExchangeKind::Headers);
        if !matches {
            return Ok(());
        }
        arguments::check_match(&translate::headers(arguments)).map_err(precondition_failed)
    }

    fn exchange_binding(&self, bind: &exchange::Bind) -> Bind {
        let destination = Destination::Exchange(name(&bind.destination));
        self.binding(&bind.source, destination, &bind.routing_key, &bind.arguments)
    }

    fn exchange_unbinding(&self, unbind: &exchange::Unbind) -> Bind {
        let destination = Destination::Exchange(name(&unbind.destination));
        self.binding(&unbind.source, destination, &unbind.routing_key, &unbind.arguments)
    }

    fn binding(
        &self,
        source: &Text,
        destination: Destination,
        routing_key: &Text,
        arguments: &Table,
    ) -> Bind {
        let destination = match destination {
            Destination::Queue(name) => Destination::Queue(name.detached()),
            Destination::Exchange(name) => Destination::Exchange(name.detached()),
        };
        let binding = Binding {
            source: name(source).detached(),
            destination,
            routing_key: name(routing_key).detached(),
            arguments: translate::headers(arguments),
        };
        Bind { vhost: self.vhost.clone(), owner: self.owner, binding }
    }

    /// Makes a binding, or removes it. Removing what is not there is fine, whatever of it is missing.
    async fn bind(&self, bind: Bind, make: bool) -> Result<Answer, Exception> {
        let is_queue = matches!(bind.binding.destination, Destination::Queue(_));
        let bound = if make {
            self.broker.bind(&self.caller, bind).await
        } else {
            self.broker.unbind(&self.caller, bind).await
        };
        let named = |exchange: bool, name: &Name| {
            let (name, vhost) = (name.as_str(), &self.vhost_text);
            let shown = if exchange { Named::exchange(&name, vhost) } else { Named::queue(&name, vhost) };
            shown.to_string()
        };
        match bound {
            Ok(_) => Ok(Answer::Done),
            Err(BindError::UnknownSource(_) | BindError::UnknownDestination(_)) if !make => Ok(Answer::Done),
            Err(BindError::UnknownVhost(vhost)) => Err(no_vhost(&vhost)),
            Err(BindError::UnknownSource(name)) => Err(not_found(format!("no {}", named(true, &name)))),
            Err(BindError::UnknownDestination(name)) => {
                Err(not_found(format!("no {}", named(!is_queue, &name))))
            }
            Err(BindError::Default) => Err(default_exchange()),
            Err(BindError::Locked(name)) => Err(locked(Named::queue(&name.as_str(), &self.vhost_text))),
            Err(error @ BindError::Unavailable(_)) => Err(internal_error(error.to_string())),
        }
    }

    fn publish_request(&self, publishes: &[Publish]) -> Result<PublishRequest, Exception> {
        let exchange = publishes.first().map(|first| name(&first.exchange)).unwrap_or_default();
        let messages = publishes.iter().map(translate::message).collect::<Result<_, _>>()?;
        Ok(PublishRequest { vhost: self.vhost.clone(), exchange, messages })
    }

    /// Where a consumer begins, if its queue is a stream.
    fn start_of(&self, consume: &basic::Consume) -> Result<LogStart, Exception> {
        let Some(offset) = consume.arguments.get("x-stream-offset") else { return Ok(LogStart::Next) };
        // Other queues ignore it.
        let queue = self.queue_ref(&consume.queue);
        let is_stream = |info: QueueInfo| info.definition.options.stream.is_some();
        if !self.broker.queue_info(&self.caller, &queue).is_ok_and(is_stream) {
            return Ok(LogStart::Next);
        }
        arguments::log_start(&translate::value_from_wire(&offset), self.clock.now_ms()).map_err(|reason| {
            let shown = Named::queue(&consume.queue, &self.vhost_text);
            precondition_failed(format!("failed consuming from stream {shown}: {reason}"))
        })
    }

    fn publish_error(&self, error: &PublishError) -> Exception {
        match error {
            PublishError::UnknownVhost(vhost) => no_vhost(vhost),
            PublishError::UnknownExchange { vhost: _, exchange } => {
                not_found(format!("no {}", Named::exchange(&exchange.as_str(), &self.vhost_text)))
            }
            PublishError::Internal(exchange) => {
                let shown = Named::exchange(&exchange.as_str(), &self.vhost_text).to_string();
                access_refused(format!("cannot publish to internal {shown}"))
            }
            PublishError::TooLarge { .. } => precondition_failed(error.to_string()),
            PublishError::UnknownTopic(topic) => not_found(format!("no topic '{topic}'")),
            PublishError::UnknownLease(lease) => {
                precondition_failed(format!("unknown delivery tag (lease {})", lease.number))
            }
            PublishError::DiskFull => resource_error(error.to_string()),
            PublishError::Unavailable(_) => internal_error(error.to_string()),
        }
    }

    fn consume_error(&self, error: &ConsumeError) -> Exception {
        match error {
            ConsumeError::Queue(error) => self.queue_error(error),
            ConsumeError::ExclusiveUse(name) => {
                let shown = Named::queue(&name.as_str(), &self.vhost_text).to_string();
                access_refused(format!("{shown} in exclusive use"))
            }
            ConsumeError::StreamWithoutLimit(name) => {
                let shown = Named::queue(&name.as_str(), &self.vhost_text).to_string();
                precondition_failed(format!("consumer prefetch count is not set for stream {shown}"))
            }
            ConsumeError::StreamWithoutAcks(name) => {
                let shown = Named::queue(&name.as_str(), &self.vhost_text).to_string();
                not_implemented(format!("automatic acknowledgement not supported by stream {shown}"))
            }
            ConsumeError::StreamInSharedWindow(name) => {
                let shown = Named::queue(&name.as_str(), &self.vhost_text).to_string();
                not_implemented(format!("{shown} does not support global qos"))
            }
        }
    }

    fn not_of_streams(&self, method: &str, queue: &Name) -> Exception {
        let shown = Named::queue(&queue.as_str(), &self.vhost_text).to_string();
        not_implemented(format!("{method} not supported by stream queues {shown}"))
    }

    fn queue_error(&self, error: &QueueError) -> Exception {
        match error {
            QueueError::UnknownVhost(vhost) => no_vhost(vhost),
            QueueError::Unknown { vhost: _, name } => {
                not_found(format!("no {}", Named::queue(&name.as_str(), &self.vhost_text)))
            }
            QueueError::Locked { vhost: _, name } => locked(Named::queue(&name.as_str(), &self.vhost_text)),
            QueueError::Stream { vhost: _, name } => self.not_of_streams("basic.get", name),
            QueueError::Unavailable(_) => internal_error(error.to_string()),
        }
    }
}

fn invalid(error: &ArgumentError, queue: Named<'_>) -> Exception {
    match error {
        ArgumentError::Value { name, reason } => {
            precondition_failed(format!("invalid arg '{name}' for {queue}: {reason}"))
        }
        ArgumentError::NotOfType { name, kind } => {
            precondition_failed(format!("invalid arg '{name}' for {queue} of queue type {kind}"))
        }
    }
}

fn unknown_kind(error: &KindError, exchange: Named<'_>) -> Exception {
    match error {
        KindError::Unknown(_) => precondition_failed(error.to_string()),
        KindError::DelayedType => precondition_failed(format!("{error}, for {exchange}")),
    }
}

fn locked(queue: Named<'_>) -> Exception {
    resource_locked(format!(
        "cannot obtain exclusive access to locked {queue}. It could be originally declared on another connection or \
         the exclusive property value does not match that of the original declaration."
    ))
}

fn default_exchange() -> Exception {
    access_refused("operation not permitted on the default exchange")
}

fn no_vhost(vhost: &Name) -> Exception {
    not_found(format!("no vhost '{vhost}'"))
}

/// Names of this kind are the server's.
pub(crate) fn reserved(kind: &str, name: &str) -> Exception {
    access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
}
