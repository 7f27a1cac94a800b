//! One delivery engine for all queue protocols: a message is ready, leased or done.
//!
//! A [`Queue`] decides; it does no I/O and reads no clock. Its owner gives it what was published ([`Queue::append`]), tells
//! it what became durable ([`Queue::applied`]), asks it to hand out messages ([`Queue::dispatch`]), and journals what it
//! gives to be journaled ([`Queue::take_entry`]). Where the message to be handed out next is not in memory, it says which
//! one has to be read ([`Need`]).
//!
//! Invariants: a message is in exactly one of ready, leased, deferred, delayed, on its way out, done. It is handed out only
//! when it is durable, where it is to be. Order is that of the places ([`Place`]): what comes back comes back to its place.
//! The differences between protocols are [`Options`]: leases with or without an end, limits, priorities, groups.
//!
//! Source: AMQP 0-9-1 `basic.*` and RabbitMQ's documentation of queues; Azure Service Bus peek-lock; SQS visibility timeout.

mod consumers;
mod counters;
mod deliver;
mod entry;
mod groups;
mod journal;
mod lane;
mod leave;
mod moves;
mod options;
mod ranges;
mod seen;
mod sessions;
mod settle;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

pub use counters::{Counters, ProcessingTime};
pub use deliver::{Delivery, Need, Oldest};
pub use groups::{GroupError, Holder};
pub use journal::StateEntry;
pub use leave::{Departure, Leave};
pub use moves::{MoveState, Movement};
pub use options::{DeadLetter, Definition, HOPS_MAX, Options, Overflow, PRIORITY_MAX, StreamOptions};
pub use ranges::RangeSet;
pub use settle::{NotHeld, Settlement};

use crate::{Message, Text, TimestampMs};
use consumers::Consumers;
use groups::{Groups, group_of};
use journal::StateLog;
use lane::{Lane, Waiting};
use moves::Moves;
use seen::{Seen, identity_of};
use settle::Held;

/// The lane of messages that are not due yet.
pub const LANE_DELAYED: u16 = 256;

/// The place of a message in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The lane: the priority, or [`LANE_DELAYED`].
    pub lane: u16,
    /// The offset in the lane's log; of a message that is not journaled, that of the next one that is.
    pub offset: u64,
    /// Tells messages apart that are not journaled; [`Place::JOURNALED`] for one that is.
    pub memory: u64,
}

impl Place {
    /// Stands behind all that were not journaled before the same offset.
    pub const JOURNALED: u64 = u64::MAX;

    /// The place of a journaled message.
    pub fn journaled(lane: u16, offset: u64) -> Self {
        Self { lane, offset, memory: Self::JOURNALED }
    }

    /// Whether the message lies in the journal.
    pub fn is_journaled(self) -> bool {
        self.memory == Self::JOURNALED
    }
}

/// The number of a consumer. Given by the owner of the queue, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// What a consumer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ConsumerOptions {
    /// Messages are settled by being delivered.
    pub no_ack: bool,
    /// No other consumer beside it.
    pub exclusive: bool,
    /// Those with a higher number are served first.
    pub priority: i32,
    /// The most messages that it holds; 0 for no limit.
    pub prefetch: u32,
}

/// Whether a queue takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Accepted,
    /// It is full.
    Refused,
    /// It is full, and the message goes where its dead letters go.
    DeadLettered,
    /// It had the message before.
    Duplicate,
}

/// One queue.
///
/// ```
/// use std::sync::Arc;
/// use annals_queues::queue::{ConsumerId, ConsumerOptions, Definition, Options, Queue, Settlement};
/// use annals_queues::routing::QueueId;
/// use annals_queues::{Headers, Message};
///
/// let definition = Definition {
///     id: QueueId(1), vhost: "/".into(), name: "tasks".into(), durable: true, exclusive: false, auto_delete: false,
///     options: Options::default(), arguments: Headers::new(),
/// };
/// let mut queue = Queue::new(Arc::new(definition));
/// let message = Arc::new(Message { body: "one".into(), persistent: true, ..Message::default() });
/// let place = queue.append(&message, 1_000, true);
/// let consumer = ConsumerId(1);
/// queue.add_consumer(consumer, ConsumerOptions { prefetch: 10, ..ConsumerOptions::default() });
///
/// let mut handed_out = Vec::new();
/// queue.dispatch(1_000, &mut |_| true, &mut handed_out);
/// assert!(handed_out.is_empty(), "it is not durable yet");
/// queue.applied(place.lane, place.offset + 1);
/// queue.dispatch(1_001, &mut |_| true, &mut handed_out);
/// assert_eq!(handed_out[0].message.body, "one");
/// queue.settle(handed_out[0].lease, Settlement::Accept, 1_002).unwrap();
/// assert!(queue.take_entry().is_some(), "the acknowledgement is to be journaled");
/// ```
#[derive(Debug)]
pub struct Queue {
    definition: Arc<Definition>,
    lanes: BTreeMap<u16, Lane>,
    consumers: Consumers,
    leases: HashMap<u64, Held>,
    /// When leases end.
    deadlines: BTreeSet<(TimestampMs, u64)>,
    next_lease: u64,
    /// On their way out, and not fetched yet.
    leaving: VecDeque<Departure>,
    /// Fetched, and not gone yet, with the bytes that each takes that is in memory only.
    departing: BTreeMap<Place, usize>,
    delayed: BTreeMap<(TimestampMs, Place), Option<Arc<Message>>>,
    /// When each of them is due.
    due: HashMap<Place, TimestampMs>,
    deferred: BTreeMap<Place, Deferred>,
    /// Where messages lie by group, if they do.
    groups: Option<Groups>,
    seen: Seen,
    /// There are or were messages with a time to live of their own.
    limited: bool,
    /// An entry says that there are such messages in the journal, or the next one does.
    says_limited: bool,
    /// There are or were messages whose bodies lie elsewhere.
    shares: bool,
    /// Bytes of messages that are ready or on their way to the disk.
    bytes: u64,
    /// Bytes of messages that somebody holds.
    leased_bytes: u64,
    /// Bytes of messages that are in memory only: each counts from being taken in until it is done with, wherever it is.
    memory_bytes: usize,
    moves: Moves,
    state: StateLog,
    counters: Counters,
    /// There once something was accepted.
    processing: Option<Box<ProcessingTime>>,
}

/// A message that is given only to who asks for it.
#[derive(Debug, Default)]
struct Deferred {
    message: Option<Arc<Message>>,
    group: Option<Text>,
    size: Option<u64>,
}

impl Queue {
    /// A new queue.
    pub fn new(definition: Arc<Definition>) -> Self {
        let single = definition.options.single_active_consumer;
        let groups = definition.options.groups.then(Groups::default);
        Self {
            definition,
            lanes: BTreeMap::new(),
            consumers: Consumers::new(single),
            leases: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_lease: 1,
            leaving: VecDeque::new(),
            departing: BTreeMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            deferred: BTreeMap::new(),
            groups,
            seen: Seen::default(),
            limited: false,
            says_limited: false,
            shares: false,
            bytes: 0,
            leased_bytes: 0,
            memory_bytes: 0,
            moves: Moves::default(),
            state: StateLog::default(),
            counters: Counters::default(),
            processing: None,
        }
    }

    /// What it was declared as.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    fn options(&self) -> &Options {
        &self.definition.options
    }

    /// Whether it takes `message` now.
    pub fn admit(&mut self, message: &Message, now_ms: TimestampMs) -> Admission {
        if let (Some(identity), Some(_)) = (&message.identity, self.options().duplicate_window_ms)
            && self.seen.contains(&identity_of(identity), now_ms)
        {
            self.counters.duplicates += 1;
            return Admission::Duplicate;
        }
        if self.options().overflow == Overflow::DropHead || !self.would_overflow(message.size() as u64) {
            return Admission::Accepted;
        }
        self.counters.refused += 1;
        match self.options().overflow {
            Overflow::DeadLetter => Admission::DeadLettered,
            Overflow::DropHead | Overflow::RejectPublish => Admission::Refused,
        }
    }

    /// Whether a limit is reached.
    pub fn is_full(&self) -> bool {
        self.would_overflow(0)
    }

    fn would_overflow(&self, size: u64) -> bool {
        let messages = || self.ready() + self.in_flight();
        self.options().length_max.is_some_and(|max| messages() + 1 > max)
            || self.options().bytes_max.is_some_and(|max| self.bytes + size > max)
    }

    /// Takes a message in and gives it its place. A journaled one has to be written there, in the lane's log at that
    /// offset, and is ready once [`Queue::applied`] says so.
    ///
    /// With `keep_hot` it is kept in memory for consumers, as far as the queue's own bounds allow.
    pub fn append(&mut self, message: &Arc<Message>, now_ms: TimestampMs, keep_hot: bool) -> Place {
        let journaled = self.is_journaled(message);
        self.append_as(message, now_ms, journaled, keep_hot)
    }

    /// As [`Queue::append`], for an owner that decides itself whether the message is journaled: a message that need not be
    /// may go to the journal to keep it out of memory.
    pub fn append_as(
        &mut self,
        message: &Arc<Message>,
        now_ms: TimestampMs,
        journaled: bool,
        keep_hot: bool,
    ) -> Place {
        self.counters.published += 1;
        self.note_limited(message, journaled);
        self.note_identity(message, now_ms);
        let due_ms = self.options().due_ms(message, now_ms);
        if due_ms.is_none() {
            self.bytes += message.size() as u64;
        }
        if !journaled {
            self.memory_bytes += message.footprint();
        }
        let number = self.options().lane_for(message, now_ms);
        if due_ms.is_none() && self.groups.is_some() {
            return self.append_to_group(number, message, journaled, keep_hot);
        }
        let lane = self.lane(number);
        match (journaled, due_ms) {
            (true, None) => lane.append(message, keep_hot),
            (true, Some(due_ms)) => {
                let place = lane.append(message, false);
                self.delay(due_ms, place, None);
                place
            }
            (false, None) => lane.append_memory(Arc::clone(message)),
            (false, Some(due_ms)) => {
                let place = Place { lane: number, offset: 0, memory: self.state.next_memory() };
                self.delay(due_ms, place, Some(Arc::clone(message)));
                place
            }
        }
    }

    pub(self) fn delay(&mut self, due_ms: TimestampMs, place: Place, message: Option<Arc<Message>>) {
        self.delayed.insert((due_ms, place), message);
        self.due.insert(place, due_ms);
    }

    fn append_to_group(
        &mut self,
        lane: u16,
        message: &Arc<Message>,
        journaled: bool,
        keep_hot: bool,
    ) -> Place {
        let lane = self.lane(lane);
        let place = if journaled { lane.append(message, false) } else { lane.memory_place() };
        if let Some(groups) = &mut self.groups {
            match journaled {
                true => groups.sent(place, message, keep_hot),
                false => {
                    let (size, kept) = (Some(message.size() as u64), Some(Arc::clone(message)));
                    groups.put(place, &group_of(message), Waiting { size, message: kept });
                }
            }
        }
        place
    }

    /// Whether a message has to survive, and this queue does.
    pub fn is_journaled(&self, message: &Message) -> bool {
        self.definition.journals(message)
    }

    /// A journaled message with a time to live of its own expires by itself also after a restart.
    fn note_limited(&mut self, message: &Message, journaled: bool) {
        self.limited |= message.ttl_ms.is_some();
        if journaled && message.ttl_ms.is_some() && !std::mem::replace(&mut self.says_limited, true) {
            self.state.note(entry::Operation::Limited);
        }
    }

    fn note_identity(&mut self, message: &Message, now_ms: TimestampMs) {
        let Some(window_ms) = self.options().duplicate_window_ms else { return };
        self.seen.forget(now_ms);
        if let Some(identity) = &message.identity {
            let (identity, until_ms) = (identity_of(identity), now_ms.saturating_add_unsigned(window_ms));
            self.seen.remember(identity, until_ms);
            self.state.note(entry::Operation::Seen { identity, until_ms });
        }
    }

    fn lane(&mut self, number: u16) -> &mut Lane {
        let keep_sizes = self.definition.options.bytes_max.is_some() && number != LANE_DELAYED;
        let survives = self.definition.survives();
        let new = || {
            let lane = Lane::new(number, keep_sizes);
            if survives { lane } else { lane.forgetful() }
        };
        self.lanes.entry(number).or_insert_with(new)
    }

    /// The offset of the next message in a lane's log.
    pub fn lane_end(&self, lane: u16) -> u64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.end)
    }

    /// The messages of a lane's log below `end` are durable.
    pub fn applied(&mut self, lane: u16, end: u64) {
        self.lane(lane).applied(end);
        if lane != LANE_DELAYED
            && let Some(groups) = &mut self.groups
        {
            groups.applied(lane, end);
            self.lane(lane).hand_over();
        }
    }

    /// Adds a consumer. Returns whether it may be there: an exclusive one is alone, and none where the queue chooses
    /// the one that is served.
    pub fn add_consumer(&mut self, id: ConsumerId, options: ConsumerOptions) -> bool {
        let alone = self.consumers.len() == 0;
        let single = self.options().single_active_consumer;
        if self.consumers.has_exclusive() || (options.exclusive && (single || !alone)) {
            return false;
        }
        self.consumers.add(id, options);
        true
    }

    /// Hands a consumer nothing any more. It keeps its place until it is removed: so what it holds can come back before
    /// another one is served, where only one is at a time.
    pub fn retire_consumer(&mut self, id: ConsumerId) {
        self.consumers.retire(id);
    }

    /// Takes a consumer out. What it holds stays leased. Returns whether it was there.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> bool {
        self.consumers.remove(id)
    }

    /// The consumer has taken what it was handed, and may be handed more.
    pub fn taken(&mut self, id: ConsumerId) {
        self.consumers.taken(id);
    }

    /// Changes how many messages a consumer may hold; 0 for no limit.
    pub fn set_prefetch(&mut self, id: ConsumerId, prefetch: u32) {
        self.consumers.set_prefetch(id, prefetch);
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// What a consumer wants, how many messages it holds, and whether it is served now.
    pub fn consumer(&self, id: ConsumerId) -> Option<(ConsumerOptions, u32, bool)> {
        let consumer = self.consumers.get(id)?;
        Some((consumer.options, consumer.leased, self.consumers.is_active(id)))
    }

    /// Messages that can be handed out now.
    pub fn ready(&self) -> u64 {
        let in_groups = self.groups.as_ref().map_or(0, Groups::ready);
        in_groups + self.lanes.range(..LANE_DELAYED).map(|(_, lane)| lane.ready()).sum::<u64>()
    }

    /// Messages that were accepted and are not durable yet.
    pub fn in_flight(&self) -> u64 {
        self.lanes.values().map(Lane::in_flight).sum()
    }

    /// Messages that somebody holds.
    pub fn leased(&self) -> u64 {
        self.leases.len() as u64
    }

    /// Messages that are not due yet.
    pub fn delayed(&self) -> u64 {
        self.delayed.len() as u64
    }

    /// The messages that are not due yet, from this time and place on, in the order in which they are due. What lies in
    /// memory only comes with itself.
    pub fn scheduled(
        &self,
        from: (TimestampMs, Place),
    ) -> impl Iterator<Item = (TimestampMs, Place, Option<&Arc<Message>>)> {
        self.delayed.range(from..).map(|((due_ms, place), message)| (*due_ms, *place, message.as_ref()))
    }

    /// Messages that are given only to who asks for them.
    pub fn deferred(&self) -> u64 {
        self.deferred.len() as u64
    }

    /// Messages that left and have not arrived elsewhere yet.
    pub fn departing(&self) -> u64 {
        (self.leaving.len() + self.departing.len()) as u64
    }

    /// Bytes in the bodies of messages that are ready or on their way to the disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of messages that are kept in memory only so that they need not be read.
    pub fn hot_bytes(&self) -> usize {
        let in_groups = self.groups.as_ref().map_or(0, Groups::hot_bytes);
        in_groups + self.lanes.values().map(Lane::hot_bytes).sum::<usize>()
    }

    /// Bytes of messages that are in memory only, whether they are ready, held, deferred, not due yet or on their way out.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Bytes in the bodies of messages that somebody holds.
    pub fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    /// How long messages were held until they were accepted, since it was opened.
    pub fn processing_time(&self) -> ProcessingTime {
        self.processing.as_deref().copied().unwrap_or_default()
    }

    /// What happened since it was opened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The lanes that were used so far.
    pub fn lanes(&self) -> impl Iterator<Item = u16> {
        self.lanes.keys().copied()
    }

    /// Whether a journaled message is there still, whoever holds it.
    pub fn is_live(&self, place: Place) -> bool {
        self.lanes
            .get(&place.lane)
            .is_some_and(|lane| place.offset < lane.end && !lane.is_settled(place.offset))
    }

    /// The messages of a lane that are in memory only, in order, whoever holds them, and whether somebody does.
    pub fn in_memory(&self, lane: u16) -> Vec<(Place, Arc<Message>, bool)> {
        let waiting = self.lanes.get(&lane).into_iter().flat_map(Lane::in_memory);
        let in_groups = self.groups.iter().flat_map(Groups::in_memory);
        let ready = waiting.chain(in_groups).map(|(place, message)| (place, message, false));
        let held = self.leases.values();
        let held = held.filter_map(|held| Some((held.place, held.message.as_ref()?, true)));
        let of_lane = ready.chain(held).filter(|(place, ..)| place.lane == lane);
        let mut found: Vec<_> =
            of_lane.map(|(place, message, held)| (place, Arc::clone(message), held)).collect();
        found.sort_unstable_by_key(|(place, ..)| *place);
        found
    }

    /// Whether a message is ready.
    pub fn is_ready(&self, place: Place) -> bool {
        if let Some(groups) = &self.groups {
            return groups.is_ready(place);
        }
        let Some(lane) = self.lanes.get(&place.lane) else { return false };
        let waits = place.offset >= lane.cursor && place.offset < lane.ready_end;
        place.lane != LANE_DELAYED && (lane.is_returned(place) || (waits && self.is_live(place)))
    }

    /// How many of these messages are settled, and an entry on disk says so: a rewrite may leave them out.
    pub fn settled_durably(&self, lane: u16, offsets: Range<u64>) -> u64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.settled_durably(offsets))
    }

    /// Whether this message is settled, and an entry on disk says so.
    pub fn is_settled_durably(&self, lane: u16, offset: u64) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.is_settled_durably(offset))
    }

    /// Settles everything that is ready. Returns how many messages that were.
    pub fn purge(&mut self) -> u64 {
        let mut purged = 0;
        self.bytes = self.bytes_in_flight();
        let mut done = Vec::new();
        for (_, lane) in self.lanes.range_mut(..LANE_DELAYED) {
            let (count, in_memory) = lane.purge();
            purged += count;
            done.extend(in_memory);
        }
        for (place, message) in done {
            self.done(place, Some(&message));
        }
        for (place, waiting) in self.groups.as_mut().map(Groups::purge).unwrap_or_default() {
            purged += 1;
            self.done(place, waiting.message.as_deref());
        }
        purged
    }

    /// Bytes of messages that are on their way to the disk. Exact where a limit counts them.
    fn bytes_in_flight(&self) -> u64 {
        if let Some(groups) = &self.groups {
            return groups.bytes_in_flight();
        }
        let of_lane =
            |lane: &Lane| lane.bytes_in_flight().unwrap_or_else(|| self.average(0) * lane.in_flight());
        self.lanes.range(..LANE_DELAYED).map(|(_, lane)| of_lane(lane)).sum()
    }

    /// The bytes of a message whose size is not known: no limit counts them. `taken` messages are still in the count of bytes
    /// and not among those that are ready.
    pub(self) fn average(&self, taken: u64) -> u64 {
        let in_flight = self.lanes.range(..LANE_DELAYED).map(|(_, lane)| lane.in_flight());
        self.bytes / (self.ready() + in_flight.sum::<u64>() + taken).max(1)
    }
}
