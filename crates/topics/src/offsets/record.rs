//! The records of the `offsets` log: keys that name a group or a committed offset, and the value of an offset.
//!
//! The log is compacted, so the last record of a key is its state and a record without value removes it. A key opens
//! with one byte: the kind in its high four bits, the version of the key's encoding in the low four. A value opens
//! with the version of its own encoding. Both numbers are persisted and never reused.
//!
//! | first byte | kind | rest of the key |
//! |---|---|---|
//! | `0x11` | group metadata | group id |
//! | `0x21` | committed offset | group id with length, topic with length, partition (zigzag LEB128) |
//!
//! Kafka keeps the same two kinds in `__consumer_offsets` (GroupMetadataKey, OffsetCommitKey).

use bytes::Bytes;
use uuid::Uuid;

use super::codec::{DecodeError, Reader, Writer};
use super::store::CommittedOffset;

const KEY_GROUP_V1: u8 = 0x11;
const KEY_OFFSET_V1: u8 = 0x21;
const VALUE_OFFSET_V1: u8 = 1;

const HAS_LEADER_EPOCH: u8 = 1;
const HAS_METADATA: u8 = 1 << 1;
const HAS_EXPIRY: u8 = 1 << 2;
const HAS_TOPIC_ID: u8 = 1 << 3;
const FLAGS_KNOWN: u8 = HAS_LEADER_EPOCH | HAS_METADATA | HAS_EXPIRY | HAS_TOPIC_ID;

/// One keyed record for the `offsets` log. Without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the record is about; of the records with one key, compaction keeps the last.
    pub key: Bytes,
    /// The state of the key from now on, or `None` to remove it.
    pub value: Option<Bytes>,
}

/// A decoded record key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey<'a> {
    /// The metadata of a group.
    Group {
        /// The group's id.
        group_id: &'a str,
    },
    /// The offset that a group committed for a partition.
    Offset {
        /// The group's id.
        group_id: &'a str,
        /// The topic's name.
        topic: &'a str,
        /// The partition's index.
        partition: i32,
    },
}

impl<'a> RecordKey<'a> {
    /// The key's bytes.
    pub fn encode(&self) -> Bytes {
        match *self {
            RecordKey::Group { group_id } => Writer::start(KEY_GROUP_V1).raw(group_id.as_bytes()).finish(),
            RecordKey::Offset { group_id, topic, partition } => {
                let mut writer = Writer::start(KEY_OFFSET_V1);
                writer.text(group_id).text(topic).signed(partition.into()).finish()
            }
        }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`DecodeError::UnknownVersion`] with the first byte if the kind or its version is not known; the others if
    /// the key is damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.byte("kind")? {
            KEY_GROUP_V1 => Ok(RecordKey::Group { group_id: reader.rest_as_text("group id")? }),
            KEY_OFFSET_V1 => {
                let (group_id, topic) = (reader.text("group id")?, reader.text("topic")?);
                let partition = reader.signed_32("partition")?;
                reader.finish()?;
                Ok(RecordKey::Offset { group_id, topic, partition })
            }
            version => Err(DecodeError::UnknownVersion { version }),
        }
    }
}

/// The value of a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    /// What was committed.
    pub committed: CommittedOffset,
    /// The topic's id at the time, so that a topic of the same name made later does not inherit the offset.
    pub topic_id: Option<Uuid>,
}

impl OffsetValue {
    /// The value's bytes.
    pub fn encode(&self) -> Bytes {
        let committed = &self.committed;
        let mut writer = Writer::start(VALUE_OFFSET_V1);
        writer.byte(self.flags()).signed(committed.offset).signed(committed.committed_at_ms);
        if let Some(epoch) = committed.leader_epoch {
            writer.signed(epoch.into());
        }
        if !committed.metadata.is_empty() {
            writer.text(&committed.metadata);
        }
        if let Some(expires_at_ms) = committed.expires_at_ms {
            writer.signed(expires_at_ms);
        }
        if let Some(topic_id) = self.topic_id {
            writer.raw(topic_id.as_bytes());
        }
        writer.finish()
    }

    fn flags(&self) -> u8 {
        let flag = |present: bool, bit: u8| if present { bit } else { 0 };
        flag(self.committed.leader_epoch.is_some(), HAS_LEADER_EPOCH)
            | flag(!self.committed.metadata.is_empty(), HAS_METADATA)
            | flag(self.committed.expires_at_ms.is_some(), HAS_EXPIRY)
            | flag(self.topic_id.is_some(), HAS_TOPIC_ID)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Any [`DecodeError`] if the bytes are not a value that this version writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VALUE_OFFSET_V1)?;
        let flags = reader.byte("flags")?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(DecodeError::Invalid { field: "flags" });
        }
        let has = |bit| flags & bit != 0;
        let offset = reader.signed("offset")?;
        let committed_at_ms = reader.signed("commit timestamp")?;
        let leader_epoch = has(HAS_LEADER_EPOCH).then(|| reader.signed_32("leader epoch")).transpose()?;
        let metadata =
            has(HAS_METADATA).then(|| reader.text("metadata")).transpose()?.unwrap_or_default().into();
        let expires_at_ms = has(HAS_EXPIRY).then(|| reader.signed("expiry timestamp")).transpose()?;
        let topic_id = has(HAS_TOPIC_ID).then(|| reader.uuid("topic id")).transpose()?;
        reader.finish()?;
        let committed = CommittedOffset { offset, leader_epoch, metadata, committed_at_ms, expires_at_ms };
        Ok(Self { committed, topic_id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{OffsetValue, RecordKey};
    use crate::offsets::{CommittedOffset, DecodeError};

    /// Worked out by hand from the table above: a change of these bytes is a change of the disk format.
    #[test]
    fn keys_and_values_have_their_documented_bytes() {
        assert_eq!(RecordKey::Group { group_id: "g" }.encode().as_ref(), b"\x11g");
        let key = RecordKey::Offset { group_id: "g", topic: "to", partition: 3 };
        assert_eq!(key.encode().as_ref(), b"\x21\x01g\x02to\x06");
        let committed = CommittedOffset {
            offset: 5,
            leader_epoch: Some(0),
            metadata: "m".into(),
            committed_at_ms: 64,
            expires_at_ms: None,
        };
        let value = OffsetValue { committed, topic_id: None };
        assert_eq!(value.encode().as_ref(), [1, 0b0011, 10, 0x80, 0x01, 0, 1, b'm']);
    }

    #[test]
    fn an_unknown_kind_or_version_is_told_apart_from_damage() {
        assert_eq!(RecordKey::decode(b"\x12g"), Err(DecodeError::UnknownVersion { version: 0x12 }));
        assert_eq!(OffsetValue::decode(&[2]), Err(DecodeError::UnknownVersion { version: 2 }));
        assert_eq!(RecordKey::decode(b""), Err(DecodeError::Truncated { field: "kind" }));
        assert_eq!(OffsetValue::decode(&[1, 0x80]), Err(DecodeError::Invalid { field: "flags" }));
    }

    fn any_value() -> impl Strategy<Value = OffsetValue> {
        let optional = (any::<Option<i32>>(), any::<Option<i64>>(), any::<Option<u128>>());
        (any::<i64>(), any::<i64>(), ".{0,20}", optional).prop_map(
            |(offset, committed_at_ms, metadata, (leader_epoch, expires_at_ms, id))| {
                let metadata = metadata.into();
                let committed =
                    CommittedOffset { offset, leader_epoch, metadata, committed_at_ms, expires_at_ms };
                OffsetValue { committed, topic_id: id.map(uuid::Uuid::from_u128) }
            },
        )
    }

    proptest! {
        #[test]
        fn values_round_trip(value in any_value()) {
            prop_assert_eq!(OffsetValue::decode(&value.encode()), Ok(value));
        }

        #[test]
        fn keys_round_trip(group_id in ".{0,20}", topic in ".{0,20}", partition: i32) {
            let offset = RecordKey::Offset { group_id: &group_id, topic: &topic, partition };
            let group = RecordKey::Group { group_id: &group_id };
            for key in [offset, group] {
                let bytes = key.encode();
                prop_assert_eq!(RecordKey::decode(&bytes), Ok(key));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = RecordKey::decode(&bytes);
            let _ = OffsetValue::decode(&bytes);
        }

        #[test]
        fn every_truncation_is_an_error(value in any_value(), cut in any::<prop::sample::Index>()) {
            let bytes = value.encode();
            prop_assert!(OffsetValue::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
