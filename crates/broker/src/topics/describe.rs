//! Describing topics, and creating those that a client asks for and that are not there.

use std::sync::Arc;

use annals_topics::catalogue::{Layout, NewTopic, check_topic_name};

use crate::api::Caller;
use crate::api::topics::{FoundTopic, TopicDescription, TopicError, TopicQuery, TopicRef, TopicSelection};
use crate::table::TopicEntry;
use crate::{Broker, Inner};

impl Broker {
    /// Describes topics, one entry per topic asked for and in that order.
    pub async fn topics(&self, _caller: &Caller, query: TopicQuery) -> Vec<FoundTopic> {
        let inner = &*self.inner;
        let TopicSelection::Only(topics) = query.selection else { return inner.all_topics() };
        let create = query.create_missing && inner.options.auto_create_topics;
        let mut found = Vec::with_capacity(topics.len());
        for topic in topics {
            let result = inner.describe_or_create(&topic, create).await;
            found.push(FoundTopic { topic, result });
        }
        found
    }
}

impl Inner {
    fn all_topics(&self) -> Vec<FoundTopic> {
        let mut topics = self.state.table.topics();
        topics.sort_by(|a, b| a.topic.name.cmp(&b.topic.name));
        let found = |entry: &Arc<TopicEntry>| FoundTopic {
            topic: TopicRef::Name(Arc::clone(&entry.topic.name)),
            result: Ok(description(entry)),
        };
        topics.iter().map(found).collect()
    }

    async fn describe_or_create(
        &self,
        topic: &TopicRef,
        create: bool,
    ) -> Result<TopicDescription, TopicError> {
        if let Some(entry) = self.state.table.topic(topic) {
            return Ok(description(&entry));
        }
        let name = match topic {
            TopicRef::Id(id) => return Err(TopicError::UnknownId(*id)),
            TopicRef::Name(name) => name,
        };
        if let Err(error) = check_topic_name(name) {
            let reason = error.to_string();
            return Err(TopicError::InvalidName { name: Arc::clone(name), reason });
        }
        if !create {
            return Err(TopicError::UnknownName(Arc::clone(name)));
        }
        self.create_missing(name).await?;
        let entry = self.state.table.topic(topic);
        entry.map(|entry| description(&entry)).ok_or_else(|| TopicError::UnknownName(Arc::clone(name)))
    }

    async fn create_missing(&self, name: &Arc<str>) -> Result<(), TopicError> {
        let _changing = self.changing.lock().await;
        if self.state.table.topic(&TopicRef::Name(Arc::clone(name))).is_some() {
            return Ok(());
        }
        let topic = NewTopic::new(name, self.clock.uuid_v4(), Layout::Count(-1));
        let limits = &self.options.topics;
        let decision = self.state.with_catalogue(|catalogue| catalogue.decide_create(&[topic], limits));
        if let Some(Err(error)) = decision.results.first() {
            let reason = error.to_string();
            return Err(TopicError::InvalidName { name: Arc::clone(name), reason });
        }
        let appended = self.append_catalogue(&decision.records, &[]).await;
        appended
            .map_err(|error| TopicError::Unavailable { name: Arc::clone(name), reason: error.to_string() })
    }
}

fn description(entry: &TopicEntry) -> TopicDescription {
    TopicDescription {
        name: Arc::clone(&entry.topic.name),
        id: entry.topic.id,
        partitions: entry.partitions.len() as i32,
        internal: entry.topic.internal,
    }
}
