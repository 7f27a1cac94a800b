//! The catalogue's records: keys that name a topic or a counter, and their values.
//!
//! Keys and values open as those of the `offsets` log do: a key with its kind in the high four bits and its version in
//! the low four, a value with its version. The kinds differ from those, so one log could hold both. Numbers are
//! persisted and never reused. `n` is LEB128; text is its length and UTF-8.
//!
//! | key | value |
//! |---|---|
//! | `0x31`, topic id (16 bytes) | 1, name, internal (byte), number of runs, each first log and length, number of configurations, each name and value |
//! | `0x41` | 1, the next log id |
//! | `0x51` | 1, the next producer id |

use bytes::Bytes;
use uuid::Uuid;

use super::{PARTITIONS_MAX, Topic, check_topic_name};
use crate::config::Overrides;
use crate::offsets::codec::{Reader, Writer};
use crate::offsets::{DecodeError, Record};

const KEY_TOPIC_V1: u8 = 0x31;
const KEY_NEXT_LOG_V1: u8 = 0x41;
const KEY_NEXT_PRODUCER_ID_V1: u8 = 0x51;

const VALUE_TOPIC_V1: u8 = 1;
const VALUE_COUNTER_V1: u8 = 1;

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Topic(Uuid),
    NextLog,
    NextProducerId,
}

impl Key {
    fn encode(self) -> Bytes {
        match self {
            Self::Topic(id) => Writer::start(KEY_TOPIC_V1).raw(id.as_bytes()).finish(),
            Self::NextLog => Writer::start(KEY_NEXT_LOG_V1).finish(),
            Self::NextProducerId => Writer::start(KEY_NEXT_PRODUCER_ID_V1).finish(),
        }
    }

    pub(super) fn decode(key: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(key);
        let key = match reader.byte("kind")? {
            KEY_TOPIC_V1 => Self::Topic(reader.uuid("topic id")?),
            KEY_NEXT_LOG_V1 => Self::NextLog,
            KEY_NEXT_PRODUCER_ID_V1 => Self::NextProducerId,
            version => return Err(DecodeError::UnknownVersion { version }),
        };
        reader.finish()?;
        Ok(key)
    }
}

/// What a record says about a topic.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TopicImage {
    pub(super) name: String,
    pub(super) internal: bool,
    pub(super) store: bool,
    pub(super) logs: Vec<u64>,
    pub(super) overrides: Overrides,
}

impl TopicImage {
    pub(super) fn of(topic: &Topic) -> Self {
        Self {
            name: topic.name.as_ref().to_owned(),
            internal: topic.internal,
            store: topic.store,
            logs: topic.logs.clone(),
            overrides: topic.overrides.clone(),
        }
    }

    pub(super) fn record(&self, id: Uuid) -> Record {
        Record { key: Key::Topic(id).encode(), value: Some(self.encode()) }
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::start(VALUE_TOPIC_V1);
        writer.text(&self.name).byte(u8::from(self.internal) | u8::from(self.store) << 1);
        // The partitions of one request have logs in a row.
        let runs: Vec<&[u64]> = self.logs.chunk_by(|a, b| a + 1 == *b).collect();
        writer.unsigned(runs.len() as u64);
        for run in runs {
            writer.unsigned(run[0]).unsigned(run.len() as u64);
        }
        writer.unsigned(self.overrides.iter().count() as u64);
        for (name, value) in self.overrides.iter() {
            writer.text(name).text(value);
        }
        writer.finish()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        reader.version(VALUE_TOPIC_V1)?;
        let name = reader.text("topic name")?.to_owned();
        check_topic_name(&name).map_err(|_| DecodeError::Invalid { field: "topic name" })?;
        let (internal, store) = match reader.byte("flags")? {
            flags @ 0..4 => (flags & 1 != 0, flags & 2 != 0),
            _ => return Err(DecodeError::Invalid { field: "flags" }),
        };
        let logs = decode_logs(&mut reader)?;
        let overrides = decode_overrides(&mut reader)?;
        reader.finish()?;
        Ok(Self { name, internal, store, logs, overrides })
    }
}

fn decode_logs(reader: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let mut logs = Vec::new();
    for _ in 0..reader.count("partitions")? {
        let (first, length) = (reader.unsigned("log id")?, reader.unsigned("partitions")?);
        let end = first.checked_add(length).ok_or(DecodeError::Invalid { field: "log id" })?;
        if length > (PARTITIONS_MAX - logs.len()) as u64 {
            return Err(DecodeError::Invalid { field: "number of partitions" });
        }
        logs.extend(first..end);
    }
    Ok(logs)
}

fn decode_overrides(reader: &mut Reader<'_>) -> Result<Overrides, DecodeError> {
    let mut pairs = Vec::new();
    for _ in 0..reader.count("configurations")? {
        pairs.push((reader.text("configuration")?, Some(reader.text("configuration value")?)));
    }
    Overrides::from_pairs(pairs).map_err(|_| DecodeError::Invalid { field: "configuration" })
}

pub(super) fn deleted(id: Uuid) -> Record {
    Record { key: Key::Topic(id).encode(), value: None }
}

pub(super) fn next_log(next: u64) -> Record {
    Record { key: Key::NextLog.encode(), value: Some(counter(next)) }
}

pub(super) fn producer_ids(next: i64) -> Record {
    Record { key: Key::NextProducerId.encode(), value: Some(counter(next as u64)) }
}

fn counter(next: u64) -> Bytes {
    Writer::start(VALUE_COUNTER_V1).unsigned(next).finish()
}

/// Counters are never deleted.
pub(super) fn decode_counter(value: Option<&[u8]>) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(value.ok_or(DecodeError::Invalid { field: "counter" })?);
    reader.version(VALUE_COUNTER_V1)?;
    let next = reader.unsigned("counter")?;
    reader.finish()?;
    Ok(next)
}
