//! Which topics exist: names, ids, partitions and their logs, configuration; and the numbers that are never given
//! twice.
//!
//! Invariants:
//! - A topic's name and id are its own, and no two names differ only in `.` and `_` (Kafka's metric names would clash).
//! - A log id and a producer id are given out once, also when what they were given to is long deleted: the counters
//!   are records of their own.
//! - The state changes in [`Catalogue::apply`] alone, live and in recovery.
//!
//! The `decide_` methods look at the state and return records for the catalogue's keyed log, of which the latest of
//! each key counts. They do not look at decisions that are still in flight, so the owner lets one decision become
//! durable and applies it before it asks for the next. Topics are made rarely; records of several decisions about
//! different topics, from [`Catalogue::decide_create`] above all, go into one group.
//!
//! ```
//! use annals_topics::catalogue::{Catalogue, Layout, Limits, NewTopic};
//! use uuid::Uuid;
//!
//! let mut catalogue = Catalogue::default();
//! let orders = NewTopic::new("orders", Uuid::from_u128(7), Layout::Count(3));
//! let decision = catalogue.decide_create(&[orders], &Limits::default());
//! assert!(decision.results[0].is_ok());
//! for record in &decision.records {
//!     catalogue.apply(&record.key, record.value.as_deref())?;
//! }
//! assert_eq!(catalogue.topic("orders").map(|topic| topic.logs.len()), Some(3));
//! # Ok::<(), annals_topics::offsets::DecodeError>(())
//! ```

mod change;
mod create;
mod name;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};
use std::sync::Arc;

use uuid::Uuid;

pub use change::ChangeError;
pub use create::{CreateDecision, CreateError, Layout, Limits, NewTopic};
pub use name::{NameError, TOPIC_NAME_LEN_MAX, check_topic_name};

use crate::config::{Overrides, TopicConfig};
use crate::offsets::{DecodeError, Record};
use record::{Key, TopicImage};

/// The most partitions of one topic. Far more than is sensible; bounds what a damaged record can ask for.
pub const PARTITIONS_MAX: usize = 100_000;

/// A topic.
#[derive(Clone, PartialEq, Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, new for each topic also when a name comes back.
    pub id: Uuid,
    /// The log of each partition, by partition number.
    pub logs: Vec<u64>,
    /// What was configured on the topic.
    pub overrides: Overrides,
    /// What is configured in all.
    pub config: Arc<TopicConfig>,
    /// Whether the server made it for itself.
    pub internal: bool,
    /// Whether it is the log of an event store, to which only the store writes.
    pub store: bool,
}

/// What [`Catalogue::apply`] changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Applied {
    /// A topic is new.
    Created(Arc<Topic>),
    /// A topic has more partitions or another configuration.
    Changed {
        /// As it was.
        before: Arc<Topic>,
        /// As it is.
        after: Arc<Topic>,
    },
    /// A topic is gone; its logs may be dropped.
    Deleted(Arc<Topic>),
    /// A counter moved on, or a topic was deleted that was not known: nothing to do.
    Nothing,
}

/// A block of producer ids, with the record that makes it safe to hand them out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerIds {
    /// The ids, to be handed out once the record is durable. Ids of a block that a restart cuts short are lost.
    pub ids: Range<i64>,
    /// What to journal and apply.
    pub record: Record,
}

/// All topics.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    by_id: HashMap<Uuid, Arc<Topic>>,
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    /// Names that hold a `.` or a `_`, with `_` for both, and the topic that has it.
    by_stem: HashMap<Box<str>, Arc<str>>,
    server: Overrides,
    default_config: Arc<TopicConfig>,
    partition_count: usize,
    next_log: u64,
    next_producer_id: i64,
}

impl Catalogue {
    /// No topics yet. `server` holds the server's own topic settings; the first log gets the id `first_log`.
    pub fn new(server: Overrides, first_log: u64) -> Self {
        let default_config = Arc::new(TopicConfig::resolve(&server, &Overrides::default()));
        Self { server, default_config, next_log: first_log, ..Self::default() }
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic with that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics from `name` on, by name, for listing in pages.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        let from = (Bound::Included(name), Bound::Unbounded);
        self.by_name.range::<str, _>(from).map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The server's own topic settings.
    pub fn server_config(&self) -> &Overrides {
        &self.server
    }

    /// The configuration of a topic that sets nothing itself.
    pub fn default_config(&self) -> &Arc<TopicConfig> {
        &self.default_config
    }

    /// Reserves `count` producer ids.
    pub fn decide_producer_ids(&self, count: u32) -> ProducerIds {
        let end = self.next_producer_id.saturating_add(i64::from(count));
        ProducerIds { ids: self.next_producer_id..end, record: record::producer_ids(end) }
    }

    /// Takes over one record of the catalogue's log: the one path for live changes and for recovery.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that no version of this program wrote. The state is then as before.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Applied, DecodeError> {
        match Key::decode(key)? {
            Key::Topic(id) => match value {
                Some(value) => self.apply_topic(id, TopicImage::decode(value)?),
                None => Ok(self.apply_delete(id)),
            },
            Key::NextLog => {
                let next = record::decode_counter(value)?;
                self.next_log = self.next_log.max(next);
                Ok(Applied::Nothing)
            }
            Key::NextProducerId => {
                let next = record::decode_counter(value)?;
                let next = i64::try_from(next).map_err(|_| DecodeError::Invalid { field: "producer id" })?;
                self.next_producer_id = self.next_producer_id.max(next);
                Ok(Applied::Nothing)
            }
        }
    }

    fn apply_topic(&mut self, id: Uuid, image: TopicImage) -> Result<Applied, DecodeError> {
        if self.by_name.get(image.name.as_str()).is_some_and(|topic| topic.id != id) {
            return Err(DecodeError::Invalid { field: "topic name, which another topic has" });
        }
        let before = self.remove(id);
        let config = self.config_of(&image.overrides);
        let TopicImage { name, internal, store, logs, overrides } = image;
        let name = before.as_ref().map_or_else(|| name.into(), |before| Arc::clone(&before.name));
        let after = Arc::new(Topic { name, id, logs, overrides, config, internal, store });
        self.insert(Arc::clone(&after));
        Ok(match before {
            None => Applied::Created(after),
            Some(before) => Applied::Changed { before, after },
        })
    }

    fn apply_delete(&mut self, id: Uuid) -> Applied {
        self.remove(id).map_or(Applied::Nothing, Applied::Deleted)
    }

    /// Most topics configure nothing, and share one configuration.
    fn config_of(&self, overrides: &Overrides) -> Arc<TopicConfig> {
        if overrides.is_empty() {
            Arc::clone(&self.default_config)
        } else {
            Arc::new(TopicConfig::resolve(&self.server, overrides))
        }
    }

    fn insert(&mut self, topic: Arc<Topic>) {
        self.partition_count += topic.logs.len();
        let beyond = topic.logs.iter().max().map_or(0, |log| log.saturating_add(1));
        self.next_log = self.next_log.max(beyond);
        if let Some(stem) = name::stem(&topic.name) {
            self.by_stem.insert(stem.into(), Arc::clone(&topic.name));
        }
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    fn remove(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.partition_count -= topic.logs.len();
        self.by_name.remove(&topic.name);
        if let Some(stem) = name::stem(&topic.name) {
            self.by_stem.remove(stem.as_str());
        }
        Some(topic)
    }
}
