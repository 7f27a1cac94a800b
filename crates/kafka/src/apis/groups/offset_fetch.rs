//! OffsetFetch (key 9): where consumer groups have read to.
//!
//! Versions up to 7 ask about one group, later ones about any number (KIP-709). No list of topics, from version 2 on,
//! asks for everything that the group has committed. `require_stable` refuses offsets that an open transaction changes
//! (KIP-447). Version 1 has no place for an error of a whole group, so that it stands in each partition.
//!
//! Version 10 names topics by id (KIP-848). The codec does not know it, so it is decoded here: it has the fields of
//! version 9, with an id in the place of the topic's name.

use std::ops::RangeInclusive;

use annals_broker::api::offsets::{
    CommittedOffset, FetchOffsets, FetchOffsetsError, GroupMember, PartitionOffsetError, TopicOffsets,
};
use annals_broker::api::topics::TopicRef;
use annals_clock::Uuid;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use crate::apis::values::{shared, wire};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, bool, int32, string, uuid};

/// Tells where consumer groups have read to.
pub(crate) struct OffsetFetch;

const TOPIC: Kind = Kind::Struct(&[string("Name"), array("PartitionIndexes", &INT32)]);

const GROUP_TOPIC: Kind = Kind::Struct(&[
    string("Name").until(9),
    uuid("TopicId").since(IDS_FROM),
    array("PartitionIndexes", &INT32),
]);

const GROUP: Kind = Kind::Struct(&[
    string("GroupId"),
    string("MemberId").since(9),
    int32("MemberEpoch").since(9),
    array("Topics", &GROUP_TOPIC),
]);

/// The first version that asks about several groups.
const GROUPS_FROM: i16 = 8;

/// The first version that names topics by id.
const IDS_FROM: i16 = 10;

impl Api for OffsetFetch {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    const SHAPE: Shape = Shape {
        flexible_from: 6,
        fields: &[
            string("GroupId").until(7),
            array("Topics", &TOPIC).until(7),
            array("Groups", &GROUP).since(GROUPS_FROM),
            bool("RequireStable").since(7),
        ],
    };
    type Request = OffsetFetchRequest;
    type Response = OffsetFetchResponse;

    fn decode(body: Bytes, version: i16) -> Result<OffsetFetchRequest, String> {
        match version {
            IDS_FROM.. => by_id::decode(&body).map_err(|error| error.to_string()),
            _ => crate::apis::decode(body, version),
        }
    }

    #[cfg(test)]
    fn encode(request: &OffsetFetchRequest, version: i16) -> Result<Bytes, String> {
        match version {
            IDS_FROM.. => Ok(by_id::encode(request)),
            _ => crate::apis::tests::encode(request, version),
        }
    }

    async fn handle(context: &Context, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let require_stable = request.require_stable;
        if version < GROUPS_FROM {
            let group = fetch_group(context, version, only_group(request), require_stable).await;
            return single_response(version, group);
        }
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let mut group = fetch_group(context, version, group, require_stable).await;
            if group.error_code != 0 {
                group.topics.clear();
            }
            group.topics.iter_mut().for_each(|topic| name_for(version, topic));
            groups.push(group);
        }
        OffsetFetchResponse::default().with_groups(groups)
    }
}

/// Leaves the one of a topic's name and its id that this version tells.
fn name_for(version: i16, topic: &mut OffsetFetchResponseTopics) {
    if version >= IDS_FROM {
        topic.name = TopicName::default();
    } else {
        topic.topic_id = Uuid::nil();
    }
}

/// Version 10 on the wire.
mod by_id {
    use super::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    use crate::flexible::{Fields, Malformed};

    pub(super) fn decode(body: &[u8]) -> Result<OffsetFetchRequest, Malformed> {
        let mut fields = Fields::new(body);
        let request = OffsetFetchRequest::default()
            .with_groups(fields.array(group)?)
            .with_require_stable(fields.bool()?);
        fields.skip_tags()?;
        Ok(request)
    }

    fn group(fields: &mut Fields<'_>) -> Result<OffsetFetchRequestGroup, Malformed> {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(fields.string()?.into())
            .with_member_id(fields.nullable_string()?)
            .with_member_epoch(fields.int32()?)
            .with_topics(fields.nullable_array(topic)?);
        fields.skip_tags()?;
        Ok(group)
    }

    fn topic(fields: &mut Fields<'_>) -> Result<OffsetFetchRequestTopics, Malformed> {
        let topic = OffsetFetchRequestTopics::default()
            .with_topic_id(fields.uuid()?)
            .with_partition_indexes(fields.array(Fields::int32)?);
        fields.skip_tags()?;
        Ok(topic)
    }

    #[cfg(test)]
    pub(super) fn encode(request: &OffsetFetchRequest) -> bytes::Bytes {
        let mut out = crate::flexible::FieldWriter(bytes::BytesMut::new());
        out.array(Some(&request.groups[..]), |out, group| {
            out.string(Some(&group.group_id));
            out.string(group.member_id.as_deref());
            out.put(&group.member_epoch.to_be_bytes());
            out.array(group.topics.as_deref(), |out, topic| {
                out.put(topic.topic_id.as_bytes());
                out.array(Some(&topic.partition_indexes[..]), |out, index| out.put(&index.to_be_bytes()));
                out.no_tags();
            });
            out.no_tags();
        });
        out.put(&[u8::from(request.require_stable)]);
        out.no_tags();
        out.0.freeze()
    }
}

/// The request of an earlier version, in the form of the later ones.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topic = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics)
}

/// What is known of one group. An error of the group stands in each of its partitions as well.
async fn fetch_group(
    context: &Context,
    version: i16,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let member = group.member_id.as_ref().filter(|_| group.member_epoch >= 0).map(|member_id| GroupMember {
        generation: group.member_epoch,
        member_id: shared(member_id),
        instance_id: None,
    });
    let wanted = |topic: &OffsetFetchRequestTopics| {
        let name = match version {
            IDS_FROM.. => TopicRef::Id(topic.topic_id),
            _ => TopicRef::Name(shared(&topic.name)),
        };
        (name, topic.partition_indexes.clone())
    };
    let fetch = FetchOffsets {
        group: shared(&group.group_id),
        member,
        topics: group.topics.as_ref().map(|topics| topics.iter().map(wanted).collect()),
        require_stable,
    };
    let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
    match context.broker.fetch_offsets(&context.caller, fetch).await {
        Ok(topics) => response.with_topics(topics.into_iter().map(found_topic).collect()),
        Err(error) => {
            let code = group_error_of(&error).code();
            let topics = group.topics.unwrap_or_default().into_iter().map(|topic| failed_topic(topic, code));
            response.with_topics(topics.collect()).with_error_code(code)
        }
    }
}

fn found_topic(topic: TopicOffsets) -> OffsetFetchResponseTopics {
    let (name, id) = match topic.topic {
        TopicRef::Name(name) => (wire(&name).into(), topic.id.unwrap_or_default()),
        TopicRef::Id(id) => (TopicName::default(), id),
    };
    let partitions = topic.partitions.into_iter().map(|partition| match partition.result {
        Ok(Some(committed)) => found_partition(partition.partition, committed),
        Ok(None) => no_offset(partition.partition, 0),
        Err(error) => no_offset(partition.partition, partition_error_of(&error).code()),
    });
    OffsetFetchResponseTopics::default()
        .with_name(name)
        .with_topic_id(id)
        .with_partitions(partitions.collect())
}

fn found_partition(partition: i32, committed: CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(committed.offset)
        .with_committed_leader_epoch(committed.leader_epoch.unwrap_or(-1))
        .with_metadata(Some(committed.metadata.into()))
}

fn failed_topic(topic: OffsetFetchRequestTopics, code: i16) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|&partition| no_offset(partition, code)).collect();
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

fn no_offset(partition: i32, code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(Default::default()))
        .with_error_code(code)
}

/// The answer of a version that asks about one group.
fn single_response(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let has_group_error = version >= 2;
    if has_group_error && group.error_code != 0 {
        return OffsetFetchResponse::default().with_error_code(group.error_code);
    }
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    let topic = |topic: OffsetFetchResponseTopics| {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    };
    OffsetFetchResponse::default().with_topics(group.topics.into_iter().map(topic).collect())
}

fn group_error_of(error: &FetchOffsetsError) -> ResponseError {
    match error {
        FetchOffsetsError::UnknownMember(_) => ResponseError::UnknownMemberId,
        FetchOffsetsError::StaleMemberEpoch(_) => ResponseError::StaleMemberEpoch,
        FetchOffsetsError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        FetchOffsetsError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}

fn partition_error_of(error: &PartitionOffsetError) -> ResponseError {
    match error {
        PartitionOffsetError::Unstable => ResponseError::UnstableOffsetCommit,
        PartitionOffsetError::UnknownTopicId(_) => ResponseError::UnknownTopicId,
        PartitionOffsetError::NotAuthorized(_) => ResponseError::TopicAuthorizationFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_group() -> OffsetFetchResponseGroup {
        let topic = OffsetFetchRequestTopics::default().with_partition_indexes(vec![0, 3]);
        let code = ResponseError::CoordinatorNotAvailable.code();
        OffsetFetchResponseGroup::default().with_topics(vec![failed_topic(topic, code)]).with_error_code(code)
    }

    #[test]
    fn version_1_tells_a_group_error_in_each_partition() {
        let response = single_response(1, failed_group());
        assert_eq!(response.error_code, 0);
        let codes: Vec<_> =
            response.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [15, 15]);
        assert_eq!(response.topics[0].partitions[1].committed_offset, -1);
    }

    #[test]
    fn later_versions_tell_a_group_error_at_the_top() {
        let response = single_response(2, failed_group());
        assert_eq!((response.error_code, response.topics.len()), (15, 0));
    }

    #[test]
    fn no_list_of_topics_asks_for_all() {
        assert_eq!(only_group(OffsetFetchRequest::default().with_topics(None)).topics, None);
    }
}
