//! Publishing, and everything else that puts messages into queues: transactions, dead letters, what has become due.
//!
//! A [`Plan`] says which messages go to which queues and what is settled with it. Records are encoded on the caller's task;
//! then the queues are locked in the order of their numbers, each decides, and one group takes all of it. A message that is
//! journaled nowhere costs no group.

use std::sync::{Arc, MutexGuard};

use annals_clock::TimestampMs;
use annals_journal::{Durability, GROUP_BYTES_MAX, Group, LogId, Payload, Permit, Purpose, Ticket};
use annals_queues::positions::PositionsEntry;
use annals_queues::queue::Admission;
use annals_queues::routing::{Exchange, QueueId, Routable, Routes, Topology};
use annals_topics::batch::Batch;

use super::batch::Encoded;
use super::entry::QueueState;
use super::held_back::{delay_ms, hold_back};
use super::lock;
use super::logs::{BODIES_LOG, POSITIONS_LOG, lane_log, state_log};
use super::plan::{Act, Laid, Plan, Share, build_batch};
use super::settle::WindowsFreed;
use crate::api::Caller;
use crate::api::queues::publish::{Publish, PublishError, Published, Transaction};
use crate::api::queues::settle::Lease;
use crate::metrics::Appending;
use crate::storage::Unavailable;
use crate::{Broker, Inner};

/// Messages that are decided and on their way to the disk.
#[derive(Debug)]
pub struct PublishTicket {
    outcomes: Vec<Published>,
    ticket: Option<Ticket>,
    appending: Option<Appending>,
}

impl PublishTicket {
    /// What became of each message, in order. Those that are queued are safe once [`PublishTicket::durable`] resolves.
    pub fn outcomes(&self) -> &[Published] {
        &self.outcomes
    }

    /// Whether there is nothing to wait for.
    pub fn is_settled(&self) -> bool {
        self.ticket.is_none()
    }

    /// Waits until everything that is to be kept is on disk.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] if the journal stopped; then nobody knows.
    pub async fn durable(self) -> Result<(), PublishError> {
        match self.ticket {
            None => Ok(()),
            Some(ticket) => match ticket.await {
                Ok(_) => {
                    self.appending.into_iter().for_each(Appending::acknowledged);
                    Ok(())
                }
                Err(error) => Err(Unavailable::from(error).into()),
            },
        }
    }
}

impl From<Unavailable> for PublishError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::DiskFull => Self::DiskFull,
            Unavailable::Stopped(reason) => Self::Unavailable(reason),
        }
    }
}

/// Why a plan has to be made again or given up.
enum Refusal {
    /// More has to be written than there is room for.
    TooSmall,
    UnknownLease(Lease),
    /// A move that this is a step of has ended.
    MoveEnded,
}

impl Broker {
    /// Routes and decides messages: waits for room, then gives each its place in its queues. Messages of one caller are
    /// decided in the order of its calls. They are safe once [`PublishTicket::durable`] resolves.
    ///
    /// # Errors
    /// See [`PublishError`]; then nothing was published.
    pub async fn publish(&self, _caller: &Caller, publish: Publish) -> Result<PublishTicket, PublishError> {
        let inner = &*self.inner;
        let mut plan = Plan::default();
        check_size(std::slice::from_ref(&publish))?;
        inner.route(&mut plan, publish)?;
        inner.carry_out(plan).await
    }

    /// Publishes and settles together or not at all.
    ///
    /// # Errors
    /// See [`PublishError`]; then nothing was done.
    pub async fn commit_queues(
        &self,
        _caller: &Caller,
        transaction: Transaction,
    ) -> Result<PublishTicket, PublishError> {
        let inner = &*self.inner;
        let mut plan = Plan::default();
        check_size(&transaction.publishes)?;
        for publish in transaction.publishes {
            inner.route(&mut plan, publish)?;
        }
        for (lease, settlement) in transaction.settlements {
            plan.act(lease.queue, Act::Settle(lease.number, settlement));
        }
        inner.carry_out(plan).await
    }
}

/// What happens together has to fit in one group.
fn check_size(publishes: &[Publish]) -> Result<(), PublishError> {
    let messages = publishes.iter().flat_map(|publish| &publish.messages);
    let bytes: usize = messages.map(|new| new.message.footprint()).sum();
    if bytes > GROUP_BYTES_MAX / 2 {
        return Err(PublishError::TooLarge { bytes, bytes_max: GROUP_BYTES_MAX / 2 });
    }
    Ok(())
}

impl Inner {
    /// Finds the queues of messages.
    fn route(&self, plan: &mut Plan, publish: Publish) -> Result<(), PublishError> {
        let now_ms = self.clock.now_ms();
        self.queues().with_topology(|topology| route_within(topology, plan, publish, now_ms))
    }

    /// Does what a plan says, in one group if anything of it is journaled.
    pub(super) async fn carry_out(&self, plan: Plan) -> Result<PublishTicket, PublishError> {
        let mut plan = plan;
        if plan.is_empty() {
            return Ok(PublishTicket { outcomes: plan.outcomes, ticket: None, appending: None });
        }
        let now_ms =
            plan.messages.first().map_or_else(|| self.clock.now_ms(), |message| message.published_ms);
        plan.routes.sort_unstable();
        loop {
            let mut laid = plan.lay_out(self.queues(), &self.state.table, now_ms)?;
            let is_state = plan.routes.is_empty() && plan.topics.is_empty();
            let purpose = if is_state { Purpose::State } else { Purpose::Data };
            let permit = match laid.len_max()? {
                0 => None,
                bytes => Some(self.journal.admit(bytes, purpose).await.map_err(Unavailable::from)?),
            };
            match self.decide_plan(&mut plan, &mut laid, permit, now_ms) {
                Ok(Decided { ticket, appending }) => {
                    return Ok(PublishTicket { outcomes: plan.outcomes, ticket, appending });
                }
                Err(Refusal::TooSmall) => {}
                Err(Refusal::UnknownLease(lease)) => return Err(PublishError::UnknownLease(lease)),
                Err(Refusal::MoveEnded) => {
                    return Err(PublishError::Unavailable("the move has ended".to_owned()));
                }
            }
        }
    }

    fn decide_plan(
        &self,
        plan: &mut Plan,
        laid: &mut Laid,
        permit: Option<Permit>,
        now_ms: TimestampMs,
    ) -> Result<Decided, Refusal> {
        let Laid { shares, encoded, shared, bodies, appends, .. } = laid;
        let mut locked: Vec<(&Share, MutexGuard<'_, QueueState>)> =
            shares.iter().map(|share| (share, share.entry.lock())).collect();
        locked.iter().try_for_each(|(share, state)| share.check(state))?;
        let mut group = Group::new();
        let mut freed = WindowsFreed::default();
        let appends_any = !appends.is_empty();
        let streams = std::mem::take(&mut appends.streams);
        let mut appending = appends_any.then(|| self.metrics.appending());
        let partitions = appending.as_mut().map(|appending| appends.decide(&mut group, appending, now_ms));
        let mut next_body = bodies.is_some().then(|| lock(&self.queues().bodies.next_offset));
        let first_body = next_body.as_deref().copied().unwrap_or_default();
        if let (Some(next), Some(bodies)) = (&mut next_body, bodies.take()) {
            **next += shared.len() as u64;
            push_batch(&mut group, BODIES_LOG, bodies, first_body);
        }
        let body_of = |index: u32| shared.binary_search(&index).ok().map(|rank| first_body + rank as u64);
        let mut encoding = Encoding { encoded, body_of: &body_of, built: Vec::new() };
        for (share, state) in &mut locked {
            if !state.gone {
                let keep_hot = state.queue.consumer_count() > 0 || self.queues().has_hot_room();
                let taken = take_in(plan, share, state, keep_hot, now_ms);
                taken.write(share, state, &mut group, &mut encoding);
                share.act(state, &mut group, &mut freed, now_ms);
            }
        }
        let mut positions = (!plan.positions.is_empty()).then(|| lock(&self.queues().positions));
        if let Some(positions) = &mut positions {
            push_positions(&mut group, &positions.advance(&plan.positions));
        }
        // Nobody waits for what is written only to keep it out of memory.
        let keeps = !plan.acts.is_empty()
            || appends_any
            || positions.is_some()
            || plan.messages.iter().any(|message| message.persistent);
        let group = if keeps { group } else { group.with_durability(Durability::Async) };
        // An empty group behind what is in flight tells when that is durable.
        let writes = !group.is_empty() || plan.has_known;
        let ticket = permit.filter(|_| writes).map(|permit| self.journal.submit(permit, group));
        let ticket = ticket.filter(|_| keeps);
        drop((next_body, positions, partitions));
        for (share, state) in &mut locked {
            share.entry.advance(state, self.queues());
        }
        drop(locked);
        freed.go_on(self.queues());
        for (queue, count) in streams {
            if let Some(entry) = self.queues().entry(queue) {
                entry.lock().queue.count_published(count);
            }
        }
        Ok(Decided { ticket, appending })
    }
}

/// A plan that was carried out: what tells when it is durable, and what counts then.
struct Decided {
    ticket: Option<Ticket>,
    appending: Option<Appending>,
}

fn push_positions(group: &mut Group, entry: &PositionsEntry) {
    group.push(POSITIONS_LOG, entry.offset, 1, 0, Payload::new(entry.payload.clone()));
    if entry.is_snapshot {
        group.trim(POSITIONS_LOG, entry.offset);
    }
}

/// What a queue took in: messages, and the offsets at which the journaled ones of each lane begin.
struct Taken {
    indexes: Vec<u32>,
    bases: Vec<u64>,
}

/// Has one queue take its messages in.
fn take_in(
    plan: &mut Plan,
    share: &Share,
    state: &mut QueueState,
    keep_hot: bool,
    now_ms: TimestampMs,
) -> Taken {
    let bases: Vec<u64> = share.prepared.iter().map(|part| state.queue.lane_end(part.lane)).collect();
    let mut indexes: Vec<u32> = Vec::with_capacity(share.indexes.len());
    for &index in &share.indexes {
        let message = &plan.messages[index as usize];
        let admission = if plan.forced { Admission::Accepted } else { state.queue.admit(message, now_ms) };
        match admission {
            Admission::Accepted => {
                let journaled = share.spills || state.queue.is_journaled(message);
                state.queue.append_as(message, now_ms, journaled, keep_hot);
                indexes.push(index);
            }
            Admission::Duplicate => plan.has_known = true,
            Admission::Refused => plan.outcomes[index as usize] = Published::Refused,
            Admission::DeadLettered => {
                plan.outcomes[index as usize] = Published::Refused;
                state.queue.refuse_to_dead_letter(message);
            }
        }
    }
    Taken { indexes, bases }
}

/// Messages as they are encoded, where shared bodies lie, and batches that were built before.
struct Encoding<'a> {
    encoded: &'a [Option<Encoded>],
    body_of: &'a dyn Fn(u32) -> Option<u64>,
    built: Vec<(Vec<u32>, Batch)>,
}

impl Encoding<'_> {
    /// A batch that refers to shared bodies. What several queues write alike is built once.
    fn referring(&mut self, indexes: Vec<u32>) -> Option<Batch> {
        if let Some((_, batch)) = self.built.iter().find(|(known, _)| *known == indexes) {
            return Some(batch.clone());
        }
        let batch = build_batch(&indexes, self.encoded, self.body_of)?;
        self.built.push((indexes, batch.clone()));
        Some(batch)
    }
}

impl Taken {
    /// Adds what was taken in to the group.
    fn write(self, share: &Share, state: &mut QueueState, group: &mut Group, encoding: &mut Encoding<'_>) {
        for (part, base) in share.prepared.iter().zip(self.bases) {
            let is_taken = |index: &u32| self.indexes.binary_search(index).is_ok();
            let some: Vec<u32> = part.indexes.iter().copied().filter(is_taken).collect();
            let batch = match &part.batch {
                Some(batch) if some.len() == part.indexes.len() => Some(batch.clone()),
                Some(_) => rebuild(&some, encoding),
                None => {
                    state.queue.note_shares();
                    encoding.referring(some)
                }
            };
            if let Some(batch) = batch {
                push_batch(group, lane_log(share.entry.id(), part.lane), batch, base);
            }
        }
    }
}

/// What is left to write where a queue took in only some of its messages.
fn rebuild(indexes: &[u32], encoding: &Encoding<'_>) -> Option<Batch> {
    build_batch(indexes, encoding.encoded, &|_| None)
}

fn push_batch(group: &mut Group, log: LogId, batch: Batch, base: u64) {
    let mut header = batch.header;
    header.assign(base.cast_signed(), header.leader_epoch);
    let records = header.record_count.cast_unsigned();
    let payload = Payload::with_head(&header.to_bytes(), batch.body, header.stored_crc());
    group.push(log, base, records, header.max_timestamp, payload);
}

impl Share {
    /// Whether everything can be done that is to be done together.
    fn check(&self, state: &QueueState) -> Result<(), Refusal> {
        for act in &self.acts {
            if let Act::Settle(number, _) = act
                && (state.gone || !state.queue.holds(*number))
            {
                let lease = Lease { queue: self.entry.id(), number: *number };
                return Err(Refusal::UnknownLease(lease));
            }
            if let Act::Moved(number, _) = act
                && !state.queue.is_moving(*number)
            {
                return Err(Refusal::MoveEnded);
            }
        }
        let needed = state.queue.entry_len_max() + 96 * (self.acts.len() + self.indexes.len());
        if self.state_room > 0 && needed > self.state_room { Err(Refusal::TooSmall) } else { Ok(()) }
    }

    fn act(&self, state: &mut QueueState, group: &mut Group, freed: &mut WindowsFreed, now_ms: TimestampMs) {
        for act in &self.acts {
            match act {
                Act::Settle(lease, settlement) => {
                    let settled = state.queue.settle(*lease, *settlement, now_ms);
                    freed.note(state, settled.ok().flatten());
                }
                Act::Departed(place) => state.queue.departed(*place),
                Act::Moved(number, count) => state.queue.moved(*number, *count),
            }
        }
        if self.state_room == 0 {
            return;
        }
        if let Some(entry) = state.queue.take_entry() {
            push_state(group, self.entry.id(), &entry);
        }
    }
}

/// Adds an entry of a queue's state log, and trims the log to it if nothing before it counts.
pub(super) fn push_state(group: &mut Group, queue: QueueId, entry: &annals_queues::queue::StateEntry) {
    let log = state_log(queue);
    group.push(log, entry.offset, 1, 0, Payload::new(entry.payload.clone()));
    if entry.is_snapshot {
        group.trim(log, entry.offset);
    }
}

fn route_within(
    topology: &Topology,
    plan: &mut Plan,
    publish: Publish,
    now_ms: TimestampMs,
) -> Result<(), PublishError> {
    let Publish { vhost: name, exchange, messages } = publish;
    let Some(vhost) = topology.vhost(&name) else { return Err(PublishError::UnknownVhost(name)) };
    let Some(definition) = vhost.exchange(&exchange).map(Exchange::definition) else {
        return Err(PublishError::UnknownExchange { vhost: name, exchange });
    };
    if definition.internal {
        return Err(PublishError::Internal(exchange));
    }
    let mut routes = Routes::default();
    for new in messages {
        let mut message = new.message;
        message.exchange = exchange.clone();
        message.published_ms = now_ms;
        if definition.delayed
            && let Some(place) = vhost.held_back()
            && let Some(delay_ms) = delay_ms(&message)
        {
            hold_back(&mut message, &new.more_keys, delay_ms);
            plan.add(Arc::new(message), &[place.id]);
            continue;
        }
        routes.clear();
        let (routing_key, headers) = (&message.routing_key, message.headers());
        vhost.route_all(&exchange, Routable { routing_key, more_keys: &new.more_keys, headers }, &mut routes);
        plan.add_routed(Arc::new(message), &routes, 0);
    }
    Ok(())
}
