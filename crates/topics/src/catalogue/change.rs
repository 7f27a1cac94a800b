//! CreatePartitions, (Incremental)AlterConfigs and DeleteTopics.

use uuid::Uuid;

use super::create::{check_assignments, check_count};
use super::record::{self, TopicImage};
use super::{Catalogue, CreateError, Limits, Topic};
use crate::ErrorKind;
use crate::config::{Change, ConfigError, Overrides};
use crate::offsets::Record;

/// Why a topic cannot be changed or deleted.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum ChangeError {
    /// There is no topic of that name.
    #[error("topic {name} does not exist")]
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// There is no topic with that id.
    #[error("no topic has the id {id}")]
    UnknownTopicId {
        /// The id.
        id: Uuid,
    },
    /// Partitions are only ever added.
    #[error("topic {name} has {current} partitions already, and {requested} were asked for in all")]
    NotMorePartitions {
        /// The topic.
        name: String,
        /// Its partitions.
        current: usize,
        /// The total asked for.
        requested: i32,
    },
    /// The assignment does not fit the number of new partitions.
    #[error("{assigned} partitions are assigned, but {added} are to be added")]
    AssignmentCount {
        /// Partitions with an assignment.
        assigned: usize,
        /// Partitions to be added.
        added: usize,
    },
    /// The new partitions are not possible.
    #[error(transparent)]
    Partitions(CreateError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ChangeError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownTopic { .. } | Self::UnknownTopicId { .. } => ErrorKind::Unavailable,
            Self::NotMorePartitions { .. } | Self::AssignmentCount { .. } => ErrorKind::FixInput,
            Self::Partitions(error) => error.kind(),
            Self::Config(error) => error.kind(),
        }
    }
}

impl Catalogue {
    /// Decides that a topic gets `total` partitions in all. `replicas` names the servers of each new one, if the client
    /// chose them.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn decide_add_partitions(
        &self,
        name: &str,
        total: i32,
        replicas: Option<&[Vec<i32>]>,
        limits: &Limits,
    ) -> Result<Vec<Record>, ChangeError> {
        let topic = self.existing(name)?;
        let current = topic.logs.len();
        let wanted = check_count(i64::from(total)).map_err(ChangeError::Partitions)?;
        let added = wanted.saturating_sub(current);
        if added == 0 {
            return Err(ChangeError::NotMorePartitions { name: name.to_owned(), current, requested: total });
        }
        if let Some(replicas) = replicas {
            check_replicas(replicas, current, added, limits)?;
        }
        self.check_room(added, limits).map_err(ChangeError::Partitions)?;
        let next_log = self.next_log + added as u64;
        let mut image = TopicImage::of(topic);
        image.logs.extend(self.next_log..next_log);
        Ok(vec![image.record(topic.id), record::next_log(next_log)])
    }

    /// Decides single changes to a topic's configuration (IncrementalAlterConfigs).
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn decide_alter(&self, name: &str, changes: &[(&str, Change<'_>)]) -> Result<Record, ChangeError> {
        let topic = self.existing(name)?;
        Ok(self.reconfigured(topic, topic.overrides.changed(changes)?))
    }

    /// Decides a topic's whole configuration; what is not named returns to its default (AlterConfigs).
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn decide_replace_config(
        &self,
        name: &str,
        configs: &[(&str, Option<&str>)],
    ) -> Result<Record, ChangeError> {
        let topic = self.existing(name)?;
        Ok(self.reconfigured(topic, Overrides::from_pairs(configs.iter().copied())?))
    }

    fn reconfigured(&self, topic: &Topic, overrides: Overrides) -> Record {
        TopicImage { overrides, ..TopicImage::of(topic) }.record(topic.id)
    }

    /// Decides that a topic goes.
    ///
    /// # Errors
    /// [`ChangeError::UnknownTopicId`].
    pub fn decide_delete(&self, id: Uuid) -> Result<Record, ChangeError> {
        self.topic_by_id(id).ok_or(ChangeError::UnknownTopicId { id })?;
        Ok(record::deleted(id))
    }

    fn existing(&self, name: &str) -> Result<&Topic, ChangeError> {
        let unknown = || ChangeError::UnknownTopic { name: name.to_owned() };
        self.topic(name).map(AsRef::as_ref).ok_or_else(unknown)
    }
}

fn check_replicas(
    replicas: &[Vec<i32>],
    current: usize,
    added: usize,
    limits: &Limits,
) -> Result<(), ChangeError> {
    if replicas.len() != added {
        return Err(ChangeError::AssignmentCount { assigned: replicas.len(), added });
    }
    let first = current as i32;
    let assignments: Vec<_> = (first..).zip(replicas.iter().cloned()).collect();
    check_assignments(&assignments, first, limits.node_id).map_err(ChangeError::Partitions)?;
    Ok(())
}
