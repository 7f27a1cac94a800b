//! What is there, for operators and for those who only look.

use std::sync::Arc;

use annals_clock::TimestampMs;
use annals_queues::Text;
use annals_queues::queue::{LANE_DELAYED, Oldest, Place};
use annals_queues::routing::{Binding, ExchangeDefinition, Vhost};

use super::QueueEntry;
use super::batch::stored;
use super::bodies::resolve;
use super::entry::QueueState;
use super::load::{read, read_place};
use super::logs::lane_log;
use crate::api::Caller;
use crate::api::queues::admin::{ConsumerInfo, Peek, Peeked, QueueInfo};
use crate::api::queues::{QueueError, QueueRef};
use crate::{Broker, Inner};

/// Reads when the oldest messages of queues came in, for those who want to know, until it is dropped.
pub(super) async fn run(inner: &Inner) {
    loop {
        for queue in inner.queues().work.look.next(64).await {
            let Some(entry) = inner.queues().entry(queue) else { continue };
            let Oldest::Cold(place) = entry.lock().queue.oldest() else { continue };
            if let Ok(Some(message)) = read_place(inner, &entry, place).await {
                entry.lock().oldest = Some((place, message.published_ms));
            }
        }
    }
}

/// Bytes that are read at once for a look.
const READ_BYTES: usize = 1 << 20;

impl Broker {
    /// One queue, as it is now.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn queue_info(&self, _caller: &Caller, queue: &QueueRef) -> Result<QueueInfo, QueueError> {
        Ok(self.inner.info_of(&*self.inner.queue(queue)?))
    }

    /// One queue, as it is now, by somebody who uses it: the time after which an unused queue expires begins again.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn use_queue(&self, _caller: &Caller, queue: &QueueRef) -> Result<QueueInfo, QueueError> {
        let entry = self.inner.queue(queue)?;
        let mut state = entry.lock();
        state.unused_since = self.inner.clock.now_ms();
        entry.advance(&mut state, self.inner.queues());
        drop(state);
        Ok(self.inner.info_of(&entry))
    }

    /// All queues, of one virtual host or of all, by name.
    pub fn queues(&self, _caller: &Caller, vhost: Option<&Text>) -> Vec<QueueInfo> {
        let entries = self.inner.queues().all_entries();
        let wanted = |entry: &Arc<QueueEntry>| vhost.is_none_or(|vhost| entry.definition().vhost == *vhost);
        let mut infos: Vec<QueueInfo> =
            entries.iter().filter(|entry| wanted(entry)).map(|entry| self.inner.info_of(entry)).collect();
        let name = |info: &QueueInfo| (info.definition.vhost.clone(), info.definition.name.clone());
        infos.sort_unstable_by_key(name);
        infos
    }

    /// The exchanges of a virtual host, by name.
    pub fn exchanges(&self, _caller: &Caller, vhost: &Text) -> Vec<(Text, ExchangeDefinition)> {
        self.inner.queues().with_topology(|topology| {
            let exchanges = topology.vhost(vhost).into_iter().flat_map(Vhost::exchanges);
            exchanges.map(|(name, exchange)| (name.clone(), exchange.definition().clone())).collect()
        })
    }

    /// The bindings of a virtual host, in no order. Those of the default exchange are not among them.
    pub fn bindings(&self, _caller: &Caller, vhost: &Text) -> Vec<Binding> {
        self.inner.queues().with_topology(|topology| {
            let bindings = topology.vhost(vhost).into_iter().flat_map(Vhost::bindings);
            bindings.map(|binding| Binding::clone(binding)).collect()
        })
    }

    /// Settles everything that is ready in a queue. Returns how many messages that were. Durable on return.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn purge_queue(&self, _caller: &Caller, queue: &QueueRef) -> Result<u64, QueueError> {
        let entry = self.inner.plain_queue(queue)?;
        self.inner.change_durably(&entry, |state| state.queue.purge()).await
    }

    /// Looks at the messages of a queue, whoever holds them, without taking any. The order is that of the queue, the highest
    /// priority first. One that is in memory only has the number of the one behind it that is not.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn peek(&self, _caller: &Caller, request: Peek) -> Result<Vec<Peeked>, QueueError> {
        let entry = self.inner.queue(&request.queue)?;
        if let Some(topic) = entry.topic() {
            return Ok(self.inner.peek_stream(topic, &request).await);
        }
        let from = |lane: u16| Some(Place { lane, offset: request.from, memory: 0 });
        let found = self.inner.look(&entry, &from, request.max).await;
        Ok(found.into_iter().map(|(_, peeked)| peeked).collect())
    }
}

impl Inner {
    fn info_of(&self, entry: &QueueEntry) -> QueueInfo {
        let mut state = entry.lock();
        let oldest_ms = match state.queue.oldest() {
            Oldest::Nothing => None,
            Oldest::At(at_ms) => Some(at_ms),
            Oldest::Cold(place) => match state.oldest.filter(|(known, _)| *known == place) {
                Some((_, at_ms)) => Some(at_ms),
                None => {
                    self.queues().work.look.put(entry.id());
                    None
                }
            },
        };
        let info = info(entry, &state, oldest_ms);
        drop(state);
        match entry.topic().map(|topic| self.stream_size(topic)) {
            Some((ready, ready_bytes)) => QueueInfo { ready, ready_bytes, ..info },
            None => info,
        }
    }

    /// The messages of a queue that are behind what was looked at before, in their order, whoever holds them.
    pub(super) async fn look_on(
        &self,
        entry: &QueueEntry,
        behind: Option<Place>,
        max: usize,
    ) -> Vec<(Place, Peeked)> {
        let from = |lane: u16| {
            let first = Place { lane, offset: 0, memory: 0 };
            match behind {
                Some(place) if lane > place.lane => None,
                Some(place) if lane == place.lane && place.is_journaled() => {
                    Some(Place { offset: place.offset + 1, ..first })
                }
                Some(place) if lane == place.lane => Some(Place { memory: place.memory + 1, ..place }),
                _ => Some(first),
            }
        };
        self.look(entry, &from, max).await
    }

    /// The first messages of a queue, in each lane from the place on that `from` says, if it does.
    async fn look(
        &self,
        entry: &QueueEntry,
        from: &(dyn Fn(u16) -> Option<Place> + Sync),
        max: usize,
    ) -> Vec<(Place, Peeked)> {
        let lanes: Vec<u16> = entry.lock().queue.lanes().filter(|lane| *lane < LANE_DELAYED).collect();
        let mut found = Vec::new();
        for from in lanes.into_iter().rev().filter_map(from) {
            if found.len() >= max {
                break;
            }
            let mut of_lane = Vec::new();
            self.look_in_lane(entry, from, max, &mut of_lane).await;
            let memory = entry.lock().queue.in_memory(from.lane).into_iter();
            let memory = memory.filter(|(place, ..)| *place >= from);
            of_lane.extend(
                memory.map(|(place, message, leased)| {
                    (place, Peeked { sequence: place.offset, message, leased })
                }),
            );
            of_lane.sort_by_key(|(place, _)| *place);
            found.extend(of_lane);
        }
        found.truncate(max);
        found
    }

    async fn look_in_lane(
        &self,
        entry: &QueueEntry,
        from: Place,
        max: usize,
        found: &mut Vec<(Place, Peeked)>,
    ) {
        let lane = from.lane;
        let log = lane_log(entry.id(), lane);
        let Some(facts) = self.journal.log(log) else { return };
        let mut next = from.offset.max(facts.offsets.start);
        while found.len() < max && next < facts.offsets.end {
            let Ok((bytes, after)) = read(self, log, next..facts.offsets.end, READ_BYTES).await else {
                return;
            };
            if after <= next {
                return;
            }
            let Ok(messages) = resolve(self, stored(bytes)).await else { return };
            let state = entry.lock();
            for (sequence, message) in messages {
                let place = Place::journaled(lane, sequence);
                if sequence >= next && found.len() < max && state.queue.is_live(place) {
                    found.push((place, Peeked { sequence, message, leased: !state.queue.is_ready(place) }));
                }
            }
            next = after;
        }
    }
}

fn info(entry: &QueueEntry, state: &QueueState, oldest_ms: Option<TimestampMs>) -> QueueInfo {
    let consumer = |(id, mailbox): (&_, &Arc<super::consume::Mailbox>)| {
        let (options, leased, active) = state.queue.consumer(*id)?;
        Some(ConsumerInfo {
            tag: mailbox.tag.clone(),
            owner: mailbox.owner,
            session: mailbox.session,
            arguments: mailbox.arguments.clone(),
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            active,
            prefetch: options.prefetch,
            priority: options.priority,
            unacknowledged: leased.into(),
        })
    };
    QueueInfo {
        definition: Arc::clone(entry.definition()),
        owner: entry.owner(),
        ready: state.queue.ready(),
        unacknowledged: state.queue.leased(),
        delayed: state.queue.delayed(),
        deferred: state.queue.deferred(),
        ready_bytes: state.queue.bytes(),
        unacknowledged_bytes: state.queue.leased_bytes(),
        oldest_ms,
        consumers: state.consumers.iter().filter_map(consumer).collect(),
        counters: state.queue.counters(),
        processing_time: state.queue.processing_time(),
    }
}
