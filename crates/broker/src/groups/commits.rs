//! Committed offsets: store them and find them again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use annals_clock::{TimestampMs, Uuid};
use annals_topics::group::{self, CommitRequest, FetchError, GroupCoordinator, Output, Response};
use annals_topics::offsets::{self, PartitionCommit, PartitionCommitError, TopicCommit, TopicCommitted};

use super::unexpected;
use crate::api::Caller;
use crate::api::offsets::{
    CommitError, CommitOffset, CommitOffsets, CommittedOffset, FetchOffsets, FetchOffsetsError, GroupMember,
    PartitionOffset, PartitionOffsetError, TopicOffsets,
};
use crate::api::topics::TopicRef;
use crate::table::{Table, TopicEntry};
use crate::{Broker, Inner};

impl Broker {
    /// Commits offsets. Durable on return; one result for each, in the order of the request.
    ///
    /// An expiry is taken from the first offset that has one: clients set it for a whole request. Dropping the future
    /// does not take the commit back.
    pub async fn commit_offsets(
        &self,
        _caller: &Caller,
        request: CommitOffsets,
    ) -> Vec<Result<(), CommitError>> {
        let inner = &*self.inner;
        let CommitOffsets { group, member, offsets } = request;
        let count = offsets.len();
        let mut sorted = Sorted::new(count);
        let expires_at_ms = offsets.iter().find_map(|offset| offset.expires_at_ms);
        // Topics are looked up under the groups' lock: a topic that is deleted meanwhile takes its offsets with it.
        let waiting = inner.groups.submit(&inner.clock, |groups, waiter, now| {
            sorted.sort(&inner.state.table, offsets);
            if sorted.topics.is_empty() {
                return Output::default();
            }
            let request = CommitRequest {
                caller: caller_of(&group, member.as_ref()),
                retention: expires_at_ms.map(|at| retention(at, now.wall_ms)),
                topics: std::mem::take(&mut sorted.topics),
            };
            groups.commit(&request, waiter, now)
        });
        let waiting = match waiting {
            Ok(_) if sorted.places.is_empty() => return sorted.results,
            Ok(waiting) => waiting,
            Err(refused) => return vec![Err(CommitError::Unavailable(refused.to_string())); count],
        };
        match waiting.answer().await {
            Ok(Response::Commit(Ok(outcome))) => sorted.settle(outcome),
            Ok(Response::Commit(Err(error))) => {
                sorted.fail(&inner.commit_error(error, &group, member.as_ref()))
            }
            Ok(other) => sorted.fail(&CommitError::Unavailable(unexpected(&other))),
            Err(refused) => sorted.fail(&CommitError::Unavailable(refused.to_string())),
        }
    }

    /// What a group has committed, as far as it is durable.
    ///
    /// # Errors
    /// See [`FetchOffsetsError`].
    pub async fn fetch_offsets(
        &self,
        _caller: &Caller,
        request: FetchOffsets,
    ) -> Result<Vec<TopicOffsets>, FetchOffsetsError> {
        let table = &self.inner.state.table;
        let found = self.inner.groups.look(|groups| match request.topics {
            None => all_offsets(groups, table, &request.group),
            Some(topics) => {
                topics.into_iter().map(|topic| some_offsets(groups, table, &request.group, topic)).collect()
            }
        });
        found.map_err(|error| match error {
            FetchError::CoordinatorLoading => FetchOffsetsError::Unavailable(error.to_string()),
        })
    }
}

impl Inner {
    fn commit_error(
        &self,
        error: group::CommitError,
        group: &Arc<str>,
        member: Option<&GroupMember>,
    ) -> CommitError {
        use group::CommitError as Cause;
        let group = || Arc::clone(group);
        let member_id = || member.map_or_else(|| "".into(), |member| Arc::clone(&member.member_id));
        match error {
            Cause::CoordinatorLoading | Cause::CoordinatorNotAvailable => {
                CommitError::Unavailable(error.to_string())
            }
            Cause::GroupIdNotFound if group().is_empty() => CommitError::InvalidGroup(group()),
            Cause::GroupIdNotFound | Cause::IllegalGeneration => {
                let described = self.groups.look(|groups| groups.describe(&group()));
                let current = described.map_or(0, |group| group.generation);
                let got = member.map_or(-1, |member| member.generation);
                CommitError::IllegalGeneration { group: group(), current, got }
            }
            Cause::UnknownMember => CommitError::UnknownMember { group: group(), member_id: member_id() },
            Cause::FencedInstanceId => {
                let instance = member.and_then(|member| member.instance_id.clone());
                CommitError::FencedInstance(instance.unwrap_or_else(|| "".into()))
            }
            Cause::RebalanceInProgress => CommitError::RebalanceInProgress(group()),
            Cause::NotStored(error) => CommitError::Unavailable(self.why_not_stored(error)),
        }
    }
}

/// The offsets of one commit, by topic, with the place of each in the request.
struct Sorted {
    topics: Vec<TopicCommit>,
    places: Vec<Vec<usize>>,
    index: HashMap<Uuid, usize>,
    results: Vec<Result<(), CommitError>>,
}

impl Sorted {
    fn new(count: usize) -> Self {
        let results = vec![Ok(()); count];
        Self { topics: Vec::new(), places: Vec::new(), index: HashMap::new(), results }
    }

    /// Refuses offsets of partitions that do not exist, and sorts the others by topic.
    fn sort(&mut self, table: &Table, offsets: Vec<CommitOffset>) {
        for (place, offset) in offsets.into_iter().enumerate() {
            match find(table, &offset) {
                Ok(topic) => self.push(&topic, place, offset),
                Err(error) => self.results[place] = Err(error),
            }
        }
    }

    fn push(&mut self, entry: &TopicEntry, place: usize, offset: CommitOffset) {
        let index = *self.index.entry(entry.topic.id).or_insert(self.topics.len());
        if index == self.topics.len() {
            let (topic, topic_id) = (Arc::clone(&entry.topic.name), Some(entry.topic.id));
            self.topics.push(TopicCommit { topic, topic_id, partitions: Vec::new() });
            self.places.push(Vec::new());
        }
        self.topics[index].partitions.push(PartitionCommit {
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: offset.leader_epoch.unwrap_or(-1),
            metadata: offset.metadata.into(),
        });
        self.places[index].push(place);
    }

    fn settle(mut self, outcome: Vec<TopicCommitted>) -> Vec<Result<(), CommitError>> {
        for (topic, places) in outcome.into_iter().zip(self.places) {
            for ((_, outcome), place) in topic.partitions.into_iter().zip(places) {
                self.results[place] = outcome.map_err(CommitError::from);
            }
        }
        self.results
    }

    fn fail(mut self, error: &CommitError) -> Vec<Result<(), CommitError>> {
        for place in self.places.into_iter().flatten() {
            self.results[place] = Err(error.clone());
        }
        self.results
    }
}

impl From<PartitionCommitError> for CommitError {
    fn from(error: PartitionCommitError) -> Self {
        match error {
            PartitionCommitError::MetadataTooLarge { length, limit } => {
                Self::MetadataTooLarge { size_bytes: length, size_bytes_max: limit }
            }
        }
    }
}

fn find(table: &Table, offset: &CommitOffset) -> Result<Arc<TopicEntry>, CommitError> {
    let partition = offset.partition;
    let entry = table.topic(&offset.topic).ok_or_else(|| match &offset.topic {
        TopicRef::Name(topic) => CommitError::UnknownPartition { topic: Arc::clone(topic), partition },
        TopicRef::Id(id) => CommitError::UnknownTopicId(*id),
    })?;
    let is_there = usize::try_from(partition).is_ok_and(|index| index < entry.partitions.len());
    if is_there {
        Ok(entry)
    } else {
        Err(CommitError::UnknownPartition { topic: Arc::clone(&entry.topic.name), partition })
    }
}

fn caller_of<'a>(group_id: &'a str, member: Option<&'a GroupMember>) -> group::Caller<'a> {
    group::Caller {
        group_id,
        generation: member.map_or(-1, |member| member.generation),
        member_id: member.map_or("", |member| &member.member_id),
        instance_id: member.and_then(|member| member.instance_id.as_deref()),
    }
}

fn retention(expires_at_ms: TimestampMs, now_ms: TimestampMs) -> Duration {
    Duration::from_millis(u64::try_from(expires_at_ms.saturating_sub(now_ms)).unwrap_or(0))
}

/// Everything that the group committed for topics that are there.
fn all_offsets(
    groups: &GroupCoordinator,
    table: &Table,
    group: &str,
) -> Result<Vec<TopicOffsets>, FetchError> {
    let mut found: Vec<TopicOffsets> = Vec::new();
    for offset in groups.fetch_all(group)? {
        let is_next =
            |topic: &TopicOffsets| matches!(&topic.topic, TopicRef::Name(name) if **name == *offset.topic);
        if !found.last().is_some_and(is_next) {
            let topic = TopicRef::Name(offset.topic.into());
            let id = table.topic(&topic).map(|entry| entry.topic.id);
            found.push(TopicOffsets { topic, id, partitions: Vec::new() });
        }
        let Some(topic) = found.last_mut() else { continue };
        // Committed for an earlier topic of that name, or for one that is being deleted.
        if topic.id.is_none() || offset.topic_id.is_some_and(|id| Some(id) != topic.id) {
            continue;
        }
        let result = Ok(Some(offset.committed.into()));
        topic.partitions.push(PartitionOffset { partition: offset.partition, result });
    }
    found.retain(|topic| !topic.partitions.is_empty());
    Ok(found)
}

/// What the group committed for these partitions of one topic.
fn some_offsets(
    groups: &GroupCoordinator,
    table: &Table,
    group: &str,
    (topic, partitions): (TopicRef, Vec<i32>),
) -> Result<TopicOffsets, FetchError> {
    let entry = table.topic(&topic);
    let id = entry.as_ref().map(|entry| entry.topic.id);
    let name = match (&topic, &entry) {
        (_, Some(entry)) => Ok(Arc::clone(&entry.topic.name)),
        (TopicRef::Name(name), None) => Ok(Arc::clone(name)),
        (TopicRef::Id(id), None) => Err(PartitionOffsetError::UnknownTopicId(*id)),
    };
    let find = |partition| {
        let result = match &name {
            Ok(name) => Ok(groups.fetch(group, name, id, partition)?.map(CommittedOffset::from)),
            Err(error) => Err(error.clone()),
        };
        Ok(PartitionOffset { partition, result })
    };
    let partitions = partitions.into_iter().map(find).collect::<Result<_, _>>()?;
    Ok(TopicOffsets { topic, id, partitions })
}

impl From<offsets::CommittedOffset> for CommittedOffset {
    fn from(committed: offsets::CommittedOffset) -> Self {
        let offsets::CommittedOffset { offset, leader_epoch, metadata, .. } = committed;
        Self { offset, leader_epoch, metadata: metadata.into() }
    }
}
