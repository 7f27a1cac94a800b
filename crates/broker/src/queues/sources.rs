//! Exchanges that a topic leads to: each record that anybody writes to the topic is published through the exchange.
//!
//! How far each partition was read is journaled in the group that puts the copies into queues ([`super::plan::Plan::position`]):
//! whatever happens, each record comes to the queues exactly once, in the order of its partition. Positions are set when the
//! exchange is declared, and nothing is read as long as nothing is bound to it, so what is bound first gets everything from there on.
//! Queues that refuse what they have no room for are waited for.
//!
//! A record that came out of the topic is not put into it again; one that went from topic to topic too often is dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{Journal, ReadError};
use annals_queues::positions::SourcePartition;
use annals_queues::queue::Overflow;
use annals_queues::routing::{Change, Exchange, LogStart, QueueId, Routable, Routes, TopicSource, Vhost};
use annals_queues::{Message, Properties, Text, Value};
use annals_topics::batch::Record;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

use super::logs::POSITIONS_LOG;
use super::plan::Plan;
use super::record::{HOPS_MAX, hops, message_of};
use super::streams::{check_joinable, read_records};
use super::{Queues, lock};
use crate::api::Caller;
use crate::api::queues::publish::PublishError;
use crate::api::queues::topology::{DeclareExchange, DeclareExchangeError};
use crate::api::topics::{CreateTopics, NewTopic, TopicRef};
use crate::table::PartitionEntry;
use crate::{Broker, Inner};

/// Records that share a group.
const RECORDS_MAX: usize = 500;
/// How long is waited before something is looked at again that tells nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a full queue or disk is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// One exchange that a topic leads to.
#[derive(Clone)]
struct Followed {
    vhost: Text,
    exchange: Text,
    source: TopicSource,
    topic: Arc<str>,
}

impl Broker {
    /// Has the topics of an exchange be there before the exchange is, and says from where its source is read.
    pub(super) async fn prepare_exchange(
        &self,
        caller: &Caller,
        request: &mut DeclareExchange,
        start: LogStart,
    ) -> Result<(), DeclareExchangeError> {
        let definition = &mut request.definition;
        if definition.topic.is_none() && definition.source.is_none() {
            return Ok(());
        }
        if let (Some(topic), Some(source)) = (&definition.topic, &definition.source)
            && *topic == source.topic
        {
            let reason = format!("topic {topic} would lead to itself");
            return Err(DeclareExchangeError::Topic { name: request.name.clone(), reason });
        }
        // One that is there already has its topics, or waits for them.
        if self.exchange(caller, &request.vhost, &request.name).is_some() {
            return Ok(());
        }
        for topic in definition.topic.iter().chain(definition.source.as_ref().map(|source| &source.topic)) {
            let refused = |reason| DeclareExchangeError::Topic { name: request.name.clone(), reason };
            check_joinable(&request.vhost, &topic.as_str()).map_err(refused)?;
            self.have_topic_for_exchange(caller, topic).await.map_err(refused)?;
        }
        if let Some(source) = &mut definition.source {
            source.id = self.inner.clock.random();
            self.inner.begin_source(source, start).await.map_err(DeclareExchangeError::from)?;
        }
        Ok(())
    }

    async fn have_topic_for_exchange(&self, caller: &Caller, topic: &Text) -> Result<(), String> {
        let name: Arc<str> = Arc::from(&*topic.as_str());
        if let Some(found) = self.inner.state.table.topic(&TopicRef::Name(Arc::clone(&name))) {
            return match found.topic.store || found.topic.internal {
                true => Err(format!("topic {name} is the server's own")),
                false => Ok(()),
            };
        }
        let new = NewTopic { name: Arc::clone(&name), partitions: None, configs: Vec::new() };
        let request =
            CreateTopics { topics: vec![new], validate_only: false, timeout: Duration::from_secs(30) };
        match self.create_topics(caller, request).await.pop() {
            Some(Err(error)) if self.inner.state.table.topic(&TopicRef::Name(name)).is_none() => {
                Err(error.to_string())
            }
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// Writes down from where a new source is read. Durable on return.
    async fn begin_source(&self, source: &TopicSource, start: LogStart) -> Result<(), PublishError> {
        let name: Arc<str> = Arc::from(&*source.topic.as_str());
        let Some(topic) = self.state.table.topic(&TopicRef::Name(Arc::clone(&name))) else { return Ok(()) };
        let mut plan = Plan::forced();
        for partition in &topic.partitions {
            let bounds = bounds(partition);
            let next = self.find_start(&name, partition, start, bounds).await;
            plan.positions.push((SourcePartition { source: source.id, log: partition.log.0 }, next));
        }
        self.carry_out(plan).await?.durable().await
    }

    fn followed(&self) -> Vec<Followed> {
        self.queues().with_topology(|topology| {
            let mut found = Vec::new();
            for vhost in topology.vhosts() {
                for (name, exchange) in vhost.exchanges() {
                    if let Some(source) = &exchange.definition().source {
                        let topic = Arc::from(&*source.topic.as_str());
                        let (vhost, exchange) = (vhost.name().clone(), name.clone());
                        found.push(Followed { vhost, exchange, source: source.clone(), topic });
                    }
                }
            }
            found
        })
    }
}

fn bounds(partition: &PartitionEntry) -> std::ops::Range<u64> {
    let state = partition.lock();
    state.log_start().cast_unsigned()..state.high_watermark().cast_unsigned()
}

/// Whether a change may concern those who follow topics.
pub(super) fn concerns(change: &Change) -> bool {
    match change {
        Change::PutExchange { definition, .. } => definition.source.is_some(),
        Change::DropExchange { .. }
        | Change::DropVhost(_)
        | Change::PutBinding { .. }
        | Change::DropBinding { .. } => true,
        Change::PutVhost(_) | Change::PutQueue(_) | Change::DropQueue { .. } | Change::Numbers(_) => false,
    }
}

/// Finds the positions of the last run again.
pub(super) fn recover(queues: &Queues, journal: &Journal) -> Result<(), ReadError> {
    let mut positions = lock(&queues.positions);
    let Some(facts) = journal.log(POSITIONS_LOG) else { return Ok(()) };
    super::recover::each_entry(journal, POSITIONS_LOG, facts.offsets.clone(), |payload| {
        if let Err(error) = positions.recover(payload) {
            tracing::error!(%error, "an entry about positions cannot be read: records may come again");
        }
    })?;
    positions.recovered(facts.offsets.end);
    let known: std::collections::HashSet<u64> = queues.with_topology(|topology| {
        let exchanges = topology.vhosts().flat_map(Vhost::exchanges);
        exchanges.filter_map(|(_, exchange)| Some(exchange.definition().source.as_ref()?.id)).collect()
    });
    positions.retain(|source| known.contains(&source));
    Ok(())
}

/// Follows topics until it is dropped.
pub(super) async fn run(inner: &Inner) {
    let mut following = FuturesUnordered::new();
    let mut known: HashMap<u64, Arc<Notify>> = HashMap::new();
    loop {
        for followed in inner.followed() {
            let id = followed.source.id;
            if let Entry::Vacant(new) = known.entry(id) {
                let changed = Arc::new(Notify::new());
                new.insert(Arc::clone(&changed));
                following.push(follow(inner, followed, changed));
            }
        }
        tokio::select! {
            () = inner.queues().work.sources_changed.notified() => {
                known.values().for_each(|changed| changed.notify_one());
            }
            Some(id) = following.next(), if !following.is_empty() => {
                known.remove(&id);
                lock(&inner.queues().positions).retain(|source| source != id);
            }
        }
        if inner.queues().is_stopped() {
            return;
        }
    }
}

/// Publishes what comes to a topic, until the exchange is gone. Returns the number of the source.
async fn follow(inner: &Inner, followed: Followed, changed: Arc<Notify>) -> u64 {
    loop {
        let Some(is_bound) = inner.is_bound(&followed) else { return followed.source.id };
        let topic = inner.state.table.topic(&TopicRef::Name(Arc::clone(&followed.topic)));
        let mut has_more = false;
        let mut waiting = Vec::new();
        if let Some(topic) = topic.filter(|_| is_bound) {
            waiting.extend(topic.partitions.iter().map(|partition| partition.wait(&changed)));
            for partition in &topic.partitions {
                match inner.follow_partition(&followed, partition).await {
                    Ok(more) => has_more |= more,
                    Err(PublishError::Unavailable(reason)) if inner.journal.stopped().is_some() => {
                        tracing::warn!(reason, "topics are not followed any more");
                        inner.queues().stop();
                        return followed.source.id;
                    }
                    Err(error) => {
                        tracing::debug!(exchange = %followed.exchange, %error, "records cannot be published now");
                        tokio::time::sleep(FULL_PAUSE).await;
                        has_more = true;
                    }
                }
            }
        }
        if !has_more {
            let _ = tokio::time::timeout(LOOK_AGAIN, changed.notified()).await;
        }
    }
}

impl Inner {
    /// Whether anything is bound to the exchange. `None` if it is gone, or is another one.
    fn is_bound(&self, followed: &Followed) -> Option<bool> {
        self.queues().with_topology(|topology| {
            let exchange = topology.vhost(&followed.vhost)?.exchange(&followed.exchange)?;
            let definition = exchange.definition();
            let is_same = definition.source.as_ref().is_some_and(|source| source.id == followed.source.id);
            let leads =
                exchange.binding_count() > 0 || definition.topic.is_some() || definition.alternate.is_some();
            is_same.then_some(leads)
        })
    }

    /// Publishes some of what a partition holds. Returns whether there is more.
    async fn follow_partition(
        &self,
        followed: &Followed,
        partition: &PartitionEntry,
    ) -> Result<bool, PublishError> {
        let place = SourcePartition { source: followed.source.id, log: partition.log.0 };
        let bounds = bounds(partition);
        // A partition that came later is read from its beginning.
        let known = lock(&self.queues().positions).get(place).unwrap_or(bounds.start);
        let from = known.max(bounds.start);
        if from > known {
            tracing::warn!(topic = %followed.topic, lost = from - known, "records were removed before they were published");
        }
        if from >= bounds.end {
            return Ok(false);
        }
        let (records, next) = read_records(self, partition, from..bounds.end).await;
        if next <= from {
            return Ok(true);
        }
        let mut chunks = records.chunks(RECORDS_MAX).peekable();
        if chunks.peek().is_none() {
            self.publish_records(followed, &[], (place, next)).await?;
        }
        while let Some(records) = chunks.next() {
            let is_last = chunks.peek().is_none();
            let behind = records.last().map_or(next, |record| record.offset.cast_unsigned() + 1);
            self.publish_records(followed, records, (place, if is_last { next } else { behind })).await?;
        }
        Ok(next < bounds.end)
    }

    /// Publishes records and moves the position, in one group.
    async fn publish_records(
        &self,
        followed: &Followed,
        records: &[Record],
        position: (SourcePartition, u64),
    ) -> Result<(), PublishError> {
        let mut plan = Plan::forced();
        let mut routes = Routes::default();
        let now_ms = self.clock.now_ms();
        for record in records {
            let hops = hops(record) + 1;
            if hops > HOPS_MAX {
                tracing::warn!(topic = %followed.topic, offset = record.offset, "dropped a record that went in circles");
                continue;
            }
            let message = published(record, followed, now_ms);
            routes.clear();
            self.queues().with_topology(|topology| {
                if let Some(vhost) = topology.vhost(&followed.vhost) {
                    let (routing_key, headers) = (&message.routing_key, message.headers());
                    let routable = Routable { routing_key, more_keys: &[], headers };
                    vhost.route_all(&followed.exchange, routable, &mut routes);
                }
            });
            routes.topics.retain(|topic| *topic != followed.source.topic);
            self.without_topic(&followed.topic, &mut routes.queues);
            plan.add_routed(Arc::new(message), &routes, hops);
        }
        while self.refuses(&plan) {
            tokio::time::sleep(FULL_PAUSE).await;
            if self.is_bound(followed).is_none() {
                return Ok(());
            }
        }
        plan.positions.push(position);
        self.carry_out(plan).await?.durable().await
    }

    /// Leaves out the queue that is the topic itself.
    fn without_topic(&self, topic: &Arc<str>, queues: &mut Vec<QueueId>) {
        queues.retain(|queue| {
            self.queues().entry(*queue).is_none_or(|entry| entry.topic().is_none_or(|other| other != topic))
        });
    }

    /// Whether a queue has no room and does not want the oldest to go.
    fn refuses(&self, plan: &Plan) -> bool {
        let mut ids: Vec<QueueId> = plan.routes.iter().map(|(queue, _)| *queue).collect();
        ids.sort_unstable();
        ids.dedup();
        let entries = self.queues().entries_of(&ids);
        let limited = entries.iter().filter(|entry| {
            let options = &entry.definition().options;
            options.is_limited() && options.overflow != Overflow::DropHead
        });
        limited.into_iter().any(|entry| {
            let state = entry.lock();
            !state.gone && state.queue.is_full()
        })
    }
}

/// The record as it is published.
fn published(record: &Record, followed: &Followed, now_ms: i64) -> Message {
    let mut message = message_of(record);
    message.exchange = followed.exchange.clone();
    message.published_ms = now_ms;
    (message.due_ms, message.deaths) = (None, None);
    let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
    properties.headers.remove("x-annals-topic");
    properties.headers.remove("x-annals-offset");
    properties.headers.push("x-annals-topic", Value::Text(followed.source.topic.clone()));
    properties.headers.push("x-annals-offset", Value::I64(record.offset));
    message
}

/// Whether an exchange can be declared so: its definition is compared without what is drawn.
pub(super) fn is_same_source(one: &Exchange, other: Option<&TopicSource>) -> bool {
    let topic = |source: &TopicSource| source.topic.clone();
    one.definition().source.as_ref().map(topic) == other.map(topic)
}
