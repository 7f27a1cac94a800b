//! The durable image of a group: the value of its record in the `offsets` log.
//!
//! It holds what a restart needs to go on as if nothing had happened: generation, protocol, leader, and the members
//! with their ids, timeouts, protocols and assignments. Waiting requests, deadlines and handed-out member ids are not
//! in it: clients repeat what was not answered. Kafka stores the same in GroupMetadataValue, except that it keeps only
//! the selected protocol of each member; all are kept here, so that a member that joins again unchanged after a
//! restart is recognised and causes no rebalance.
//!
//! | field | encoding |
//! |---|---|
//! | version | byte, 1 |
//! | generation | zigzag LEB128 |
//! | state since (wall clock ms), protocol type, protocol, leader | each a presence byte, then the value |
//! | members | count, then for each: id, instance id (optional), client id, client host, session timeout ms, rebalance timeout ms, protocols (count, then name and metadata each), assignment |

use std::sync::Arc;
use std::time::Duration;

use crate::TimestampMs;
use bytes::Bytes;

use super::message::Protocol;
use crate::offsets::DecodeError;
use crate::offsets::codec::{Reader, Writer};

const VALUE_GROUP_V1: u8 = 1;

/// What a record says about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupImage {
    pub(super) generation: i32,
    pub(super) state_since_ms: Option<TimestampMs>,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: Vec<MemberImage>,
}

/// What a record says about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberImage {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
}

impl GroupImage {
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::start(VALUE_GROUP_V1);
        writer.signed(self.generation.into()).byte(self.state_since_ms.is_some().into());
        if let Some(since) = self.state_since_ms {
            writer.signed(since);
        }
        for text in [&self.protocol_type, &self.protocol, &self.leader] {
            write_optional(&mut writer, text.as_ref());
        }
        writer.unsigned(self.members.len() as u64);
        for member in &self.members {
            member.encode(&mut writer);
        }
        writer.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version(VALUE_GROUP_V1)?;
        let generation = reader.signed_32("generation")?;
        let has_since = presence(&mut reader, "state timestamp")?;
        let state_since_ms = has_since.then(|| reader.signed("state timestamp")).transpose()?;
        let protocol_type = read_optional(&mut reader, "protocol type")?;
        let protocol = read_optional(&mut reader, "protocol")?;
        let leader = read_optional(&mut reader, "leader")?;
        let count = reader.count("members")?;
        let members = (0..count).map(|_| MemberImage::decode(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        let image = Self { generation, state_since_ms, protocol_type, protocol, leader, members };
        image.check().map(|()| image)
    }

    /// What the state machine relies on: ids are unique, and a group with members has a type, a protocol that each
    /// of them supports, and a leader among them.
    fn check(&self) -> Result<(), DecodeError> {
        let check = |holds: bool, field| if holds { Ok(()) } else { Err(DecodeError::Invalid { field }) };
        let ids: std::collections::BTreeSet<_> = self.members.iter().map(|member| &member.id).collect();
        check(ids.len() == self.members.len(), "members")?;
        let instances: Vec<_> =
            self.members.iter().filter_map(|member| member.instance_id.as_ref()).collect();
        let unique: std::collections::BTreeSet<_> = instances.iter().collect();
        check(unique.len() == instances.len(), "instance ids")?;
        if self.members.is_empty() {
            return Ok(());
        }
        check(self.protocol_type.is_some(), "protocol type")?;
        check(self.leader.as_ref().is_some_and(|leader| ids.contains(leader)), "leader")?;
        let supported = |member: &MemberImage| {
            member.protocols.iter().any(|protocol| Some(&protocol.name) == self.protocol.as_ref())
        };
        check(self.members.iter().all(supported), "protocol")
    }
}

impl MemberImage {
    fn encode(&self, writer: &mut Writer) {
        writer.text(&self.id);
        write_optional(writer, self.instance_id.as_ref());
        writer.text(&self.client_id).text(&self.client_host);
        writer.unsigned(millis(self.session_timeout)).unsigned(millis(self.rebalance_timeout));
        writer.unsigned(self.protocols.len() as u64);
        for protocol in &self.protocols {
            writer.text(&protocol.name).bytes(&protocol.metadata);
        }
        writer.bytes(&self.assignment);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: reader.text("member id")?.into(),
            instance_id: read_optional(reader, "instance id")?,
            client_id: reader.text("client id")?.into(),
            client_host: reader.text("client host")?.into(),
            session_timeout: read_timeout(reader, "session timeout")?,
            rebalance_timeout: read_timeout(reader, "rebalance timeout")?,
            protocols: read_protocols(reader)?,
            assignment: Bytes::copy_from_slice(reader.bytes("assignment")?),
        })
    }
}

fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

fn read_timeout(reader: &mut Reader<'_>, field: &'static str) -> Result<Duration, DecodeError> {
    reader.unsigned(field).map(Duration::from_millis)
}

fn read_protocols(reader: &mut Reader<'_>) -> Result<Vec<Protocol>, DecodeError> {
    let count = reader.count("protocols")?;
    let mut read = || {
        let name = reader.text("protocol name")?.into();
        Ok(Protocol { name, metadata: Bytes::copy_from_slice(reader.bytes("protocol metadata")?) })
    };
    (0..count).map(|_| read()).collect()
}

fn write_optional(writer: &mut Writer, text: Option<&Arc<str>>) {
    writer.byte(text.is_some().into());
    if let Some(text) = text {
        writer.text(text);
    }
}

fn read_optional(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<Arc<str>>, DecodeError> {
    let is_present = presence(reader, field)?;
    is_present.then(|| reader.text(field).map(Into::into)).transpose()
}

fn presence(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.byte(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid { field }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{GroupImage, MemberImage};
    use crate::group::Protocol;
    use crate::offsets::DecodeError;

    fn member(id: &str, instance_id: Option<&str>) -> MemberImage {
        let metadata = Bytes::from_static(b"\x07");
        MemberImage {
            id: id.into(),
            instance_id: instance_id.map(Into::into),
            client_id: "c".into(),
            client_host: "h".into(),
            session_timeout: Duration::from_millis(100),
            rebalance_timeout: Duration::from_millis(300),
            protocols: vec![Protocol { name: "p".into(), metadata }],
            assignment: Bytes::from_static(b"\x09\x08"),
        }
    }

    fn image(members: Vec<MemberImage>) -> GroupImage {
        GroupImage {
            generation: 3,
            state_since_ms: Some(1),
            protocol_type: Some("consumer".into()),
            protocol: Some("p".into()),
            leader: members.first().map(|member| member.id.clone()),
            members,
        }
    }

    /// Worked out by hand from the table above: a change of these bytes is a change of the disk format.
    #[test]
    fn a_group_has_its_documented_bytes() {
        let bytes = image(vec![member("m", None)]).encode();
        let head = b"\x01\x06\x01\x02\x01\x08consumer\x01\x01p\x01\x01m\x01";
        let tail = b"\x01m\x00\x01c\x01h\x64\xac\x02\x01\x01p\x01\x07\x02\x09\x08";
        assert_eq!(bytes, [head.as_slice(), tail.as_slice()].concat());
    }

    #[test]
    fn an_image_that_the_state_machine_cannot_hold_is_refused() {
        let invalid = |image: GroupImage, field| {
            assert_eq!(GroupImage::decode(&image.encode()), Err(DecodeError::Invalid { field }));
        };
        let good = || image(vec![member("a", Some("i")), member("b", None)]);
        invalid(image(vec![member("a", None), member("a", None)]), "members");
        invalid(image(vec![member("a", Some("i")), member("b", Some("i"))]), "instance ids");
        invalid(GroupImage { leader: Some("x".into()), ..good() }, "leader");
        invalid(GroupImage { leader: None, ..good() }, "leader");
        invalid(GroupImage { protocol: Some("q".into()), ..good() }, "protocol");
        invalid(GroupImage { protocol_type: None, ..good() }, "protocol type");
        assert_eq!(GroupImage::decode(&good().encode()), Ok(good()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
            let _ = GroupImage::decode(&bytes);
            bytes.insert(0, 1);
            let _ = GroupImage::decode(&bytes);
        }

        #[test]
        fn a_damaged_record_never_panics(at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>()) {
            let mut bytes = image(vec![member("a", Some("i")), member("b", None)]).encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = GroupImage::decode(&bytes);
            let cut = cut.index(bytes.len());
            bytes.truncate(cut);
            prop_assert!(GroupImage::decode(&bytes).is_err());
        }
    }
}
