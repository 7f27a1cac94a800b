//! Settling: what becomes of a message that somebody holds.

use std::sync::Arc;

use super::entry::Operation;
use super::lane::Waiting;
use super::{ConsumerId, Deferred, Place, Queue};
use crate::{DeathReason, Message, Text, TimestampMs};

/// How a message is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was processed and is gone.
    Accept,
    /// It is ready again at its old place.
    Requeue {
        /// Whether that counts towards the queue's delivery limit.
        counts: bool,
    },
    /// It is not wanted: it is dead-lettered, where the queue has somewhere to put it, and gone otherwise.
    Reject,
    /// It stays where it is and is given only to who asks for it by its place.
    Defer,
    /// It is held on, for so long from now.
    Renew {
        /// Milliseconds; 0 makes it ready again at once.
        lease_ms: u64,
    },
}

/// Nobody holds the message under this lease: it was settled, or its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lease {0} is not held")]
pub struct NotHeld(pub u64);

/// A message that somebody holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) place: Place,
    pub(super) consumer: Option<ConsumerId>,
    pub(super) group: Option<Text>,
    pub(super) since_ms: TimestampMs,
    pub(super) deadline_ms: Option<TimestampMs>,
    pub(super) size: u64,
    /// Kept only where it cannot be read again.
    pub(super) message: Option<Arc<Message>>,
}

impl Queue {
    /// Settles a message that somebody holds. Returns who held it.
    ///
    /// # Errors
    /// [`NotHeld`].
    pub fn settle(
        &mut self,
        lease: u64,
        settlement: Settlement,
        now_ms: TimestampMs,
    ) -> Result<Option<ConsumerId>, NotHeld> {
        if let Settlement::Renew { lease_ms: 1.. } = settlement {
            return self.renew(lease, settlement, now_ms);
        }
        let held = self.release(lease).ok_or(NotHeld(lease))?;
        let (consumer, group) = (held.consumer, held.group.clone());
        if self.options().stream.is_some() {
            self.settled_in_stream(&held, now_ms);
            return Ok(consumer);
        }
        match settlement {
            Settlement::Accept => {
                self.counters.acknowledged += 1;
                self.processed(&held, now_ms);
                self.done(held.place, held.message.as_deref());
            }
            Settlement::Requeue { counts } => self.requeue(held, counts),
            Settlement::Renew { .. } => self.requeue(held, true),
            Settlement::Reject => self.leave(held.place, held.message, DeathReason::Rejected),
            Settlement::Defer => self.defer(held),
        }
        self.let_go(group.as_ref());
        Ok(consumer)
    }

    pub(super) fn processed(&mut self, held: &Held, now_ms: TimestampMs) {
        let took_ms = u64::try_from(now_ms.saturating_sub(held.since_ms)).unwrap_or(0);
        self.processing.get_or_insert_default().took(took_ms);
    }

    /// Takes a message out of its holder's hands.
    pub(super) fn release(&mut self, lease: u64) -> Option<Held> {
        let held = self.leases.remove(&lease)?;
        self.leased_bytes = self.leased_bytes.saturating_sub(held.size);
        if let Some(deadline_ms) = held.deadline_ms {
            self.deadlines.remove(&(deadline_ms, lease));
        }
        if let Some(consumer) = held.consumer {
            self.consumers.settled(consumer);
        }
        Some(held)
    }

    /// A message of a group is settled: with the last one its holder lets go.
    pub(super) fn let_go(&mut self, group: Option<&Text>) {
        if let (Some(groups), Some(group)) = (&mut self.groups, group) {
            groups.settled(group);
        }
    }

    /// Whether somebody holds a message under this lease.
    pub fn holds(&self, lease: u64) -> bool {
        self.leases.contains_key(&lease)
    }

    fn renew(
        &mut self,
        lease: u64,
        settlement: Settlement,
        now_ms: TimestampMs,
    ) -> Result<Option<ConsumerId>, NotHeld> {
        let Settlement::Renew { lease_ms } = settlement else { return Err(NotHeld(lease)) };
        let held = self.leases.get_mut(&lease).ok_or(NotHeld(lease))?;
        let until_ms = now_ms.saturating_add_unsigned(lease_ms);
        if let Some(before_ms) = held.deadline_ms.replace(until_ms) {
            self.deadlines.remove(&(before_ms, lease));
        }
        self.deadlines.insert((until_ms, lease));
        Ok(None)
    }

    pub(super) fn requeue(&mut self, held: Held, counts: bool) {
        let place = held.place;
        if counts {
            let count = self.lane(place.lane).count(place) + 1;
            if self.options().delivery_limit.is_some_and(|limit| count > limit) {
                return self.leave(place, held.message, DeathReason::DeliveryLimit);
            }
            self.lane(place.lane).set_count(place, count);
            if place.is_journaled() {
                self.state.note(Operation::Returned { lane: place.lane, offset: place.offset, count });
            }
        }
        self.counters.returned += 1;
        self.put_back(place, held.group, Waiting { size: Some(held.size), message: held.message });
    }

    /// A message is ready again, at its place.
    fn put_back(&mut self, place: Place, group: Option<Text>, waiting: Waiting) {
        self.bytes += waiting.size.unwrap_or_default();
        match &mut self.groups {
            Some(groups) => groups.put(place, &group.unwrap_or_default(), waiting),
            None => self.lane(place.lane).put_back(place, waiting),
        }
    }

    fn defer(&mut self, held: Held) {
        let place = held.place;
        let deferred = Deferred { message: held.message, group: held.group, size: Some(held.size) };
        self.deferred.insert(place, deferred);
        if place.is_journaled() {
            self.state.note(Operation::Deferred { lane: place.lane, offset: place.offset, is: true });
        }
    }

    /// A deferred message is ready again, at its place. Returns whether there is one.
    pub fn undefer(&mut self, place: Place) -> bool {
        let Some(deferred) = self.deferred.remove(&place) else { return false };
        if place.is_journaled() {
            self.state.note(Operation::Deferred { lane: place.lane, offset: place.offset, is: false });
        }
        // Where no limit counts bytes, one that was found again at a restart is among those of its lane.
        let waiting = Waiting { size: deferred.size, message: deferred.message };
        self.put_back(place, deferred.group, waiting);
        true
    }

    /// The message is done with; with it, where it was in memory only.
    pub(super) fn done(&mut self, place: Place, message: Option<&Message>) {
        if !place.is_journaled() {
            self.forget_memory(message.map_or(0, Message::footprint));
        }
        self.lane(place.lane).settle(place);
    }

    pub(super) fn forget_memory(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.memory_bytes, "what is done with was counted");
        self.memory_bytes = self.memory_bytes.saturating_sub(bytes);
    }
}
