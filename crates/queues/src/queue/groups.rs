//! FIFO groups and sessions: order within a group, one holder of a group at a time.
//!
//! Messages that are ready lie with their group, not in the order of the lane, so that a group that is held does not hold up
//! the others. A group is held by whoever was handed a message of it, until that is settled; or by whoever accepted it, until it
//! is released and what was handed out of it is settled, or until its time runs out: then that comes back. Messages without a group are one group of their own.
//!
//! Invariants: a group is in `free` exactly if it has a ready message and no holder, in `held` exactly if it has a ready
//! message and a holder, and in `ends` exactly if it was accepted until some time.
//!
//! Source: SQS message groups; Azure Service Bus sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::Place;
use super::lane::Waiting;
use crate::{Message, Text, TimestampMs};

/// Who holds a group: a consumer, or whoever asked. The number is given by the owner of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(pub u64);

/// Why a group was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Somebody else holds it.
    #[error("the group is held by somebody else")]
    Held,
    /// No group has a message that is ready and is not held.
    #[error("no group is free")]
    NoneFree,
    /// Who asked does not hold it, or not any more.
    #[error("the group is not held")]
    NotHeld,
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: HashMap<Text, Group>,
    free: BTreeSet<(Place, Text)>,
    /// Groups that somebody holds and that have a ready message.
    held: BTreeSet<(Holder, Place, Text)>,
    /// When groups that were accepted are let go.
    ends: BTreeSet<(TimestampMs, Text)>,
    /// Journaled messages that are not durable yet, in the order of their lanes.
    in_flight: BTreeMap<u16, VecDeque<Sent>>,
    ready: u64,
    /// Bytes of journaled messages that are ready and in memory.
    hot_bytes: usize,
}

/// A message on its way to the disk: its place and its group.
type Sent = (Place, Text, Waiting);

/// The most bytes of journaled messages that are kept in memory so that they need not be read.
const HOT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
struct Group {
    ready: BTreeMap<Place, Waiting>,
    holder: Option<Holder>,
    /// Messages of it that somebody holds.
    leased: u32,
    /// It was accepted, until then.
    until_ms: Option<TimestampMs>,
    state: Option<Bytes>,
}

impl Group {
    fn first(&self) -> Option<Place> {
        self.ready.first_key_value().map(|(place, _)| *place)
    }

    fn let_go(&mut self) {
        if self.leased == 0 && self.until_ms.is_none() {
            self.holder = None;
        }
    }

    fn end(&mut self) {
        self.until_ms = None;
        self.let_go();
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.holder.is_none() && self.leased == 0 && self.state.is_none()
    }
}

/// Bytes of a message that is kept in memory only so that it need not be read.
fn hot_bytes(place: Place, waiting: &Waiting) -> usize {
    let message = waiting.message.as_ref().filter(|_| place.is_journaled());
    message.map_or(0, |message| message.footprint())
}

/// The name of a message's group.
pub(super) fn group_of(message: &Message) -> Text {
    message.group.clone().unwrap_or_default()
}

impl Groups {
    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    /// A journaled message is on its way to the disk.
    pub(super) fn sent(&mut self, place: Place, message: &Arc<Message>, keep_hot: bool) {
        let kept = (keep_hot && self.hot_bytes < HOT_BYTES_MAX).then(|| Arc::clone(message));
        let waiting = Waiting { size: Some(message.size() as u64), message: kept };
        self.in_flight.entry(place.lane).or_default().push_back((place, group_of(message), waiting));
    }

    pub(super) fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }

    /// The messages of a lane below `end` are durable.
    pub(super) fn applied(&mut self, lane: u16, end: u64) {
        let durable = |(place, ..): &&Sent| place.offset < end;
        while let Some(waiting) = self.in_flight.get_mut(&lane)
            && waiting.front().filter(durable).is_some()
            && let Some((place, group, message)) = waiting.pop_front()
        {
            self.put(place, &group, message);
        }
    }

    /// A message is ready.
    pub(super) fn put(&mut self, place: Place, group: &Text, waiting: Waiting) {
        self.ready += 1;
        self.hot_bytes += hot_bytes(place, &waiting);
        self.change(group, |group| drop(group.ready.insert(place, waiting)));
    }

    /// Bytes of messages that are on their way to the disk.
    pub(super) fn bytes_in_flight(&self) -> u64 {
        let waiting = self.in_flight.values().flatten();
        waiting.filter_map(|(.., waiting)| waiting.size).sum()
    }

    /// Changes a group, and whether it is free.
    fn change<T>(&mut self, name: &Text, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = self.by_name.entry(name.clone()).or_default();
        if let Some(first) = group.first() {
            match group.holder {
                None => self.free.remove(&(first, name.clone())),
                Some(holder) => self.held.remove(&(holder, first, name.clone())),
            };
        }
        let until_ms = group.until_ms;
        let changed = change(group);
        if let Some(first) = group.first() {
            match group.holder {
                None => self.free.insert((first, name.clone())),
                Some(holder) => self.held.insert((holder, first, name.clone())),
            };
        }
        if until_ms != group.until_ms {
            until_ms.map(|until_ms| self.ends.remove(&(until_ms, name.clone())));
            group.until_ms.map(|until_ms| self.ends.insert((until_ms, name.clone())));
        }
        if group.is_idle() {
            self.by_name.remove(name);
        }
        changed
    }

    /// The next message for a holder: of a group that it holds, or else of the first that is free.
    pub(super) fn next_for(&self, holder: Holder) -> Option<(Place, Text, Option<Arc<Message>>)> {
        let from = Place { lane: 0, offset: 0, memory: 0 };
        let held = self.held.range((holder, from, Text::empty())..).next();
        let held = held.filter(|(of, ..)| *of == holder).map(|(_, place, name)| (*place, name));
        let free = self.free.first().map(|(place, name)| (*place, name));
        let (place, name) = held.into_iter().chain(free).min()?;
        let message = self.by_name.get(name)?.ready.get(&place)?.message.clone();
        Some((place, name.clone(), message))
    }

    /// The next message of a group, for who holds it.
    pub(super) fn next_of(&self, name: &Text, holder: Holder) -> Result<Option<Place>, GroupError> {
        let group = self.by_name.get(name.as_bytes()).filter(|group| group.holder == Some(holder));
        let group = group.ok_or(GroupError::NotHeld)?;
        Ok(group.ready.first_key_value().map(|(place, _)| *place))
    }

    pub(super) fn message(&self, name: &Text, place: Place) -> Option<Arc<Message>> {
        self.by_name.get(name.as_bytes())?.ready.get(&place)?.message.clone()
    }

    /// A message was read.
    pub(super) fn loaded(&mut self, name: &Text, place: Place, message: Arc<Message>) {
        if let Some(slot) =
            self.by_name.get_mut(name.as_bytes()).and_then(|group| group.ready.get_mut(&place))
        {
            self.hot_bytes += message.footprint();
            slot.message = Some(message);
        }
    }

    /// Takes a message out of what is ready.
    pub(super) fn take(&mut self, name: &Text, place: Place) -> Option<Waiting> {
        let taken = self.change(name, |group| group.ready.remove(&place))?;
        self.ready -= 1;
        self.hot_bytes -= hot_bytes(place, &taken);
        Some(taken)
    }

    /// A message cannot be read any more. Returns its size.
    pub(super) fn lose(&mut self, place: Place) -> Option<u64> {
        let found = self.by_name.iter().find(|(_, group)| group.ready.contains_key(&place));
        let name = found.map(|(name, _)| name.clone())?;
        self.take(&name, place)?.size
    }

    /// A message was handed out.
    pub(super) fn lease(&mut self, name: &Text, holder: Holder) {
        self.change(name, |group| {
            group.leased += 1;
            group.holder = Some(holder);
        });
    }

    /// A message that was handed out is settled.
    pub(super) fn settled(&mut self, name: &Text) {
        self.change(name, |group| {
            group.leased = group.leased.saturating_sub(1);
            group.let_go();
        });
    }

    /// Gives a group to a holder until then: that of this name, or the first that is free.
    pub(super) fn accept(
        &mut self,
        name: Option<&Text>,
        holder: Holder,
        until_ms: TimestampMs,
    ) -> Result<Text, GroupError> {
        let name = match name {
            Some(name) => name.clone(),
            None => self.free.first().map(|(_, name)| name.clone()).ok_or(GroupError::NoneFree)?,
        };
        self.change(&name, |group| match group.holder {
            Some(other) if other != holder => Err(GroupError::Held),
            _ => {
                (group.holder, group.until_ms) = (Some(holder), Some(until_ms));
                Ok(())
            }
        })?;
        Ok(name)
    }

    /// A holder holds on, until then.
    pub(super) fn renew(
        &mut self,
        name: &Text,
        holder: Holder,
        until_ms: TimestampMs,
    ) -> Result<(), GroupError> {
        if self.by_name.get(name.as_bytes()).is_none_or(|group| group.holder != Some(holder)) {
            return Err(GroupError::NotHeld);
        }
        self.change(name, |group| group.until_ms = Some(until_ms));
        Ok(())
    }

    /// A holder lets go. It holds the group until all is settled that it was handed, so that order is kept.
    pub(super) fn release(&mut self, name: &Text, holder: Holder) {
        if self.by_name.get(name.as_bytes()).is_some_and(|group| group.holder == Some(holder)) {
            self.change(name, Group::end);
        }
    }

    /// The groups whose holders have run out of time. Each is let go when nothing of it is leased any more.
    pub(super) fn end(&mut self, now_ms: TimestampMs) -> Vec<Text> {
        let mut ended = Vec::new();
        while let Some((_, name)) = self.ends.first().filter(|(until_ms, _)| *until_ms <= now_ms).cloned() {
            self.change(&name, Group::end);
            ended.push(name);
        }
        ended
    }

    pub(super) fn next_end(&self) -> Option<TimestampMs> {
        self.ends.first().map(|(until_ms, _)| *until_ms)
    }

    /// The first message of a group that nobody holds, and its group; itself if it is in memory.
    pub(super) fn first_free(&self) -> Option<(Place, &Text, Option<&Arc<Message>>)> {
        let (place, name) = self.free.first()?;
        Some((*place, name, self.by_name.get(name)?.ready.get(place)?.message.as_ref()))
    }

    /// The message that a limit drops, and its group: the first of those that nobody holds, else of the others.
    pub(super) fn first_to_drop(&self) -> Option<(Place, Text)> {
        let free = self.free.first().map(|(place, name)| (*place, name));
        let held = || self.held.iter().map(|(_, place, name)| (*place, name)).min();
        free.or_else(held).map(|(place, name)| (place, name.clone()))
    }

    pub(super) fn state(&self, name: &Text) -> Option<&Bytes> {
        self.by_name.get(name.as_bytes())?.state.as_ref()
    }

    pub(super) fn set_state(&mut self, name: &Text, state: Option<Bytes>) {
        self.change(name, |group| group.state = state);
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (&Text, &Bytes)> {
        self.by_name.iter().filter_map(|(name, group)| Some((name, group.state.as_ref()?)))
    }

    pub(super) fn forget_states(&mut self) {
        self.by_name.values_mut().for_each(|group| group.state = None);
    }

    /// The messages that are in memory only and ready.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = (Place, &Arc<Message>)> {
        let ready = self.by_name.values().flat_map(|group| &group.ready);
        let memory = ready.filter(|(place, _)| !place.is_journaled());
        memory.filter_map(|(place, waiting)| Some((*place, waiting.message.as_ref()?)))
    }

    pub(super) fn is_ready(&self, place: Place) -> bool {
        self.by_name.values().any(|group| group.ready.contains_key(&place))
    }

    /// Takes out everything that is ready.
    pub(super) fn purge(&mut self) -> Vec<(Place, Waiting)> {
        let names: Vec<Text> = self.by_name.keys().cloned().collect();
        let mut purged = Vec::new();
        for name in names {
            purged.extend(self.change(&name, |group| std::mem::take(&mut group.ready)));
        }
        (self.ready, self.hot_bytes) = (0, 0);
        purged
    }
}
