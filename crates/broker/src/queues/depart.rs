//! Departures: dead letters on their way to another queue, and messages that have become due.
//!
//! The message is read where it is not in memory, routed, and put in its new place in the same group in which it leaves its old
//! one: a crash finds it in exactly one of both.
//!
//! Source: RabbitMQ's documentation, "Dead Letter Exchanges".

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use annals_clock::TimestampMs;
use annals_queues::queue::{Definition, Departure, HOPS_MAX, Leave};
use annals_queues::routing::{QueueId, Routable, Routes};
use annals_queues::{Death, DeathReason, Deaths, Message, Text, Value};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::QueueEntry;
use super::held_back::release;
use super::load::read_place;
use super::plan::{Act, Plan};
use crate::Inner;
use crate::api::queues::publish::PublishError;

/// Departures of a queue that share a group.
const DEPARTURES_MAX: usize = 256;
/// Bytes of departures that share a group, with all their copies. A larger one has a group of its own.
const DEPARTURES_BYTES_MAX: usize = 8 << 20;
/// The header with the further keys that a message was published with: RabbitMQ's sender-selected distribution.
const COPIES: &str = "CC";
/// How long a queue is left alone whose departures cannot be made now.
const PAUSE: Duration = Duration::from_millis(100);

/// Works until it is dropped or the journal stops.
pub(super) async fn run(inner: &Inner) {
    let (mut resting, mut at_rest) = (FuturesUnordered::new(), HashSet::new());
    loop {
        tokio::select! {
            queues = inner.queues().work.depart.next(64) => {
                for queue in queues.into_iter().filter(|queue| !at_rest.contains(queue)).collect::<Vec<_>>() {
                    let Some(entry) = inner.queues().entry(queue) else { continue };
                    let Err(error) = depart(inner, &entry).await else { continue };
                    if let Some(reason) = inner.journal.stopped() {
                        return tracing::warn!(reason, "dead letters are not moved any more");
                    }
                    tracing::warn!(queue = %entry.definition().name, %error, "dead letters cannot be moved now");
                    at_rest.insert(queue);
                    resting.push(rest(queue));
                }
            }
            Some(queue) = resting.next(), if !resting.is_empty() => {
                at_rest.remove(&queue);
                inner.queues().work.depart.put(queue);
            }
        }
    }
}

async fn rest(queue: QueueId) -> QueueId {
    tokio::time::sleep(PAUSE).await;
    queue
}

async fn depart(inner: &Inner, entry: &QueueEntry) -> Result<(), PublishError> {
    let mut waiting = VecDeque::from(entry.lock().queue.take_departures(DEPARTURES_MAX));
    let (mut plan, mut made) = (Plan::forced(), Vec::new());
    let prepared = prepare(inner, entry, &mut waiting, &mut plan, &mut made).await;
    entry.lock().queue.stranded(waiting.into());
    if made.is_empty() {
        return prepared;
    }
    match inner.carry_out(plan).await {
        Ok(ticket) => ticket.durable().await,
        Err(error @ PublishError::TooLarge { .. }) if made.len() == 1 => {
            made.into_iter().for_each(|departure| entry.lock().queue.postponed(departure));
            Err(error)
        }
        Err(error) => {
            entry.lock().queue.stranded(made);
            Err(error)
        }
    }
}

/// Plans as many departures as fit in a group: they go from `waiting` to `made`.
async fn prepare(
    inner: &Inner,
    entry: &QueueEntry,
    waiting: &mut VecDeque<Departure>,
    plan: &mut Plan,
    made: &mut Vec<Departure>,
) -> Result<(), PublishError> {
    let mut bytes = 0;
    while let Some(departure) = waiting.front() {
        let message = match &departure.message {
            Some(message) => Some(Arc::clone(message)),
            None => read_place(inner, entry, departure.place)
                .await
                .map_err(|error| PublishError::Unavailable(error.to_string()))?,
        };
        if let Some(message) = message {
            let (message, routes) = destination(inner, entry, departure, &message);
            bytes += message.footprint() * routes.len().max(1);
            if bytes > DEPARTURES_BYTES_MAX && !made.is_empty() {
                return Ok(());
            }
            plan.add_routed(Arc::new(message), &routes, 0);
        }
        plan.act(entry.id(), Act::Departed(departure.place));
        made.extend(waiting.pop_front());
    }
    Ok(())
}

/// What a departing message becomes, and where it goes.
fn destination(
    inner: &Inner,
    entry: &QueueEntry,
    departure: &Departure,
    message: &Message,
) -> (Message, Routes) {
    let now_ms = inner.clock.now_ms();
    match departure.leave {
        Leave::Due if entry.definition().options.holds_back => {
            release(inner, &entry.definition().vhost, message, now_ms)
        }
        Leave::Due => {
            let message = Message { due_ms: Some(now_ms), published_ms: now_ms, ..message.clone() };
            (message, Routes { queues: vec![entry.id()], topics: Vec::new() })
        }
        Leave::Dead(reason) => {
            let dead = dead_letter(entry.definition(), message, reason, now_ms);
            let routes = dead_letter_routes(inner, entry.definition(), &dead);
            (dead, routes)
        }
    }
}

/// The message as it is published again, with its history.
fn dead_letter(
    definition: &Definition,
    message: &Message,
    reason: DeathReason,
    now_ms: TimestampMs,
) -> Message {
    let mut dead = message.clone();
    let expiration = dead.properties.as_mut().and_then(|properties| properties.expiration.take());
    let death = Death {
        queue: definition.name.clone(),
        reason,
        count: 1,
        exchange: message.exchange.clone(),
        routing_keys: std::iter::once(message.routing_key.clone()).chain(copies(message)).collect(),
        time_ms: now_ms,
        original_expiration: expiration,
    };
    dead.deaths = Some(Box::new(Deaths::record(message.deaths.as_deref(), death)));
    (dead.ttl_ms, dead.due_ms, dead.published_ms) = (None, None, now_ms);
    let Some(to) = &definition.options.dead_letter else { return dead };
    dead.exchange = to.exchange.clone();
    if let Some(key) = &to.routing_key {
        dead.routing_key = key.clone();
        // The key of the queue stands for all that the message had.
        if let Some(properties) = &mut dead.properties {
            properties.headers.remove(COPIES);
        }
    }
    dead
}

/// The further keys that a message was published with, as its headers tell.
fn copies(message: &Message) -> Vec<Text> {
    match message.headers().and_then(|headers| headers.get(COPIES)) {
        Some(Value::List(keys)) => keys.iter().filter_map(Value::as_text).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Where a dead letter goes. Nowhere if the exchange is gone, if it would go round for ever, or if it went round
/// too often.
fn dead_letter_routes(inner: &Inner, definition: &Definition, dead: &Message) -> Routes {
    let Some(deaths) = dead.deaths.as_deref().filter(|deaths| deaths.hops() <= HOPS_MAX) else {
        tracing::warn!(queue = %definition.name, "dropped a message that was dead-lettered too often");
        inner.metrics.dead_letter_dropped();
        return Routes::default();
    };
    let queues = inner.queues();
    let mut found = Routes::default();
    queues.with_topology(|topology| {
        if let Some(vhost) = topology.vhost(&definition.vhost) {
            let (routing_key, more_keys) = (&dead.routing_key, &copies(dead));
            let message = Routable { routing_key, more_keys, headers: dead.headers() };
            vhost.route_all(&dead.exchange, message, &mut found);
        }
    });
    let goes_round = |queue: &QueueId| {
        let name: Option<Text> = queues.entry(*queue).map(|entry| entry.definition().name.clone());
        name.is_none_or(|name| deaths.is_cycle(&name))
    };
    found.queues.retain(|queue| !goes_round(queue));
    found
}
