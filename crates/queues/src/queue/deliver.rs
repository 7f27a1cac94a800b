//! Handing out messages: to consumers in their turn, and to whoever asks.

use std::ops::Range;
use std::sync::Arc;

use super::groups::{GroupError, Holder};
use super::lane::Head;
use super::settle::Held;
use super::{ConsumerId, LANE_DELAYED, Place, Queue};
use crate::{DeathReason, Message, Text, TimestampMs};

/// A message that was handed out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// To whom; nobody in particular if it was asked for.
    pub consumer: Option<ConsumerId>,
    /// What it is settled by; 0 if it is settled by being delivered.
    pub lease: u64,
    /// Its place in the queue.
    pub place: Place,
    /// The message.
    pub message: Arc<Message>,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// How often it came back in a way that counts.
    pub count: u32,
}

/// What has to be read before the next message can be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Some messages of a lane's log from the beginning of these offsets on; see [`Queue::loaded`].
    Range {
        /// The lane.
        lane: u16,
        /// The offsets.
        offsets: Range<u64>,
    },
    /// One message that came back; see [`Queue::loaded_place`].
    Place(Place),
}

/// When the oldest message that is ready was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oldest {
    /// None is ready.
    Nothing,
    /// Then.
    At(TimestampMs),
    /// It is this one, which would have to be read.
    Cold(Place),
}

/// To whom a message of a group goes.
#[derive(Clone, Copy)]
struct To {
    consumer: Option<ConsumerId>,
    holder: Holder,
    no_ack: bool,
}

impl From<ConsumerId> for Holder {
    fn from(consumer: ConsumerId) -> Self {
        Self(consumer.0)
    }
}

/// What comes next of the groups.
enum GroupNext {
    Nothing,
    Cold(Need),
    Ready(Place, Text, Arc<Message>),
}

/// What comes next.
pub(super) enum Next {
    Nothing,
    Cold(Need),
    Ready(Place, Arc<Message>),
}

impl Queue {
    /// Hands out messages to consumers as long as there are messages and windows with room. `may_take` is asked last, for
    /// windows that the queue does not know, and takes room in them where it says yes.
    ///
    /// Says what has to be read, if it could go on then.
    pub fn dispatch(
        &mut self,
        now_ms: TimestampMs,
        may_take: &mut dyn FnMut(ConsumerId) -> bool,
        out: &mut Vec<Delivery>,
    ) -> Option<Need> {
        if self.groups.is_some() {
            return self.dispatch_groups(now_ms, may_take, out);
        }
        while self.consumers.any_waiting() {
            let (place, message) = match self.next(now_ms) {
                Next::Ready(place, message) => (place, message),
                Next::Cold(need) => return Some(need),
                Next::Nothing => return None,
            };
            let consumer = self.consumers.next(may_take)?;
            self.consumers.serve(consumer, message.footprint());
            let no_ack = self.consumers.get(consumer).is_some_and(|consumer| consumer.options.no_ack);
            out.push(self.hand_out(place, message, Some(consumer), no_ack, now_ms));
        }
        None
    }

    /// As [`Queue::dispatch`], where a message goes only to who holds its group, or may.
    fn dispatch_groups(
        &mut self,
        now_ms: TimestampMs,
        may_take: &mut dyn FnMut(ConsumerId) -> bool,
        out: &mut Vec<Delivery>,
    ) -> Option<Need> {
        let mut refused = Vec::new();
        while let Some(consumer) = self.consumers.next(&mut |id| !refused.contains(&id)) {
            match self.next_in_groups(Holder::from(consumer), now_ms) {
                GroupNext::Cold(need) => return Some(need),
                GroupNext::Nothing => refused.push(consumer),
                GroupNext::Ready(..) if !may_take(consumer) => refused.push(consumer),
                GroupNext::Ready(place, group, message) => {
                    self.consumers.serve(consumer, message.footprint());
                    let no_ack = self.consumers.get(consumer).is_some_and(|consumer| consumer.options.no_ack);
                    let to = To { consumer: Some(consumer), holder: Holder::from(consumer), no_ack };
                    out.push(self.hand_out_of(place, &group, message, to, now_ms));
                }
            }
        }
        None
    }

    /// Hands out up to `max` messages to whoever asks.
    ///
    /// # Errors
    /// What has to be read before; nothing was handed out then.
    pub fn get(&mut self, max: usize, no_ack: bool, now_ms: TimestampMs) -> Result<Vec<Delivery>, Need> {
        let mut out = Vec::new();
        if self.groups.is_some() {
            let holder = Holder(u64::MAX - self.next_lease);
            return self.get_in_groups(max, no_ack, holder, now_ms);
        }
        while out.len() < max {
            match self.next(now_ms) {
                Next::Ready(place, message) => out.push(self.hand_out(place, message, None, no_ack, now_ms)),
                Next::Cold(need) if out.is_empty() => return Err(need),
                Next::Cold(_) | Next::Nothing => break,
            }
        }
        Ok(out)
    }

    /// Whether there may be somebody to hand a message to.
    pub fn can_go_on(&self) -> bool {
        self.consumers.any_waiting() && self.ready() > 0
    }

    /// When the oldest message that can be handed out was published.
    pub fn oldest(&mut self) -> Oldest {
        if let Some(groups) = &self.groups {
            return match groups.first_free() {
                None => Oldest::Nothing,
                Some((place, _, None)) => Oldest::Cold(place),
                Some((_, _, Some(message))) => Oldest::At(message.published_ms),
            };
        }
        let mut oldest = Oldest::Nothing;
        for (_, lane) in self.lanes.range_mut(..LANE_DELAYED) {
            oldest = match (lane.head(), oldest) {
                (None, oldest) => oldest,
                (Some(Head::Cold(place)), _) => return Oldest::Cold(place),
                (Some(Head::Ready(_, message)), Oldest::At(at_ms)) => {
                    Oldest::At(at_ms.min(message.published_ms))
                }
                (Some(Head::Ready(_, message)), _) => Oldest::At(message.published_ms),
            };
        }
        oldest
    }

    fn get_in_groups(
        &mut self,
        max: usize,
        no_ack: bool,
        holder: Holder,
        now_ms: TimestampMs,
    ) -> Result<Vec<Delivery>, Need> {
        let mut out = Vec::new();
        while out.len() < max {
            match self.next_in_groups(holder, now_ms) {
                GroupNext::Ready(place, group, message) => {
                    let to = To { consumer: None, holder, no_ack };
                    out.push(self.hand_out_of(place, &group, message, to, now_ms));
                }
                GroupNext::Cold(need) if out.is_empty() => return Err(need),
                GroupNext::Cold(_) | GroupNext::Nothing => break,
            }
        }
        Ok(out)
    }

    /// Hands out up to `max` messages of a group that `holder` accepted.
    ///
    /// # Errors
    /// [`GroupError::NotHeld`]; inside, what has to be read before.
    pub fn get_of_group(
        &mut self,
        group: &Text,
        holder: Holder,
        max: usize,
        no_ack: bool,
        now_ms: TimestampMs,
    ) -> Result<Result<Vec<Delivery>, Need>, GroupError> {
        let mut out = Vec::new();
        while out.len() < max {
            let groups = self.groups.as_ref().ok_or(GroupError::NotHeld)?;
            let Some(place) = groups.next_of(group, holder)? else { break };
            let Some(message) = groups.message(group, place) else {
                return Ok(if out.is_empty() { Err(Need::Place(place)) } else { Ok(out) });
            };
            if self.is_expired(&message, now_ms) {
                self.expire_in_group(place, group, message);
                continue;
            }
            let to = To { consumer: None, holder, no_ack };
            out.push(self.hand_out_of(place, group, message, to, now_ms));
        }
        Ok(Ok(out))
    }

    fn next_in_groups(&mut self, holder: Holder, now_ms: TimestampMs) -> GroupNext {
        loop {
            let next = self.groups.as_ref().and_then(|groups| groups.next_for(holder));
            match next {
                None => return GroupNext::Nothing,
                Some((place, _, None)) => return GroupNext::Cold(Need::Place(place)),
                Some((place, group, Some(message))) if self.is_expired(&message, now_ms) => {
                    self.expire_in_group(place, &group, message);
                }
                Some((place, group, Some(message))) => return GroupNext::Ready(place, group, message),
            }
        }
    }

    pub(super) fn expire_in_group(&mut self, place: Place, group: &Text, message: Arc<Message>) {
        self.bytes = self.bytes.saturating_sub(message.size() as u64);
        if let Some(groups) = &mut self.groups {
            groups.take(group, place);
        }
        self.leave(place, Some(message), DeathReason::Expired);
    }

    fn hand_out_of(
        &mut self,
        place: Place,
        group: &Text,
        message: Arc<Message>,
        to: To,
        now_ms: TimestampMs,
    ) -> Delivery {
        let count = self.lane(place.lane).count(place);
        self.bytes = self.bytes.saturating_sub(message.size() as u64);
        if let Some(groups) = &mut self.groups {
            groups.take(group, place);
            if !to.no_ack {
                groups.lease(group, to.holder);
            }
        }
        let redelivered = count > 0;
        let delivery = Delivery { consumer: to.consumer, lease: 0, place, message, redelivered, count };
        self.hold(delivery, to.no_ack, Some(group.clone()), now_ms)
    }

    /// The next message that is not expired; those that are leave.
    pub(super) fn next(&mut self, now_ms: TimestampMs) -> Next {
        loop {
            let Some((number, head)) = self.head() else { return Next::Nothing };
            match head {
                Head::Cold(place) if self.lane(number).is_returned(place) => {
                    return Next::Cold(Need::Place(place));
                }
                Head::Cold(_) => {
                    let offsets = self.lane(number).cold();
                    return Next::Cold(Need::Range { lane: number, offsets });
                }
                // What may not wait at all still goes to a consumer that is there, once.
                Head::Ready(place, message)
                    if (!self.may_not_wait(&message) || self.lane(number).is_returned(place))
                        && self.is_expired(&message, now_ms) =>
                {
                    self.take(place);
                    self.leave(place, Some(message), DeathReason::Expired);
                }
                Head::Ready(place, message) => return Next::Ready(place, message),
            }
        }
    }

    /// The first message of the highest priority.
    pub(super) fn head(&mut self) -> Option<(u16, Head)> {
        let lanes = self.lanes.range_mut(..LANE_DELAYED).rev();
        lanes.into_iter().find_map(|(number, lane)| Some((*number, lane.head()?)))
    }

    /// Takes a message out of what is ready.
    pub(super) fn take(&mut self, place: Place) {
        let size = self.lane(place.lane).take(place);
        // Where no limit needs the size of what was not read, the average stands in for it.
        let size = size.unwrap_or_else(|| self.average(1));
        self.bytes = self.bytes.saturating_sub(size);
    }

    fn hand_out(
        &mut self,
        place: Place,
        message: Arc<Message>,
        consumer: Option<ConsumerId>,
        no_ack: bool,
        now_ms: TimestampMs,
    ) -> Delivery {
        let returned = self.lane(place.lane).is_returned(place);
        let count = self.lane(place.lane).count(place);
        self.take(place);
        let redelivered = returned || count > 0;
        self.hold(Delivery { consumer, lease: 0, place, message, redelivered, count }, no_ack, None, now_ms)
    }

    /// Puts a message into the hands of who gets it.
    fn hold(
        &mut self,
        delivery: Delivery,
        no_ack: bool,
        group: Option<Text>,
        now_ms: TimestampMs,
    ) -> Delivery {
        self.counters.handed_out(delivery.consumer.is_none(), no_ack, delivery.redelivered);
        if no_ack {
            self.done(delivery.place, Some(&delivery.message));
            return delivery;
        }
        Delivery { lease: self.lease(&delivery, group, now_ms), ..delivery }
    }

    fn lease(&mut self, delivery: &Delivery, group: Option<Text>, now_ms: TimestampMs) -> u64 {
        let lease = self.next_lease;
        self.next_lease += 1;
        let deadline_ms = self.options().lease_ms.map(|ms| now_ms.saturating_add_unsigned(ms));
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines.insert((deadline_ms, lease));
        }
        let (place, consumer) = (delivery.place, delivery.consumer);
        let size = delivery.message.size() as u64;
        // What lies in the journal is read again if it comes back: those who hold much do not hold memory.
        let message = (!place.is_journaled()).then(|| Arc::clone(&delivery.message));
        self.leased_bytes += size;
        let held = Held { place, consumer, group, since_ms: now_ms, deadline_ms, size, message };
        self.leases.insert(lease, held);
        lease
    }

    /// Messages of a lane's log were read: all that could be of `read`. What is missing among them is lost; how much is
    /// returned, so that it can be told.
    pub fn loaded(&mut self, lane: u16, read: Range<u64>, messages: Vec<(u64, Arc<Message>)>) -> usize {
        let lost = self.lane(lane).loaded(read, messages);
        if lost.is_empty() {
            return 0;
        }
        let average = self.average(lost.len() as u64);
        let bytes: u64 = lost.iter().map(|size| size.unwrap_or(average)).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.counters.lost += lost.len() as u64;
        lost.len()
    }

    /// A message that came back was read, or could not be. Returns whether it is lost.
    pub fn loaded_place(&mut self, place: Place, message: Option<Arc<Message>>) -> bool {
        if self.groups.is_some() {
            return self.loaded_in_group(place, message);
        }
        let Some(lost) = self.lane(place.lane).loaded_returned(place, message) else { return false };
        self.bytes = self.bytes.saturating_sub(lost.size.unwrap_or_else(|| self.average(1)));
        self.counters.lost += 1;
        true
    }

    fn loaded_in_group(&mut self, place: Place, message: Option<Arc<Message>>) -> bool {
        let Some(groups) = &mut self.groups else { return false };
        if let Some(message) = message {
            groups.loaded(&super::groups::group_of(&message), place, message);
            return false;
        }
        let size = groups.lose(place).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(size);
        self.counters.lost += 1;
        self.done(place, None);
        true
    }
}
