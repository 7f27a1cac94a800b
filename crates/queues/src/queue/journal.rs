//! The state log of a queue: what is written to it, and how a queue is found again.
//!
//! Entries say what changed since the one before. When they have become longer than the whole state is, the next one
//! is a snapshot and the log is trimmed to it, so the log stays about as long as what it says. Recovery knows from the journal
//! which offsets each lane holds, and reads the state log; messages are read only when they are wanted.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::entry::{self, EntryWriter, Operation};
use super::groups::{Groups, group_of};
use super::lane::{Lane, Waiting};
use super::moves::Movement;
use super::{Deferred, Definition, LANE_DELAYED, Place, Queue};
use crate::{DecodeError, Message, TimestampMs};

/// Entries behind a snapshot may take so many bytes, or twice as many as the snapshot did, before the next one.
const SNAPSHOT_AFTER_MIN: usize = 16 << 10;
/// The most bytes of an operation, beside text and bytes in it.
const OPERATION: usize = 32;
/// A lane's log is trimmed when so many messages would go.
const TRIM_STEP: u64 = 1024;

/// What is to be written to the state log, and how far it goes.
#[derive(Debug, Default)]
pub(super) struct StateLog {
    end: u64,
    operations: Vec<Operation>,
    since_snapshot: usize,
    snapshot_len: usize,
    memory: u64,
}

impl StateLog {
    pub(super) fn note(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// A number for a message that has no place in a log.
    pub(super) fn next_memory(&mut self) -> u64 {
        self.memory += 1;
        self.memory
    }

    fn wants_snapshot(&self) -> bool {
        self.since_snapshot > SNAPSHOT_AFTER_MIN.max(2 * self.snapshot_len)
    }
}

fn operation_len_max(operation: &Operation) -> usize {
    match operation {
        Operation::Group { name, state } => OPERATION + name.len() + state.as_ref().map_or(0, Bytes::len),
        Operation::Move(movement) => movement.len_max(),
        _ => OPERATION,
    }
}

/// One entry for the state log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Its offset.
    pub offset: u64,
    /// What it says.
    pub payload: Bytes,
    /// It holds all of the state: the log can be trimmed to it.
    pub is_snapshot: bool,
}

impl Queue {
    /// Whether [`Queue::take_entry`] has something to say.
    pub fn has_changes(&self) -> bool {
        self.definition.survives()
            && (!self.state.operations.is_empty() || self.lanes.values().any(Lane::has_changes))
    }

    /// Whether it has or had messages whose bodies lie in a log that queues share.
    pub fn shares(&self) -> bool {
        self.shares
    }

    /// Notes that it has such messages. The next entry says so; it has to be in the same group as the first of them.
    pub fn note_shares(&mut self) {
        if !std::mem::replace(&mut self.shares, true) {
            self.state.note(Operation::Shares);
        }
    }

    /// Whether an entry says that it has or had journaled messages with a time to live of their own. The first one that does
    /// has to be in the same group as the first of them.
    pub fn says_limited(&self) -> bool {
        self.says_limited
    }

    /// The first live message of a lane from `from` on, if there is one that is not in flight.
    pub fn first_live(&self, lane: u16, from: u64) -> Option<u64> {
        self.lanes.get(&lane)?.first_live(from)
    }

    /// How many messages of a lane are live, whoever holds them.
    pub fn live_count(&self, lane: u16) -> u64 {
        self.lanes.get(&lane).map_or(0, Lane::live_count)
    }

    /// What changed since the last entry, to be written to the state log. A queue that does not survive has none.
    pub fn take_entry(&mut self) -> Option<StateEntry> {
        if !self.definition.survives() {
            self.state.operations.clear();
            return None;
        }
        if !self.has_changes() {
            return None;
        }
        let is_snapshot = self.state.wants_snapshot();
        let payload = if is_snapshot { self.snapshot() } else { self.changes() };
        let offset = self.state.end;
        self.state.end += 1;
        self.state.since_snapshot += payload.len();
        if is_snapshot {
            (self.state.snapshot_len, self.state.since_snapshot) = (payload.len(), 0);
        }
        Some(StateEntry { offset, payload, is_snapshot })
    }

    /// The most bytes that [`Queue::take_entry`] can give now.
    pub fn entry_len_max(&self) -> usize {
        const RANGE: usize = 20;
        let mut len = 64 + self.state.operations.iter().map(operation_len_max).sum::<usize>();
        let snapshot = self.state.wants_snapshot();
        for lane in self.lanes.values() {
            len += 32 + RANGE * lane.dirty_ranges();
            if snapshot {
                len += RANGE * lane.settled_ranges() + OPERATION * lane.counts().count();
            }
        }
        if !snapshot {
            return len;
        }
        let states = self.groups.iter().flat_map(Groups::states);
        let states: usize = states.map(|(name, state)| OPERATION + name.len() + state.len()).sum();
        let moves: usize = self.moves.iter().map(Movement::len_max).sum();
        len + states + moves + OPERATION * (self.deferred.len() + self.seen.len())
    }

    /// The offset of the next entry.
    pub fn state_end(&self) -> u64 {
        self.state.end
    }

    fn changes(&mut self) -> Bytes {
        let mut out = EntryWriter::new();
        for (&number, lane) in &mut self.lanes {
            if let Some(ranges) = lane.take_changes(self.state.end) {
                out.put(&Operation::Settled { lane: number, ranges });
            }
        }
        for operation in std::mem::take(&mut self.state.operations) {
            out.put(&operation);
        }
        out.finish()
    }

    fn snapshot(&mut self) -> Bytes {
        let mut out = EntryWriter::new();
        out.put(&Operation::Snapshot);
        self.state.operations.clear();
        for (&number, lane) in &mut self.lanes {
            let ranges = lane.take_all(self.state.end).clone();
            if !ranges.is_empty() {
                out.put(&Operation::Settled { lane: number, ranges });
            }
            for (place, &count) in lane.counts().filter(|(place, _)| place.is_journaled()) {
                out.put(&Operation::Returned { lane: number, offset: place.offset, count });
            }
        }
        for place in self.deferred.keys().filter(|place| place.is_journaled()) {
            out.put(&Operation::Deferred { lane: place.lane, offset: place.offset, is: true });
        }
        for (identity, until_ms) in self.seen.iter() {
            out.put(&Operation::Seen { identity: *identity, until_ms });
        }
        for (name, state) in self.groups.iter().flat_map(Groups::states) {
            out.put(&Operation::Group { name: name.clone(), state: Some(state.clone()) });
        }
        for movement in self.moves.iter() {
            out.put(&Operation::Move(movement.clone()));
        }
        if self.says_limited {
            out.put(&Operation::Limited);
        }
        if self.shares {
            out.put(&Operation::Shares);
        }
        out.finish()
    }

    /// Entries of the state log below `end` are durable.
    pub fn state_applied(&mut self, end: u64) {
        self.lanes.values_mut().for_each(|lane| lane.changes_applied(end));
    }

    /// The lanes whose logs can be trimmed, and to where. With `eager` also where it frees little.
    pub fn take_trims(&mut self, eager: bool) -> Vec<(u16, u64)> {
        let step = if eager { 1 } else { TRIM_STEP };
        let mut trims = Vec::new();
        for (&number, lane) in &mut self.lanes {
            let start = lane.trimmable();
            if start >= lane.start + step {
                lane.trim(start);
                trims.push((number, start));
            }
        }
        trims
    }

    /// Whether any lane's log can be trimmed.
    pub fn has_trims(&self) -> bool {
        self.lanes.values().any(|lane| lane.trimmable() > lane.start)
    }

    /// In recovery: a queue whose logs hold these offsets. Then come the entries of its state log
    /// ([`Queue::recover_entry`]), then the messages of which more has to be known ([`Queue::recover_message`]).
    pub fn recover(
        definition: Arc<Definition>,
        lanes: impl IntoIterator<Item = (u16, Range<u64>)>,
        state_end: u64,
    ) -> Self {
        let keep_sizes = definition.options.bytes_max.is_some();
        let mut queue = Self::new(definition);
        queue.state.end = state_end;
        for (number, offsets) in lanes {
            let keep_sizes = keep_sizes && number != LANE_DELAYED;
            queue.lanes.insert(number, Lane::recovered(number, offsets, keep_sizes));
        }
        queue
    }

    /// In recovery: the next entry of the state log.
    ///
    /// # Errors
    /// If it is damaged, or from a newer program.
    pub fn recover_entry(&mut self, payload: Bytes) -> Result<(), DecodeError> {
        self.state.since_snapshot += payload.len();
        let len = payload.len();
        for operation in entry::read(payload)? {
            self.recover_operation(operation, len);
        }
        Ok(())
    }

    fn recover_operation(&mut self, operation: Operation, entry_len: usize) {
        match operation {
            Operation::Settled { lane, ranges } => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.recover_settled(&ranges);
                }
            }
            Operation::Returned { lane, offset, count } => {
                if let Some(found) = self.lanes.get_mut(&lane) {
                    found.set_count(Place::journaled(lane, offset), count);
                }
            }
            Operation::Deferred { lane, offset, is } => {
                let place = Place::journaled(lane, offset);
                if is {
                    self.deferred.insert(place, Deferred::default())
                } else {
                    self.deferred.remove(&place)
                };
            }
            Operation::Seen { identity, until_ms } => self.seen.remember(identity, until_ms),
            Operation::Group { name, state } => {
                if let Some(groups) = &mut self.groups {
                    groups.set_state(&name, state);
                }
            }
            Operation::Snapshot => {
                (self.state.snapshot_len, self.state.since_snapshot) = (entry_len, 0);
                self.lanes.values_mut().for_each(Lane::forget_recovered);
                self.deferred.clear();
                self.seen.clear();
                self.moves.clear();
                if let Some(groups) = &mut self.groups {
                    groups.forget_states();
                }
            }
            Operation::Limited => (self.limited, self.says_limited) = (true, true),
            Operation::Shares => self.shares = true,
            Operation::Move(movement) => self.moves.recover(movement),
            Operation::Moved { number, moved } => self.moves.recover_moved(number, moved),
        }
    }

    /// In recovery, behind the entries: what is settled or deferred is not ready.
    pub fn finish_entries(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.forget_settled_counts();
        }
        let mut kept = std::mem::take(&mut self.deferred);
        kept.retain(|place, _| {
            self.lanes.get_mut(&place.lane).is_some_and(|lane| lane.set_aside(place.offset))
        });
        self.deferred = kept;
        if self.groups.is_some() {
            self.lanes.range_mut(..LANE_DELAYED).for_each(|(_, lane)| lane.hand_over());
        }
    }

    /// Whether more has to be known of the messages of a lane than where they are: each of its live messages is to be
    /// given to [`Queue::recover_message`], in order.
    pub fn wants_messages(&self, lane: u16) -> bool {
        lane == LANE_DELAYED || self.options().wants_messages()
    }

    /// In recovery: a live message.
    pub fn recover_message(&mut self, place: Place, message: &Message, now_ms: TimestampMs) {
        if place.lane == LANE_DELAYED {
            let due_ms = self.options().due_ms(message, TimestampMs::MIN).unwrap_or(now_ms);
            self.delay(due_ms, place, None);
            return;
        }
        if let Some(deferred) = self.deferred.get_mut(&place) {
            deferred.group = Some(group_of(message));
            deferred.size = Some(message.size() as u64);
            return;
        }
        let size = u32::try_from(message.size()).unwrap_or(u32::MAX);
        if let Some(groups) = &mut self.groups {
            self.bytes += u64::from(size);
            let waiting = Waiting { size: Some(size.into()), message: None };
            return groups.put(place, &group_of(message), waiting);
        }
        self.lane(place.lane).push_size(place.offset, size);
        self.bytes += u64::from(size);
    }

    /// In recovery: the messages of a lane take about so many bytes.
    pub fn recover_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}
