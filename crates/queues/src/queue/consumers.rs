//! Who is served next: consumers in turn, those with a higher priority first.
//!
//! With a single active consumer only one is served: the one with the highest priority, of those the one that came first,
//! and it stays until it goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{ConsumerId, ConsumerOptions};

/// Messages that were handed out to a consumer and not taken by it yet: beyond it, it is not served.
const BUFFERED_MAX: u32 = 512;
/// The same in bytes.
const BUFFERED_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: BTreeMap<ConsumerId, Consumer>,
    /// Those whose windows have room, in the order in which they are served.
    waiting: BTreeSet<Turn>,
    single: bool,
    active: Option<ConsumerId>,
    tick: u64,
}

type Turn = (Reverse<i32>, u64, ConsumerId);

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) options: ConsumerOptions,
    /// Messages that it holds.
    pub(crate) leased: u32,
    /// It is about to go.
    pub(crate) retired: bool,
    buffered: u32,
    buffered_bytes: usize,
    /// When it was served last.
    served: u64,
    joined: u64,
}

impl Consumer {
    fn has_room(&self) -> bool {
        let prefetch = self.options.prefetch;
        !self.retired
            && (prefetch == 0 || self.leased < prefetch)
            && self.buffered < BUFFERED_MAX
            && self.buffered_bytes < BUFFERED_BYTES_MAX
    }

    fn turn(&self, id: ConsumerId) -> Turn {
        (Reverse(self.options.priority), self.served, id)
    }
}

impl Consumers {
    pub(crate) fn new(single: bool) -> Self {
        Self { single, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.all.get(&id)
    }

    pub(crate) fn has_exclusive(&self) -> bool {
        self.all.values().any(|consumer| consumer.options.exclusive)
    }

    /// Whether messages go to this one now.
    pub(crate) fn is_active(&self, id: ConsumerId) -> bool {
        !self.single || self.active == Some(id)
    }

    pub(crate) fn add(&mut self, id: ConsumerId, options: ConsumerOptions) {
        self.tick += 1;
        let consumer = Consumer {
            options,
            leased: 0,
            retired: false,
            buffered: 0,
            buffered_bytes: 0,
            served: self.tick,
            joined: self.tick,
        };
        self.all.insert(id, consumer);
        self.choose_active();
        self.refresh(id, |_| ());
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.all.remove(&id) else { return false };
        self.waiting.remove(&consumer.turn(id));
        if self.active == Some(id) {
            self.active = None;
            self.choose_active();
        }
        true
    }

    /// It is not served any more, and holds its place until it is removed: nobody is served in its stead.
    pub(crate) fn retire(&mut self, id: ConsumerId) {
        self.refresh(id, |consumer| consumer.retired = true);
    }

    fn choose_active(&mut self) {
        if !self.single || self.active.is_some() {
            return;
        }
        let first =
            |(_, consumer): &(&ConsumerId, &Consumer)| (Reverse(consumer.options.priority), consumer.joined);
        let staying = self.all.iter().filter(|(_, consumer)| !consumer.retired);
        self.active = staying.min_by_key(first).map(|(id, _)| *id);
        if let Some(active) = self.active {
            self.refresh(active, |_| ());
        }
    }

    /// Changes a consumer, and its place among those that wait.
    fn refresh(&mut self, id: ConsumerId, change: impl FnOnce(&mut Consumer)) {
        let is_active = self.is_active(id);
        let Some(consumer) = self.all.get_mut(&id) else { return };
        self.waiting.remove(&consumer.turn(id));
        change(consumer);
        if is_active && consumer.has_room() {
            self.waiting.insert(consumer.turn(id));
        }
    }

    /// Whether anybody can be served, as far as their own windows go.
    pub(crate) fn any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next to be served, of those that `may_take` lets.
    pub(crate) fn next(&self, may_take: &mut dyn FnMut(ConsumerId) -> bool) -> Option<ConsumerId> {
        self.waiting.iter().map(|(_, _, id)| *id).find(|id| may_take(*id))
    }

    /// It was handed a message.
    pub(crate) fn serve(&mut self, id: ConsumerId, bytes: usize) {
        self.tick += 1;
        let tick = self.tick;
        self.refresh(id, |consumer| {
            consumer.served = tick;
            consumer.leased += u32::from(!consumer.options.no_ack);
            consumer.buffered += 1;
            consumer.buffered_bytes += bytes;
        });
    }

    /// It has taken what it was handed.
    pub(crate) fn taken(&mut self, id: ConsumerId) {
        self.refresh(id, |consumer| (consumer.buffered, consumer.buffered_bytes) = (0, 0));
    }

    /// A message that it held is settled.
    pub(crate) fn settled(&mut self, id: ConsumerId) {
        self.refresh(id, |consumer| consumer.leased = consumer.leased.saturating_sub(1));
    }

    pub(crate) fn set_prefetch(&mut self, id: ConsumerId, prefetch: u32) {
        self.refresh(id, |consumer| consumer.options.prefetch = prefetch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(priority: i32, prefetch: u32) -> ConsumerOptions {
        ConsumerOptions { no_ack: false, exclusive: false, priority, prefetch }
    }

    fn serve_all(consumers: &mut Consumers, count: usize) -> Vec<u64> {
        let mut served = Vec::new();
        for _ in 0..count {
            let Some(id) = consumers.next(&mut |_| true) else { break };
            consumers.serve(id, 10);
            served.push(id.0);
        }
        served
    }

    #[test]
    fn equals_take_turns_and_the_urgent_come_first() {
        let mut consumers = Consumers::new(false);
        consumers.add(ConsumerId(1), options(0, 3));
        consumers.add(ConsumerId(2), options(0, 3));
        consumers.add(ConsumerId(3), options(5, 2));
        assert_eq!(serve_all(&mut consumers, 10), [3, 3, 1, 2, 1, 2, 1, 2]);
        consumers.settled(ConsumerId(3));
        consumers.settled(ConsumerId(2));
        assert_eq!(serve_all(&mut consumers, 10), [3, 2]);
    }

    #[test]
    fn a_single_active_consumer_hands_over_when_it_goes() {
        let mut consumers = Consumers::new(true);
        consumers.add(ConsumerId(1), options(0, 0));
        consumers.add(ConsumerId(2), options(0, 0));
        consumers.add(ConsumerId(3), options(9, 0));
        assert_eq!(serve_all(&mut consumers, 2), [1, 1]);
        consumers.remove(ConsumerId(1));
        assert_eq!(serve_all(&mut consumers, 2), [3, 3], "the highest priority");
    }

    #[test]
    fn nobody_is_served_in_the_stead_of_one_that_is_about_to_go() {
        let mut consumers = Consumers::new(true);
        for id in 1..=3 {
            consumers.add(ConsumerId(id), options(0, 0));
        }
        consumers.retire(ConsumerId(1));
        consumers.retire(ConsumerId(2));
        assert_eq!(serve_all(&mut consumers, 2), [0; 0]);
        consumers.settled(ConsumerId(1));
        consumers.taken(ConsumerId(1));
        assert_eq!(serve_all(&mut consumers, 2), [0; 0]);
        consumers.remove(ConsumerId(1));
        assert_eq!(serve_all(&mut consumers, 2), [3, 3], "the next goes as well");
    }

    #[test]
    fn who_does_not_take_is_not_served() {
        let mut consumers = Consumers::new(false);
        consumers.add(ConsumerId(1), options(0, 0));
        assert_eq!(serve_all(&mut consumers, 2000).len(), BUFFERED_MAX as usize);
        consumers.taken(ConsumerId(1));
        assert!(consumers.any_waiting());
    }
}
