//! One lane of a queue: messages of one priority, in order.
//!
//! A lane has a log of its own, and the offset of a message in it is its place: so a backlog of any length is two
//! numbers. Messages that are not journaled have places between the offsets: before the message that is journaled next.
//!
//! ```text
//!   start          cursor       hot_end      ready_end    end
//!     |  settled,    |  in memory  |  on disk    | in flight |
//!     |  leased or   |                           |           |
//!     |  returned    |<--------- ready --------->|           |
//! ```
//!
//! Invariants: what is below `cursor` and not settled is leased, returned, deferred or on its way out. Every live message from
//! `cursor` to `hot_end` is in `hot`. A message that is not journaled is handed out only after all journaled ones before
//! it are durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::Place;
use super::ranges::RangeSet;
use crate::Message;

/// The most messages of a lane that are kept in memory so that they need not be read.
const HOT_MESSAGES_MAX: usize = 4096;
/// The most bytes of them.
const HOT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Lane {
    number: u16,
    /// Everything below was settled and trimmed.
    pub(crate) start: u64,
    pub(crate) cursor: u64,
    /// Everything below is durable.
    pub(crate) ready_end: u64,
    /// The offset of the next message.
    pub(crate) end: u64,
    /// Live messages from `cursor` to `ready_end`.
    journaled_ready: u64,
    settled: RangeSet,
    /// Live, from the cursor on, and not handed out by their turn.
    aside: RangeSet,
    /// Settled, and no entry says so yet.
    dirty: RangeSet,
    /// Settled, and the entry that says so is on its way: by its offset in the state log.
    flying: VecDeque<(u64, RangeSet)>,
    hot: VecDeque<(u64, Arc<Message>)>,
    hot_end: u64,
    hot_bytes: usize,
    memory: VecDeque<(Place, Arc<Message>)>,
    /// What is settled is written down somewhere.
    survives: bool,
    next_memory: u64,
    /// Handed out once and back again.
    returned: BTreeMap<Place, Waiting>,
    /// How often a message came back in a way that counts.
    counts: BTreeMap<Place, u32>,
    /// Sizes of the messages from `cursor` on, where a limit needs them.
    sizes: Option<(u64, VecDeque<u32>)>,
}

/// A message that waits at a place of its own.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The bytes of its body. Where a limit counts them, they are known.
    pub(crate) size: Option<u64>,
    /// Itself, if it is in memory.
    pub(crate) message: Option<Arc<Message>>,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Head {
    /// This message.
    Ready(Place, Arc<Message>),
    /// This place, whose message has to be read first.
    Cold(Place),
}

impl Lane {
    pub(crate) fn new(number: u16, keep_sizes: bool) -> Self {
        Self::recovered(number, 0..0, keep_sizes)
    }

    /// A lane whose log holds these offsets.
    pub(crate) fn recovered(number: u16, offsets: Range<u64>, keep_sizes: bool) -> Self {
        Self {
            number,
            start: offsets.start,
            cursor: offsets.start,
            ready_end: offsets.end,
            end: offsets.end,
            journaled_ready: offsets.end - offsets.start,
            settled: RangeSet::default(),
            aside: RangeSet::default(),
            dirty: RangeSet::default(),
            flying: VecDeque::new(),
            hot: VecDeque::new(),
            hot_end: offsets.start,
            hot_bytes: 0,
            memory: VecDeque::new(),
            survives: true,
            next_memory: 0,
            returned: BTreeMap::new(),
            counts: BTreeMap::new(),
            sizes: keep_sizes.then(|| (offsets.end, VecDeque::new())),
        }
    }

    /// Nothing of it survives a restart, so nothing has to be written down.
    pub(crate) fn forgetful(self) -> Self {
        Self { survives: false, ..self }
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { lane: self.number, offset, memory: Place::JOURNALED }
    }

    /// Messages that can be handed out.
    pub(crate) fn ready(&self) -> u64 {
        self.journaled_ready + (self.memory_ready() + self.returned.len()) as u64
    }

    /// Messages on their way to the disk, or behind one.
    pub(crate) fn in_flight(&self) -> u64 {
        (self.end - self.ready_end) + (self.memory.len() - self.memory_ready()) as u64
    }

    /// Messages in memory only that have nothing before them that is still on its way to the disk. They lie in order.
    fn memory_ready(&self) -> usize {
        self.memory.partition_point(|(place, _)| place.offset <= self.ready_end)
    }

    pub(crate) fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }

    /// Gives a journaled message its offset.
    pub(crate) fn append(&mut self, message: &Arc<Message>, keep_hot: bool) -> Place {
        let offset = self.end;
        self.end += 1;
        self.push_size(offset, u32::try_from(message.size()).unwrap_or(u32::MAX));
        self.align_hot();
        let roomy = self.hot.len() < HOT_MESSAGES_MAX && self.hot_bytes < HOT_BYTES_MAX;
        if keep_hot && roomy && self.hot_end == offset {
            self.push_hot(offset, Arc::clone(message));
        }
        self.place(offset)
    }

    /// Gives a message its place that is not journaled.
    pub(crate) fn append_memory(&mut self, message: Arc<Message>) -> Place {
        let place = Place { lane: self.number, offset: self.end, memory: self.next_memory };
        self.next_memory += 1;
        self.memory.push_back((place, message));
        place
    }

    /// The messages that are in memory only and ready, or about to be.
    pub(crate) fn in_memory(&self) -> impl Iterator<Item = (Place, &Arc<Message>)> {
        let returned = self.returned.iter().filter(|(place, _)| !place.is_journaled());
        let returned = returned.filter_map(|(place, waiting)| Some((*place, waiting.message.as_ref()?)));
        self.memory.iter().map(|(place, message)| (*place, message)).chain(returned)
    }

    /// The place of a message that is not journaled and is kept elsewhere.
    pub(crate) fn memory_place(&mut self) -> Place {
        self.next_memory += 1;
        Place { lane: self.number, offset: self.end, memory: self.next_memory - 1 }
    }

    /// What is ready is kept elsewhere: it has no turn here.
    pub(crate) fn hand_over(&mut self) {
        (self.cursor, self.journaled_ready) = (self.ready_end, 0);
        self.forget_sizes();
    }

    /// Everything below `end` is durable.
    pub(crate) fn applied(&mut self, end: u64) {
        if end > self.ready_end {
            self.journaled_ready += end - self.ready_end;
            self.ready_end = end;
        }
    }

    fn push_hot(&mut self, offset: u64, message: Arc<Message>) {
        self.hot_bytes += message.footprint();
        self.hot.push_back((offset, message));
        self.hot_end = offset + 1;
    }

    fn pop_hot(&mut self) -> Option<Arc<Message>> {
        let (_, message) = self.hot.pop_front()?;
        self.hot_bytes -= message.footprint();
        Some(message)
    }

    /// Drops from memory what the cursor has passed.
    fn align_hot(&mut self) {
        while self.hot.front().is_some_and(|(offset, _)| *offset < self.cursor) {
            self.pop_hot();
        }
        self.hot_end = self.hot_end.max(self.cursor);
    }

    /// What comes next, without taking it.
    pub(crate) fn head(&mut self) -> Option<Head> {
        let place = self.head_place()?;
        let message = if let Some(waiting) = self.returned.get(&place) {
            waiting.message.clone()
        } else if place.is_journaled() {
            self.align_hot();
            self.hot
                .front()
                .filter(|(offset, _)| *offset == place.offset)
                .map(|(_, message)| Arc::clone(message))
        } else {
            self.memory.front().map(|(_, message)| Arc::clone(message))
        };
        Some(message.map_or(Head::Cold(place), |message| Head::Ready(place, message)))
    }

    fn head_place(&mut self) -> Option<Place> {
        let returned = self.returned.first_key_value().map(|(place, _)| *place);
        let memory = self.memory.front().map(|(place, _)| *place);
        let memory = memory.filter(|place| place.offset <= self.ready_end);
        let journaled = self.journaled_head();
        [returned, memory, journaled].into_iter().flatten().min()
    }

    fn journaled_head(&mut self) -> Option<Place> {
        if self.cursor < self.ready_end {
            self.cursor = self.next_waiting(self.cursor);
        }
        (self.cursor < self.ready_end).then(|| self.place(self.cursor))
    }

    /// The first offset from `from` on that waits for its turn.
    fn next_waiting(&self, from: u64) -> u64 {
        let mut next = self.settled.next_missing(from);
        while !self.aside.is_empty() {
            let skipped = self.settled.next_missing(self.aside.next_missing(next));
            if skipped == next {
                break;
            }
            next = skipped;
        }
        next
    }

    /// Takes the message at `place`, which [`Lane::head`] gave. Returns its size, if it is known.
    pub(crate) fn take(&mut self, place: Place) -> Option<u64> {
        if let Some(waiting) = self.returned.remove(&place) {
            return waiting.size;
        }
        if !place.is_journaled() {
            return self.memory.pop_front().map(|(_, message)| message.size() as u64);
        }
        self.cursor = place.offset + 1;
        self.journaled_ready -= 1;
        let size = self.forget_sizes();
        let hot = self.hot.front().filter(|(offset, _)| *offset == place.offset);
        let hot_size = hot.map(|(_, message)| message.size() as u64);
        self.align_hot();
        size.or(hot_size)
    }

    /// Sizes below the cursor are not needed any more. Returns that of the last message below it.
    fn forget_sizes(&mut self) -> Option<u64> {
        let (first, sizes) = self.sizes.as_mut()?;
        let mut last = None;
        while *first < self.cursor {
            last = sizes.pop_front().map(u64::from);
            *first += 1;
        }
        last
    }

    /// The message at `offset` has this size. In the order of offsets; nothing waits for its turn between them.
    pub(crate) fn push_size(&mut self, offset: u64, size: u32) {
        if let Some((first, sizes)) = &mut self.sizes {
            if sizes.is_empty() {
                *first = offset;
            }
            while *first + (sizes.len() as u64) < offset {
                sizes.push_back(0);
            }
            sizes.push_back(size);
        }
    }

    /// The size of a message that waits for its turn or is in flight, if it is known.
    fn size_at(&self, offset: u64) -> Option<u64> {
        let (first, sizes) = self.sizes.as_ref()?;
        sizes.get(usize::try_from(offset.checked_sub(*first)?).ok()?).map(|size| u64::from(*size))
    }

    /// Bytes of messages on their way to the disk, or behind one, if they are known.
    pub(crate) fn bytes_in_flight(&self) -> Option<u64> {
        let journaled = (self.ready_end..self.end).map(|offset| self.size_at(offset)).sum::<Option<u64>>()?;
        let memory = self.memory.iter().skip(self.memory_ready());
        Some(journaled + memory.map(|(_, message)| message.size() as u64).sum::<u64>())
    }

    /// Puts a message back where it was.
    pub(crate) fn put_back(&mut self, place: Place, waiting: Waiting) {
        self.returned.insert(place, waiting);
    }

    pub(crate) fn is_returned(&self, place: Place) -> bool {
        self.returned.contains_key(&place)
    }

    pub(crate) fn count(&self, place: Place) -> u32 {
        if self.counts.is_empty() { 0 } else { self.counts.get(&place).copied().unwrap_or(0) }
    }

    pub(crate) fn set_count(&mut self, place: Place, count: u32) {
        self.counts.insert(place, count);
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (&Place, &u32)> {
        self.counts.iter()
    }

    /// The message is done with.
    pub(crate) fn settle(&mut self, place: Place) {
        if !self.counts.is_empty() {
            self.counts.remove(&place);
        }
        if place.is_journaled() {
            self.settle_range(place.offset..place.offset + 1);
        }
    }

    fn settle_range(&mut self, range: Range<u64>) {
        self.settled.insert(range.clone());
        if self.survives {
            self.dirty.insert(range);
        }
    }

    /// What an entry of the state log says, in recovery.
    pub(crate) fn recover_settled(&mut self, ranges: &RangeSet) {
        for range in ranges.iter() {
            let range = range.start.max(self.start)..range.end.min(self.end);
            self.journaled_ready -= self.settled.insert(range);
        }
    }

    /// In recovery: a snapshot replaces what was read before it.
    pub(crate) fn forget_recovered(&mut self) {
        self.settled = RangeSet::default();
        self.counts.clear();
        self.journaled_ready = self.end - self.start;
    }

    /// In recovery: a live message is not to be handed out by its turn. Returns whether it is live.
    pub(crate) fn set_aside(&mut self, offset: u64) -> bool {
        let live = offset >= self.cursor && offset < self.end && !self.settled.contains(offset);
        if live {
            self.journaled_ready -= self.aside.insert(offset..offset + 1);
        }
        live
    }

    /// Settles everything that is ready but what is in memory only, which is taken out. Returns how many messages that were,
    /// and those.
    pub(crate) fn purge(&mut self) -> (u64, Vec<(Place, Arc<Message>)>) {
        let purged = self.ready();
        let mut taken: Vec<_> = self.memory.drain(..self.memory_ready()).collect();
        for (place, waiting) in std::mem::take(&mut self.returned) {
            match waiting.message.filter(|_| !place.is_journaled()) {
                Some(message) => taken.push((place, message)),
                None => self.settle(place),
            }
        }
        while let Some(place) = self.journaled_head() {
            let end = self.aside.next_member(place.offset).unwrap_or(u64::MAX).min(self.ready_end);
            self.settle_range(place.offset..end);
            self.cursor = end;
        }
        self.journaled_ready = 0;
        self.forget_sizes();
        self.align_hot();
        (purged, taken)
    }

    /// The offsets to be read so that the head can be handed out.
    pub(crate) fn cold(&self) -> Range<u64> {
        self.hot_end.max(self.cursor)..self.ready_end
    }

    /// The live messages of `read` were read, or are lost. Returns the sizes of those, where they are known.
    pub(crate) fn loaded(
        &mut self,
        read: Range<u64>,
        messages: Vec<(u64, Arc<Message>)>,
    ) -> Vec<Option<u64>> {
        self.align_hot();
        if self.hot_end < read.start || self.hot_end >= read.end {
            return Vec::new();
        }
        let mut lost = Vec::new();
        let mut expected = self.hot_end;
        for (offset, message) in messages {
            if offset < expected || offset >= read.end {
                continue;
            }
            lost.extend(self.live_in(expected..offset));
            if self.next_waiting(offset) == offset {
                self.push_hot(offset, message);
            }
            expected = offset + 1;
        }
        lost.extend(self.live_in(expected..read.end));
        self.hot_end = read.end;
        self.journaled_ready -= lost.len() as u64;
        lost.iter().for_each(|offset| self.settle(self.place(*offset)));
        lost.into_iter().map(|offset| self.size_at(offset)).collect()
    }

    /// A returned message was read, or is lost. Returns what was known of it if it is.
    pub(crate) fn loaded_returned(&mut self, place: Place, message: Option<Arc<Message>>) -> Option<Waiting> {
        if message.is_some() {
            self.returned.get_mut(&place)?.message = message;
            return None;
        }
        let lost = self.returned.remove(&place)?;
        self.settle(place);
        Some(lost)
    }

    fn live_in(&self, range: Range<u64>) -> Vec<u64> {
        let mut live = Vec::new();
        let mut offset = self.next_waiting(range.start);
        while offset < range.end {
            live.push(offset);
            offset = self.next_waiting(offset + 1);
        }
        live
    }

    pub(crate) fn is_settled(&self, offset: u64) -> bool {
        offset < self.start || self.settled.contains(offset)
    }

    /// How many of `offsets` are settled, and an entry on disk says so.
    pub(crate) fn settled_durably(&self, offsets: Range<u64>) -> u64 {
        let below = self.start.clamp(offsets.start, offsets.end) - offsets.start;
        let rest = offsets.start.max(self.start)..offsets.end;
        let not_yet: u64 = self.flying.iter().map(|(_, ranges)| ranges.count_in(rest.clone())).sum();
        below + self.settled.count_in(rest.clone()) - self.dirty.count_in(rest) - not_yet
    }

    pub(crate) fn is_settled_durably(&self, offset: u64) -> bool {
        self.settled_durably(offset..offset + 1) == 1
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What was settled since the last entry; the one at `entry` of the state log says so.
    pub(crate) fn take_changes(&mut self, entry: u64) -> Option<RangeSet> {
        if self.dirty.is_empty() {
            return None;
        }
        let ranges = std::mem::take(&mut self.dirty);
        self.flying.push_back((entry, ranges.clone()));
        Some(ranges)
    }

    pub(crate) fn first_live(&self, from: u64) -> Option<u64> {
        let first = self.settled.next_missing(from.max(self.start));
        (first < self.end).then_some(first)
    }

    pub(crate) fn live_count(&self) -> u64 {
        self.end - self.start - self.settled.len()
    }

    pub(crate) fn dirty_ranges(&self) -> usize {
        self.dirty.range_count()
    }

    pub(crate) fn settled_ranges(&self) -> usize {
        self.settled.range_count()
    }

    /// In recovery: how often messages came back that are settled since does not matter any more.
    pub(crate) fn forget_settled_counts(&mut self) {
        let settled = &self.settled;
        self.counts.retain(|place, _| !settled.contains(place.offset));
    }

    /// Everything that is settled, for a snapshot at `entry` of the state log.
    pub(crate) fn take_all(&mut self, entry: u64) -> &RangeSet {
        if !self.dirty.is_empty() {
            self.flying.push_back((entry, std::mem::take(&mut self.dirty)));
        }
        &self.settled
    }

    /// Entries of the state log below `end` are durable.
    pub(crate) fn changes_applied(&mut self, end: u64) {
        while self.flying.front().is_some_and(|(entry, _)| *entry < end) {
            self.flying.pop_front();
        }
    }

    /// Where the log can begin: everything below is settled, and an entry on disk says so.
    pub(crate) fn trimmable(&self) -> u64 {
        let settled = self.settled.next_missing(self.start);
        let flying = self.flying.iter().filter_map(|(_, ranges)| ranges.next_member(0)).min();
        let dirty = self.dirty.next_member(0);
        [Some(settled), flying, dirty].into_iter().flatten().min().unwrap_or(settled)
    }

    /// The log is trimmed: forgets what is below its start.
    pub(crate) fn trim(&mut self, start: u64) {
        self.start = start;
        // What is settled has no turn, and is not known to be settled any more.
        self.cursor = self.cursor.max(start);
        self.settled.remove_below(start);
    }
}
