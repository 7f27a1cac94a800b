//! What a broker can be told.

use std::path::PathBuf;
use std::time::Duration;

use annals_journal::Durability;
use annals_topics::batch::{ExpandLimits, RecordCheck};
use annals_topics::catalogue::Limits;
use annals_topics::config::Overrides;
use annals_topics::group;

use crate::access::Access;

/// The choices of one broker. The defaults suit a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// When writes are acknowledged, unless a topic says otherwise (`annals.durability`).
    pub durability: Durability,
    /// Whether a topic that a client asks for by name is created when it does not exist.
    pub auto_create_topics: bool,
    /// Limits and defaults of new topics.
    pub topics: Limits,
    /// Settings for all topics, in place of the built-in defaults.
    pub topic_defaults: Overrides,
    /// When compressed records are expanded and checked.
    pub record_check: RecordCheck,
    /// How far compressed records may expand.
    pub expand: ExpandLimits,
    /// Consumer groups.
    pub groups: group::Options,
    /// How often old records are looked for. Shorter gives space back sooner. Default 5 s.
    pub retention_interval: Duration,
    /// How often compacted topics are looked at. Default 5 s.
    pub compaction_interval: Duration,
    /// Memory for the keys of one compaction pass. More lets a pass cover more records at once. Default 32 MiB.
    pub compaction_bytes_max: usize,
    /// The most reads from disk at the same time, over all clients. Others wait. Default 16.
    pub disk_reads_max: usize,
    /// Where the indexes of event stores lie: a directory of their own, made if it is not there. They are derived; without a
    /// directory they are in memory, and built from the stores' logs at each start. Default: in memory.
    pub index_directory: Option<PathBuf>,
    /// The users of queues, and what each may do. Default: the user `guest`, who may do everything and comes from this
    /// machine only.
    pub access: Access,
    /// The largest message that front-ends of queues take. New streams take it too, as their topic's `max.message.bytes`.
    /// Default 16 MiB.
    pub message_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            auto_create_topics: true,
            topics: Limits::default(),
            topic_defaults: Overrides::default(),
            record_check: RecordCheck::default(),
            expand: ExpandLimits::default(),
            groups: group::Options::default(),
            retention_interval: Duration::from_secs(5),
            compaction_interval: Duration::from_secs(5),
            compaction_bytes_max: 32 << 20,
            disk_reads_max: 16,
            index_directory: None,
            access: Access::default(),
            message_bytes_max: 16 << 20,
        }
    }
}
