//! Committed offsets that go: because somebody says so, or because their topic is gone.

use std::sync::Arc;

use annals_clock::Clock;
use annals_topics::group::{self, GroupCoordinator, Response, TopicOffsetsDeleted};

use super::{Groups, unexpected};
use crate::api::Caller;
use crate::api::offsets::{DeleteOffsetError, DeleteOffsetsError, DeletedOffsets};
use crate::api::topics::TopicRef;
use crate::table::Table;
use crate::{Broker, Inner};

impl Broker {
    /// Deletes a group's commits for some partitions. Durable on return; one result for each, in the order of the
    /// request.
    ///
    /// # Errors
    /// See [`DeleteOffsetsError`]; then nothing was deleted.
    pub async fn delete_offsets(
        &self,
        _caller: &Caller,
        group: Arc<str>,
        partitions: Vec<(Arc<str>, i32)>,
    ) -> DeletedOffsets {
        let inner = &*self.inner;
        let doomed = Doomed::sort(&inner.state.table, partitions);
        let delete =
            |groups: &mut GroupCoordinator, waiter, _| groups.delete_offsets(&group, &doomed.topics, waiter);
        match inner.groups.ask(&inner.clock, delete).await {
            Ok(Response::DeleteOffsets(Ok(outcome))) => Ok(doomed.settle(outcome)),
            Ok(Response::DeleteOffsets(Err(error))) => Err(inner.delete_offsets_error(error, group)),
            Ok(other) => Err(DeleteOffsetsError::Unavailable(unexpected(&other))),
            Err(refused) => Err(DeleteOffsetsError::Unavailable(refused.to_string())),
        }
    }
}

impl Inner {
    /// A topic was deleted: its commits go. Called after the table has let it go.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        self.groups.topic_deleted(topic, &self.clock);
    }

    fn delete_offsets_error(&self, error: group::DeleteOffsetsError, group: Arc<str>) -> DeleteOffsetsError {
        use group::DeleteOffsetsError as Cause;
        match error {
            Cause::CoordinatorLoading => DeleteOffsetsError::Unavailable(error.to_string()),
            Cause::InvalidGroupId | Cause::GroupIdNotFound => DeleteOffsetsError::UnknownGroup(group),
            Cause::NonEmptyGroup => DeleteOffsetsError::NotEmpty(group),
            Cause::NotStored(error) => DeleteOffsetsError::Unavailable(self.why_not_stored(error)),
        }
    }
}

impl Groups {
    fn topic_deleted(&self, topic: &str, clock: &Clock) {
        let deleted = self.act(clock, |groups, _| ((), groups.topic_deleted(topic)));
        if let Err(refused) = deleted {
            // The next start does it again.
            tracing::debug!(topic, %refused, "left the offsets of a deleted topic");
        }
    }

    /// Forgets the offsets of topics that are not there: the server was stopped between the deletion of the topic and
    /// that of its offsets.
    pub(super) fn forget_missing_topics(&self, table: &Table) {
        let mut state = self.lock();
        let is_missing = |topic: &&str| table.topic(&TopicRef::Name((*topic).into())).is_none();
        let missing: Vec<Arc<str>> =
            state.coordinator.offsets().topics().filter(is_missing).map(Arc::from).collect();
        for topic in missing {
            tracing::info!(%topic, "forgetting the committed offsets of a topic that was deleted");
            let output = state.coordinator.topic_deleted(&topic);
            self.carry_out(&mut state, output);
        }
    }
}

/// The partitions whose commits are to be deleted, by topic, with the place of each in the request.
struct Doomed {
    topics: Vec<(Arc<str>, Vec<i32>)>,
    places: Vec<Vec<usize>>,
    results: Vec<Result<(), DeleteOffsetError>>,
}

impl Doomed {
    /// Refuses partitions that do not exist, and sorts the others by topic.
    fn sort(table: &Table, partitions: Vec<(Arc<str>, i32)>) -> Self {
        let results = vec![Ok(()); partitions.len()];
        let mut doomed = Self { topics: Vec::new(), places: Vec::new(), results };
        for (place, (topic, partition)) in partitions.into_iter().enumerate() {
            if table.partition(&TopicRef::Name(Arc::clone(&topic)), partition).is_some() {
                doomed.push(place, topic, partition);
            } else {
                doomed.results[place] = Err(DeleteOffsetError::UnknownPartition { topic, partition });
            }
        }
        doomed
    }

    fn push(&mut self, place: usize, topic: Arc<str>, partition: i32) {
        // A request names the partitions of a topic one after the other, so the last is looked at first.
        let known = self.topics.iter().rposition(|(known, _)| *known == topic);
        let index = known.unwrap_or_else(|| {
            self.topics.push((topic, Vec::new()));
            self.places.push(Vec::new());
            self.topics.len() - 1
        });
        self.topics[index].1.push(partition);
        self.places[index].push(place);
    }

    fn settle(mut self, outcome: Vec<TopicOffsetsDeleted>) -> Vec<Result<(), DeleteOffsetError>> {
        for ((topic, outcome), places) in outcome.into_iter().zip(self.places) {
            for place in places {
                self.results[place] = outcome.map_err(|_| DeleteOffsetError::Subscribed(Arc::clone(&topic)));
            }
        }
        self.results
    }
}
