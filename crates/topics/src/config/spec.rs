//! What is known about each configuration: name, type, range, default, meaning.

use super::ConfigError;

/// The type of a value, in Kafka's terms, with its range.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit number within the bounds.
    Int(i32, i32),
    /// A 64-bit number within the bounds.
    Long(i64, i64),
    /// A decimal number within the bounds.
    Double(f64, f64),
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Words separated by commas, each one of these.
    Choices(&'static [&'static str]),
    /// Words separated by commas.
    List,
}

impl Kind {
    /// Whether values are lists, to which words can be appended and from which they can be taken.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Choices(_) | Self::List)
    }

    /// Checks `value`; returns what is wrong with it.
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Boolean => check_choice(&["true", "false"], &value.trim().to_ascii_lowercase()),
            Self::Int(min, max) => check_number(value, min, max),
            Self::Long(min, max) => check_number(value, min, max),
            Self::Double(min, max) => check_number(value, min, max),
            Self::Text | Self::List => Ok(()),
            Self::Choice(words) => check_choice(words, value.trim()),
            Self::Choices(words) => list(value).try_for_each(|word| check_choice(words, word)),
        }
    }
}

fn check_choice(words: &[&str], value: &str) -> Result<(), String> {
    if words.contains(&value) { Ok(()) } else { Err(format!("one of {}", words.join(", "))) }
}

fn check_number<T>(value: &str, min: T, max: T) -> Result<(), String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    match value.trim().parse::<T>() {
        Ok(number) if number >= min && number <= max => Ok(()),
        _ => Err(format!("a number from {min} to {max}")),
    }
}

/// The words of a list, without blanks and empty ones.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Whether a configuration changes anything here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It does what it says.
    Applied,
    /// It is checked, stored and shown, and changes nothing.
    Stored,
}

/// One configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    /// Kafka's name.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The default, as text.
    pub default: &'static str,
    /// The server settings that give the default, the most specific first.
    pub server_names: &'static [&'static str],
    /// Whether it changes anything here.
    pub effect: Effect,
    /// What it means, for people.
    pub doc: &'static str,
}

impl Spec {
    /// Checks a value for this configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        let (name, value_text) = (self.name, value.to_owned());
        self.kind.check(value).map_err(|expected| ConfigError::Invalid { name, value: value_text, expected })
    }
}

/// The topic configuration of that name.
pub fn find_topic_spec(name: &str) -> Option<&'static Spec> {
    TOPIC_SPECS.binary_search_by(|spec| spec.name.cmp(name)).ok().map(|index| &TOPIC_SPECS[index])
}

/// The known name that is nearest to `name`, if any is near.
pub(super) fn nearest(specs: &[Spec], name: &str) -> Option<&'static str> {
    let distance = |spec: &Spec| (edits(name, spec.name), spec.name);
    let (edits, nearest) = specs.iter().map(distance).min()?;
    (edits <= nearest.len() / 2).then_some(nearest)
}

/// The Levenshtein distance. The names are short; a long one from outside is cut.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (&a.as_bytes()[..a.len().min(100)], b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

use Effect::{Applied, Stored};
use Kind::{Boolean, Choice, Choices, Double, Int, List, Long};

const ANY: i64 = i64::MAX;
/// The least that `segment.bytes` may be, as in Kafka 4 (KIP-1030).
pub(super) const SEGMENT_BYTES_MIN: i32 = 1 << 20;

/// All topic configurations, by name.
pub static TOPIC_SPECS: [Spec; 35] = [
    Spec {
        name: "annals.durability",
        kind: Choice(&["sync", "async", ""]),
        default: "",
        server_names: &[],
        effect: Applied,
        doc: "When a produce request is acknowledged: 'sync' after its records are on disk, 'async' once they are \
              written, to be synced shortly after. Empty takes the server's setting.",
    },
    Spec {
        name: "cleanup.policy",
        kind: Choices(&["compact", "delete"]),
        default: "delete",
        server_names: &["log.cleanup.policy"],
        effect: Applied,
        doc: "What happens to old records: 'delete' removes them by time and size, 'compact' keeps the latest record \
              of each key, 'compact,delete' does both.",
    },
    Spec {
        name: "compression.gzip.level",
        kind: Int(-1, 9),
        default: "-1",
        server_names: &["compression.gzip.level"],
        effect: Applied,
        doc: "The effort of gzip where compression.type=gzip: 1 to 9, or -1 for its default.",
    },
    Spec {
        name: "compression.lz4.level",
        kind: Int(1, 17),
        default: "9",
        server_names: &["compression.lz4.level"],
        effect: Stored,
        doc: "The effort of LZ4 where compression.type=lz4. The fast level is always used.",
    },
    Spec {
        name: "compression.type",
        kind: Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        default: "producer",
        server_names: &["compression.type"],
        effect: Applied,
        doc: "How records are stored: 'producer' keeps the producer's compression, the others compress anew what \
              comes otherwise, which costs processor time for every batch.",
    },
    Spec {
        name: "compression.zstd.level",
        kind: Int(-131_072, 22),
        default: "3",
        server_names: &["compression.zstd.level"],
        effect: Applied,
        doc: "The effort of zstd where compression.type=zstd: -131072 to 22.",
    },
    Spec {
        name: "delete.retention.ms",
        kind: Long(0, ANY),
        default: "86400000",
        server_names: &["log.cleaner.delete.retention.ms"],
        effect: Applied,
        doc: "How long a tombstone stays in a compacted topic, so that readers see the deletion.",
    },
    Spec {
        name: "file.delete.delay.ms",
        kind: Long(0, ANY),
        default: "60000",
        server_names: &["log.segment.delete.delay.ms"],
        effect: Stored,
        doc: "How long Kafka waits before it removes a segment file. All partitions share one log here.",
    },
    Spec {
        name: "flush.messages",
        kind: Long(1, ANY),
        default: "9223372036854775807",
        server_names: &["log.flush.interval.messages"],
        effect: Stored,
        doc: "After how many records Kafka forces a sync. annals.durability decides here.",
    },
    Spec {
        name: "flush.ms",
        kind: Long(0, ANY),
        default: "9223372036854775807",
        server_names: &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        effect: Stored,
        doc: "After which time Kafka forces a sync. annals.durability decides here.",
    },
    Spec {
        name: "follower.replication.throttled.replicas",
        kind: List,
        default: "",
        server_names: &[],
        effect: Stored,
        doc: "Replicas whose replication is throttled on the follower's side. There is one replica here.",
    },
    Spec {
        name: "index.interval.bytes",
        kind: Int(0, i32::MAX),
        default: "4096",
        server_names: &["log.index.interval.bytes"],
        effect: Stored,
        doc: "How densely Kafka indexes a segment file. The journal keeps its own index.",
    },
    Spec {
        name: "leader.replication.throttled.replicas",
        kind: List,
        default: "",
        server_names: &[],
        effect: Stored,
        doc: "Replicas whose replication is throttled on the leader's side. There is one replica here.",
    },
    Spec {
        name: "local.retention.bytes",
        kind: Long(-2, ANY),
        default: "-2",
        server_names: &["log.local.retention.bytes"],
        effect: Stored,
        doc: "How much stays on local disk where storage is tiered. It is not tiered here.",
    },
    Spec {
        name: "local.retention.ms",
        kind: Long(-2, ANY),
        default: "-2",
        server_names: &["log.local.retention.ms"],
        effect: Stored,
        doc: "How long records stay on local disk where storage is tiered. It is not tiered here.",
    },
    Spec {
        name: "max.compaction.lag.ms",
        kind: Long(1, ANY),
        default: "9223372036854775807",
        server_names: &["log.cleaner.max.compaction.lag.ms"],
        effect: Applied,
        doc: "The longest that a record may wait for compaction, whatever min.cleanable.dirty.ratio says.",
    },
    Spec {
        name: "max.message.bytes",
        kind: Int(0, i32::MAX),
        default: "1048588",
        server_names: &["message.max.bytes"],
        effect: Applied,
        doc: "The largest record batch that is accepted, in bytes, as it arrives and as it is stored.",
    },
    Spec {
        name: "message.timestamp.after.max.ms",
        kind: Long(0, ANY),
        default: "3600000",
        server_names: &["log.message.timestamp.after.max.ms"],
        effect: Applied,
        doc: "How far a record's timestamp may lie ahead of the server's clock (message.timestamp.type=CreateTime).",
    },
    Spec {
        name: "message.timestamp.before.max.ms",
        kind: Long(0, ANY),
        default: "9223372036854775807",
        server_names: &["log.message.timestamp.before.max.ms"],
        effect: Applied,
        doc: "How far a record's timestamp may lie behind the server's clock (message.timestamp.type=CreateTime).",
    },
    Spec {
        name: "message.timestamp.difference.max.ms",
        kind: Long(0, ANY),
        default: "9223372036854775807",
        server_names: &["log.message.timestamp.difference.max.ms"],
        effect: Applied,
        doc: "The older name for message.timestamp.before.max.ms and message.timestamp.after.max.ms together; each of \
              them wins where it is set.",
    },
    Spec {
        name: "message.timestamp.type",
        kind: Choice(&["CreateTime", "LogAppendTime"]),
        default: "CreateTime",
        server_names: &["log.message.timestamp.type"],
        effect: Applied,
        doc: "Whose clock dates a record: the producer's (CreateTime) or the server's (LogAppendTime).",
    },
    Spec {
        name: "min.cleanable.dirty.ratio",
        kind: Double(0.0, 1.0),
        default: "0.5",
        server_names: &["log.cleaner.min.cleanable.ratio"],
        effect: Applied,
        doc: "How much of a compacted topic has to be new before it is compacted again, as a part of 1.",
    },
    Spec {
        name: "min.compaction.lag.ms",
        kind: Long(0, ANY),
        default: "0",
        server_names: &["log.cleaner.min.compaction.lag.ms"],
        effect: Applied,
        doc: "How long a record stays as it is before compaction may remove it.",
    },
    Spec {
        name: "min.insync.replicas",
        kind: Int(1, i32::MAX),
        default: "1",
        server_names: &["min.insync.replicas"],
        effect: Stored,
        doc: "How many replicas have to hold a record before it is acknowledged. There is one replica, so every value \
              counts as 1; annals.durability says what an acknowledgement means.",
    },
    Spec {
        name: "preallocate",
        kind: Boolean,
        default: "false",
        server_names: &["log.preallocate"],
        effect: Stored,
        doc: "Whether Kafka preallocates segment files. The journal always does.",
    },
    Spec {
        name: "remote.log.copy.disable",
        kind: Boolean,
        default: "false",
        server_names: &[],
        effect: Stored,
        doc: "Whether copying to tiered storage pauses. It is not tiered here.",
    },
    Spec {
        name: "remote.log.delete.on.disable",
        kind: Boolean,
        default: "false",
        server_names: &[],
        effect: Stored,
        doc: "Whether tiered data goes when tiering is turned off. It is not tiered here.",
    },
    Spec {
        name: "remote.storage.enable",
        kind: Choice(&["false"]),
        default: "false",
        server_names: &[],
        effect: Stored,
        doc: "Whether storage is tiered. Only 'false' is accepted.",
    },
    Spec {
        name: "retention.bytes",
        kind: Long(-1, ANY),
        default: "-1",
        server_names: &["log.retention.bytes"],
        effect: Applied,
        doc: "How many bytes of a partition are kept (cleanup.policy=delete). -1 for no limit.",
    },
    Spec {
        name: "retention.ms",
        kind: Long(-1, ANY),
        default: "604800000",
        server_names: &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        effect: Applied,
        doc: "How long records are kept, by their timestamps (cleanup.policy=delete). -1 for no limit.",
    },
    Spec {
        name: "segment.bytes",
        kind: Int(SEGMENT_BYTES_MIN, i32::MAX),
        default: "1073741824",
        server_names: &["log.segment.bytes"],
        effect: Applied,
        doc: "When a partition has so many bytes in the segment being written, which all partitions share, that is closed \
              soon, so that compaction and retention.bytes can take them. It is closed at journal.segment_bytes in any case.",
    },
    Spec {
        name: "segment.index.bytes",
        kind: Int(4, i32::MAX),
        default: "10485760",
        server_names: &["log.index.size.max.bytes"],
        effect: Stored,
        doc: "How large the index of a segment file grows in Kafka. The journal keeps its own index.",
    },
    Spec {
        name: "segment.jitter.ms",
        kind: Long(0, ANY),
        default: "0",
        server_names: &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        effect: Stored,
        doc: "How far Kafka spreads the ends of segment files. All partitions share the journal's segments here.",
    },
    Spec {
        name: "segment.ms",
        kind: Long(1, ANY),
        default: "604800000",
        server_names: &["log.roll.ms", "log.roll.hours"],
        effect: Applied,
        doc: "How long records of a compacted topic may wait in the journal's active segment before it is closed for \
compaction. All partitions share the journal's segments here.",
    },
    Spec {
        name: "unclean.leader.election.enable",
        kind: Boolean,
        default: "false",
        server_names: &["unclean.leader.election.enable"],
        effect: Stored,
        doc: "Whether a replica that lags may become leader. There is one replica here.",
    },
];
