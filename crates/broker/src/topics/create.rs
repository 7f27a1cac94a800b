//! Creating topics.

use std::sync::Arc;

use annals_clock::Uuid;
use annals_topics::catalogue::{CreateError, Layout, NewTopic};
use annals_topics::config::Overrides;

use crate::api::Caller;
use crate::api::topics::{CreateTopicError, CreateTopics, CreatedTopic};
use crate::{Broker, Inner};

impl Broker {
    /// Creates topics; one result per topic, in order. Durable on return.
    pub async fn create_topics(
        &self,
        _caller: &Caller,
        request: CreateTopics,
    ) -> Vec<Result<CreatedTopic, CreateTopicError>> {
        let inner = &*self.inner;
        let _changing = inner.changing.lock().await;
        let configs: Vec<Vec<(&str, Option<&str>)>> = request.topics.iter().map(pairs).collect();
        let ids: Vec<Uuid> = request.topics.iter().map(|_| inner.clock.uuid_v4()).collect();
        let new: Vec<NewTopic<'_>> = request
            .topics
            .iter()
            .zip(&configs)
            .zip(&ids)
            .map(|((topic, configs), &id)| {
                let layout = Layout::Count(topic.partitions.unwrap_or(-1));
                NewTopic { configs, ..NewTopic::new(&topic.name, id, layout) }
            })
            .collect();
        let limits = &inner.options.topics;
        let decision = inner.state.with_catalogue(|catalogue| catalogue.decide_create(&new, limits));
        let mut failure = None;
        if !request.validate_only && !decision.records.is_empty() {
            failure = inner.append_catalogue(&decision.records, &[]).await.err();
        }
        let mut outcomes = Vec::with_capacity(request.topics.len());
        for (index, (topic, result)) in request.topics.iter().zip(decision.results).enumerate() {
            let id = if request.validate_only { Uuid::nil() } else { ids[index] };
            let created = result.map(|partitions| inner.created(id, partitions, &configs[index]));
            outcomes.push(match (created, &failure) {
                (Err(error), _) => Err(create_error(&topic.name, topic.partitions, &error)),
                (Ok(_), Some(failure)) => {
                    let (name, reason) = (Arc::clone(&topic.name), failure.to_string());
                    Err(CreateTopicError::Unavailable { name, reason })
                }
                (Ok(created), None) => Ok(created),
            });
        }
        outcomes
    }
}

impl Inner {
    fn created(&self, id: Uuid, partitions: usize, configs: &[(&str, Option<&str>)]) -> CreatedTopic {
        // The decision has checked them.
        let overrides = Overrides::from_pairs(configs.iter().copied()).unwrap_or_default();
        let configs = self.topic_config_entries(&overrides);
        CreatedTopic { id, partitions: partitions as i32, configs }
    }
}

fn pairs(topic: &crate::api::topics::NewTopic) -> Vec<(&str, Option<&str>)> {
    topic.configs.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

fn create_error(name: &Arc<str>, partitions: Option<i32>, error: &CreateError) -> CreateTopicError {
    let (name, reason) = (Arc::clone(name), error.to_string());
    match error {
        CreateError::Exists { .. } => CreateTopicError::AlreadyExists(name),
        CreateError::Name(_) | CreateError::Collision { .. } | CreateError::Duplicate { .. } => {
            CreateTopicError::InvalidName { name, reason }
        }
        CreateError::InvalidPartitions { .. }
        | CreateError::TooManyPartitions { .. }
        | CreateError::InvalidReplicationFactor { .. }
        | CreateError::InvalidAssignment { .. } => {
            CreateTopicError::InvalidPartitions { name, partitions: partitions.unwrap_or(-1), reason }
        }
        CreateError::Config(_) => CreateTopicError::InvalidConfig { name, reason },
    }
}
