//! Exchanges that hold messages back for as long as each asks, and route them when they are due.
//!
//! Until then a message lies in a queue of its virtual host that no client can use (`amq.delayed`), with everything that is
//! needed to route it: bindings are those of the moment at which it is due. It survives a restart if it is persistent, and can be
//! cancelled. Its header `x-delay` is turned negative, so that no other exchange holds it back once more.
//!
//! Source: RabbitMQ's plugin for delayed messages.

use std::sync::Arc;

use annals_clock::TimestampMs;
use annals_queues::queue::{Definition, LANE_DELAYED, Options, Place};
use annals_queues::routing::{Change, HELD_BACK, Routable, Routes, Topology};
use annals_queues::{Headers, Message, Properties, Text, Value};

use super::load::read_place;
use crate::api::Caller;
use crate::api::queues::admin::Scheduled;
use crate::api::queues::{QueueError, QueueRef};
use crate::{Broker, Inner};

/// The header by which a message says how long it is to be held back, in milliseconds.
const DELAY: &str = "x-delay";
/// The header that keeps further routing keys meanwhile.
const KEYS: &str = "annals-routing-keys";

impl Broker {
    /// The messages of a queue that are not due yet, the earliest first, of those that are due from `from_ms` on. Those of
    /// exchanges that hold messages back lie in the queue `amq.delayed` of their virtual host.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn scheduled(
        &self,
        _caller: &Caller,
        queue: &QueueRef,
        from_ms: TimestampMs,
        max: usize,
    ) -> Result<Vec<Scheduled>, QueueError> {
        let entry = self.inner.queue(queue)?;
        let first = (from_ms, Place { lane: 0, offset: 0, memory: 0 });
        let found: Vec<_> = {
            let state = entry.lock();
            let owned =
                |(due_ms, place, message): (_, _, Option<&Arc<Message>>)| (due_ms, place, message.cloned());
            state.queue.scheduled(first).take(max).map(owned).collect()
        };
        let mut scheduled = Vec::with_capacity(found.len());
        for (due_ms, place, message) in found {
            let message = match message {
                Some(message) => Some(message),
                None => read_place(&self.inner, &entry, place)
                    .await
                    .map_err(|error| QueueError::Unavailable(error.to_string()))?,
            };
            let sequence = if place.is_journaled() { place.offset } else { place.memory };
            let persistent = place.is_journaled();
            scheduled.extend(message.map(|message| Scheduled { sequence, persistent, due_ms, message }));
        }
        Ok(scheduled)
    }

    /// Takes back a message that is not due yet. Returns whether there is one. Durable on return.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn cancel_scheduled(
        &self,
        _caller: &Caller,
        queue: &QueueRef,
        sequence: u64,
    ) -> Result<bool, QueueError> {
        let entry = self.inner.queue(queue)?;
        let place = Place::journaled(LANE_DELAYED, sequence);
        self.inner.change_durably(&entry, |state| state.queue.cancel_delayed(place)).await
    }
}

/// How long a message asks to be held back.
pub(super) fn delay_ms(message: &Message) -> Option<i64> {
    message.headers()?.get(DELAY)?.as_i64().filter(|ms| *ms > 0)
}

/// Makes a message one that waits.
pub(super) fn hold_back(message: &mut Message, more_keys: &[Text], delay_ms: i64) {
    message.due_ms = Some(message.published_ms.saturating_add(delay_ms));
    let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
    for (_, value) in properties.headers.0.iter_mut().filter(|(name, _)| name == DELAY) {
        *value = negative(value, delay_ms);
    }
    if !more_keys.is_empty() {
        let keys = more_keys.iter().cloned().map(Value::Text).collect();
        properties.headers.push(KEYS, Value::List(keys));
    }
}

fn negative(value: &Value, delay_ms: i64) -> Value {
    match (value, i32::try_from(-delay_ms)) {
        (Value::I32(_), Ok(negative)) => Value::I32(negative),
        _ => Value::I64(-delay_ms),
    }
}

/// A message that was held back as it is routed now, and where it goes.
pub(super) fn release(
    inner: &Inner,
    vhost: &Text,
    message: &Message,
    now_ms: TimestampMs,
) -> (Message, Routes) {
    let mut message = Message { due_ms: None, published_ms: now_ms, ..message.clone() };
    let mut keys = vec![message.routing_key.clone()];
    if let Some(properties) = &mut message.properties {
        if let Some(Value::List(more)) = properties.headers.get(KEYS) {
            keys.extend(more.iter().filter_map(Value::as_text).cloned());
        }
        properties.headers.remove(KEYS);
    }
    let mut routes = Routes::default();
    inner.queues().with_topology(|topology| {
        if let Some(vhost) = topology.vhost(vhost)
            && let Some((routing_key, more_keys)) = keys.split_first()
        {
            let routable = Routable { routing_key, more_keys, headers: message.headers() };
            vhost.route_all(&message.exchange, routable, &mut routes);
        }
    });
    (message, routes)
}

/// The changes that bring a queue, each with whether it is journaled, and the queue.
type NewPlace = (Vec<(Change, bool)>, Arc<Definition>);

/// The queue in which messages of a virtual host are held back, if it has to be made.
pub(super) fn missing_place(topology: &mut Topology, vhost: &Text) -> Option<NewPlace> {
    if topology.vhost(vhost)?.queue(&HELD_BACK).is_some() {
        return None;
    }
    let definition = Definition {
        id: topology.next_queue(),
        vhost: vhost.clone(),
        name: HELD_BACK,
        durable: true,
        exclusive: false,
        auto_delete: false,
        options: Options { holds_back: true, ..Options::default() },
        arguments: Headers::new(),
    };
    let mut changes: Vec<(Change, bool)> =
        topology.promise(definition.id).map(|promise| (promise, true)).into_iter().collect();
    changes.push((Change::PutQueue(definition.clone()), true));
    Some((changes, Arc::new(definition)))
}
