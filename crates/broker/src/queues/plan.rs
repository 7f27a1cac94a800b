//! What goes where, and how it is written: routes become batches, one for each lane of each queue.
//!
//! What several queues write alike is encoded once. A message that several queues keep is stored once, in the log of bodies; they
//! refer to it, by an offset that is known only when the queues are locked.

use std::sync::Arc;

use annals_clock::TimestampMs;
use annals_journal::GROUP_BYTES_MAX;
use annals_queues::positions::SourcePartition;
use annals_queues::queue::{LANE_DELAYED, Place, Settlement};
use annals_queues::routing::{QueueId, Routes};
use annals_queues::{Message, Text};
use annals_topics::batch::Batch;

use super::appends::Appends;
use super::batch::{Encoded, Item, SHARED_LEN_MAX, build};
use super::bodies::SHARED_SIZE_MIN;
use super::{QueueEntry, Queues, lock};
use crate::api::queues::publish::{PublishError, Published};
use crate::table::Table;

/// What a batch takes in a group beside its records.
const BATCH_OVERHEAD: usize = 128;
/// What an entry of a state log may grow by between being measured and being written.
const STATE_SLACK: usize = 16 << 10;
/// Positions that may come in between being measured and being written.
const POSITIONS_SLACK: usize = 64;

/// What goes where.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) messages: Vec<Arc<Message>>,
    /// Which message goes to which queue.
    pub(super) routes: Vec<(QueueId, u32)>,
    pub(super) outcomes: Vec<Published>,
    /// What happens to messages that are in queues, in the same group.
    pub(super) acts: Vec<(QueueId, Act)>,
    /// Queues take the messages in whatever their limits say.
    pub(super) forced: bool,
    /// A message is known that may be on its way to the disk still.
    pub(super) has_known: bool,
    /// Which message is appended to which topic, beside the queues that are topics.
    pub(super) topics: Vec<(Text, u32)>,
    /// How often messages went from topic to topic, by their places; none at all if no message did.
    hops: Vec<u32>,
    /// How far topics were read, in the same group.
    pub(super) positions: Vec<(SourcePartition, u64)>,
}

/// What happens to one message that is in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Settle(u64, Settlement),
    Departed(Place),
    /// So many messages were moved by the move of this number.
    Moved(u64, u64),
}

/// One queue's part of a plan.
pub(super) struct Share {
    pub(super) entry: Arc<QueueEntry>,
    /// Messages that it gets.
    pub(super) indexes: Vec<u32>,
    /// What is to be written if it takes all of them.
    pub(super) prepared: Vec<Prepared>,
    pub(super) acts: Vec<Act>,
    /// Messages that need not be journaled are, to keep them out of memory.
    pub(super) spills: bool,
    /// Room for its entry of the state log.
    pub(super) state_room: usize,
}

/// Messages of one lane as they are written.
pub(super) struct Prepared {
    pub(super) lane: u16,
    pub(super) indexes: Vec<u32>,
    /// Nothing if it refers to shared bodies, whose offsets are known only later.
    pub(super) batch: Option<Batch>,
    pub(super) len_max: usize,
}

/// A plan as it is carried out.
pub(super) struct Laid {
    pub(super) shares: Vec<Share>,
    pub(super) encoded: Vec<Option<Encoded>>,
    /// Messages that are stored once for several queues, and how they are written.
    pub(super) shared: Vec<u32>,
    pub(super) bodies: Option<Batch>,
    pub(super) appends: Appends,
    positions_len_max: usize,
}

impl Plan {
    /// A plan for messages that are in a queue already: none of them is refused, and none is known from before.
    pub(super) fn forced() -> Self {
        Self { forced: true, ..Self::default() }
    }

    /// Adds a message and the queues that get it.
    pub(super) fn add(&mut self, message: Arc<Message>, queues: &[QueueId]) {
        let index = self.messages.len() as u32;
        self.routes.extend(queues.iter().map(|queue| (*queue, index)));
        self.outcomes.push(match queues.len() {
            0 => Published::Unroutable(Arc::clone(&message)),
            count => Published::Queued(count as u32),
        });
        self.messages.push(message);
    }

    /// Adds a message and all places that get it. `hops` says how often it went from topic to topic.
    pub(super) fn add_routed(&mut self, message: Arc<Message>, routes: &Routes, hops: u32) {
        let index = self.messages.len() as u32;
        self.topics.extend(routes.topics.iter().map(|topic| (topic.clone(), index)));
        self.add(message, &routes.queues);
        if !routes.topics.is_empty() {
            self.outcomes[index as usize] = Published::Queued(routes.len() as u32);
        }
        if hops > 0 {
            self.hops.resize(index as usize + 1, 0);
            self.hops[index as usize] = hops;
        }
    }

    /// How often a message went from topic to topic.
    pub(super) fn hops(&self, index: u32) -> u32 {
        self.hops.get(index as usize).copied().unwrap_or(0)
    }

    /// Adds what happens to a message in a queue.
    pub(super) fn act(&mut self, queue: QueueId, act: Act) {
        self.acts.push((queue, act));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.acts.is_empty() && self.topics.is_empty() && self.positions.is_empty()
    }

    /// Lays out what each queue gets, and encodes it.
    ///
    /// # Errors
    /// If a topic is gone, or takes no message of such a size; if no group can hold what a queue gets.
    pub(super) fn lay_out(
        &self,
        queues: &Queues,
        table: &Table,
        now_ms: TimestampMs,
    ) -> Result<Laid, PublishError> {
        let mut ids: Vec<QueueId> = self.routes.iter().map(|(queue, _)| *queue).collect();
        ids.extend(self.acts.iter().map(|(queue, _)| *queue));
        ids.sort_unstable();
        ids.dedup();
        let (entries, streams): (Vec<_>, Vec<_>) =
            queues.entries_of(&ids).into_iter().partition(|entry| entry.topic().is_none());
        let mut builder = Builder::new(self, &entries, now_ms);
        let shares = entries.into_iter().map(|entry| self.share(queues, entry, &mut builder));
        let shares = shares.collect::<Result<Vec<_>, _>>()?;
        let bodies = builder.build(&builder.shared.clone())?;
        let streams = streams
            .iter()
            .filter_map(|entry| Some((entry.id(), entry.topic()?.clone(), self.indexes_of(entry.id()))));
        let streams: Vec<_> = streams.collect();
        let mut appends = Appends::default();
        if !streams.is_empty() || !self.topics.is_empty() {
            appends = Appends::lay_out(self, table, streams, &mut |index| builder.encode(index).clone())?;
        }
        let positions_len_max = match self.positions.len() {
            0 => 0,
            count => BATCH_OVERHEAD + lock(&queues.positions).entry_len_max(count + POSITIONS_SLACK),
        };
        Ok(Laid {
            shares,
            shared: builder.shared,
            encoded: builder.encoded,
            bodies,
            appends,
            positions_len_max,
        })
    }

    /// The messages that a queue gets.
    fn indexes_of(&self, queue: QueueId) -> Vec<u32> {
        let first = self.routes.partition_point(|(other, _)| *other < queue);
        let routes = self.routes[first..].iter().take_while(|(other, _)| *other == queue);
        routes.map(|(_, index)| *index).collect()
    }

    fn share(
        &self,
        queues: &Queues,
        entry: Arc<QueueEntry>,
        builder: &mut Builder<'_>,
    ) -> Result<Share, PublishError> {
        let id = entry.id();
        let indexes = self.indexes_of(id);
        let acts: Vec<Act> =
            self.acts.iter().filter(|(queue, _)| *queue == id).map(|(_, act)| *act).collect();
        let spills = queues.spills(entry.lock().queue.memory_bytes());
        let prepared = builder.prepare(&entry, &indexes, spills)?;
        let refers = prepared.iter().any(|part| part.batch.is_none());
        let expires = |index: &u32| self.messages[*index as usize].ttl_ms.is_some();
        let expires = prepared.iter().any(|part| part.indexes.iter().any(expires));
        let state = entry.lock();
        let writes_state = !acts.is_empty()
            || entry.definition().options.duplicate_window_ms.is_some()
            || (refers && !state.queue.shares())
            || (expires && !state.queue.says_limited());
        let grows = 96 * (acts.len() + indexes.len()) + STATE_SLACK;
        let state_room = if writes_state { state.queue.entry_len_max() + grows } else { 0 };
        drop(state);
        Ok(Share { entry, indexes, prepared, acts, spills, state_room })
    }
}

/// Encodes messages; what several queues write alike is encoded once.
struct Builder<'a> {
    plan: &'a Plan,
    now_ms: TimestampMs,
    encoded: Vec<Option<Encoded>>,
    built: Vec<(Vec<u32>, Batch)>,
    /// In order.
    shared: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a Plan, entries: &[Arc<QueueEntry>], now_ms: TimestampMs) -> Self {
        let encoded = vec![None; plan.messages.len()];
        let mut builder = Self { plan, now_ms, encoded, built: Vec::new(), shared: Vec::new() };
        if entries.len() > 1 && plan.routes.len() > plan.messages.len() {
            builder.shared = builder.shared_by_several(entries);
        }
        builder
    }

    /// The messages whose bodies are stored once: those that several queues keep.
    fn shared_by_several(&self, entries: &[Arc<QueueEntry>]) -> Vec<u32> {
        let mut keepers = vec![0_u32; self.plan.messages.len()];
        for (queue, index) in &self.plan.routes {
            let Ok(place) = entries.binary_search_by_key(queue, |entry| entry.id()) else { continue };
            keepers[*index as usize] += u32::from(self.refers(&entries[place], *index));
        }
        (0..keepers.len() as u32).filter(|index| keepers[*index as usize] > 1).collect()
    }

    /// Whether a queue would refer to a body elsewhere. Those that have to know their messages at a restart do not.
    fn refers(&self, entry: &QueueEntry, index: u32) -> bool {
        let (definition, message) = (entry.definition(), &self.plan.messages[index as usize]);
        definition.journals(message)
            && message.size() >= SHARED_SIZE_MIN
            && !definition.options.wants_messages()
            && definition.options.lane_for(message, self.now_ms) != LANE_DELAYED
    }

    /// What a queue would write of these messages, by lane.
    fn prepare(
        &mut self,
        entry: &QueueEntry,
        indexes: &[u32],
        spills: bool,
    ) -> Result<Vec<Prepared>, PublishError> {
        let definition = entry.definition();
        let mut lanes: Vec<(u16, Vec<u32>)> = Vec::new();
        for &index in indexes {
            let message = &self.plan.messages[index as usize];
            if !spills && !definition.journals(message) {
                continue;
            }
            let lane = definition.options.lane_for(message, self.now_ms);
            match lanes.iter_mut().find(|(known, _)| *known == lane) {
                Some((_, indexes)) => indexes.push(index),
                None => lanes.push((lane, vec![index])),
            }
        }
        lanes.into_iter().map(|(lane, indexes)| self.prepare_lane(entry, lane, indexes)).collect()
    }

    fn prepare_lane(
        &mut self,
        entry: &QueueEntry,
        lane: u16,
        indexes: Vec<u32>,
    ) -> Result<Prepared, PublishError> {
        let refers: Vec<bool> = indexes
            .iter()
            .map(|index| self.shared.binary_search(index).is_ok() && self.refers(entry, *index))
            .collect();
        if !refers.contains(&true) {
            let batch = self.build_once(&indexes)?;
            let len_max = batch.as_ref().map_or(0, |batch| batch.header.size_bytes());
            return Ok(Prepared { lane, indexes, batch, len_max });
        }
        let mut len_max = BATCH_OVERHEAD;
        for (&index, refers) in indexes.iter().zip(refers) {
            let inline = self.encode(index).len_max();
            len_max += if refers { SHARED_LEN_MAX } else { inline };
        }
        within_a_group(len_max)?;
        Ok(Prepared { lane, indexes, batch: None, len_max })
    }

    fn build_once(&mut self, indexes: &[u32]) -> Result<Option<Batch>, PublishError> {
        if let Some((_, batch)) = self.built.iter().find(|(known, _)| known == indexes) {
            return Ok(Some(batch.clone()));
        }
        let batch = self.build(indexes)?;
        self.built.extend(batch.clone().map(|batch| (indexes.to_vec(), batch)));
        Ok(batch)
    }

    fn encode(&mut self, index: u32) -> &Encoded {
        let message = &self.plan.messages[index as usize];
        self.encoded[index as usize].get_or_insert_with(|| Encoded::new(Arc::clone(message)))
    }

    fn build(&mut self, indexes: &[u32]) -> Result<Option<Batch>, PublishError> {
        let mut len_max = 0;
        for index in indexes {
            len_max += self.encode(*index).len_max();
            within_a_group(len_max)?;
        }
        Ok(build_batch(indexes, &self.encoded, &|_| None))
    }
}

/// Refuses what no group can hold, before anything is decided.
fn within_a_group(bytes: usize) -> Result<(), PublishError> {
    match bytes {
        ..=GROUP_BYTES_MAX => Ok(()),
        _ => Err(PublishError::TooLarge { bytes, bytes_max: GROUP_BYTES_MAX }),
    }
}

/// One batch of messages; those of which `body_of` knows the offset in the log of bodies only refer to it.
pub(super) fn build_batch(
    indexes: &[u32],
    encoded: &[Option<Encoded>],
    body_of: &dyn Fn(u32) -> Option<u64>,
) -> Option<Batch> {
    if indexes.is_empty() {
        return None;
    }
    let item = |index: &u32| {
        let encoded = encoded[*index as usize].as_ref()?;
        Some(match body_of(*index) {
            Some(offset) => Item::Shared(offset, encoded.message.published_ms),
            None => Item::Inline(encoded),
        })
    };
    match build(indexes.iter().filter_map(item)) {
        Ok(batch) => Some(batch),
        // Their sizes were checked before.
        Err(error) => {
            tracing::error!(%error, "bug: messages cannot be encoded");
            None
        }
    }
}

impl Laid {
    /// The most that can be written.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] if no group can hold it.
    pub(super) fn len_max(&self) -> Result<usize, PublishError> {
        let parts = self.shares.iter().flat_map(|share| &share.prepared);
        let batches: usize = parts.map(|part| BATCH_OVERHEAD + part.len_max).sum();
        let bodies = self.bodies.as_ref().map_or(0, |batch| BATCH_OVERHEAD + batch.header.size_bytes());
        let state: usize = self.shares.iter().map(|share| share.state_room).sum();
        let len = bodies + batches + state + self.appends.len_max() + self.positions_len_max;
        if len == 0 {
            return Ok(0);
        }
        let len = len + BATCH_OVERHEAD + 2 * BATCH_OVERHEAD * self.shares.len();
        within_a_group(len)?;
        Ok(len)
    }
}
