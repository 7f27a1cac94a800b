//! Moving messages by an operator's hand: redriving dead letters, emptying one queue into another.
//!
//! A move is written down in the state log of the queue that it takes from, and goes on by itself until it has ended, also after
//! a restart. Messages are taken under a lease, published, settled and counted, some at a time, each time in one group. So
//! whatever interrupts it, each message is in one place, and the count says how many are in their new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_clock::TimestampMs;
use annals_queues::queue::{MoveState, Movement, Settlement};
use annals_queues::routing::{QueueId, Routable, Routes};
use annals_queues::{Message, Text};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::QueueEntry;
use super::plan::{Act, Plan};
use crate::api::Caller;
use crate::api::queues::QueueError;
use crate::api::queues::admin::{Move, MoveError, MoveId, MovePreview, MoveProgress};
use crate::api::queues::consume::{Delivery, Get};
use crate::api::queues::publish::PublishError;
use crate::{Broker, Inner};

/// Messages that share a group.
const MESSAGES_MAX: u64 = 100;
/// Bytes that share a step, with all their copies. A larger message has a step of its own.
const STEP_BYTES_MAX: usize = 8 << 20;
/// Moves that go on at the same time.
const MOVES_MAX: usize = 32;
/// How long a full disk is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Messages that are looked at together for a preview.
const PEEKED: usize = 1000;

impl Broker {
    /// Begins to move ready messages of a queue elsewhere. That it began is durable on return; it goes on by itself, also after
    /// a restart. Limits of the queues that messages go to do not hold them up.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn start_move(&self, _caller: &Caller, request: Move) -> Result<MoveId, MoveError> {
        let inner = &self.inner;
        let entry = inner.plain_queue(&request.source)?;
        let now_ms = inner.clock.now_ms();
        let number = inner.change_durably(&entry, |state| {
            let ready = state.queue.ready();
            let wanted = request.max.map_or(ready, |max| max.min(ready));
            let rate = request.rate.map_or(0, |rate| rate.max(1));
            state.queue.start_move(request.target.clone(), rate, wanted, now_ms)
        });
        let number = number.await?;
        inner.queues().work.moves.put(entry.id());
        Ok(MoveId { queue: entry.id(), number })
    }

    /// Moves ready messages of a queue elsewhere, and waits until that has ended. Returns how many were moved.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn move_messages(&self, caller: &Caller, request: Move) -> Result<u64, MoveError> {
        let id = self.start_move(caller, request).await?;
        self.move_ended(caller, id).await
    }

    /// Waits until a move has ended. Returns how many messages were moved. Cancelling the wait does not stop the move.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn move_ended(&self, caller: &Caller, id: MoveId) -> Result<u64, MoveError> {
        let unknown = || MoveError::Unknown(id);
        loop {
            let entry = self.inner.queues().entry(id.queue).ok_or_else(unknown)?;
            let changed = entry.state_changed();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let Movement { moved, state, .. } = self.move_progress(caller, id).ok_or_else(unknown)?.movement;
            match state {
                MoveState::Running => {}
                MoveState::Finished => return Ok(moved),
                MoveState::Cancelled => return Err(MoveError::Cancelled { moved }),
                MoveState::Unroutable { exchange, routing_key } => {
                    return Err(MoveError::Unroutable { moved, exchange, routing_key });
                }
            }
            if let Some(reason) = self.stopped() {
                return Err(QueueError::Unavailable(reason).into());
            }
            changed.await;
        }
    }

    /// The moves of all queues, of one virtual host or of all: those that go on, and the last few of each queue that have
    /// ended.
    pub fn moves(&self, _caller: &Caller, vhost: Option<&Text>) -> Vec<MoveProgress> {
        let mut entries = self.inner.queues().all_entries();
        entries.retain(|entry| vhost.is_none_or(|vhost| entry.definition().vhost == *vhost));
        entries.sort_unstable_by_key(|entry| entry.id());
        let mut moves = Vec::new();
        for entry in entries {
            let state = entry.lock();
            moves.extend(state.queue.movements().map(|movement| progress(&entry, movement)));
        }
        moves
    }

    /// How far a move is, if it is known still.
    pub fn move_progress(&self, _caller: &Caller, id: MoveId) -> Option<MoveProgress> {
        let entry = self.inner.queues().entry(id.queue)?;
        let state = entry.lock();
        Some(progress(&entry, state.queue.movement(id.number)?))
    }

    /// Stops a move where it is. What was moved stays where it is now. Durable on return; a move that has ended stays as it
    /// ended.
    ///
    /// # Errors
    /// [`MoveError::Unknown`], or if the storage failed.
    pub async fn cancel_move(&self, caller: &Caller, id: MoveId) -> Result<MoveProgress, MoveError> {
        self.set_move(caller, id, |state| *state == MoveState::Running, MoveState::Cancelled).await
    }

    /// Has a move go on that was cancelled, or that stopped at a message that could not be routed. Durable on return.
    ///
    /// # Errors
    /// [`MoveError::Unknown`], or if the storage failed.
    pub async fn resume_move(&self, caller: &Caller, id: MoveId) -> Result<MoveProgress, MoveError> {
        let resumed =
            self.set_move(caller, id, |state| *state != MoveState::Finished, MoveState::Running).await;
        self.inner.queues().work.moves.put(id.queue);
        resumed
    }

    async fn set_move(
        &self,
        caller: &Caller,
        id: MoveId,
        may: impl Fn(&MoveState) -> bool,
        to: MoveState,
    ) -> Result<MoveProgress, MoveError> {
        let unknown = || MoveError::Unknown(id);
        let entry = self.inner.queues().entry(id.queue).ok_or_else(unknown)?;
        let set = self.inner.change_durably(&entry, |state| {
            if state.queue.movement(id.number).is_some_and(|movement| may(&movement.state)) {
                state.queue.set_move(id.number, to);
            }
        });
        set.await?;
        entry.wake();
        self.move_progress(caller, id).ok_or_else(unknown)
    }

    /// What a move would do, without doing it: how many messages it would take, and which queues would get them. Reads the
    /// queue, so it takes as long as that.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn preview_move(&self, _caller: &Caller, request: Move) -> Result<MovePreview, QueueError> {
        let inner = &self.inner;
        let entry = inner.plain_queue(&request.source)?;
        let ready = entry.lock().queue.ready();
        let messages = request.max.map_or(ready, |max| max.min(ready));
        let mut targets: BTreeMap<QueueId, u64> = BTreeMap::new();
        let (mut unroutable, mut looked, mut behind) = (0, 0, None);
        while looked < messages {
            let peeked = inner.look_on(&entry, behind, PEEKED).await;
            let Some((last, _)) = peeked.last() else { break };
            behind = Some(*last);
            let ready = peeked.iter().map(|(_, one)| one).filter(|one| !one.leased);
            for one in ready.take((messages - looked) as usize) {
                looked += 1;
                let (exchange, routing_key) = target(&one.message, request.target.as_ref());
                let routes = inner.routes_for(&entry, &exchange, &routing_key, &one.message);
                unroutable += u64::from(routes.is_empty());
                routes.queues.into_iter().for_each(|queue| *targets.entry(queue).or_default() += 1);
            }
        }
        let named = |(queue, count)| Some((inner.queues().entry(queue)?.definition().name.clone(), count));
        Ok(MovePreview { messages, targets: targets.into_iter().filter_map(named).collect(), unroutable })
    }
}

fn progress(entry: &QueueEntry, movement: &Movement) -> MoveProgress {
    let definition = entry.definition();
    MoveProgress {
        id: MoveId { queue: entry.id(), number: movement.number },
        vhost: definition.vhost.clone(),
        source: definition.name.clone(),
        movement: movement.clone(),
    }
}

/// Has moves go on until it is dropped.
pub(super) async fn run(inner: &Inner) {
    for entry in inner.queues().all_entries() {
        inner.queues().work.moves.put(entry.id());
    }
    let (mut running, mut known) = (FuturesUnordered::new(), std::collections::HashSet::new());
    loop {
        tokio::select! {
            queues = inner.queues().work.moves.next(64), if running.len() < MOVES_MAX => {
                for entry in queues.into_iter().filter_map(|queue| inner.queues().entry(queue)) {
                    let numbers: Vec<u64> = running_in(&entry);
                    for id in numbers.into_iter().map(|number| MoveId { queue: entry.id(), number }) {
                        if known.insert(id) {
                            running.push(go_on(inner, Arc::clone(&entry), id));
                        }
                    }
                }
            }
            Some(id) = running.next(), if !running.is_empty() => {
                known.remove(&id);
                // It may have been resumed just when it ended.
                inner.queues().work.moves.put(id.queue);
            }
        }
        if inner.queues().is_stopped() {
            return;
        }
    }
}

fn running_in(entry: &QueueEntry) -> Vec<u64> {
    let state = entry.lock();
    let running = state.queue.movements().filter(|movement| movement.state == MoveState::Running);
    running.map(|movement| movement.number).collect()
}

/// Goes on with a move until it has ended.
async fn go_on(inner: &Inner, entry: Arc<QueueEntry>, id: MoveId) -> MoveId {
    loop {
        let started = inner.clock.monotonic();
        let movement = entry.lock().queue.movement(id.number).cloned();
        let Some(movement) = movement.filter(|movement| movement.state == MoveState::Running) else {
            return id;
        };
        if entry.lock().gone || inner.queues().is_stopped() {
            return id;
        }
        let step = step_of(&movement);
        match inner.step(&entry, &movement, step).await {
            Ok(None) => {}
            Ok(Some(state)) => {
                let end = inner.change_durably(&entry, |queue| {
                    if queue.queue.is_moving(id.number) {
                        queue.queue.set_move(id.number, state);
                    }
                });
                if let Err(error) = end.await {
                    tracing::warn!(%id, %error, "the end of a move cannot be written");
                }
                entry.wake();
                return id;
            }
            Err(error) => {
                tracing::debug!(%id, %error, "a step of a move cannot be made now");
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        if movement.rate > 0 {
            let share = Duration::from_secs_f64(step as f64 / f64::from(movement.rate));
            let took = inner.clock.monotonic().saturating_sub(started);
            tokio::time::sleep(share.saturating_sub(took)).await;
        }
    }
}

/// How many messages a step takes: with a limit to the rate, ten steps a second.
fn step_of(movement: &Movement) -> u64 {
    match movement.rate {
        0 => MESSAGES_MAX,
        rate => u64::from(rate).div_ceil(10).clamp(1, MESSAGES_MAX),
    }
}

/// Messages that are to be moved; they go back to their places unless they were.
struct Held<'a> {
    inner: &'a Inner,
    leases: Vec<Delivery>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let back = Settlement::Requeue { counts: false };
        let queues = self.inner.queues();
        let Some(entry) = self.leases.first().and_then(|first| queues.entry(first.lease.queue)) else {
            return;
        };
        let mut state = entry.lock();
        for delivery in &self.leases {
            // Those that were moved are not held any more.
            let _ = state.queue.settle(delivery.lease.number, back, self.inner.clock.now_ms());
        }
        entry.advance(&mut state, queues);
    }
}

impl Inner {
    /// Moves some messages. Returns how the move ends, if it does.
    async fn step(
        &self,
        entry: &Arc<QueueEntry>,
        movement: &Movement,
        step: u64,
    ) -> Result<Option<MoveState>, PublishError> {
        let left = movement.wanted.saturating_sub(movement.moved);
        if left == 0 {
            return Ok(Some(MoveState::Finished));
        }
        let deliveries = self.take(entry, left.min(step) as usize).await;
        let held = Held { inner: self, leases: deliveries };
        if held.leases.is_empty() {
            return Ok(Some(MoveState::Finished));
        }
        let (mut plan, mut unroutable, mut count, mut bytes) = (Plan::forced(), None, 0, 0);
        for delivery in &held.leases {
            let (exchange, routing_key) = target(&delivery.message, movement.target.as_ref());
            let routes = self.routes_for(entry, &exchange, &routing_key, &delivery.message);
            if routes.is_empty() {
                unroutable = Some(MoveState::Unroutable { exchange, routing_key });
                break;
            }
            bytes += delivery.message.footprint() * routes.len();
            if bytes > STEP_BYTES_MAX && count > 0 {
                break;
            }
            let message = moved(&delivery.message, exchange, routing_key, self.clock.now_ms());
            plan.add_routed(Arc::new(message), &routes, 0);
            plan.act(entry.id(), Act::Settle(delivery.lease.number, Settlement::Accept));
            count += 1;
        }
        if count > 0 {
            plan.act(entry.id(), Act::Moved(movement.number, count));
            self.carry_out(plan).await?.durable().await?;
            entry.wake();
        }
        Ok(unroutable)
    }

    async fn take(&self, entry: &QueueEntry, max: usize) -> Vec<Delivery> {
        let definition = entry.definition();
        let owner = entry.owner().unwrap_or(crate::api::queues::OwnerId(0));
        let (vhost, name) = (definition.vhost.clone(), definition.name.clone());
        let queue = crate::api::queues::QueueRef { vhost, name, owner };
        // A queue that is gone has nothing to move.
        self.get(&Get { queue, no_ack: false, max }).await.map(|got| got.deliveries).unwrap_or_default()
    }

    fn routes_for(
        &self,
        entry: &QueueEntry,
        exchange: &Text,
        routing_key: &Text,
        message: &Message,
    ) -> Routes {
        let mut routes = Routes::default();
        self.queues().with_topology(|topology| {
            if let Some(vhost) = topology.vhost(&entry.definition().vhost) {
                let routable = Routable { routing_key, more_keys: &[], headers: message.headers() };
                vhost.route_all(exchange, routable, &mut routes);
            }
        });
        routes
    }
}

/// The message as it is published again.
fn moved(message: &Message, exchange: Text, routing_key: Text, published_ms: TimestampMs) -> Message {
    Message { exchange, routing_key, published_ms, ..message.clone() }
}

/// Where a message goes: as the move says, or back to the queue in which it died last.
fn target(message: &Message, target: Option<&(Text, Text)>) -> (Text, Text) {
    if let Some(target) = target {
        return target.clone();
    }
    let died = message.deaths.as_ref().and_then(|deaths| deaths.entries.first());
    (Text::empty(), died.map_or_else(|| message.routing_key.clone(), |death| death.queue.clone()))
}
