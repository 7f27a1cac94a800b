//! A queue against a model, under random operations with a journal that is slow, forgets and crashes.
//!
//! The model is a map of messages with their places and what became of them. It knows nothing of lanes, cursors, ranges or
//! snapshots: what is handed out must be the first that is ready, and after a crash everything that was durable and not
//! durably settled is ready again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use annals_clock::Clock;
use bytes::Bytes;

use super::*;
use crate::routing::QueueId;
use crate::{DeathReason, Headers};

/// What the journal would hold.
#[derive(Clone, Debug, Default)]
struct Disk {
    lanes: BTreeMap<u16, Log>,
    state: Vec<Bytes>,
    state_start: u64,
}

#[derive(Clone, Debug, Default)]
struct Log {
    start: u64,
    messages: Vec<Arc<Message>>,
}

/// One group on its way to the disk.
#[derive(Clone, Debug)]
enum Write {
    Message(Place, Arc<Message>),
    State { entry: StateEntry, trims: Vec<(u16, u64)>, settled: Vec<u64>, counts: Vec<(u64, u32)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    Ready,
    Leased(u64),
    Done,
}

#[derive(Clone, Debug)]
struct Known {
    place: Place,
    state: State,
    /// Whether the journal has the message, and that it is settled.
    stored: bool,
    settled: bool,
    count: u32,
    count_stored: u32,
    size: usize,
    footprint: usize,
}

struct World {
    seed: u64,
    clock: Clock,
    definition: Arc<Definition>,
    queue: Queue,
    disk: Disk,
    flying: VecDeque<Write>,
    model: BTreeMap<u64, Known>,
    next_id: u64,
    /// Settled or counted since the last entry.
    dirty: Vec<u64>,
    counted: Vec<u64>,
    consumer: ConsumerId,
    delivered: u64,
}

fn definition(options: Options) -> Arc<Definition> {
    Arc::new(Definition {
        id: QueueId(1),
        vhost: "v".into(),
        name: "q".into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        options,
        arguments: Headers::new(),
    })
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let definition = definition(options);
        let mut world = Self {
            seed,
            clock: Clock::manual(0, seed).0,
            queue: Queue::new(Arc::clone(&definition)),
            definition,
            disk: Disk::default(),
            flying: Default::default(),
            model: BTreeMap::new(),
            next_id: 0,
            dirty: Vec::new(),
            counted: Vec::new(),
            consumer: ConsumerId(1),
            delivered: 0,
        };
        world.add_consumer();
        world
    }

    fn below(&self, limit: u64) -> u64 {
        self.clock.random() % limit
    }

    fn add_consumer(&mut self) {
        let prefetch = self.below(12) as u32;
        let options = ConsumerOptions { prefetch, ..ConsumerOptions::default() };
        assert!(self.queue.add_consumer(self.consumer, options));
    }

    fn publish(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        let mut body = id.to_be_bytes().to_vec();
        body.resize(8 + self.below(100) as usize, 0);
        let message = Arc::new(Message {
            body: body.into(),
            persistent: self.below(4) > 0,
            priority: self.below(4) as u8,
            ..Message::default()
        });
        let keep_hot = self.below(2) == 0;
        let place = self.queue.append(&message, 0, keep_hot);
        // What is not journaled can be handed out at once, or behind what is in flight before it.
        let (state, size, footprint) = (State::InFlight, message.size(), message.footprint());
        let known =
            Known { place, state, stored: false, settled: false, count: 0, count_stored: 0, size, footprint };
        self.model.insert(id, known);
        if place.is_journaled() {
            self.flying.push_back(Write::Message(place, message));
        }
        self.refresh();
    }

    /// What is durable, or behind nothing that is not, is ready.
    fn refresh(&mut self) {
        let durable = |disk: &Disk, lane: u16| {
            disk.lanes.get(&lane).map_or(0, |log| log.start + log.messages.len() as u64)
        };
        for known in self.model.values_mut().filter(|known| known.state == State::InFlight) {
            let end = durable(&self.disk, known.place.lane);
            let is_journaled = known.place.is_journaled();
            let ready = if is_journaled { known.place.offset < end } else { known.place.offset <= end };
            if ready {
                known.state = State::Ready;
                known.stored = is_journaled;
            }
        }
    }

    fn flush(&mut self) {
        let eager = self.below(2) == 0;
        let trims = self.queue.take_trims(eager);
        let Some(entry) = self.queue.take_entry() else {
            assert!(trims.is_empty() || self.dirty.is_empty() || self.all_memory(), "seed {}", self.seed);
            for (lane, start) in trims {
                self.disk.trim(lane, start);
            }
            return;
        };
        let settled = std::mem::take(&mut self.dirty);
        let counted = std::mem::take(&mut self.counted);
        let counts = counted.into_iter().map(|id| (id, self.model[&id].count)).collect();
        self.flying.push_back(Write::State { entry, trims, settled, counts });
    }

    fn all_memory(&self) -> bool {
        self.dirty.iter().all(|id| !self.model[id].place.is_journaled())
    }

    /// Some of what is in flight becomes durable.
    fn sync(&mut self) {
        for _ in 0..self.below(6) {
            match self.flying.pop_front() {
                None => break,
                Some(Write::Message(place, message)) => {
                    let log = self.disk.lanes.entry(place.lane).or_default();
                    assert_eq!(log.start + log.messages.len() as u64, place.offset, "seed {}", self.seed);
                    log.messages.push(message);
                    self.queue.applied(place.lane, place.offset + 1);
                }
                Some(Write::State { entry, trims, settled, counts }) => {
                    self.write_state(entry, trims, settled, counts);
                }
            }
        }
        self.refresh();
    }

    fn write_state(
        &mut self,
        entry: StateEntry,
        trims: Vec<(u16, u64)>,
        settled: Vec<u64>,
        counts: Vec<(u64, u32)>,
    ) {
        let end = entry.offset + 1;
        self.disk.state.push(entry.payload);
        assert_eq!(self.disk.state_start + self.disk.state.len() as u64, end, "seed {}", self.seed);
        if entry.is_snapshot {
            self.disk.state.drain(..self.disk.state.len() - 1);
            self.disk.state_start = entry.offset;
        }
        for (lane, start) in trims {
            self.disk.trim(lane, start);
        }
        for id in settled {
            self.model.get_mut(&id).unwrap().settled = true;
        }
        for (id, count) in counts {
            self.model.get_mut(&id).unwrap().count_stored = count;
        }
        self.queue.state_applied(end);
        self.check_settled();
    }

    /// A rewrite may leave out only what is durably settled.
    fn check_settled(&self) {
        for (id, known) in self.model.iter().filter(|(_, known)| known.place.is_journaled() && known.stored) {
            let left_out = self.queue.is_settled_durably(known.place.lane, known.place.offset);
            assert!(!left_out || known.settled, "seed {}: {id} is left out", self.seed);
        }
    }

    fn dispatch(&mut self) {
        let mut out = Vec::new();
        for _ in 0..50 {
            let need = self.queue.dispatch(0, &mut |_| true, &mut out);
            for delivery in out.drain(..) {
                self.check_delivery(&delivery);
            }
            match need {
                Some(need) => self.load(need),
                None => break,
            }
        }
        self.queue.taken(self.consumer);
    }

    fn get(&mut self) {
        let max = 1 + self.below(3) as usize;
        for _ in 0..50 {
            match self.queue.get(max, false, 0) {
                Ok(deliveries) => {
                    deliveries.iter().for_each(|delivery| self.check_delivery(delivery));
                    return;
                }
                Err(need) => self.load(need),
            }
        }
        panic!("seed {}: it is never loaded", self.seed);
    }

    fn check_delivery(&mut self, delivery: &Delivery) {
        self.delivered += 1;
        let id = u64::from_be_bytes(*delivery.message.body.first_chunk().unwrap());
        let ready = self.model.iter().filter(|(_, known)| known.state == State::Ready);
        let first = ready.min_by_key(|(_, known)| (Reverse(known.place.lane), known.place));
        let (first, known) = first.unwrap_or_else(|| panic!("seed {}: {id} is not ready", self.seed));
        assert_eq!(id, *first, "seed {}: out of order: {known:?}", self.seed);
        assert_eq!((delivery.place, delivery.count), (known.place, known.count), "seed {}", self.seed);
        self.model.get_mut(&id).unwrap().state = State::Leased(delivery.lease);
    }

    /// Reads what the queue needs, as much of it as it pleases.
    fn load(&mut self, need: Need) {
        match need {
            Need::Range { lane, offsets } => {
                let end = offsets.end.min(offsets.start + 1 + self.below(5));
                let log = &self.disk.lanes[&lane];
                let found = (offsets.start..end)
                    .map(|offset| (offset, Arc::clone(&log.messages[(offset - log.start) as usize])));
                let found = found.collect();
                assert_eq!(self.queue.loaded(lane, offsets.start..end, found), 0, "seed {}", self.seed);
            }
            Need::Place(place) => {
                let log = &self.disk.lanes[&place.lane];
                let message = Arc::clone(&log.messages[(place.offset - log.start) as usize]);
                assert!(!self.queue.loaded_place(place, Some(message)), "seed {}", self.seed);
            }
        }
    }

    fn settle(&mut self) {
        let leased = |(id, known): (&u64, &Known)| match known.state {
            State::Leased(lease) => Some((*id, lease)),
            _ => None,
        };
        let leased: Vec<(u64, u64)> = self.model.iter().filter_map(leased).collect();
        if leased.is_empty() {
            return;
        }
        let (id, lease) = leased[self.below(leased.len() as u64) as usize];
        let known = self.model.get_mut(&id).unwrap();
        let settlement = match self.clock.random() % 6 {
            0 => Settlement::Requeue { counts: true },
            1 => Settlement::Requeue { counts: false },
            2 => Settlement::Reject,
            _ => Settlement::Accept,
        };
        match settlement {
            Settlement::Requeue { counts } => {
                known.state = State::Ready;
                known.count += u32::from(counts);
                if counts && known.place.is_journaled() {
                    self.counted.push(id);
                }
            }
            _ => {
                known.state = State::Done;
                self.dirty.push(id);
            }
        }
        self.queue.settle(lease, settlement, 0).unwrap();
        assert_eq!(self.queue.settle(lease, settlement, 0), Err(NotHeld(lease)));
    }

    fn purge(&mut self) {
        let mut purged = 0;
        for (id, known) in self.model.iter_mut().filter(|(_, known)| known.state == State::Ready) {
            known.state = State::Done;
            self.dirty.push(*id);
            purged += 1;
        }
        assert_eq!(self.queue.purge(), purged, "seed {}", self.seed);
    }

    /// The power fails. Only what is on disk is left, and the queue is found again.
    fn crash(&mut self) {
        self.flying.clear();
        self.dirty.clear();
        self.counted.clear();
        self.model.retain(|_, known| known.stored);
        for known in self.model.values_mut() {
            known.state = if known.settled { State::Done } else { State::Ready };
            known.count = known.count_stored;
        }
        let lanes = self.disk.lanes.iter();
        let lanes: Vec<_> =
            lanes.map(|(lane, log)| (*lane, log.start..log.start + log.messages.len() as u64)).collect();
        let state_end = self.disk.state_start + self.disk.state.len() as u64;
        self.queue = Queue::recover(Arc::clone(&self.definition), lanes, state_end);
        for entry in self.disk.state.clone() {
            self.queue.recover_entry(entry).unwrap();
        }
        self.queue.finish_entries();
        for (&lane, log) in &self.disk.lanes {
            if !self.queue.wants_messages(lane) {
                continue;
            }
            for (offset, message) in (log.start..).zip(&log.messages) {
                let place = Place::journaled(lane, offset);
                if self.queue.is_live(place) {
                    self.queue.recover_message(place, message, 0);
                }
            }
        }
        self.consumer.0 += 1;
        self.add_consumer();
    }

    fn check(&self) {
        let count = |wanted: fn(&State) -> bool| {
            self.model.values().filter(|known| wanted(&known.state)).count() as u64
        };
        let (seed, queue) = (self.seed, &self.queue);
        assert_eq!(queue.ready(), count(|state| *state == State::Ready), "seed {seed}: ready");
        assert_eq!(queue.leased(), count(|state| matches!(state, State::Leased(_))), "seed {seed}: leased");
        assert_eq!(queue.in_flight(), count(|state| *state == State::InFlight), "seed {seed}: in flight");
        let only = |known: &&Known| !known.place.is_journaled() && known.state != State::Done;
        let bytes: usize = self.model.values().filter(only).map(|known| known.footprint).sum();
        assert_eq!(queue.memory_bytes(), bytes, "seed {seed}: bytes in memory only");
        if self.definition.options.bytes_max.is_some() {
            let waits = |known: &&Known| matches!(known.state, State::Ready | State::InFlight);
            let bytes: usize = self.model.values().filter(waits).map(|known| known.size).sum();
            assert_eq!(queue.bytes(), bytes as u64, "seed {seed}: bytes");
        }
    }

    fn step(&mut self) {
        match self.below(40) {
            0..=11 => self.publish(),
            12..=17 => self.sync(),
            18..=22 => self.dispatch(),
            23..=24 => self.get(),
            25..=34 => self.settle(),
            35..=37 => self.flush(),
            38 if self.below(8) == 0 => self.purge(),
            39 if self.below(6) == 0 => self.crash(),
            _ => {}
        }
        self.check();
    }
}

impl Disk {
    fn trim(&mut self, lane: u16, start: u64) {
        let log = self.lanes.get_mut(&lane).unwrap();
        // One that was written alone may have overtaken another.
        let gone = start.saturating_sub(log.start) as usize;
        log.messages.drain(..gone);
        log.start = log.start.max(start);
    }
}

#[test]
fn a_queue_is_its_model_through_crashes() {
    let mut delivered = 0;
    for seed in 0..120 {
        // A limit that is never reached, so that bytes are counted.
        let bytes_max = (seed % 2 == 0).then_some(1 << 40);
        let options = Options { priority_max: (seed % 3) as u8, bytes_max, ..Options::default() };
        let mut world = World::new(seed, options);
        for _ in 0..600 {
            world.step();
        }
        delivered += world.delivered;
    }
    assert!(delivered > 5000, "only {delivered} deliveries");
}

#[test]
fn snapshots_keep_the_state_log_short() {
    let mut world = World::new(7, Options::default());
    for _ in 0..12_000 {
        match world.below(4) {
            0 => world.publish(),
            1 => world.get(),
            _ => world.settle(),
        }
        world.flush();
        world.sync();
        world.model.retain(|_, known| !known.settled);
    }
    assert!(world.disk.state_start > 0, "it was never trimmed");
    let bytes: usize = world.disk.state.iter().map(Bytes::len).sum();
    assert!(bytes < 100_000, "{bytes} bytes");
    world.crash();
    world.check();
}

fn message(body: &str, change: impl FnOnce(&mut Message)) -> Arc<Message> {
    let mut message =
        Message { body: body.to_owned().into(), persistent: false, published_ms: 1000, ..Message::default() };
    change(&mut message);
    Arc::new(message)
}

fn taken(queue: &mut Queue, now_ms: TimestampMs) -> Vec<String> {
    let got = queue.get(100, true, now_ms).unwrap();
    got.iter().map(|delivery| String::from_utf8(delivery.message.body.to_vec()).unwrap()).collect()
}

#[test]
fn what_expires_leaves_at_the_head_and_without_waiting_only_for_a_consumer() {
    let mut queue = Queue::new(definition(Options { ttl_ms: Some(500), ..Options::default() }));
    queue.append(&message("queue", |_| ()), 1000, true);
    queue.append(&message("short", |message| message.ttl_ms = Some(100)), 1000, true);
    queue.append(&message("none", |message| message.ttl_ms = Some(0)), 1000, true);
    assert_eq!(queue.next_deadline(), Some(1500));
    assert_eq!(queue.tick(1499), None);
    assert_eq!(queue.ready(), 3);
    assert_eq!(queue.tick(1500), None);
    assert_eq!((queue.ready(), queue.counters().dead), (0, 3));
    queue.append(
        &message("now", |message| (message.ttl_ms, message.published_ms) = (Some(0), 2000)),
        2000,
        true,
    );
    assert_eq!(taken(&mut queue, 2000), ["now"]);

    // Once: who gives it back does not get it again.
    let once = message("once", |message| (message.ttl_ms, message.published_ms) = (Some(0), 2000));
    queue.append(&once, 2000, true);
    let got = queue.get(1, false, 2000).unwrap();
    queue.settle(got[0].lease, Settlement::Requeue { counts: true }, 2000).unwrap();
    assert_eq!(taken(&mut queue, 2000), [""; 0]);
    assert_eq!(queue.counters().dead, 4);
}

#[test]
fn dead_letters_depart_and_are_here_until_they_arrive() {
    let dead_letter = Some(DeadLetter { exchange: "dlx".into(), routing_key: None });
    let mut queue = Queue::new(definition(Options {
        dead_letter,
        length_max: Some(1),
        delivery_limit: Some(0),
        ..Options::default()
    }));
    queue.append(&message("a", |_| ()), 1000, true);
    queue.append(&message("b", |_| ()), 1000, true);
    queue.tick(1000);
    let departures = queue.take_departures(10);
    assert_eq!(departures[0].leave, Leave::Dead(DeathReason::MaxLength));
    assert_eq!((queue.departing(), queue.ready()), (1, 1));
    queue.stranded(departures.clone());
    let again = queue.take_departures(10);
    queue.departed(again[0].place);
    assert_eq!(queue.departing(), 0);
    let got = queue.get(1, false, 1000).unwrap();
    queue.settle(got[0].lease, Settlement::Requeue { counts: true }, 1000).unwrap();
    assert_eq!(queue.take_departures(10)[0].leave, Leave::Dead(DeathReason::DeliveryLimit));
}

#[test]
fn what_is_not_due_waits_and_can_be_cancelled() {
    let mut queue = Queue::new(definition(Options { delay_ms: Some(50), ..Options::default() }));
    let place = queue.append(&message("own", |message| message.due_ms = Some(5000)), 1000, true);
    queue.append(&message("queue's", |_| ()), 1000, true);
    assert_eq!((queue.ready(), queue.delayed(), queue.next_deadline()), (0, 2, Some(1050)));
    queue.tick(1050);
    let due = queue.take_departures(10);
    assert_eq!((due.len(), due[0].leave), (1, Leave::Due));
    assert!(queue.cancel_delayed(place) && !queue.cancel_delayed(place));
    assert_eq!(queue.delayed(), 0);
}

#[test]
fn deferred_messages_are_given_only_to_who_asks() {
    let mut world = World::new(3, Options::default());
    for _ in 0..3 {
        world.publish();
    }
    world.model.values_mut().for_each(|known| known.state = State::Ready);
    while !world.flying.is_empty() {
        world.sync();
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        match world.queue.get(3, false, 0) {
            Ok(deliveries) => got.extend(deliveries),
            Err(need) => world.load(need),
        }
    }
    let place = got[1].place;
    for (index, delivery) in got.iter().enumerate() {
        let settlement = if index == 1 { Settlement::Defer } else { Settlement::Accept };
        world.queue.settle(delivery.lease, settlement, 0).unwrap();
    }
    assert_eq!((world.queue.ready(), world.queue.deferred()), (0, 1));
    if place.is_journaled() {
        world.flush();
        while !world.flying.is_empty() {
            world.sync();
        }
        world.crash();
        assert_eq!((world.queue.ready(), world.queue.deferred()), (0, 1), "also after a crash");
    }
    assert!(world.queue.undefer(place));
    assert_eq!(world.queue.ready(), 1);
}

fn of_group(group: &str, body: &str) -> Arc<Message> {
    message(body, |message| message.group = Some(group.into()))
}

#[test]
fn a_group_has_one_holder_at_a_time_and_keeps_its_order() {
    let mut queue = Queue::new(definition(Options { groups: true, ..Options::default() }));
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        let place = queue.append(&of_group(group, body), 1000, true);
        queue.applied(place.lane, place.offset + 1);
    }
    let read = |queue: &mut Queue, place: Place| {
        let all = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")];
        let (group, body) = all[place.offset as usize];
        queue.loaded_place(place, Some(of_group(group, body)));
    };
    let get = |queue: &mut Queue, max: usize| loop {
        match queue.get(max, false, 1000) {
            Ok(got) => return got,
            Err(Need::Place(place)) => read(queue, place),
            Err(need) => panic!("{need:?}"),
        }
    };
    let body = |delivery: &Delivery| String::from_utf8(delivery.message.body.to_vec()).unwrap();
    let first = get(&mut queue, 1);
    let second = get(&mut queue, 1);
    assert_eq!((body(&first[0]), body(&second[0])), ("a1".to_owned(), "b1".to_owned()));
    assert!(get(&mut queue, 1).is_empty(), "both groups are held");
    queue.settle(first[0].lease, Settlement::Requeue { counts: true }, 1000).unwrap();
    let again = get(&mut queue, 1);
    assert_eq!((body(&again[0]), again[0].count), ("a1".to_owned(), 1));
    queue.settle(again[0].lease, Settlement::Accept, 1000).unwrap();
    assert_eq!(body(&get(&mut queue, 1)[0]), "a2");
    assert_eq!((queue.ready(), queue.leased()), (1, 2));
}

#[test]
fn a_session_is_accepted_kept_and_let_go() {
    let mut queue = Queue::new(Arc::new(Definition {
        durable: false,
        ..Definition::clone(&definition(Options { groups: true, ..Options::default() }))
    }));
    queue.append(&of_group("a", "a1"), 1000, true);
    queue.append(&of_group("b", "b1"), 1000, true);
    let (one, two) = (Holder(1), Holder(2));
    assert_eq!(queue.accept_group(None, one, 1500), Ok("a".into()));
    assert_eq!(queue.accept_group(Some(&"a".into()), two, 1500), Err(GroupError::Held));
    let got = queue.get_of_group(&"a".into(), one, 5, false, 1000).unwrap().unwrap();
    assert_eq!(got.len(), 1);
    queue.settle(got[0].lease, Settlement::Accept, 1000).unwrap();
    assert_eq!(queue.get_of_group(&"a".into(), two, 5, false, 1000).unwrap_err(), GroupError::NotHeld);
    assert_eq!(taken(&mut queue, 1000), ["b1"]);
    assert_eq!(queue.accept_group(None, two, 1500), Err(GroupError::NoneFree));
    queue.set_group_state(&"a".into(), Some(Bytes::from_static(b"half done")));
    assert_eq!(queue.next_deadline(), Some(1500));
    queue.tick(1500);
    assert_eq!(queue.accept_group(Some(&"a".into()), two, 2500), Ok("a".into()));
    assert_eq!(queue.group_state(&"a".into()).unwrap(), "half done");
}

#[test]
fn a_purge_leaves_the_bytes_of_what_is_in_flight_and_a_limit_on_bytes_works_on() {
    for (bytes_max, groups) in [(Some(100), false), (None, false), (Some(100), true)] {
        let options = Options { bytes_max, groups, overflow: Overflow::RejectPublish, ..Options::default() };
        let mut queue = Queue::new(definition(options));
        let sent = |body: &str| message(body, |message| message.persistent = true);
        for body in ["a".repeat(30), "b".repeat(30), "c".repeat(30)] {
            queue.append(&sent(&body), 1000, false);
        }
        queue.applied(0, 2);
        assert_eq!(queue.purge(), 2);
        assert_eq!((queue.bytes(), queue.in_flight()), (30, 1));
        assert_eq!(queue.admit(&sent(&"d".repeat(70)), 1000), Admission::Accepted);
        queue.applied(0, 3);
        assert_eq!((queue.purge(), queue.bytes()), (1, 0));
    }
}

#[test]
fn what_comes_back_and_is_not_in_memory_leaves_with_its_own_size() {
    let options = Options { bytes_max: Some(100), ..Options::default() };
    let mut queue = Queue::new(definition(options));
    let put = |queue: &mut Queue, body: String| {
        let place = queue.append(&message(&body, |message| message.persistent = true), 1000, true);
        queue.applied(0, place.offset + 1);
    };
    put(&mut queue, "a".repeat(10));
    put(&mut queue, "b".repeat(80));
    let got = queue.get(1, false, 1000).unwrap();
    queue.settle(got[0].lease, Settlement::Requeue { counts: true }, 1000).unwrap();
    put(&mut queue, "c".repeat(20));
    queue.tick(1000);
    assert_eq!((queue.ready(), queue.bytes()), (2, 100));
    // As a message that was put back and cannot be read.
    let got = queue.get(1, false, 1000).unwrap();
    queue.settle(got[0].lease, Settlement::Requeue { counts: true }, 1000).unwrap();
    assert!(queue.loaded_place(got[0].place, None));
    assert_eq!((queue.ready(), queue.bytes()), (1, 20));
}

#[test]
fn an_exclusive_consumer_is_alone_and_is_none_of_several_of_which_one_is_served() {
    for (single_active_consumer, taken) in [(false, true), (true, false)] {
        let options = Options { single_active_consumer, ..Options::default() };
        let mut queue = Queue::new(definition(options));
        let exclusive = ConsumerOptions { exclusive: true, ..ConsumerOptions::default() };
        assert_eq!(queue.add_consumer(ConsumerId(1), exclusive), taken);
        assert_eq!(queue.add_consumer(ConsumerId(2), ConsumerOptions::default()), !taken);
    }
}

#[test]
fn what_is_in_memory_only_counts_until_it_is_done_with_wherever_it_is() {
    let dead_letter = Some(DeadLetter { exchange: "dlx".into(), routing_key: None });
    for groups in [false, true] {
        let options = Options { dead_letter: dead_letter.clone(), groups, ..Options::default() };
        let definition = Definition::clone(&definition(options));
        let mut queue = Queue::new(Arc::new(Definition { durable: false, ..definition }));
        for body in ["accepted", "rejected", "deferred", "returned", "purged"] {
            queue.append(&of_group(body, body), 1000, true);
        }
        let late = of_group("late", "late");
        let all = queue.memory_bytes();
        let due = |due_ms| Arc::new(Message { due_ms: Some(due_ms), ..Message::clone(&late) });
        let cancelled = queue.append(&due(5000), 1000, true);
        queue.append(&due(6000), 1000, true);
        queue.refuse_to_dead_letter(&late);
        assert_eq!(queue.memory_bytes(), all + 3 * late.footprint());
        let got = queue.get(4, false, 1000).unwrap();
        assert_eq!(queue.memory_bytes(), all + 3 * late.footprint(), "what is held counts");
        let settlements =
            [Settlement::Accept, Settlement::Reject, Settlement::Defer, Settlement::Requeue { counts: true }];
        for (delivery, settlement) in got.iter().zip(settlements) {
            queue.settle(delivery.lease, settlement, 1000).unwrap();
        }
        let rest = all - got[0].message.footprint();
        assert_eq!(queue.memory_bytes(), rest + 3 * late.footprint());
        assert!(queue.cancel_delayed(cancelled));
        queue.tick(6000);
        let departures = queue.take_departures(10);
        assert_eq!((departures.len(), queue.memory_bytes()), (3, rest + 2 * late.footprint()));
        departures.iter().for_each(|departure| queue.departed(departure.place));
        assert_eq!(queue.memory_bytes(), rest - got[1].message.footprint());
        assert_eq!(queue.purge(), 2);
        assert_eq!(queue.memory_bytes(), got[2].message.footprint());
        assert!(queue.undefer(got[2].place));
        assert_eq!((taken(&mut queue, 6000), queue.memory_bytes()), (vec!["deferred".to_owned()], 0));
    }
}

fn with_groups(options: Options) -> Queue {
    let definition = Definition::clone(&definition(Options { groups: true, ..options }));
    Queue::new(Arc::new(Definition { durable: false, ..definition }))
}

#[test]
fn groups_have_the_limits_of_their_queue() {
    let mut queue = with_groups(Options { length_max: Some(2), ..Options::default() });
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
        queue.append(&of_group(group, body), 1000, true);
        queue.tick(1000);
    }
    assert_eq!((queue.ready(), queue.bytes(), queue.counters().over_limit), (2, 4, 2));
    assert_eq!(queue.accept_group(Some(&"a".into()), Holder(1), 9000), Ok("a".into()));
    assert_eq!(queue.accept_group(Some(&"b".into()), Holder(2), 9000), Ok("b".into()));
    queue.append(&of_group("b", "b3"), 1000, true);
    queue.tick(1000);
    let of = |queue: &mut Queue, group: &str, holder| {
        let got = queue.get_of_group(&group.into(), Holder(holder), 5, true, 1000).unwrap().unwrap();
        got.iter().map(|one| String::from_utf8(one.message.body.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((of(&mut queue, "a", 1), of(&mut queue, "b", 2)), (vec![], vec!["b2".into(), "b3".into()]));

    let mut queue = with_groups(Options { bytes_max: Some(5), ..Options::default() });
    for body in ["a1", "a2", "a3"] {
        queue.append(&of_group("a", body), 1000, true);
        queue.tick(1000);
    }
    assert_eq!((queue.ready(), queue.bytes()), (2, 4));
}

#[test]
fn messages_of_groups_expire_without_anybody_taking_them() {
    let mut queue = with_groups(Options { ttl_ms: Some(500), ..Options::default() });
    queue.append(&of_group("a", "a1"), 1000, true);
    queue.append(&of_group("b", "b1"), 1000, true);
    assert_eq!(queue.next_deadline(), Some(1500));
    queue.tick(1499);
    assert_eq!(queue.ready(), 2);
    queue.tick(1500);
    assert_eq!((queue.ready(), queue.bytes(), queue.counters().dead), (0, 0, 2));
    assert_eq!(queue.next_deadline(), None);
}

#[test]
fn order_within_a_group_is_kept_when_its_holder_goes() {
    let names = |got: &[Delivery]| -> Vec<String> {
        got.iter().map(|one| String::from_utf8(one.message.body.to_vec()).unwrap()).collect()
    };
    let mut queue = with_groups(Options::default());
    for body in ["a1", "a2", "a3"] {
        queue.append(&of_group("a", body), 1000, true);
    }
    let (a, one, two, three) = (Text::from("a"), Holder(1), Holder(2), Holder(3));
    queue.accept_group(Some(&a), one, 1500).unwrap();
    let got = queue.get_of_group(&a, one, 2, false, 1000).unwrap().unwrap();
    assert_eq!(names(&got), ["a1", "a2"]);
    // Its time runs out: what it held comes back first.
    queue.tick(1500);
    assert_eq!(queue.settle(got[0].lease, Settlement::Accept, 1500), Err(NotHeld(got[0].lease)));
    queue.accept_group(Some(&a), two, 2500).unwrap();
    let got = queue.get_of_group(&a, two, 1, false, 1500).unwrap().unwrap();
    assert_eq!((names(&got), got[0].count), (vec!["a1".to_owned()], 1));
    // It lets go: nobody gets the rest before that is settled.
    queue.release_group(&a, two);
    assert_eq!(queue.accept_group(Some(&a), three, 2500), Err(GroupError::Held));
    queue.settle(got[0].lease, Settlement::Requeue { counts: false }, 1500).unwrap();
    queue.accept_group(Some(&a), three, 2500).unwrap();
    assert_eq!(names(&queue.get_of_group(&a, three, 5, false, 1500).unwrap().unwrap()), ["a1", "a2", "a3"]);
}

#[test]
fn a_deferred_message_that_is_ready_again_counts_its_bytes() {
    let mut queue = Queue::new(definition(Options { bytes_max: Some(100), ..Options::default() }));
    queue.append(&message("seven b", |_| ()), 1000, true);
    let got = queue.get(1, false, 1000).unwrap();
    queue.settle(got[0].lease, Settlement::Defer, 1000).unwrap();
    assert_eq!(queue.bytes(), 0);
    assert!(queue.undefer(got[0].place));
    assert_eq!(queue.bytes(), 7);
}
