//! Leaving without being consumed: expired, too many, rejected, delivered too often; and arriving, where a message was not
//! due before.
//!
//! A message that is dead-lettered, or that has become due, leaves for another log. It is *departing* until its owner
//! has journaled, in one group, that it is there and no longer here ([`Queue::departed`]); a crash before that finds it
//! where it was. So it is neither lost nor doubled.

use std::sync::Arc;

use super::groups::Groups;
use super::lane::Head;
use super::{Need, Overflow, Place, Queue};
use crate::{DeathReason, Message, Text, TimestampMs};

/// So many messages may be on their way out; then limits wait.
const DEPARTING_MAX: usize = 1024;

/// Why a message moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// To where the queue's dead letters go.
    Dead(DeathReason),
    /// To its lane of the same queue: it is due.
    Due,
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Its place.
    pub place: Place,
    /// Why.
    pub leave: Leave,
    /// The message, if it is in memory; else it has to be read.
    pub message: Option<Arc<Message>>,
}

impl Departure {
    /// The bytes that it takes if it is in memory only.
    fn memory_bytes(&self) -> usize {
        let message = self.message.as_ref().filter(|_| !self.place.is_journaled());
        message.map_or(0, |message| message.footprint())
    }
}

impl Queue {
    /// A message leaves: for where dead letters go, or for good.
    pub(super) fn leave(&mut self, place: Place, message: Option<Arc<Message>>, reason: DeathReason) {
        self.counters.died(reason);
        if self.options().dead_letter.is_none() {
            return self.done(place, message.as_deref());
        }
        self.leaving.push_back(Departure { place, leave: Leave::Dead(reason), message });
    }

    /// A message that was not taken in goes where dead letters go. It has no place here.
    pub fn refuse_to_dead_letter(&mut self, message: &Arc<Message>) {
        if self.options().dead_letter.is_some() {
            let place = Place { lane: super::LANE_DELAYED, offset: 0, memory: self.state.next_memory() };
            self.memory_bytes += message.footprint();
            let message = Some(Arc::clone(message));
            self.leaving.push_back(Departure { place, leave: Leave::Dead(DeathReason::MaxLength), message });
        }
    }

    /// The messages that are on their way out and were not fetched yet, at most `max`.
    pub fn take_departures(&mut self, max: usize) -> Vec<Departure> {
        let departures: Vec<Departure> = self.leaving.drain(..max.min(self.leaving.len())).collect();
        self.departing.extend(departures.iter().map(|departure| (departure.place, departure.memory_bytes())));
        departures
    }

    /// Whether there are departures to fetch.
    pub fn has_departures(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// A departure has arrived where it goes, or nowhere: it is done with here.
    pub fn departed(&mut self, place: Place) {
        match self.departing.remove(&place) {
            Some(_) if place.is_journaled() => self.done(place, None),
            Some(bytes) => self.forget_memory(bytes),
            None => {}
        }
    }

    /// Departures could not be made: they are tried again, in their order and before those that came later.
    pub fn stranded(&mut self, departures: Vec<Departure>) {
        for departure in departures.into_iter().rev() {
            if self.departing.remove(&departure.place).is_some() {
                self.leaving.push_front(departure);
            }
        }
    }

    /// A departure cannot be made for now: it is tried again behind the others, so that it does not hold them up.
    pub fn postponed(&mut self, departure: Departure) {
        if self.departing.remove(&departure.place).is_some() {
            self.leaving.push_back(departure);
        }
    }

    pub(super) fn is_expired(&self, message: &Message, now_ms: TimestampMs) -> bool {
        self.options().expires_at(message.published_ms, message.ttl_ms).is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Whether a message goes to a consumer that is there or expires at once: by its own time to live or by that of the queue.
    pub(super) fn may_not_wait(&self, message: &Message) -> bool {
        message.ttl_ms == Some(0) || self.options().ttl_ms == Some(0)
    }

    /// Does what is due: leases that have run out, messages that are due, messages that expired, limits. Call it after
    /// [`Queue::dispatch`], whenever something changed, and at [`Queue::next_deadline`].
    ///
    /// Says what has to be read, if it could go on then.
    pub fn tick(&mut self, now_ms: TimestampMs) -> Option<Need> {
        self.end_leases(now_ms);
        self.wake_delayed(now_ms);
        self.enforce_limits();
        self.expire(now_ms)
    }

    fn end_leases(&mut self, now_ms: TimestampMs) {
        while let Some(&(deadline_ms, lease)) = self.deadlines.first().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.deadlines.remove(&(deadline_ms, lease));
            if let Some(held) = self.release(lease) {
                let group = held.group.clone();
                self.requeue(held, true);
                self.let_go(group.as_ref());
            }
        }
        let ended = self.groups.as_mut().map(|groups| groups.end(now_ms)).unwrap_or_default();
        ended.iter().for_each(|group| self.end_session(group));
    }

    /// Who accepted a group has run out of time: what it holds of it comes back, so that the next holder begins with it.
    fn end_session(&mut self, group: &Text) {
        let of_group = self.leases.iter().filter(|(_, held)| held.group.as_ref() == Some(group));
        let mut leases: Vec<u64> = of_group.map(|(lease, _)| *lease).collect();
        leases.sort_unstable();
        for lease in leases {
            if let Some(held) = self.release(lease) {
                self.requeue(held, true);
                self.let_go(Some(group));
            }
        }
    }

    fn wake_delayed(&mut self, now_ms: TimestampMs) {
        while let Some((&(due_ms, place), _)) = self.delayed.first_key_value() {
            let durable = self.lanes.get(&place.lane).is_none_or(|lane| place.offset < lane.ready_end);
            let full = self.leaving.len() >= DEPARTING_MAX;
            if due_ms > now_ms || (place.is_journaled() && !durable) || full {
                return;
            }
            let message = self.delayed.pop_first().and_then(|(_, message)| message);
            self.due.remove(&place);
            self.leaving.push_back(Departure { place, leave: Leave::Due, message });
        }
    }

    /// A message that is not due yet is not wanted any more. Returns whether there is one at this place.
    pub fn cancel_delayed(&mut self, place: Place) -> bool {
        let Some(due_ms) = self.due.remove(&place) else { return false };
        let message = self.delayed.remove(&(due_ms, place)).flatten();
        self.done(place, message.as_deref());
        true
    }

    fn enforce_limits(&mut self) {
        if !self.options().is_limited() || self.options().overflow != Overflow::DropHead {
            return;
        }
        while self.is_over() && self.leaving.len() + self.departing.len() < DEPARTING_MAX {
            let Some((place, message)) = self.take_head() else { return };
            self.leave(place, message, DeathReason::MaxLength);
        }
    }

    /// Takes out the message that a limit drops.
    fn take_head(&mut self) -> Option<(Place, Option<Arc<Message>>)> {
        if let Some(groups) = &mut self.groups {
            let (place, group) = groups.first_to_drop()?;
            let waiting = groups.take(&group, place)?;
            self.bytes = self.bytes.saturating_sub(waiting.size.unwrap_or_default());
            return Some((place, waiting.message));
        }
        let (place, message) = match self.head()?.1 {
            Head::Ready(place, message) => (place, Some(message)),
            Head::Cold(place) => (place, None),
        };
        self.take(place);
        Some((place, message))
    }

    fn is_over(&self) -> bool {
        let options = self.options();
        options.length_max.is_some_and(|max| self.ready() > max)
            || options.bytes_max.is_some_and(|max| self.bytes > max)
    }

    fn may_expire(&self) -> bool {
        self.limited || self.options().ttl_ms.is_some()
    }

    fn expire(&mut self, now_ms: TimestampMs) -> Option<Need> {
        if !self.may_expire() {
            return None;
        }
        if self.groups.is_some() {
            return self.expire_in_groups(now_ms);
        }
        let numbers: Vec<u16> = self.lanes.range(..super::LANE_DELAYED).map(|(number, _)| *number).collect();
        let mut need = None;
        for number in numbers {
            need = need.or(self.expire_lane(number, now_ms));
        }
        need
    }

    /// What expires leaves at the head of the groups that nobody holds.
    fn expire_in_groups(&mut self, now_ms: TimestampMs) -> Option<Need> {
        while self.leaving.len() + self.departing.len() < DEPARTING_MAX {
            let (place, group, message) = self.groups.as_ref()?.first_free()?;
            let (group, message) = (group.clone(), message.cloned());
            let Some(message) = message else { return Some(Need::Place(place)) };
            if !self.is_expired(&message, now_ms) {
                return None;
            }
            self.expire_in_group(place, &group, message);
        }
        None
    }

    fn expire_lane(&mut self, number: u16, now_ms: TimestampMs) -> Option<Need> {
        while self.leaving.len() + self.departing.len() < DEPARTING_MAX {
            match self.lane(number).head()? {
                Head::Ready(place, message) if self.is_expired(&message, now_ms) => {
                    self.take(place);
                    self.leave(place, Some(message), DeathReason::Expired);
                }
                Head::Ready(..) => return None,
                Head::Cold(place) if self.lane(number).is_returned(place) => {
                    return Some(Need::Place(place));
                }
                Head::Cold(_) => {
                    let offsets = self.lane(number).cold();
                    return Some(Need::Range { lane: number, offsets });
                }
            }
        }
        None
    }

    /// When [`Queue::tick`] has something to do next, as far as that is known.
    pub fn next_deadline(&mut self) -> Option<TimestampMs> {
        let lease = self.deadlines.first().map(|(at_ms, _)| *at_ms);
        let due = self.delayed.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let expiry = if self.may_expire() { self.next_expiry() } else { None };
        let group = self.groups.as_ref().and_then(Groups::next_end);
        [lease, due, expiry, group].into_iter().flatten().min()
    }

    fn next_expiry(&mut self) -> Option<TimestampMs> {
        let options = &self.definition.options;
        if let Some(groups) = &self.groups {
            let message = groups.first_free()?.2?;
            return options.expires_at(message.published_ms, message.ttl_ms);
        }
        let lanes = self.lanes.range_mut(..super::LANE_DELAYED);
        let expiry = |(_, lane): (_, &mut super::lane::Lane)| match lane.head()? {
            Head::Ready(_, message) => options.expires_at(message.published_ms, message.ttl_ms),
            Head::Cold(_) => None,
        };
        lanes.filter_map(expiry).min()
    }
}
