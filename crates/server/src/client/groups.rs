//! Consumer groups as the broker describes them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::{GroupInfo, GroupMemberInfo};
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Partition;
use super::offsets::Offsets;
use super::{ANSWER_TIMEOUT, Quiet, explain};

/// The state of a group that a broker lists but describes as dead. That is how a broker answers for a group of the
/// consumer protocol of KIP-848 where it is asked about a classic group, and the client library asks no other way.
pub(crate) const UNKNOWN: &str = "Unknown";

/// A consumer group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The group's id.
    pub(crate) name: String,
    /// Its state, as the broker names it: `Stable`, `Empty`, ...; [`UNKNOWN`] where it cannot be asked for.
    pub(crate) state: String,
    /// How partitions are assigned: `range`, `cooperative-sticky`, ...
    pub(crate) strategy: String,
    /// Who is in it.
    pub(crate) members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The id that the broker gave it.
    pub(crate) id: String,
    /// What it calls itself.
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) host: String,
    /// What it was assigned.
    pub(crate) partitions: Vec<Partition>,
}

impl Group {
    /// Whether state and members are not known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.state == UNKNOWN
    }

    /// Which member has which partition.
    pub(crate) fn owners(&self) -> BTreeMap<&Partition, &Member> {
        let pairs = self.members.iter().flat_map(|member| member.partitions.iter().map(move |p| (p, member)));
        pairs.collect()
    }

    fn from_info(info: &GroupInfo) -> Self {
        let state = if info.state() == "Dead" { UNKNOWN } else { info.state() };
        Self {
            name: info.name().to_owned(),
            state: state.to_owned(),
            strategy: info.protocol().to_owned(),
            members: info
                .members()
                .iter()
                .map(|member| Member::from_info(member, info.protocol_type()))
                .collect(),
        }
    }
}

impl Member {
    fn from_info(info: &GroupMemberInfo, protocol_type: &str) -> Self {
        let assignment = info.assignment().filter(|_| protocol_type == "consumer").unwrap_or_default();
        Self {
            id: info.id().to_owned(),
            client_id: info.client_id().to_owned(),
            host: info.client_host().trim_start_matches('/').to_owned(),
            partitions: parse_assignment(assignment).unwrap_or_default(),
        }
    }
}

/// All groups, by name.
pub(crate) fn list(client: &BaseConsumer<Quiet>) -> Result<Vec<Group>> {
    let mut groups = fetch(client, None)?;
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

/// One group, if the broker knows it.
pub(crate) fn find(client: &BaseConsumer<Quiet>, name: &str) -> Result<Option<Group>> {
    let asked = fetch(client, Some(name))?.into_iter().find(|group| group.name == name);
    match asked {
        Some(group) if !group.is_unknown() => Ok(Some(group)),
        _ => Ok(fetch(client, None)?.into_iter().find(|group| group.name == name)),
    }
}

fn fetch(client: &BaseConsumer<Quiet>, name: Option<&str>) -> Result<Vec<Group>> {
    match client.fetch_group_list(name, ANSWER_TIMEOUT) {
        Ok(list) => Ok(list.groups().iter().map(Group::from_info).collect()),
        Err(KafkaError::GroupListFetch(RDKafkaErrorCode::GroupIdNotFound)) => Ok(Vec::new()),
        Err(error) => Err(explain(&error)).context("cannot list groups"),
    }
}

/// The offsets that a group has committed, among `partitions`. `client` carries the group's id.
pub(crate) fn committed(client: &BaseConsumer<Quiet>, partitions: &[Partition]) -> Result<Offsets> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let mut question = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        question.add_partition(&partition.topic, partition.number);
    }
    let answer = client
        .committed_offsets(question, ANSWER_TIMEOUT)
        .map_err(|error| explain(&error))
        .context("cannot read committed offsets")?;
    let known = answer.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((Partition::new(element.topic(), element.partition()), offset)),
        _ => None,
    });
    Ok(known.collect())
}

/// Reads the assignment that a leader wrote for a member: version, then topics with partitions (the consumer
/// protocol's
/// `ConsumerProtocolAssignment`). `None` if the bytes end early.
fn parse_assignment(bytes: &[u8]) -> Option<Vec<Partition>> {
    let mut input = bytes;
    let _version = take::<2>(&mut input)?;
    let topics = i32::from_be_bytes(take(&mut input)?);
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let length = usize::from(u16::from_be_bytes(take(&mut input)?));
        let (name, rest) = input.split_at_checked(length)?;
        input = rest;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(take(&mut input)?) {
            partitions.push(Partition::new(name, i32::from_be_bytes(take(&mut input)?)));
        }
    }
    Some(partitions)
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::{Partition, parse_assignment};

    #[test]
    fn an_assignment_is_read() {
        // version 1, one topic "ab" with partitions 0 and 5, no user data
        let bytes =
            [0, 1, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 255, 255, 255, 255];
        let expected = vec![Partition::new("ab", 0), Partition::new("ab", 5)];
        assert_eq!(parse_assignment(&bytes), Some(expected));
    }

    #[test]
    fn a_truncated_or_lying_assignment_is_refused_without_allocating() {
        assert_eq!(parse_assignment(&[0, 1, 127, 255, 255, 255]), None);
        assert_eq!(parse_assignment(&[0, 1, 0, 0, 0, 1, 0, 200, b'a']), None);
    }
}
