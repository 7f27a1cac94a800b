//! CreateTopics.

use std::collections::HashMap;

use uuid::Uuid;

use super::record::{self, TopicImage};
use super::{Catalogue, NameError, PARTITIONS_MAX, check_topic_name, name};
use crate::ErrorKind;
use crate::config::{ConfigError, Overrides};
use crate::offsets::Record;

/// How many partitions, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout<'a> {
    /// This many; -1 for the server's default.
    Count(i32),
    /// Each partition's number with the ids of its replicas' servers.
    Assigned(&'a [(i32, Vec<i32>)]),
}

/// A topic to create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its id, never used before.
    pub id: Uuid,
    /// Its partitions.
    pub layout: Layout<'a>,
    /// Replicas of each partition: 1, or -1 for the default, which is 1.
    pub replication_factor: i16,
    /// What to configure.
    pub configs: &'a [(&'a str, Option<&'a str>)],
    /// Whether the server makes it for itself.
    pub internal: bool,
    /// Whether it is the log of an event store.
    pub store: bool,
}

impl<'a> NewTopic<'a> {
    /// A topic of a user, without configuration.
    pub fn new(name: &'a str, id: Uuid, layout: Layout<'a>) -> Self {
        Self { name, id, layout, replication_factor: -1, configs: &[], internal: false, store: false }
    }
}

/// What bounds and completes new topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// This server's id: the only one that replicas can be on.
    pub node_id: i32,
    /// Partitions of a topic that does not say.
    pub partitions_default: i32,
    /// The most partitions of all topics together.
    pub partitions_max: usize,
}

impl Default for Limits {
    /// Server 0, one partition, 100,000 in all.
    fn default() -> Self {
        Self { node_id: 0, partitions_default: 1, partitions_max: PARTITIONS_MAX }
    }
}

/// Why a topic cannot be created, or not get these partitions.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CreateError {
    /// Its name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is one already.
    #[error("topic {name} exists already")]
    Exists {
        /// The name.
        name: String,
    },
    /// Its name differs from another's only in `.` and `_`.
    #[error("topic name {name} collides with the existing topic {existing}: '.' and '_' count as the same")]
    Collision {
        /// The name.
        name: String,
        /// The topic in its way.
        existing: String,
    },
    /// The request names it more than once.
    #[error("topic {name} occurs more than once in one request")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Too few partitions, or too many for one topic.
    #[error("{count} is not a number of partitions: 1 to {PARTITIONS_MAX}, or -1 for the default")]
    InvalidPartitions {
        /// The number asked for.
        count: i64,
    },
    /// The server would have too many partitions.
    #[error("{count} more partitions would pass the server's limit of {max}")]
    TooManyPartitions {
        /// The number asked for.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// More or less than one replica.
    #[error("replication factor {factor}: this is one server, so only 1 is possible, or -1 for the default")]
    InvalidReplicationFactor {
        /// The number asked for.
        factor: i16,
    },
    /// A manual assignment that makes no sense here.
    #[error("partition {partition}: {what}")]
    InvalidAssignment {
        /// The partition.
        partition: i32,
        /// What is wrong.
        what: &'static str,
    },
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl CreateError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(error) => error.kind(),
            Self::Config(error) => error.kind(),
            Self::TooManyPartitions { .. } => ErrorKind::Unavailable,
            Self::Exists { .. }
            | Self::Collision { .. }
            | Self::Duplicate { .. }
            | Self::InvalidPartitions { .. }
            | Self::InvalidReplicationFactor { .. }
            | Self::InvalidAssignment { .. } => ErrorKind::FixInput,
        }
    }
}

/// What creating some topics comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateDecision {
    /// What to journal in one group, then apply. Drop them to validate only.
    pub records: Vec<Record>,
    /// For each topic asked for, in order: its number of partitions, or why not.
    pub results: Vec<Result<usize, CreateError>>,
}

impl Catalogue {
    /// Decides about new topics, each for itself: some may be refused and the others created.
    pub fn decide_create(&self, topics: &[NewTopic<'_>], limits: &Limits) -> CreateDecision {
        let mut draft =
            Draft { catalogue: self, limits, next_log: self.next_log, stems: HashMap::new(), added: 0 };
        let mut decision = CreateDecision::default();
        let mut times: HashMap<&str, usize> = HashMap::with_capacity(topics.len());
        for topic in topics {
            *times.entry(topic.name).or_default() += 1;
        }
        for topic in topics {
            let result = if times.get(topic.name) > Some(&1) {
                Err(CreateError::Duplicate { name: topic.name.to_owned() })
            } else {
                draft.create(topic, &mut decision.records)
            };
            decision.results.push(result);
        }
        if draft.next_log > self.next_log {
            decision.records.push(record::next_log(draft.next_log));
        }
        decision
    }
}

/// The catalogue with the topics of one request added so far.
struct Draft<'a> {
    catalogue: &'a Catalogue,
    limits: &'a Limits,
    next_log: u64,
    stems: HashMap<String, String>,
    added: usize,
}

impl Draft<'_> {
    fn create(&mut self, topic: &NewTopic<'_>, records: &mut Vec<Record>) -> Result<usize, CreateError> {
        check_topic_name(topic.name)?;
        self.check_free(topic.name)?;
        let count = self.partitions(topic)?;
        let overrides = Overrides::from_pairs(topic.configs.iter().copied())?;
        self.check_room(count)?;
        let logs = (self.next_log..).take(count).collect();
        let NewTopic { internal, store, .. } = *topic;
        let image = TopicImage { name: topic.name.to_owned(), internal, store, logs, overrides };
        records.push(image.record(topic.id));
        self.next_log += count as u64;
        self.added += count;
        if let Some(stem) = name::stem(topic.name) {
            self.stems.insert(stem, topic.name.to_owned());
        }
        Ok(count)
    }

    fn check_free(&self, name: &str) -> Result<(), CreateError> {
        if self.catalogue.by_name.contains_key(name) {
            return Err(CreateError::Exists { name: name.to_owned() });
        }
        let Some(stem) = name::stem(name) else { return Ok(()) };
        let existing = self.catalogue.by_stem.get(stem.as_str()).map(AsRef::as_ref);
        match existing.or_else(|| self.stems.get(&stem).map(String::as_str)) {
            Some(existing) => {
                Err(CreateError::Collision { name: name.to_owned(), existing: existing.to_owned() })
            }
            None => Ok(()),
        }
    }

    fn check_room(&self, count: usize) -> Result<(), CreateError> {
        self.catalogue.check_room(self.added + count, self.limits)
    }

    fn partitions(&self, topic: &NewTopic<'_>) -> Result<usize, CreateError> {
        match topic.layout {
            Layout::Assigned(assignments) => check_assignments(assignments, 0, self.limits.node_id),
            Layout::Count(count) => {
                if !matches!(topic.replication_factor, -1 | 1) {
                    return Err(CreateError::InvalidReplicationFactor { factor: topic.replication_factor });
                }
                let count = if count == -1 { self.limits.partitions_default } else { count };
                check_count(i64::from(count))
            }
        }
    }
}

impl Catalogue {
    pub(super) fn check_room(&self, count: usize, limits: &Limits) -> Result<(), CreateError> {
        let max = limits.partitions_max;
        if self.partition_count + count > max {
            Err(CreateError::TooManyPartitions { count, max })
        } else {
            Ok(())
        }
    }
}

pub(super) fn check_count(count: i64) -> Result<usize, CreateError> {
    let number = usize::try_from(count).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
    number.ok_or(CreateError::InvalidPartitions { count })
}

/// Partitions from `first` on without gaps, each with this server as its one replica.
pub(super) fn check_assignments(
    assignments: &[(i32, Vec<i32>)],
    first: i32,
    node_id: i32,
) -> Result<usize, CreateError> {
    let mut assignments: Vec<_> = assignments.iter().collect();
    assignments.sort_by_key(|(partition, _)| *partition);
    for ((partition, replicas), expected) in assignments.iter().zip(first..) {
        let what = match replicas[..] {
            _ if *partition != expected => "partitions are numbered without gaps",
            [node] if node == node_id => continue,
            [_] => "its replica is assigned to a server that does not exist",
            _ => "it is assigned to more or less than one replica, but this is one server",
        };
        return Err(CreateError::InvalidAssignment { partition: *partition, what });
    }
    check_count(assignments.len() as i64)
}
