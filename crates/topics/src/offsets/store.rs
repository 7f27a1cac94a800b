//! Committed offsets in memory, as the `offsets` log describes them.
//!
//! Built for many groups with many partitions each: 32 bytes an offset in a sorted array per group and topic, topic
//! names shared between groups, metadata and explicit expiry boxed because they are rare. 10,000 groups with 100 offsets
//! each take about 50 MB, groups included.
//!
//! Invariant: the store holds exactly what the applied records say. Commits that are decided but not yet durable are
//! only counted (`in_flight`), so that a deletion decided meanwhile covers them too and an expiry leaves them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::TimestampMs;
use uuid::Uuid;

use super::record::{OffsetValue, Record, RecordKey};

/// What a group committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group will read.
    pub offset: i64,
    /// The leader epoch of the last record consumed, where the client knew it (KIP-320). Never negative.
    pub leader_epoch: Option<i32>,
    /// Whatever the client wants to find again beside its offset.
    pub metadata: Box<str>,
    /// Wall-clock time of the commit.
    pub committed_at_ms: TimestampMs,
    /// Explicit expiry, from a retention time in an old OffsetCommit request (versions 2 to 4).
    pub expires_at_ms: Option<TimestampMs>,
}

/// One committed offset with the partition that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The topic's id when the offset was committed, where it was known.
    pub topic_id: Option<Uuid>,
    /// The partition's index.
    pub partition: i32,
    /// What was committed.
    pub committed: CommittedOffset,
}

/// The partitions of one commit on its way to the journal, by topic.
pub(crate) type CommitKeys = Arc<[(Arc<str>, Box<[i32]>)]>;

/// All committed offsets of a shard of groups.
#[derive(Debug, Default)]
pub struct OffsetStore {
    groups: BTreeMap<Arc<str>, Vec<TopicOffsets>>,
    in_flight: BTreeMap<Arc<str>, Vec<CommitKeys>>,
    topic_names: BTreeSet<Arc<str>>,
    len: usize,
}

/// One group's offsets in one topic; `slots` is sorted by partition and never empty.
#[derive(Debug)]
struct TopicOffsets {
    name: Arc<str>,
    id: Option<Uuid>,
    slots: Vec<Slot>,
}

/// [`CommittedOffset`] packed: an absent leader epoch is -1, and what is rare is behind a pointer.
#[derive(Debug)]
struct Slot {
    offset: i64,
    committed_at_ms: TimestampMs,
    rare: Option<Box<Rare>>,
    partition: i32,
    leader_epoch: i32,
}

#[derive(Debug)]
struct Rare {
    metadata: Box<str>,
    expires_at_ms: Option<TimestampMs>,
}

impl Slot {
    fn pack(partition: i32, committed: CommittedOffset) -> Self {
        let CommittedOffset { offset, leader_epoch, metadata, committed_at_ms, expires_at_ms } = committed;
        let is_rare = !metadata.is_empty() || expires_at_ms.is_some();
        let rare = is_rare.then(|| Box::new(Rare { metadata, expires_at_ms }));
        Self { offset, committed_at_ms, rare, partition, leader_epoch: leader_epoch.unwrap_or(-1) }
    }

    fn unpack(&self) -> CommittedOffset {
        let rare = self.rare.as_deref();
        CommittedOffset {
            offset: self.offset,
            leader_epoch: Some(self.leader_epoch).filter(|&epoch| epoch >= 0),
            metadata: rare.map(|rare| rare.metadata.clone()).unwrap_or_default(),
            committed_at_ms: self.committed_at_ms,
            expires_at_ms: self.expires_at_ms(),
        }
    }

    fn expires_at_ms(&self) -> Option<TimestampMs> {
        self.rare.as_deref().and_then(|rare| rare.expires_at_ms)
    }
}

impl OffsetStore {
    /// How many offsets are stored.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no offset is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `group_id` has an offset, stored or on its way.
    pub fn has_offsets(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id) || self.in_flight.contains_key(group_id)
    }

    /// What `group_id` committed for a partition.
    ///
    /// With a `topic_id`, an offset that was committed for an earlier topic of the same name is not found.
    pub fn get(
        &self,
        group_id: &str,
        topic: &str,
        topic_id: Option<Uuid>,
        partition: i32,
    ) -> Option<CommittedOffset> {
        let topic = find_topic(self.groups.get(group_id)?, topic).ok()?;
        if topic_id.is_some() && topic.id.is_some() && topic.id != topic_id {
            return None;
        }
        let at = find_slot(&topic.slots, partition).ok()?;
        Some(topic.slots[at].unpack())
    }

    /// All that `group_id` committed, ordered by topic and partition.
    pub fn group(&self, group_id: &str) -> impl Iterator<Item = PartitionOffset<'_>> {
        self.groups.get(group_id).into_iter().flatten().flat_map(|topic| {
            topic.slots.iter().map(|slot| PartitionOffset {
                topic: &topic.name,
                topic_id: topic.id,
                partition: slot.partition,
                committed: slot.unpack(),
            })
        })
    }

    /// The names of all topics that some group has an offset in, in order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topic_names.iter().map(AsRef::as_ref)
    }

    /// The groups that have stored offsets, in order.
    pub fn group_ids(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(AsRef::as_ref)
    }

    /// Takes over a durable record.
    pub(crate) fn put(&mut self, group_id: &str, topic: &str, partition: i32, value: OffsetValue) {
        let name = self.intern(topic);
        if !self.groups.contains_key(group_id) {
            self.groups.insert(group_id.into(), Vec::new());
        }
        let Some(topics) = self.groups.get_mut(group_id) else { return };
        let at = topics.binary_search_by(|known| known.name.as_ref().cmp(topic)).unwrap_or_else(|at| {
            topics.insert(at, TopicOffsets { name, id: None, slots: Vec::new() });
            at
        });
        let topic = &mut topics[at];
        topic.id = value.topic_id.or(topic.id);
        let slot = Slot::pack(partition, value.committed);
        match find_slot(&topic.slots, partition) {
            Ok(at) => topic.slots[at] = slot,
            Err(at) => {
                topic.slots.insert(at, slot);
                self.len += 1;
            }
        }
    }

    /// Takes over a durable tombstone.
    pub(crate) fn remove(&mut self, group_id: &str, topic: &str, partition: i32) {
        let Some(topics) = self.groups.get_mut(group_id) else { return };
        let Ok(at) = topics.binary_search_by(|known| known.name.as_ref().cmp(topic)) else { return };
        let Ok(slot) = find_slot(&topics[at].slots, partition) else { return };
        topics[at].slots.remove(slot);
        self.len -= 1;
        if topics[at].slots.is_empty() {
            topics.remove(at);
        }
        if topics.is_empty() {
            self.groups.remove(group_id);
        }
        self.release(topic);
    }

    fn intern(&mut self, topic: &str) -> Arc<str> {
        if let Some(known) = self.topic_names.get(topic) {
            return Arc::clone(known);
        }
        let name: Arc<str> = topic.into();
        self.topic_names.insert(Arc::clone(&name));
        name
    }

    fn release(&mut self, topic: &str) {
        if self.topic_names.get(topic).is_some_and(|name| Arc::strong_count(name) == 1) {
            self.topic_names.remove(topic);
        }
    }

    /// Notes that a commit for `keys` is on its way to the journal.
    pub(crate) fn begin(&mut self, group_id: &Arc<str>, keys: CommitKeys) {
        self.in_flight.entry(Arc::clone(group_id)).or_default().push(keys);
    }

    /// Notes that the commit for `keys` has arrived or failed.
    pub(crate) fn end(&mut self, group_id: &str, keys: &CommitKeys) {
        let Some(commits) = self.in_flight.get_mut(group_id) else { return };
        if let Some(at) = commits.iter().position(|commit| Arc::ptr_eq(commit, keys)) {
            commits.swap_remove(at);
        }
        if commits.is_empty() {
            self.in_flight.remove(group_id);
        }
    }

    /// Whether a commit of `group_id` is on its way.
    pub(crate) fn is_in_flight(&self, group_id: &str) -> bool {
        self.in_flight.contains_key(group_id)
    }

    /// The partitions that a group has offsets for in `topic`, stored or on their way.
    fn partitions(&self, group_id: &str, topic: &str) -> BTreeSet<i32> {
        let stored = self.groups.get(group_id).and_then(|topics| find_topic(topics, topic).ok());
        let coming = self.in_flight.get(group_id).into_iter().flatten().flat_map(|commit| commit.iter());
        let coming =
            coming.filter(|(name, _)| name.as_ref() == topic).flat_map(|(_, partitions)| partitions.iter());
        stored
            .into_iter()
            .flat_map(|topic| &topic.slots)
            .map(|slot| slot.partition)
            .chain(coming.copied())
            .collect()
    }

    /// The topics that a group has offsets in, stored or on their way.
    fn topics_of(&self, group_id: &str) -> BTreeSet<Arc<str>> {
        let stored = self.groups.get(group_id).into_iter().flatten().map(|topic| Arc::clone(&topic.name));
        let coming = self.in_flight.get(group_id).into_iter().flatten().flat_map(|commit| commit.iter());
        stored.chain(coming.map(|(name, _)| Arc::clone(name))).collect()
    }

    /// Tombstones for everything that `group_id` committed.
    pub(crate) fn remove_group(&self, group_id: &str) -> Vec<Record> {
        let topics = self.topics_of(group_id);
        topics.iter().flat_map(|topic| self.remove_topic_of(group_id, topic)).collect()
    }

    /// Tombstones for everything that `group_id` committed in `topic`.
    pub(crate) fn remove_topic_of(&self, group_id: &str, topic: &str) -> Vec<Record> {
        let partitions = self.partitions(group_id, topic);
        partitions.into_iter().map(|partition| tombstone(group_id, topic, partition)).collect()
    }

    /// Tombstones for those of `partitions` that there is something to remove of.
    pub(crate) fn remove_partitions(&self, group_id: &str, topic: &str, partitions: &[i32]) -> Vec<Record> {
        let existing = self.partitions(group_id, topic);
        let removed = partitions.iter().filter(|partition| existing.contains(partition));
        removed.map(|&partition| tombstone(group_id, topic, partition)).collect()
    }

    /// Tombstones for what groups committed in `topic`, for a topic that is deleted.
    pub(crate) fn remove_topic(&self, topic: &str) -> Vec<Record> {
        let groups: BTreeSet<&Arc<str>> = self.groups.keys().chain(self.in_flight.keys()).collect();
        groups.into_iter().flat_map(|group_id| self.remove_topic_of(group_id, topic)).collect()
    }

    /// Tombstones for the partitions of `topic` that were committed under another topic id than `topic_id`: the
    /// topic was deleted and made anew.
    pub(crate) fn remove_other_incarnation(
        &self,
        group_id: &str,
        topic: &str,
        topic_id: Option<Uuid>,
    ) -> Vec<Record> {
        let stored = self.groups.get(group_id).and_then(|topics| find_topic(topics, topic).ok());
        match stored {
            Some(stored) if topic_id.is_some() && stored.id.is_some() && stored.id != topic_id => {
                stored.slots.iter().map(|slot| tombstone(group_id, topic, slot.partition)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tombstones for the offsets of `group_id` that have expired, and whether nothing is left then.
    ///
    /// Topics for which `keeps` holds are left alone, and so is a group with a commit on its way.
    pub(crate) fn expire(
        &self,
        group_id: &str,
        keeps: impl Fn(&str) -> bool,
        is_expired: impl Fn(&Expiry) -> bool,
    ) -> (Vec<Record>, bool) {
        let mut records = Vec::new();
        let mut stored = 0;
        for topic in self.groups.get(group_id).into_iter().flatten() {
            stored += topic.slots.len();
            if !keeps(&topic.name) {
                let expired = topic.slots.iter().filter(|slot| {
                    let (committed_at_ms, expires_at_ms) = (slot.committed_at_ms, slot.expires_at_ms());
                    is_expired(&Expiry { committed_at_ms, expires_at_ms })
                });
                records.extend(expired.map(|slot| tombstone(group_id, &topic.name, slot.partition)));
            }
        }
        let nothing_left = records.len() == stored && !self.is_in_flight(group_id);
        (records, nothing_left)
    }
}

/// What decides whether an offset has expired.
pub(crate) struct Expiry {
    pub(crate) committed_at_ms: TimestampMs,
    pub(crate) expires_at_ms: Option<TimestampMs>,
}

fn find_topic<'a>(topics: &'a [TopicOffsets], name: &str) -> Result<&'a TopicOffsets, usize> {
    topics.binary_search_by(|topic| topic.name.as_ref().cmp(name)).map(|at| &topics[at])
}

fn find_slot(slots: &[Slot], partition: i32) -> Result<usize, usize> {
    slots.binary_search_by_key(&partition, |slot| slot.partition)
}

fn tombstone(group_id: &str, topic: &str, partition: i32) -> Record {
    Record { key: RecordKey::Offset { group_id, topic, partition }.encode(), value: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{CommittedOffset, OffsetStore, OffsetValue, Slot};

    fn value(offset: i64) -> OffsetValue {
        let metadata = if offset % 3 == 0 { "m".into() } else { "".into() };
        let committed =
            CommittedOffset { offset, leader_epoch: None, metadata, committed_at_ms: 1, expires_at_ms: None };
        OffsetValue { committed, topic_id: None }
    }

    #[test]
    fn an_offset_takes_thirty_two_bytes() {
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn an_offset_of_a_deleted_topic_is_not_found_by_the_id_of_its_successor() {
        let mut store = OffsetStore::default();
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        store.put("g", "t", 0, OffsetValue { topic_id: Some(old), ..value(7) });
        assert_eq!(store.get("g", "t", Some(old), 0).map(|found| found.offset), Some(7));
        assert_eq!(store.get("g", "t", None, 0).map(|found| found.offset), Some(7));
        assert_eq!(store.get("g", "t", Some(new), 0), None);
        assert_eq!(store.remove_other_incarnation("g", "t", Some(new)).len(), 1);
    }

    #[test]
    fn topic_names_are_forgotten_with_their_last_offset() {
        let mut store = OffsetStore::default();
        store.put("a", "t", 0, value(1));
        store.put("b", "t", 0, value(1));
        store.remove("a", "t", 0);
        assert_eq!(store.topics().collect::<Vec<_>>(), ["t"]);
        store.remove("b", "t", 0);
        assert_eq!(store.topics().count(), 0);
        assert!(store.is_empty() && store.group_ids().next().is_none());
    }

    #[test]
    fn a_commit_in_flight_is_covered_by_a_deletion() {
        let mut store = OffsetStore::default();
        store.put("g", "t", 0, value(1));
        let keys = [("t".into(), [0, 4].into())].into();
        store.begin(&"g".into(), std::sync::Arc::clone(&keys));
        assert_eq!(store.remove_group("g").len(), 2);
        assert_eq!(store.remove_topic("t").len(), 2);
        store.end("g", &keys);
        assert_eq!(store.remove_group("g").len(), 1);
    }

    proptest! {
        /// Against a plain map.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0..3_u8, 0..3_u8, 0..5_i32, any::<Option<i8>>()), 0..200)) {
            let (mut store, mut model) = (OffsetStore::default(), BTreeMap::new());
            for (group, topic, partition, offset) in steps {
                let (group, topic) = (format!("g{group}"), format!("t{topic}"));
                let key = (group.clone(), topic.clone(), partition);
                match offset {
                    Some(offset) => {
                        store.put(&group, &topic, partition, value(offset.into()));
                        model.insert(key, value(offset.into()).committed);
                    }
                    None => {
                        store.remove(&group, &topic, partition);
                        model.remove(&key);
                    }
                }
            }
            prop_assert_eq!(store.len(), model.len());
            let groups: Vec<_> = store.group_ids().map(str::to_owned).collect();
            let found: BTreeMap<_, _> = groups.iter().flat_map(|group| store.group(group).map(|found| {
                ((group.clone(), found.topic.to_owned(), found.partition), found.committed)
            })).collect();
            prop_assert_eq!(found, model);
        }
    }
}
