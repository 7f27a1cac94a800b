//! Declaring and deleting exchanges, queues and bindings.
//!
//! A change is decided against what is there, applied, and submitted, all under one lock, which is not held while the disk
//! works: so many changes share a sync. Whoever finds something that is on its way to the disk waits until it is there. What
//! does not survive a restart is only applied.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals_journal::{Group, LogId, Payload, Purpose, Ticket};
use annals_queues::Text;
use annals_queues::queue::{Definition, Queue};
use annals_queues::routing::{Change, Destination, ExchangeDefinition, LogStart, QueueId, Topology, Vhost};
use annals_topics::batch::{Batch, BatchBuilder, BatchOptions, NewRecord};

use super::entry::QueueState;
use super::held_back::missing_place;
use super::logs::{DEFINITIONS_LOG, lane_log, state_log};
use super::removal::{Removal, is_stored};
use super::streams::topic_of;
use super::{QueueEntry, Queues, sources};
use crate::api::Caller;
use crate::api::queues::publish::PublishError;
use crate::api::queues::topology::{
    Bind, BindError, DeclareExchange, DeclareExchangeError, DeclareQueue, DeclareQueueError, DeclaredQueue,
    DeleteExchange, DeleteExchangeError, DeleteQueue, DeleteQueueError,
};
use crate::api::queues::{OwnerId, QueueError, QueueRef};
use crate::storage::Unavailable;
use crate::{Broker, Inner};

/// The longest name.
const NAME_LEN_MAX: usize = 255;

/// What was decided, to be applied and journaled.
#[derive(Default)]
pub(super) struct Decision {
    /// Changes, and whether each is journaled.
    pub(super) changes: Vec<(Change, bool)>,
    /// Queues that come in, with their owners.
    new: Vec<(Arc<Definition>, Option<OwnerId>)>,
    /// Queues that go.
    gone: Vec<Arc<QueueEntry>>,
}

impl Decision {
    fn of(change: Change, stored: bool) -> Self {
        Self { changes: vec![(change, stored)], ..Self::default() }
    }

    pub(super) fn put(&mut self, change: Change, stored: bool) {
        self.changes.push((change, stored));
    }
}

impl Broker {
    /// Has an exchange be there. Durable on return, if it is to be. Returns whether it was not there before.
    ///
    /// # Errors
    /// See [`DeclareExchangeError`].
    pub async fn declare_exchange(
        &self,
        caller: &Caller,
        request: DeclareExchange,
    ) -> Result<bool, DeclareExchangeError> {
        self.declare_exchange_from(caller, request, LogStart::Next).await
    }

    /// As [`Broker::declare_exchange`], for one that a topic leads to: says from where the topic is read, if the exchange is not
    /// there yet. Topics that are not there are created.
    ///
    /// # Errors
    /// See [`DeclareExchangeError`].
    pub async fn declare_exchange_from(
        &self,
        caller: &Caller,
        request: DeclareExchange,
        start: LogStart,
    ) -> Result<bool, DeclareExchangeError> {
        let mut request = request;
        if request.name.is_empty() {
            return Err(DeclareExchangeError::Default);
        }
        if request.name.len() > NAME_LEN_MAX {
            return Err(DeclareExchangeError::NameTooLong(request.name.len()));
        }
        self.prepare_exchange(caller, &mut request, start).await?;
        self.inner.define(|topology| decide_exchange(topology, &request)).await
    }

    /// What an exchange is, if it is there.
    pub fn exchange(&self, _caller: &Caller, vhost: &Text, name: &Text) -> Option<ExchangeDefinition> {
        self.inner
            .queues()
            .with_topology(|topology| Some(topology.vhost(vhost)?.exchange(name)?.definition().clone()))
    }

    /// Has an exchange be gone, with its bindings. Returns whether it was there.
    ///
    /// # Errors
    /// See [`DeleteExchangeError`].
    pub async fn delete_exchange(
        &self,
        _caller: &Caller,
        request: DeleteExchange,
    ) -> Result<bool, DeleteExchangeError> {
        self.inner.define(|topology| decide_delete_exchange(topology, &request)).await
    }

    /// Has a queue be there. Durable on return, if it is to be.
    ///
    /// # Errors
    /// See [`DeclareQueueError`].
    pub async fn declare_queue(
        &self,
        caller: &Caller,
        request: DeclareQueue,
    ) -> Result<DeclaredQueue, DeclareQueueError> {
        let mut request = request;
        if request.name.len() > NAME_LEN_MAX {
            return Err(DeclareQueueError::NameTooLong(request.name.len()));
        }
        if request.name.is_empty() {
            request.name = format!("amq.gen-{}", crate::open::kafka_id(self.inner.clock.uuid_v4())).into();
        }
        self.prepare_stream(caller, &mut request).await?;
        let queues = self.inner.queues();
        let mut declared = self.inner.define(|topology| decide_queue(queues, topology, &request)).await?;
        if request.options.stream.is_some() {
            declared.messages = self.inner.stream_size(&topic_of(&request.vhost, &declared.name)).0;
        }
        Ok(declared)
    }

    /// Has a queue be gone, with its messages and bindings. Returns how many messages were ready.
    ///
    /// # Errors
    /// See [`DeleteQueueError`].
    pub async fn delete_queue(
        &self,
        _caller: &Caller,
        request: DeleteQueue,
    ) -> Result<u64, DeleteQueueError> {
        let entry = self.inner.usable_queue(&request.queue)?;
        let messages = entry.topic().map(|topic| self.inner.stream_size(topic).0);
        if let Some(topic) = Inner::own_topic(entry.definition())
            && self.inner.delete_topic_with_streams(&topic).await.is_ok()
        {
            // The queue went with it.
            return Ok(messages.unwrap_or(0));
        }
        let ready = self.inner.delete_queue(&entry, &request).await?;
        Ok(messages.unwrap_or(ready))
    }

    /// Has a binding be there. Durable on return, if both ends are. Returns whether it was not there before.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(&self, _caller: &Caller, request: Bind) -> Result<bool, BindError> {
        let queues = self.inner.queues();
        self.inner.define(|topology| decide_bind(queues, topology, &request)).await
    }

    /// Has a binding be gone. Returns whether it was there.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn unbind(&self, _caller: &Caller, request: Bind) -> Result<bool, BindError> {
        let queues = self.inner.queues();
        self.inner.define(|topology| decide_unbind(queues, topology, &request)).await
    }

    /// A connection is gone: so is what was exclusive to it.
    pub async fn release_owner(&self, owner: OwnerId) {
        let queues = self.inner.queues();
        for entry in queues.all_entries().into_iter().filter(|entry| entry.owner() == Some(owner)) {
            let _ = self.inner.delete_entry(&entry).await;
        }
    }
}

impl Inner {
    /// Decides a change of the definitions, applies it and waits until it is durable, where it is to be.
    pub(super) async fn define<T, E: From<Unavailable>>(
        &self,
        decide: impl FnOnce(&mut Topology) -> Result<(T, Decision), E>,
    ) -> Result<T, E> {
        let (value, ticket) = self.decide_definition(decide).await?;
        match ticket {
            Some(ticket) => {
                let outcome = ticket.await.map_err(Unavailable::from);
                self.queues().defining_in_flight.fetch_sub(1, Ordering::AcqRel);
                outcome?;
            }
            None => self.definitions_are_durable().await?,
        }
        Ok(value)
    }

    async fn decide_definition<T, E: From<Unavailable>>(
        &self,
        decide: impl FnOnce(&mut Topology) -> Result<(T, Decision), E>,
    ) -> Result<(T, Option<Ticket>), E> {
        let queues = self.queues();
        let mut log = queues.defining.lock().await;
        let (value, decision) = queues.with_topology_mut(decide)?;
        let doomed = self.doomed_logs(&decision.gone);
        let batch = build(decision.changes.iter().filter(|(_, stored)| *stored), self.clock.now_ms())?;
        if batch.is_none() && doomed.is_empty() {
            queues.install(decision);
            return Ok((value, None));
        }
        let has_new = !decision.new.is_empty();
        let mut group = self.group_of(batch.as_ref(), &doomed, log.next_offset);
        let purpose = if has_new { Purpose::State } else { Purpose::Control };
        let permit = match self.journal.admit(group.stored_len() + 64, purpose).await {
            Ok(permit) => permit,
            Err(error) => {
                decision.gone.iter().for_each(|entry| entry.reopen());
                return Err(Unavailable::from(error).into());
            }
        };
        queues.install(decision);
        log.next_offset += batch.map_or(0, |batch| u64::from(batch.header.record_count.cast_unsigned()));
        queues.defining_in_flight.fetch_add(1, Ordering::AcqRel);
        let ticket = self.journal.submit(permit, std::mem::take(&mut group));
        Ok((value, Some(ticket)))
    }

    fn group_of(&self, batch: Option<&Batch>, doomed: &[LogId], base: u64) -> Group {
        let mut group = Group::new();
        if let Some(batch) = batch {
            let mut header = batch.header;
            header.assign(base.cast_signed(), header.leader_epoch);
            let payload = Payload::with_head(&header.to_bytes(), batch.body.clone(), header.stored_crc());
            let records = header.record_count.cast_unsigned();
            group.push(DEFINITIONS_LOG, base, records, header.max_timestamp, payload);
        }
        doomed.iter().for_each(|&log| group.delete(log));
        group
    }

    /// The logs of queues that go. Nothing is written to them any more from here on.
    fn doomed_logs(&self, gone: &[Arc<QueueEntry>]) -> Vec<LogId> {
        let mut doomed = Vec::new();
        for entry in gone {
            let mut state = entry.lock();
            entry.close(&mut state, self.queues());
            let lanes: Vec<u16> =
                state.queue.lanes().filter(|lane| state.queue.lane_end(*lane) > 0).collect();
            doomed.extend(lanes.into_iter().map(|lane| lane_log(entry.id(), lane)));
            if state.queue.state_end() > 0 {
                doomed.push(state_log(entry.id()));
            }
        }
        doomed
    }

    /// Waits until every change that was decided before is durable.
    async fn definitions_are_durable(&self) -> Result<(), Unavailable> {
        if self.queues().defining_in_flight.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let group = Group::new();
        let permit = self.journal.admit(group.stored_len(), Purpose::Control).await?;
        self.journal.submit(permit, group).await?;
        Ok(())
    }

    async fn delete_queue(
        &self,
        entry: &Arc<QueueEntry>,
        request: &DeleteQueue,
    ) -> Result<u64, DeleteQueueError> {
        self.define(|topology| {
            let mut state = entry.lock();
            if state.gone {
                let QueueRef { vhost, name, .. } = request.queue.clone();
                return Err(QueueError::Unknown { vhost, name }.into());
            }
            let ready = state.queue.ready();
            if request.if_unused && state.queue.consumer_count() > 0 {
                return Err(DeleteQueueError::InUse(request.queue.name.clone()));
            }
            if request.if_empty && ready > 0 {
                return Err(DeleteQueueError::NotEmpty(request.queue.name.clone()));
            }
            // Whoever comes from here on finds it gone.
            state.gone = true;
            Ok((ready, decide_drop_queue(topology, entry)))
        })
        .await
    }

    /// Deletes a queue if nobody uses it, or came back while the change waited for its turn.
    async fn delete_unused(&self, entry: &Arc<QueueEntry>) -> Result<(), Unavailable> {
        self.define(|topology| {
            let mut state = entry.lock();
            if !is_over(self, entry, &state) {
                return Ok(((), Decision::default()));
            }
            state.gone = true;
            Ok(((), decide_drop_queue(topology, entry)))
        })
        .await
    }

    /// Deletes a queue whatever is in it.
    pub(super) async fn delete_entry(&self, entry: &Arc<QueueEntry>) -> Result<u64, DeleteQueueError> {
        let definition = entry.definition();
        let owner = entry.owner().unwrap_or(OwnerId(0));
        let queue = QueueRef { vhost: definition.vhost.clone(), name: definition.name.clone(), owner };
        self.delete_queue(entry, &DeleteQueue { queue, if_unused: false, if_empty: false }).await
    }
}

/// Deletes queues that nobody uses any more, until it is dropped.
pub(super) async fn expire(inner: &Inner) {
    loop {
        for queue in inner.queues().work.expire.next(64).await {
            let Some(entry) = inner.queues().entry(queue) else { continue };
            let over = is_over(inner, &entry, &entry.lock());
            if over && let Err(error) = inner.delete_unused(&entry).await {
                tracing::warn!(queue = %entry.definition().name, %error, "cannot delete an unused queue");
            }
        }
    }
}

fn is_over(inner: &Inner, entry: &QueueEntry, state: &QueueState) -> bool {
    let unused = entry.unused_until(state).is_some_and(|until| until <= inner.clock.now_ms());
    let left = entry.definition().auto_delete && state.was_consumed && state.queue.consumer_count() == 0;
    !state.gone && (unused || left)
}

impl Queues {
    pub(super) fn with_topology_mut<T>(&self, act: impl FnOnce(&mut Topology) -> T) -> T {
        act(&mut self.topology.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Applies a decision.
    fn install(&self, decision: Decision) {
        let now_ms = self.clock.now_ms();
        let sources_change = decision.changes.iter().any(|(change, _)| sources::concerns(change));
        let mut entries = self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.with_topology_mut(|topology| {
            decision.changes.iter().for_each(|(change, _)| topology.apply(change));
        });
        for entry in decision.gone {
            entries.remove(&entry.id());
        }
        for (definition, owner) in decision.new {
            let id = definition.id;
            let entry = Arc::new(QueueEntry::new(Queue::new(definition), owner, now_ms));
            entry.advance(&mut entry.lock(), self);
            entries.insert(id, entry);
        }
        if sources_change {
            self.work.sources_changed.notify_one();
        }
    }

    pub(super) fn insert(&self, entry: Arc<QueueEntry>) {
        self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(entry.id(), entry);
    }
}

/// The records of changes as a batch; nothing for none.
fn build<'a>(
    changes: impl Iterator<Item = &'a (Change, bool)>,
    now_ms: i64,
) -> Result<Option<Batch>, Unavailable> {
    let failed = |error: annals_topics::batch::BuildError| Unavailable::Stopped(error.to_string());
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (change, _) in changes {
        let record = change.encode();
        let (key, value) = (Some(&*record.key), record.value.as_deref());
        builder.push(&NewRecord { key, value, ..NewRecord::at(now_ms) }).map_err(failed)?;
    }
    if builder.record_count() == 0 { Ok(None) } else { builder.build().map(Some).map_err(failed) }
}

fn decide_exchange(
    topology: &mut Topology,
    request: &DeclareExchange,
) -> Result<(bool, Decision), DeclareExchangeError> {
    let vhost = topology.vhost(&request.vhost);
    let vhost = vhost.ok_or_else(|| DeclareExchangeError::UnknownVhost(request.vhost.clone()))?;
    let wanted = &request.definition;
    if let Some(exchange) = vhost.exchange(&request.name) {
        let current = exchange.definition();
        let source = wanted.source.clone();
        let same =
            ExchangeDefinition { arguments: wanted.arguments.clone(), source, ..current.clone() } == *wanted;
        if same && sources::is_same_source(exchange, wanted.source.as_ref()) {
            return Ok((false, Decision::default()));
        }
        let current = Box::new(current.clone());
        return Err(DeclareExchangeError::Inequivalent { name: request.name.clone(), current });
    }
    let (vhost, name, definition) = (request.vhost.clone(), request.name.clone(), wanted.clone());
    let stored = definition.durable;
    let mut decision = Decision::default();
    if definition.delayed
        && let Some((changes, place)) = missing_place(topology, &vhost)
    {
        decision.changes.extend(changes);
        decision.new.push((place, None));
    }
    decision.put(Change::PutExchange { vhost, name, definition }, stored);
    Ok((true, decision))
}

fn decide_delete_exchange(
    topology: &Topology,
    request: &DeleteExchange,
) -> Result<(bool, Decision), DeleteExchangeError> {
    let vhost = topology.vhost(&request.vhost);
    let vhost = vhost.ok_or_else(|| DeleteExchangeError::UnknownVhost(request.vhost.clone()))?;
    if Vhost::is_predeclared(&request.name) {
        return Err(DeleteExchangeError::Predeclared(request.name.clone()));
    }
    let Some(exchange) = vhost.exchange(&request.name) else { return Ok((false, Decision::default())) };
    if request.if_unused && exchange.binding_count() > 0 {
        return Err(DeleteExchangeError::InUse(request.name.clone()));
    }
    let mut removal = Removal::new(vhost);
    removal.exchange(&request.name);
    Ok((true, removal.finish()))
}

fn decide_queue(
    queues: &Queues,
    topology: &mut Topology,
    request: &DeclareQueue,
) -> Result<(DeclaredQueue, Decision), DeclareQueueError> {
    let vhost = topology.vhost(&request.vhost);
    let vhost = vhost.ok_or_else(|| DeclareQueueError::UnknownVhost(request.vhost.clone()))?;
    if let Some(current) = vhost.queue(&request.name)
        && let Some(entry) = queues.entry(current.id)
    {
        return declared_before(queues, &entry, request).map(|declared| (declared, Decision::default()));
    }
    let id = topology.next_queue();
    let definition = Definition {
        id,
        vhost: request.vhost.clone(),
        name: request.name.clone(),
        durable: request.durable,
        exclusive: request.exclusive,
        auto_delete: request.auto_delete,
        options: request.options.clone(),
        arguments: request.arguments.clone(),
    };
    let mut decision = Decision::default();
    if let Some(promise) = topology.promise(id) {
        decision.put(promise, true);
    }
    decision.put(Change::PutQueue(definition.clone()), definition.survives());
    let owner = request.exclusive.then_some(request.owner);
    decision.new.push((Arc::new(definition), owner));
    let declared = DeclaredQueue { name: request.name.clone(), messages: 0, consumers: 0, created: true };
    Ok((declared, decision))
}

fn declared_before(
    queues: &Queues,
    entry: &QueueEntry,
    request: &DeclareQueue,
) -> Result<DeclaredQueue, DeclareQueueError> {
    let current = entry.definition();
    entry.check_owner(request.owner).map_err(|_| DeclareQueueError::Locked(request.name.clone()))?;
    let same = (current.durable, current.exclusive, current.auto_delete, &current.options)
        == (request.durable, request.exclusive, request.auto_delete, &request.options);
    if !same {
        let current = Box::new(Definition::clone(current));
        return Err(DeclareQueueError::Inequivalent { name: request.name.clone(), current });
    }
    let mut state = entry.lock();
    state.unused_since = queues.clock.now_ms();
    let (messages, consumers) = (state.queue.ready(), state.queue.consumer_count() as u32);
    entry.advance(&mut state, queues);
    Ok(DeclaredQueue { name: request.name.clone(), messages, consumers, created: false })
}

fn decide_drop_queue(topology: &Topology, entry: &Arc<QueueEntry>) -> Decision {
    let definition = entry.definition();
    let Some(vhost) = topology.vhost(&definition.vhost) else { return Decision::default() };
    let mut removal = Removal::new(vhost);
    removal.queue(&definition.name);
    let mut decision = removal.finish();
    decision.gone.push(Arc::clone(entry));
    decision
}

fn check_binding<'a>(
    queues: &Queues,
    topology: &'a Topology,
    request: &Bind,
) -> Result<&'a Vhost, BindError> {
    let vhost = topology.vhost(&request.vhost);
    let vhost = vhost.ok_or_else(|| BindError::UnknownVhost(request.vhost.clone()))?;
    let binding = &request.binding;
    let to_default = matches!(&binding.destination, Destination::Exchange(name) if name.is_empty());
    if binding.source.is_empty() || to_default {
        return Err(BindError::Default);
    }
    vhost.exchange(&binding.source).ok_or_else(|| BindError::UnknownSource(binding.source.clone()))?;
    match &binding.destination {
        Destination::Exchange(name) => {
            vhost.exchange(name).ok_or_else(|| BindError::UnknownDestination(name.clone()))?;
        }
        Destination::Queue(name) => {
            let id = vhost.queue(name).map(|definition| definition.id);
            let entry = id.and_then(|id| queues.entry(id));
            let entry = entry.ok_or_else(|| BindError::UnknownDestination(name.clone()))?;
            if entry.definition().options.holds_back {
                return Err(BindError::Locked(name.clone()));
            }
            entry.check_owner(request.owner).map_err(|_| BindError::Locked(name.clone()))?;
        }
    }
    Ok(vhost)
}

fn decide_bind(queues: &Queues, topology: &Topology, request: &Bind) -> Result<(bool, Decision), BindError> {
    let vhost = check_binding(queues, topology, request)?;
    if vhost.has_binding(&request.binding) {
        return Ok((false, Decision::default()));
    }
    let stored = is_stored(vhost, &request.binding);
    let change = Change::PutBinding { vhost: request.vhost.clone(), binding: request.binding.clone() };
    Ok((true, Decision::of(change, stored)))
}

fn decide_unbind(
    queues: &Queues,
    topology: &Topology,
    request: &Bind,
) -> Result<(bool, Decision), BindError> {
    let vhost = check_binding(queues, topology, request)?;
    let bindings = vhost.bindings_to(&request.binding.destination);
    let found = bindings.into_iter().find(|found| ***found == request.binding);
    let Some(binding) = found else { return Ok((false, Decision::default())) };
    let mut removal = Removal::new(vhost);
    removal.binding(binding);
    Ok((true, removal.finish()))
}

/// The change that brings a virtual host, or takes it away.
pub(super) fn vhost_decision(
    change: Change,
    gone: Vec<Arc<QueueEntry>>,
    queues: Vec<(Change, bool)>,
) -> Decision {
    let mut changes = queues;
    changes.push((change, true));
    Decision { changes, new: Vec::new(), gone }
}

/// The queues that lie in a virtual host.
pub(super) fn queues_in(vhost: &Vhost) -> Vec<QueueId> {
    vhost.queues().map(|definition| definition.id).collect()
}

impl From<PublishError> for DeclareExchangeError {
    fn from(error: PublishError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for DeclareExchangeError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for DeleteExchangeError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for DeclareQueueError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for QueueError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Unavailable> for DeleteQueueError {
    fn from(error: Unavailable) -> Self {
        Self::Queue(error.into())
    }
}

impl From<Unavailable> for BindError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}
