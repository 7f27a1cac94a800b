//! One queue behind its lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_clock::TimestampMs;
use annals_queues::queue::{ConsumerId, Definition, Delivery, Need, Place, Queue};
use annals_queues::routing::QueueId;
use tokio::sync::Notify;

use super::Queues;
use super::consume::Mailbox;
use super::kept::Kept;
use super::streams::topic_of;
use crate::Inner;
use crate::api::queues::{OwnerId, QueueError};

/// One queue.
pub(crate) struct QueueEntry {
    definition: Arc<Definition>,
    owner: Option<OwnerId>,
    /// The topic that it is, if it is a stream.
    topic: Option<Arc<str>>,
    state: Mutex<QueueState>,
    /// Entries of the state log below this are written.
    written: AtomicU64,
    written_changed: Arc<Notify>,
}

pub(crate) struct QueueState {
    pub(crate) queue: Queue,
    pub(crate) consumers: BTreeMap<ConsumerId, Arc<Mailbox>>,
    /// Deleted: nothing comes in any more.
    pub(crate) gone: bool,
    /// What is being read, or is to be.
    pub(crate) need: Option<Need>,
    /// Since when nobody uses it, if it goes for that.
    pub(crate) unused_since: TimestampMs,
    /// It had a consumer: one that is automatic goes with its last.
    pub(crate) was_consumed: bool,
    /// Whoever waits for the next message without being a consumer.
    pub(crate) arrivals: Arc<Notify>,
    /// When the oldest message came in, if it had to be read for that.
    pub(super) oldest: Option<(Place, TimestampMs)>,
    kept: Kept,
    timer: Option<TimestampMs>,
    deliveries: Vec<Delivery>,
}

/// What has to be done elsewhere after a queue advanced.
#[derive(Default)]
pub(crate) struct Calls {
    pub(super) flush: bool,
    pub(super) load: bool,
    pub(super) depart: bool,
    pub(super) timer: Option<(Option<TimestampMs>, Option<TimestampMs>)>,
}

impl QueueEntry {
    pub(super) fn new(queue: Queue, owner: Option<OwnerId>, now_ms: TimestampMs) -> Self {
        let definition = Arc::clone(queue.definition());
        let state = QueueState {
            queue,
            consumers: BTreeMap::new(),
            gone: false,
            need: None,
            unused_since: now_ms,
            was_consumed: false,
            arrivals: Arc::default(),
            oldest: None,
            kept: Kept::default(),
            timer: None,
            deliveries: Vec::new(),
        };
        Self {
            topic: definition.options.stream.is_some().then(|| topic_of(&definition.vhost, &definition.name)),
            definition,
            owner,
            state: Mutex::new(state),
            written: AtomicU64::new(0),
            written_changed: Arc::default(),
        }
    }

    pub(super) fn id(&self) -> QueueId {
        self.definition.id
    }

    pub(super) fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The topic that it is, if it is a stream.
    pub(super) fn topic(&self) -> Option<&Arc<str>> {
        self.topic.as_ref()
    }

    pub(super) fn owner(&self) -> Option<OwnerId> {
        self.owner
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exclusive queue answers its owner only.
    pub(super) fn check_owner(&self, owner: OwnerId) -> Result<(), QueueError> {
        if self.owner.is_none_or(|of| of == owner) {
            return Ok(());
        }
        let (vhost, name) = (self.definition.vhost.clone(), self.definition.name.clone());
        Err(QueueError::Locked { vhost, name })
    }

    /// Hands out what can be handed out, does what is due, and has done elsewhere what has to be.
    pub(super) fn advance(&self, state: &mut QueueState, queues: &Queues) {
        if self.topic.is_some() {
            return state.consumers.values().for_each(|mailbox| mailbox.wake());
        }
        let now_ms = queues.clock.now_ms();
        let mut need = self.dispatch(state, now_ms);
        need = state.queue.tick(now_ms).or(need);
        if state.queue.can_go_on() {
            need = self.dispatch(state, now_ms).or(need);
        }
        if state.queue.ready() > 0 {
            state.arrivals.notify_waiters();
        }
        let calls = self.calls(state, need);
        let kept = Kept::of(&state.queue);
        queues.kept.count(&mut state.kept, kept);
        queues.call(self.id(), &calls);
    }

    fn dispatch(&self, state: &mut QueueState, now_ms: TimestampMs) -> Option<Need> {
        let QueueState { queue, consumers, deliveries, .. } = state;
        let mut may_take = |id: ConsumerId| consumers.get(&id).is_some_and(|mailbox| mailbox.may_take());
        let need = queue.dispatch(now_ms, &mut may_take, deliveries);
        let mut filled: Vec<&Arc<Mailbox>> = Vec::new();
        for delivery in deliveries.drain(..) {
            let Some(mailbox) = delivery.consumer.and_then(|id| consumers.get(&id)) else { continue };
            mailbox.put(self.id(), delivery);
            if !filled.iter().any(|known| Arc::ptr_eq(known, mailbox)) {
                filled.push(mailbox);
            }
        }
        filled.iter().for_each(|mailbox| mailbox.wake());
        need
    }

    fn calls(&self, state: &mut QueueState, need: Option<Need>) -> Calls {
        let mut calls = Calls {
            flush: state.queue.has_changes(),
            depart: state.queue.has_departures(),
            ..Calls::default()
        };
        if need.is_some() && state.need.is_none() {
            state.need = need;
            calls.load = true;
        }
        let timer = [state.queue.next_deadline(), self.unused_until(state)].into_iter().flatten().min();
        if timer != state.timer {
            calls.timer = Some((state.timer, timer));
            state.timer = timer;
        }
        calls
    }

    /// When the queue goes because nobody uses it.
    pub(super) fn unused_until(&self, state: &QueueState) -> Option<TimestampMs> {
        let expires_ms = self.definition.options.expires_ms?;
        let used = state.queue.consumer_count() > 0 || state.gone;
        (!used).then(|| state.unused_since.saturating_add_unsigned(expires_ms))
    }

    /// The timer rang: it has to be set again.
    pub(super) fn timer_rang(&self, state: &mut QueueState) {
        state.timer = None;
    }

    /// Entries of the state log below `end` are written.
    pub(super) fn state_is_written(&self, end: u64) {
        self.written.fetch_max(end, Ordering::AcqRel);
        self.written_changed.notify_waiters();
    }

    pub(super) fn wake(&self) {
        self.written_changed.notify_waiters();
    }

    /// Told when something of its state log is written, and when the queue goes.
    pub(super) fn state_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.written_changed)
    }

    /// Waits until the entry of the state log at `offset` is durable. `false` if it never will be.
    pub(super) async fn until_durable(&self, offset: u64, inner: &Inner) -> bool {
        self.until_written(offset, inner.queues()).await && inner.journal.settle().await.is_ok()
    }

    async fn until_written(&self, offset: u64, queues: &Queues) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.written_changed.notified());
            changed.as_mut().enable();
            if self.written.load(Ordering::Acquire) > offset {
                return true;
            }
            if queues.is_stopped() {
                return false;
            }
            queues.work.flush_awaited.notify_one();
            changed.await;
        }
    }

    /// It could not be deleted after all.
    pub(super) fn reopen(&self) {
        self.lock().gone = false;
    }

    /// Everything of a deleted queue is let go: consumers are told.
    pub(super) fn close(&self, state: &mut QueueState, queues: &Queues) {
        state.gone = true;
        for (id, mailbox) in std::mem::take(&mut state.consumers) {
            state.queue.remove_consumer(id);
            mailbox.cancel();
        }
        queues.kept.count(&mut state.kept, Kept::default());
        queues.set_timer(self.id(), state.timer.take(), None);
        state.arrivals.notify_waiters();
        self.wake();
    }
}
