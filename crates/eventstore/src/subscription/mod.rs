//! A persistent subscription: consumers that share the events of a selection, each event given to one of them until it is
//! acknowledged.
//!
//! Invariant: every event that was looked at and not acknowledged, skipped or discarded is in exactly one of `waiting`,
//! `leased` and `parked`. What is journaled is an [`Image`] of that: how far the store was looked through, and what is still
//! open below. After a crash what was acknowledged since the last image comes again: at least once, as with KurrentDB.
//!
//! An event whose consumer goes away or lets its time pass is given to another. One that was given too often is parked, and
//! the others go on; parked events are replayed or discarded by an operator. Time enters only as an argument.
//!
//! Source: KurrentDB's persistent subscriptions.

mod image;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use image::{Image, ImageError};

use crate::{Position, TimestampMs};

/// The most events that are parked; beyond that the subscription gives nothing new.
pub const PARKED_MAX: usize = 10_000;
/// Bytes of a reason that are kept.
pub const REASON_BYTES_MAX: usize = 512;

/// The choices of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long a consumer has for an event, in milliseconds. Default 30 s.
    pub ack_timeout_ms: u64,
    /// How often an event is given before it is parked; 0 for without end. Default 10.
    pub deliveries_max: u32,
    /// Events that one consumer may have at a time. Default 32.
    pub in_flight_max: usize,
    /// Events that are read ahead of the consumers, open ones included. Default 500.
    pub buffer_max: usize,
    /// Gives the events of one stream to one consumer at a time, in order. Default off.
    pub ordered_by_stream: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 30_000,
            deliveries_max: 10,
            in_flight_max: 32,
            buffer_max: 500,
            ordered_by_stream: false,
        }
    }
}

/// A consumer of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConsumerId(pub u64);

/// What to do with an event that a consumer could not handle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Nack {
    /// Give it again, to whoever comes first, after so many milliseconds.
    Retry {
        /// The wait.
        after_ms: u64,
    },
    /// Put it aside.
    Park {
        /// Why; shortened to [`REASON_BYTES_MAX`].
        reason: String,
    },
    /// Do not give it again.
    Skip,
}

/// An event that is given to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The event.
    pub position: Position,
    /// How often it was given, this time included.
    pub delivery: u32,
}

/// An event that was put aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// Why.
    pub reason: Arc<str>,
    /// How often it was given.
    pub deliveries: u32,
    /// Since when.
    pub since_ms: TimestampMs,
    /// As of [`Open`].
    stream: u64,
}

/// How a subscription does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The store was looked through up to here.
    pub looked_to: Position,
    /// Everything below is acknowledged, skipped or parked.
    pub checkpoint: Position,
    /// Events that wait for a consumer.
    pub waiting: usize,
    /// Events that consumers have.
    pub leased: usize,
    /// Events that were put aside.
    pub parked: usize,
    /// How many consumers there are.
    pub consumers: usize,
}

/// An event that was given to a consumer that has it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event at position {position} is not leased to this consumer: its time has passed")]
pub struct NotLeased {
    /// The event.
    pub position: Position,
}

/// An open event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    /// Tells streams apart; see [`Subscription::feed`].
    stream: u64,
    deliveries: u32,
}

/// A leased event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leased {
    open: Open,
    consumer: ConsumerId,
    until_ms: TimestampMs,
}

/// The state of one subscription; see the [module](self).
#[derive(Clone, Debug)]
pub struct Subscription {
    options: Options,
    looked_to: u64,
    /// With the time from which they may be given.
    waiting: BTreeMap<u64, (Open, TimestampMs)>,
    leased: BTreeMap<u64, Leased>,
    parked: BTreeMap<u64, Parked>,
    consumers: BTreeMap<ConsumerId, usize>,
    next_consumer: u64,
    /// Differs from the last image.
    is_changed: bool,
}

impl Subscription {
    /// A subscription that begins at `from`.
    pub fn new(options: Options, from: Position) -> Self {
        Self {
            options,
            looked_to: from.0,
            waiting: BTreeMap::new(),
            leased: BTreeMap::new(),
            parked: BTreeMap::new(),
            consumers: BTreeMap::new(),
            next_consumer: 0,
            is_changed: true,
        }
    }

    /// Its choices.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Changes its choices; what is leased keeps its time.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
        self.is_changed = true;
    }

    /// How it does.
    pub fn status(&self) -> Status {
        let first_open = self.waiting.keys().next().into_iter().chain(self.leased.keys().next()).min();
        Status {
            looked_to: Position(self.looked_to),
            checkpoint: Position(first_open.copied().unwrap_or(self.looked_to)),
            waiting: self.waiting.len(),
            leased: self.leased.len(),
            parked: self.parked.len(),
            consumers: self.consumers.len(),
        }
    }

    /// How many more events it wants to be fed.
    pub fn wanted(&self) -> usize {
        if self.parked.len() >= PARKED_MAX {
            return 0;
        }
        self.options.buffer_max.max(1).saturating_sub(self.waiting.len() + self.leased.len())
    }

    /// Takes in events in order, each with a number of its stream, and that there are no others below `looked_to`.
    pub fn feed(&mut self, events: impl IntoIterator<Item = (Position, u64)>, looked_to: Position) {
        for (position, stream) in events {
            if position.0 >= self.looked_to {
                self.waiting.insert(position.0, (Open { stream, deliveries: 0 }, 0));
            }
        }
        self.is_changed |= looked_to.0 > self.looked_to;
        self.looked_to = self.looked_to.max(looked_to.0);
    }

    /// A consumer comes.
    pub fn connect(&mut self) -> ConsumerId {
        self.next_consumer += 1;
        let id = ConsumerId(self.next_consumer);
        self.consumers.insert(id, 0);
        id
    }

    /// A consumer goes: what it has is given to others, at once.
    pub fn disconnect(&mut self, consumer: ConsumerId) {
        self.consumers.remove(&consumer);
        let theirs = self.leased.iter().filter(|(_, leased)| leased.consumer == consumer);
        let positions: Vec<u64> = theirs.map(|(position, _)| *position).collect();
        for position in positions {
            if let Some(leased) = self.leased.remove(&position) {
                self.waiting.insert(position, (leased.open, 0));
            }
        }
    }

    /// Gives `consumer` up to `limit` events, in order, as far as it may have more.
    pub fn lease(&mut self, consumer: ConsumerId, limit: usize, now_ms: TimestampMs) -> Vec<Lease> {
        let Some(has) = self.consumers.get(&consumer) else { return Vec::new() };
        let limit = limit.min(self.options.in_flight_max.max(1).saturating_sub(*has));
        let positions = self.ready(limit, now_ms);
        let until_ms = now_ms.saturating_add_unsigned(self.options.ack_timeout_ms);
        let mut leases = Vec::with_capacity(positions.len());
        for position in positions {
            let Some((mut open, _)) = self.waiting.remove(&position) else { continue };
            open.deliveries += 1;
            self.leased.insert(position, Leased { open, consumer, until_ms });
            leases.push(Lease { position: Position(position), delivery: open.deliveries });
        }
        *self.consumers.entry(consumer).or_default() += leases.len();
        self.is_changed |= !leases.is_empty();
        leases
    }

    /// The first events that may be given now.
    fn ready(&self, limit: usize, now_ms: TimestampMs) -> Vec<u64> {
        let due = self.waiting.iter().map(|(position, (open, from_ms))| (*position, open.stream, *from_ms));
        if !self.options.ordered_by_stream {
            return due.filter(|(.., from_ms)| *from_ms <= now_ms).take(limit).map(|(at, ..)| at).collect();
        }
        // One event of a stream at a time: neither behind one that is leased, nor past one that waits for its time.
        let mut taken: BTreeSet<u64> = self.leased.values().map(|leased| leased.open.stream).collect();
        let first =
            |&(_, stream, from_ms): &(u64, u64, TimestampMs)| taken.insert(stream) && from_ms <= now_ms;
        due.filter(first).take(limit).map(|(at, ..)| at).collect()
    }

    /// When the next event may be given or runs out, if any does: look again then.
    pub fn next_due_ms(&self) -> Option<TimestampMs> {
        let waiting = self.waiting.values().map(|(_, from_ms)| *from_ms).filter(|from_ms| *from_ms > 0);
        waiting.chain(self.leased.values().map(|leased| leased.until_ms)).min()
    }

    /// A consumer has handled an event.
    ///
    /// # Errors
    /// [`NotLeased`] if its time had passed: the event comes again.
    pub fn ack(&mut self, consumer: ConsumerId, position: Position) -> Result<(), NotLeased> {
        self.take(consumer, position).map(drop)
    }

    /// A consumer could not handle an event.
    ///
    /// # Errors
    /// [`NotLeased`] if its time had passed: the event comes again.
    pub fn nack(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        nack: &Nack,
        now_ms: TimestampMs,
    ) -> Result<(), NotLeased> {
        let open = self.take(consumer, position)?;
        match nack {
            Nack::Skip => {}
            Nack::Park { reason } => self.park(position.0, open, reason, now_ms),
            Nack::Retry { after_ms } => {
                let from_ms = now_ms.saturating_add_unsigned(*after_ms);
                self.give_again(position.0, open, from_ms, "it was refused too often", now_ms);
            }
        }
        Ok(())
    }

    fn take(&mut self, consumer: ConsumerId, position: Position) -> Result<Open, NotLeased> {
        let is_theirs = self.leased.get(&position.0).is_some_and(|leased| leased.consumer == consumer);
        let leased = if is_theirs { self.leased.remove(&position.0) } else { None };
        let leased = leased.ok_or(NotLeased { position })?;
        self.release(consumer);
        self.is_changed = true;
        Ok(leased.open)
    }

    fn release(&mut self, consumer: ConsumerId) {
        if let Some(has) = self.consumers.get_mut(&consumer) {
            *has = has.saturating_sub(1);
        }
    }

    fn give_again(
        &mut self,
        position: u64,
        open: Open,
        from_ms: TimestampMs,
        reason: &str,
        now_ms: TimestampMs,
    ) {
        let max = self.options.deliveries_max;
        if max > 0 && open.deliveries >= max {
            self.park(position, open, reason, now_ms);
        } else {
            self.waiting.insert(position, (open, from_ms));
        }
    }

    fn park(&mut self, position: u64, open: Open, reason: &str, now_ms: TimestampMs) {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX.min(reason.len()));
        let reason = reason[..end].into();
        let Open { stream, deliveries } = open;
        self.parked.insert(position, Parked { reason, deliveries, since_ms: now_ms, stream });
        self.is_changed = true;
    }

    /// Takes back what consumers let their time pass for. Says how many events that were.
    pub fn expire(&mut self, now_ms: TimestampMs) -> usize {
        let late = self.leased.iter().filter(|(_, leased)| leased.until_ms <= now_ms);
        let late: Vec<(u64, Leased)> = late.map(|(position, leased)| (*position, *leased)).collect();
        for (position, leased) in &late {
            self.leased.remove(position);
            self.release(leased.consumer);
            self.give_again(*position, leased.open, 0, "it was not acknowledged in time", now_ms);
        }
        self.is_changed |= !late.is_empty();
        late.len()
    }

    /// The event is not there any more: nobody can be given it.
    pub fn gone(&mut self, consumer: ConsumerId, position: Position) {
        // It may have run out meanwhile; then it is found out the next time.
        let _ = self.ack(consumer, position);
    }

    /// The event was leased but could not be given yet: it waits on, and this delivery does not count.
    pub fn not_given(&mut self, consumer: ConsumerId, position: Position) {
        if let Ok(mut open) = self.take(consumer, position) {
            open.deliveries = open.deliveries.saturating_sub(1);
            self.waiting.insert(position.0, (open, 0));
        }
    }

    /// What was put aside, from `from` on, at most `limit`.
    pub fn parked(&self, from: Position, limit: usize) -> Vec<(Position, Parked)> {
        let parked = self.parked.range(from.0..).take(limit);
        parked.map(|(position, parked)| (Position(*position), parked.clone())).collect()
    }

    /// Gives parked events again, as if for the first time; `None` takes all. Says how many.
    pub fn replay(&mut self, positions: Option<&[Position]>) -> usize {
        let positions = self.chosen(positions);
        for position in &positions {
            if let Some(parked) = self.parked.remove(position) {
                self.waiting.insert(*position, (Open { stream: parked.stream, deliveries: 0 }, 0));
            }
        }
        self.is_changed |= !positions.is_empty();
        positions.len()
    }

    /// Forgets parked events; `None` takes all. Says how many.
    pub fn discard(&mut self, positions: Option<&[Position]>) -> usize {
        let positions = self.chosen(positions);
        positions.iter().for_each(|position| drop(self.parked.remove(position)));
        self.is_changed |= !positions.is_empty();
        positions.len()
    }

    fn chosen(&self, positions: Option<&[Position]>) -> Vec<u64> {
        match positions {
            None => self.parked.keys().copied().collect(),
            Some(positions) => positions
                .iter()
                .map(|position| position.0)
                .filter(|at| self.parked.contains_key(at))
                .collect(),
        }
    }
}
