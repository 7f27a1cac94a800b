//! Consumers: what a queue hands out lies in a mailbox until its consumer takes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use annals_queues::queue::{ConsumerId, ConsumerOptions, Delivery as HandedOut, Need};
use annals_queues::routing::QueueId;
use annals_queues::{Headers, Text};
use tokio::sync::Notify;

use super::entry::QueueState;
use super::streams::Reader;
use super::{QueueEntry, Queues, load, lock};
use crate::api::Caller;
use crate::api::queues::consume::{Consume, ConsumeError, ConsumerEvent, Delivery, Get, Got};
use crate::api::queues::settle::Lease;
use crate::api::queues::{OwnerId, QueueError, QueueRef};
use crate::{Broker, Inner};

/// A window that several consumers share: RabbitMQ's prefetch for a channel.
#[derive(Debug)]
pub struct SharedWindow {
    /// 0 for no limit.
    limit: AtomicU32,
    used: AtomicU32,
    queues: Mutex<Vec<Weak<QueueEntry>>>,
}

impl std::fmt::Debug for QueueEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueEntry").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl SharedWindow {
    /// A window for `limit` unsettled messages; 0 for no limit.
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit: limit.into(), used: 0.into(), queues: Mutex::default() })
    }

    /// Changes how many unsettled messages it has room for; 0 for no limit.
    fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Release);
    }

    fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        let take = |used: u32| (limit == 0 || used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn has_room(&self) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        limit == 0 || self.used.load(Ordering::Acquire) < limit
    }

    /// Whether it has a limit, so that somebody may wait for room. When it gets one, nobody does.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.load(Ordering::Acquire) > 0
    }

    pub(super) fn give_back(&self, count: u32) {
        let less = |used: u32| Some(used.saturating_sub(count));
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    fn serves(&self, entry: &Arc<QueueEntry>) {
        let mut queues = lock(&self.queues);
        queues.retain(|known| known.strong_count() > 0);
        if !queues.iter().any(|known| known.as_ptr() == Arc::as_ptr(entry)) {
            queues.push(Arc::downgrade(entry));
        }
    }

    /// There is room again: the queues that wait for it go on. Not to be called with a queue locked.
    pub(super) fn go_on(&self, queues: &Queues) {
        let mut known = lock(&self.queues);
        // Each is the first in turn, so that a window of few messages is not all of one queue's.
        if !known.is_empty() {
            known.rotate_left(1);
        }
        let waiting: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        drop(known);
        for entry in waiting {
            entry.advance(&mut entry.lock(), queues);
        }
    }
}

/// What lies ready for one consumer.
pub(crate) struct Mailbox {
    pub(super) tag: Text,
    pub(super) owner: OwnerId,
    pub(super) session: u16,
    pub(super) arguments: Headers,
    no_ack: bool,
    shared: Option<Arc<SharedWindow>>,
    letters: Mutex<VecDeque<Delivery>>,
    pub(super) filled: Arc<Notify>,
    cancelled: AtomicBool,
}

impl Mailbox {
    pub(super) fn may_take(&self) -> bool {
        let Some(window) = &self.shared else { return true };
        // What needs no acknowledgement takes no room, but waits while there is none, as with RabbitMQ.
        if self.no_ack { window.has_room() } else { window.try_take() }
    }

    /// The shared window in which its messages take room until they are settled.
    pub(super) fn window(&self) -> Option<&Arc<SharedWindow>> {
        self.shared.as_ref().filter(|_| !self.no_ack)
    }

    /// So many messages that it held are settled.
    fn settled(&self, count: u32) {
        if let Some(window) = self.window() {
            window.give_back(count);
        }
    }

    pub(super) fn put(&self, queue: QueueId, delivery: HandedOut) {
        lock(&self.letters).push_back(delivered(queue, delivery));
    }

    pub(super) fn wake(&self) {
        self.filled.notify_one();
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    fn take(&self) -> VecDeque<Delivery> {
        std::mem::take(&mut *lock(&self.letters))
    }
}

pub(super) fn delivered(queue: QueueId, delivery: HandedOut) -> Delivery {
    Delivery {
        lease: Lease { queue, number: delivery.lease },
        message: delivery.message,
        redelivered: delivery.redelivered,
        delivery_count: delivery.count,
        sequence: if delivery.place.is_journaled() { delivery.place.offset } else { delivery.place.memory },
        stream_offset: None,
    }
}

/// Which consumer of which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerRef {
    queue: QueueId,
    consumer: ConsumerId,
}

/// A consumer of one queue. Dropping it ends it: what it was handed and has not taken goes back, what it took stays
/// leased until it is settled.
pub struct Consumer {
    id: ConsumerId,
    entry: Arc<QueueEntry>,
    mailbox: Arc<Mailbox>,
    inner: Arc<Inner>,
    ended: bool,
    /// Where it is, if the queue is a stream.
    reader: Option<Reader>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("id", &self.id)
            .field("queue", &self.entry.id())
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// The queue that it consumes.
    pub fn queue(&self) -> QueueId {
        self.entry.id()
    }

    /// What [`Broker::retire_consumer`] knows it by.
    pub fn reference(&self) -> ConsumerRef {
        ConsumerRef { queue: self.entry.id(), consumer: self.id }
    }

    /// Waits for messages, and gives all that are there, in order. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> ConsumerEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            if self.ended {
                std::future::pending::<()>().await;
            }
            match &mut self.reader {
                Some(reader) if reader.is_behind(&self.inner).unwrap_or(false) => {
                    reader.read_on(&self.inner).await;
                    if self.try_room() {
                        continue;
                    }
                }
                _ => {}
            }
            self.mailbox.filled.notified().await;
        }
    }

    /// Whether a consumer of a stream may be handed more.
    fn try_room(&self) -> bool {
        self.entry.lock().queue.room(self.id).is_some_and(|room| room > 0)
    }

    /// What is there now, if there is anything.
    pub fn try_next(&mut self) -> Option<ConsumerEvent> {
        if let Some(reader) = self.reader.as_mut().filter(|_| !self.ended) {
            let deliveries = reader.take(&self.entry, self.id, &self.inner);
            if !deliveries.is_empty() {
                return Some(ConsumerEvent::Deliveries(deliveries));
            }
        }
        let letters = self.mailbox.take();
        if !letters.is_empty() {
            let mut state = self.entry.lock();
            state.queue.taken(self.id);
            self.entry.advance(&mut state, self.inner.queues());
            return Some(ConsumerEvent::Deliveries(letters.into()));
        }
        if self.mailbox.cancelled.load(Ordering::Acquire) && !self.ended {
            self.ended = true;
            self.reader.iter_mut().for_each(Reader::stop);
            return Some(ConsumerEvent::Cancelled);
        }
        None
    }

    /// Changes how many unsettled messages it may hold; 0 for no limit.
    pub fn set_prefetch(&self, prefetch: u32) {
        let mut state = self.entry.lock();
        state.queue.set_prefetch(self.id, prefetch);
        self.entry.advance(&mut state, self.inner.queues());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let queues = self.inner.queues();
        let left = {
            let mut state = self.entry.lock();
            self.give_back(&mut state);
            // What it still holds is settled without it, and does not come back to a window then.
            let held = state.queue.consumer(self.id).map_or(0, |(_, held, _)| held);
            self.mailbox.settled(held);
            state.queue.remove_consumer(self.id);
            let known = state.consumers.remove(&self.id).is_some();
            state.unused_since = queues.clock.now_ms();
            self.entry.advance(&mut state, queues);
            known && state.queue.consumer_count() == 0
        };
        if let Some(window) = &self.mailbox.shared {
            window.go_on(queues);
        }
        if left && self.entry.definition().auto_delete {
            queues.work.expire.put(self.entry.id());
        }
    }
}

impl Consumer {
    /// What was handed out and not taken goes back to its place, as if it had never been away.
    fn give_back(&self, state: &mut QueueState) {
        let now_ms = self.inner.clock.now_ms();
        for letter in self.mailbox.take() {
            let back = annals_queues::queue::Settlement::Requeue { counts: false };
            if state.queue.settle(letter.lease.number, back, now_ms).is_ok() {
                self.mailbox.settled(1);
            }
        }
    }
}

impl Broker {
    /// Changes how many unsettled messages a shared window has room for; 0 for no limit. Queues that waited for room go on.
    pub fn resize_window(&self, window: &SharedWindow, limit: u32) {
        window.set_limit(limit);
        window.go_on(self.inner.queues());
    }

    /// Hands a consumer nothing any more. Whoever drops a consumer and gives back what it took retires it first: so what it
    /// took is at its place again before another consumer is served in its stead.
    pub fn retire_consumer(&self, consumer: ConsumerRef) {
        if let Some(entry) = self.inner.queues().entry(consumer.queue) {
            entry.lock().queue.retire_consumer(consumer.consumer);
        }
    }

    /// Adds a consumer to a queue.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn consume(&self, _caller: &Caller, request: Consume) -> Result<Consumer, ConsumeError> {
        let inner = &self.inner;
        let entry = inner.usable_queue(&request.queue)?;
        if entry.topic().is_some() && request.prefetch == 0 {
            return Err(ConsumeError::StreamWithoutLimit(request.queue.name));
        }
        if entry.topic().is_some() && request.no_ack {
            return Err(ConsumeError::StreamWithoutAcks(request.queue.name));
        }
        let is_limited = |window: &Arc<SharedWindow>| window.limit.load(Ordering::Acquire) > 0;
        if entry.topic().is_some() && request.shared.as_ref().is_some_and(is_limited) {
            return Err(ConsumeError::StreamInSharedWindow(request.queue.name));
        }
        let id = ConsumerId(inner.queues().next_consumer.fetch_add(1, Ordering::Relaxed));
        let mailbox = Arc::new(Mailbox {
            tag: request.tag,
            owner: request.queue.owner,
            session: request.session,
            arguments: request.arguments,
            no_ack: request.no_ack,
            shared: request.shared.clone(),
            letters: Mutex::default(),
            filled: Arc::default(),
            cancelled: AtomicBool::new(false),
        });
        if let Some(window) = &request.shared {
            window.serves(&entry);
        }
        let options = ConsumerOptions {
            no_ack: request.no_ack,
            exclusive: request.exclusive,
            priority: request.priority,
            prefetch: request.prefetch,
        };
        let mut state = entry.lock();
        if state.gone {
            let QueueRef { vhost, name, .. } = request.queue;
            return Err(QueueError::Unknown { vhost, name }.into());
        }
        if !state.queue.add_consumer(id, options) {
            return Err(ConsumeError::ExclusiveUse(request.queue.name));
        }
        state.consumers.insert(id, Arc::clone(&mailbox));
        state.was_consumed = true;
        entry.advance(&mut state, inner.queues());
        drop(state);
        let reader = entry.topic().map(|topic| Reader::new(inner, topic, request.start, &mailbox));
        Ok(Consumer { id, entry, mailbox, inner: Arc::clone(inner), ended: false, reader })
    }

    /// Takes messages from a queue that are ready now.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn get(&self, _caller: &Caller, request: Get) -> Result<Got, QueueError> {
        self.inner.get(&request).await
    }

    /// As [`Broker::get`], and waits for a message for up to `wait`.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn receive(&self, _caller: &Caller, request: Get, wait: Duration) -> Result<Got, QueueError> {
        let until = self.inner.clock.monotonic() + wait;
        loop {
            let arrivals = Arc::clone(&self.inner.plain_queue(&request.queue)?.lock().arrivals);
            let mut arrived = std::pin::pin!(arrivals.notified());
            arrived.as_mut().enable();
            let got = self.inner.get(&request).await?;
            let left = until.saturating_sub(self.inner.clock.monotonic());
            if !got.deliveries.is_empty() || left.is_zero() {
                return Ok(got);
            }
            let _ = tokio::time::timeout(left, arrived).await;
        }
    }
}

impl Inner {
    /// The queue of this name, for who may use it.
    pub(super) fn queue(&self, queue: &QueueRef) -> Result<Arc<QueueEntry>, QueueError> {
        let queues = self.queues();
        let id = queues.with_topology(|topology| {
            let vhost = topology.vhost(&queue.vhost);
            let vhost = vhost.ok_or_else(|| QueueError::UnknownVhost(queue.vhost.clone()))?;
            Ok::<_, QueueError>(vhost.queue(&queue.name).map(|definition| definition.id))
        })?;
        let unknown = || QueueError::Unknown { vhost: queue.vhost.clone(), name: queue.name.clone() };
        let entry = id.and_then(|id| queues.entry(id)).ok_or_else(unknown)?;
        entry.check_owner(queue.owner)?;
        Ok(entry)
    }

    /// A queue that clients may use.
    pub(super) fn usable_queue(&self, queue: &QueueRef) -> Result<Arc<QueueEntry>, QueueError> {
        let entry = self.queue(queue)?;
        if entry.definition().options.holds_back {
            return Err(QueueError::Locked { vhost: queue.vhost.clone(), name: queue.name.clone() });
        }
        Ok(entry)
    }

    /// A queue that clients may use and that is no stream.
    pub(super) fn plain_queue(&self, queue: &QueueRef) -> Result<Arc<QueueEntry>, QueueError> {
        let entry = self.usable_queue(queue)?;
        if entry.topic().is_some() {
            return Err(QueueError::Stream { vhost: queue.vhost.clone(), name: queue.name.clone() });
        }
        Ok(entry)
    }

    pub(super) async fn get(&self, request: &Get) -> Result<Got, QueueError> {
        let entry = self.plain_queue(&request.queue)?;
        loop {
            match self.try_get(&entry, request) {
                Ok(got) => return Ok(got),
                Err(need) => load::load(self, &entry, need).await,
            }
        }
    }

    fn try_get(&self, entry: &QueueEntry, request: &Get) -> Result<Got, Need> {
        let mut state = entry.lock();
        let now_ms = self.clock.now_ms();
        state.unused_since = now_ms;
        let taken = state.queue.get(request.max.max(1), request.no_ack, now_ms);
        entry.advance(&mut state, self.queues());
        let remaining = state.queue.ready();
        drop(state);
        let deliveries = taken?.into_iter().map(|delivery| delivered(entry.id(), delivery)).collect();
        Ok(Got { deliveries, remaining })
    }
}
