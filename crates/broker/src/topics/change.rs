//! Giving topics more partitions, and deleting them.

use std::sync::Arc;

use annals_journal::LogId;
use annals_topics::catalogue::{ChangeError, Topic};

use crate::api::Caller;
use crate::api::topics::{CreatePartitions, CreatePartitionsError, DeleteTopicError, DeletedTopic, TopicRef};
use crate::{Broker, Inner};

impl Broker {
    /// Gives topics more partitions; one result per topic, in order. Durable on return.
    pub async fn create_partitions(
        &self,
        _caller: &Caller,
        request: CreatePartitions,
    ) -> Vec<Result<(), CreatePartitionsError>> {
        let mut results = Vec::with_capacity(request.topics.len());
        for (name, total) in &request.topics {
            results.push(self.inner.add_partitions(name, *total, request.validate_only).await);
        }
        results
    }

    /// Deletes topics; one result per topic, in order. Durable on return.
    pub async fn delete_topics(
        &self,
        _caller: &Caller,
        topics: Vec<TopicRef>,
    ) -> Vec<Result<DeletedTopic, DeleteTopicError>> {
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            results.push(self.inner.delete_topic_with_streams(&topic).await);
        }
        results
    }
}

impl Inner {
    async fn add_partitions(
        &self,
        name: &Arc<str>,
        total: i32,
        validate_only: bool,
    ) -> Result<(), CreatePartitionsError> {
        let _changing = self.changing.lock().await;
        if self.state.table.topic(&TopicRef::Name(Arc::clone(name))).is_some_and(|entry| entry.topic.store) {
            let (name, reason) = (Arc::clone(name), "it is the log of an event store".to_owned());
            return Err(CreatePartitionsError::InvalidPartitions { name, present: 1, wanted: total, reason });
        }
        let limits = &self.options.topics;
        let decision =
            self.state.with_catalogue(|catalogue| catalogue.decide_add_partitions(name, total, None, limits));
        let records = decision.map_err(|error| self.partitions_error(name, total, &error))?;
        if validate_only {
            return Ok(());
        }
        let appended = self.append_catalogue(&records, &[]).await;
        appended.map_err(|error| CreatePartitionsError::Unavailable(error.to_string()))
    }

    fn partitions_error(&self, name: &Arc<str>, wanted: i32, error: &ChangeError) -> CreatePartitionsError {
        let name = Arc::clone(name);
        match error {
            ChangeError::UnknownTopic { .. } | ChangeError::UnknownTopicId { .. } => {
                CreatePartitionsError::UnknownTopic(name)
            }
            ChangeError::NotMorePartitions { .. }
            | ChangeError::AssignmentCount { .. }
            | ChangeError::Partitions(_)
            | ChangeError::Config(_) => {
                let entry = self.state.table.topic(&TopicRef::Name(Arc::clone(&name)));
                let present = entry.map_or(0, |entry| entry.partitions.len() as i32);
                let reason = error.to_string();
                CreatePartitionsError::InvalidPartitions { name, present, wanted, reason }
            }
        }
    }

    /// Deletes a topic, and the queues that are it.
    pub(crate) async fn delete_topic_with_streams(
        &self,
        topic: &TopicRef,
    ) -> Result<DeletedTopic, DeleteTopicError> {
        let deleted = self.delete_topic(topic).await?;
        self.drop_streams_of(&deleted.name).await;
        Ok(deleted)
    }

    async fn delete_topic(&self, topic: &TopicRef) -> Result<DeletedTopic, DeleteTopicError> {
        let _changing = self.changing.lock().await;
        let entry = self.state.table.topic(topic).ok_or_else(|| match topic {
            TopicRef::Name(name) => DeleteTopicError::UnknownName(Arc::clone(name)),
            TopicRef::Id(id) => DeleteTopicError::UnknownId(*id),
        })?;
        let topic: &Topic = &entry.topic;
        if topic.internal || topic.store {
            return Err(DeleteTopicError::Internal(Arc::clone(&topic.name)));
        }
        let decision = self.state.with_catalogue(|catalogue| catalogue.decide_delete(topic.id));
        let record = decision.map_err(|_| DeleteTopicError::UnknownId(topic.id))?;
        // The definition and the data go in one group: there is no half-deleted topic after a crash.
        let logs: Vec<LogId> = topic.logs.iter().copied().map(LogId).collect();
        let appended = self.append_catalogue(&[record], &logs).await;
        appended.map_err(|error| DeleteTopicError::Unavailable(error.to_string()))?;
        self.topic_deleted(&topic.name);
        self.metrics.topic_deleted(&topic.name);
        Ok(DeletedTopic { name: Arc::clone(&topic.name), id: topic.id })
    }
}
