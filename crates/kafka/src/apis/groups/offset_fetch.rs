//! OffsetFetch (key 9): where consumer groups have read to.
//!
//! Versions up to 7 ask about one group, later ones about any number (KIP-709). No list of topics, from version 2 on,
//! asks for everything that the group has committed. `require_stable` refuses offsets that an open transaction changes
//! (KIP-447). Version 1 has no place for an error of a whole group, so that it stands in each partition.

use std::ops::RangeInclusive;

use annals_broker::api::offsets::{
    CommittedOffset, FetchOffsets, FetchOffsetsError, GroupMember, PartitionOffsetError, TopicOffsets,
};
use annals_broker::api::topics::TopicRef;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse};

use crate::apis::values::{shared, wire};
use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, bool, int32, string};

/// Tells where consumer groups have read to.
pub(crate) struct OffsetFetch;

const TOPIC: Kind = Kind::Struct(&[string("Name"), array("PartitionIndexes", &INT32)]);

const GROUP: Kind = Kind::Struct(&[
    string("GroupId"),
    string("MemberId").since(9),
    int32("MemberEpoch").since(9),
    array("Topics", &TOPIC),
]);

/// The first version that asks about several groups.
const GROUPS_FROM: i16 = 8;

impl Api for OffsetFetch {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    /// Version 10 names topics by id; the codec does not read it.
    const VERSIONS: RangeInclusive<i16> = 1..=9;
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

    async fn handle(context: &Context, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let require_stable = request.require_stable;
        if version < GROUPS_FROM {
            let group = fetch_group(context, only_group(request), require_stable).await;
            return single_response(version, group);
        }
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let mut group = fetch_group(context, group, require_stable).await;
            if group.error_code != 0 {
                group.topics.clear();
            }
            groups.push(group);
        }
        OffsetFetchResponse::default().with_groups(groups)
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
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let member = group.member_id.as_ref().filter(|_| group.member_epoch >= 0).map(|member_id| GroupMember {
        generation: group.member_epoch,
        member_id: shared(member_id),
        instance_id: None,
    });
    let wanted = |topic: &OffsetFetchRequestTopics| {
        (TopicRef::Name(shared(&topic.name)), topic.partition_indexes.clone())
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
    let name = match topic.topic {
        TopicRef::Name(name) => wire(&name).into(),
        // Asked for by name only.
        TopicRef::Id(_) => Default::default(),
    };
    let partitions = topic.partitions.into_iter().map(|partition| match partition.result {
        Ok(Some(committed)) => found_partition(partition.partition, committed),
        Ok(None) => no_offset(partition.partition, 0),
        Err(error) => no_offset(partition.partition, partition_error_of(&error).code()),
    });
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
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
    OffsetFetchResponseTopics::default().with_name(topic.name).with_partitions(partitions)
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
