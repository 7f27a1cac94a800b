//! A topic's configuration as the engine uses it: typed, with every default filled in.

use super::Overrides;
use super::spec::{SEGMENT_BYTES_MIN, find_topic_spec, list};
use crate::batch::{
    AcceptRules, Codec, Compression, CompressionPolicy, ExpandLimits, RecordCheck, TimestampRules,
    TimestampType,
};
use crate::partition::retention::Retention;

/// What happens to old records (`cleanup.policy`). Both, either or none may be on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanup {
    /// The latest record of each key is kept.
    pub compact: bool,
    /// Records are removed by time and size.
    pub delete: bool,
}

/// When and how a compacted topic is compacted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Compaction {
    /// `delete.retention.ms`: how long tombstones stay.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record stays untouched.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: the longest that it may wait.
    pub max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: how much has to be new.
    pub min_dirty_ratio: f64,
}

/// When an append is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// After it is on disk.
    Sync,
    /// Once it is written; the sync follows.
    Async,
}

/// When the segment being written is closed, so that compaction and retention by size can take what a partition has in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentRules {
    /// `segment.bytes`: from so many bytes of the partition on.
    pub bytes: u64,
    /// `segment.ms`: when its records have waited for longer.
    pub ms: i64,
}

/// One topic's configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `retention.ms` and `retention.bytes`; both without limit if the policy does not delete.
    pub retention: Retention,
    /// What compaction goes by.
    pub compaction: Compaction,
    /// `max.message.bytes`.
    pub batch_bytes_max: usize,
    /// `message.timestamp.*`.
    pub timestamps: TimestampRules,
    /// `compression.type` with its level.
    pub compression: CompressionPolicy,
    /// `segment.bytes` and `segment.ms`.
    pub segment: SegmentRules,
    /// `annals.durability`; `None` for the server's.
    pub durability: Option<Durability>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::resolve(&Overrides::default(), &Overrides::default())
    }
}

impl TopicConfig {
    /// What results from the server's settings and the topic's own.
    pub fn resolve(server: &Overrides, topic: &Overrides) -> Self {
        let values = Values { server, topic };
        let cleanup = values.cleanup();
        Self {
            cleanup,
            retention: if cleanup.delete { values.retention() } else { Retention::default() },
            compaction: values.compaction(),
            batch_bytes_max: usize::try_from(values.long("max.message.bytes")).unwrap_or(0),
            timestamps: values.timestamps(),
            compression: values.compression(),
            segment: values.segment(),
            durability: values.durability(),
        }
    }

    /// What produced batches have to obey. One batch for each partition and request, as Kafka has it.
    pub fn accept_rules(&self, record_check: RecordCheck, expand: ExpandLimits) -> AcceptRules {
        AcceptRules {
            batch_bytes_max: self.batch_bytes_max,
            batches_max: 1,
            key_required: self.cleanup.compact,
            transactional_allowed: false,
            timestamps: self.timestamps,
            compression: self.compression,
            record_check,
            expand,
        }
    }
}

/// The two places that values come from, before the defaults.
struct Values<'a> {
    server: &'a Overrides,
    topic: &'a Overrides,
}

impl Values<'_> {
    fn set(&self, name: &str) -> Option<&str> {
        self.topic.get(name).or_else(|| self.server.get(name))
    }

    fn text(&self, name: &str) -> &str {
        self.set(name).or_else(|| find_topic_spec(name).map(|spec| spec.default)).unwrap_or_default()
    }

    /// Values are checked when they are set, so a number is always there.
    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn cleanup(&self) -> Cleanup {
        let has = |policy| list(self.text("cleanup.policy")).any(|word| word == policy);
        Cleanup { compact: has("compact"), delete: has("delete") }
    }

    fn retention(&self) -> Retention {
        Retention {
            time_ms: Some(self.long("retention.ms")).filter(|limit| *limit >= 0),
            size_bytes: u64::try_from(self.long("retention.bytes")).ok(),
        }
    }

    fn segment(&self) -> SegmentRules {
        // Less was accepted once, when it meant nothing.
        let bytes = self.long("segment.bytes").max(SEGMENT_BYTES_MIN.into());
        SegmentRules { bytes: bytes.cast_unsigned(), ms: self.long("segment.ms") }
    }

    fn compaction(&self) -> Compaction {
        Compaction {
            delete_retention_ms: self.long("delete.retention.ms"),
            min_lag_ms: self.long("min.compaction.lag.ms"),
            max_lag_ms: self.long("max.compaction.lag.ms"),
            min_dirty_ratio: self.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
        }
    }

    fn timestamps(&self) -> TimestampRules {
        let append = self.text("message.timestamp.type") == "LogAppendTime";
        TimestampRules {
            timestamp_type: if append { TimestampType::LogAppend } else { TimestampType::Create },
            before_max_ms: self.timestamp_bound("message.timestamp.before.max.ms"),
            after_max_ms: self.timestamp_bound("message.timestamp.after.max.ms"),
        }
    }

    /// The older name counts where the newer is not set.
    fn timestamp_bound(&self, name: &str) -> i64 {
        let older = "message.timestamp.difference.max.ms";
        if self.set(name).is_none() && self.set(older).is_some() { self.long(older) } else { self.long(name) }
    }

    fn compression(&self) -> CompressionPolicy {
        let level = |name| i32::try_from(self.long(name)).ok();
        let codec = match self.text("compression.type") {
            "uncompressed" => Compression::None.into(),
            "gzip" => {
                let level = level("compression.gzip.level").filter(|level| *level >= 0);
                Codec { compression: Compression::Gzip, level }
            }
            "snappy" => Compression::Snappy.into(),
            "lz4" => Compression::Lz4.into(),
            "zstd" => Codec { compression: Compression::Zstd, level: level("compression.zstd.level") },
            _ => return CompressionPolicy::Producer,
        };
        CompressionPolicy::Codec(codec)
    }

    fn durability(&self) -> Option<Durability> {
        match self.text("annals.durability") {
            "sync" => Some(Durability::Sync),
            "async" => Some(Durability::Async),
            _ => None,
        }
    }
}
