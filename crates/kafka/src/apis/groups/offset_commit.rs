//! OffsetCommit (key 8): stores where a consumer group has read to.
//!
//! Versions 2 to 4 carry a retention time of the client's own; later ones leave it to the server (KIP-211). A consumer
//! without a group membership commits with generation -1 and an empty member id. Durable when answered.
//!
//! Version 10 names topics by id (KIP-848). The codec does not know it, so it is decoded here: it has the fields of
//! version 9, with an id in the place of the topic's name.

use std::ops::RangeInclusive;

use annals_broker::api::offsets::{CommitError, CommitOffset, CommitOffsets, GroupMember};
use annals_broker::api::topics::TopicRef;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetCommitResponse};

use crate::apis::values::shared;
use crate::apis::{Api, Context};
use crate::shape::{Kind, Shape, array, int32, int64, string, uuid};

/// Stores where a consumer group has read to.
pub(crate) struct OffsetCommit;

const PARTITION: Kind = Kind::Struct(&[
    int32("PartitionIndex"),
    int64("CommittedOffset"),
    int32("CommittedLeaderEpoch").since(6),
    string("CommittedMetadata"),
]);

const TOPIC: Kind = Kind::Struct(&[
    string("Name").until(9),
    uuid("TopicId").since(IDS_FROM),
    array("Partitions", &PARTITION),
]);

/// The first version that names topics by id.
const IDS_FROM: i16 = 10;

impl Api for OffsetCommit {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    const VERSIONS: RangeInclusive<i16> = 2..=10;
    const SHAPE: Shape = Shape {
        flexible_from: 8,
        fields: &[
            string("GroupId"),
            int32("GenerationIdOrMemberEpoch"),
            string("MemberId"),
            string("GroupInstanceId").since(7),
            int64("RetentionTimeMs").until(4),
            array("Topics", &TOPIC),
        ],
    };
    type Request = OffsetCommitRequest;
    type Response = OffsetCommitResponse;

    fn decode(body: Bytes, version: i16) -> Result<OffsetCommitRequest, String> {
        match version {
            IDS_FROM.. => by_id::decode(&body).map_err(|error| error.to_string()),
            _ => crate::apis::decode(body, version),
        }
    }

    #[cfg(test)]
    fn encode(request: &OffsetCommitRequest, version: i16) -> Result<Bytes, String> {
        match version {
            IDS_FROM.. => Ok(by_id::encode(request)),
            _ => crate::apis::tests::encode(request, version),
        }
    }

    async fn handle(context: &Context, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let expires_at_ms = u64::try_from(request.retention_time_ms)
            .ok()
            .map(|retention_ms| context.clock.now_ms().saturating_add_unsigned(retention_ms));
        let offsets = request.topics.iter().flat_map(|topic| {
            let name = match version {
                IDS_FROM.. => TopicRef::Id(topic.topic_id),
                _ => TopicRef::Name(shared(&topic.name)),
            };
            let commit = move |partition| commit_offset(name.clone(), partition, expires_at_ms);
            topic.partitions.iter().map(commit)
        });
        let commit = CommitOffsets {
            group: shared(&request.group_id),
            member: member(&request),
            offsets: offsets.collect(),
        };
        let results = context.broker.commit_offsets(&context.caller, commit).await;
        let mut results = results.into_iter();
        let topics = request.topics.into_iter().map(|topic| response_topic(topic, &mut results));
        OffsetCommitResponse::default().with_topics(topics.collect())
    }
}

/// Version 10 on the wire.
mod by_id {
    use super::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use crate::flexible::{Fields, Malformed};

    pub(super) fn decode(body: &[u8]) -> Result<OffsetCommitRequest, Malformed> {
        let mut fields = Fields::new(body);
        let request = OffsetCommitRequest::default()
            .with_group_id(fields.string()?.into())
            .with_generation_id_or_member_epoch(fields.int32()?)
            .with_member_id(fields.string()?)
            .with_group_instance_id(fields.nullable_string()?)
            .with_topics(fields.array(topic)?);
        fields.skip_tags()?;
        Ok(request)
    }

    fn topic(fields: &mut Fields<'_>) -> Result<OffsetCommitRequestTopic, Malformed> {
        let topic = OffsetCommitRequestTopic::default()
            .with_topic_id(fields.uuid()?)
            .with_partitions(fields.array(partition)?);
        fields.skip_tags()?;
        Ok(topic)
    }

    fn partition(fields: &mut Fields<'_>) -> Result<OffsetCommitRequestPartition, Malformed> {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(fields.int32()?)
            .with_committed_offset(fields.int64()?)
            .with_committed_leader_epoch(fields.int32()?)
            .with_committed_metadata(fields.nullable_string()?);
        fields.skip_tags()?;
        Ok(partition)
    }

    #[cfg(test)]
    pub(super) fn encode(request: &OffsetCommitRequest) -> bytes::Bytes {
        let mut out = crate::flexible::FieldWriter(bytes::BytesMut::new());
        out.string(Some(&request.group_id));
        out.put(&request.generation_id_or_member_epoch.to_be_bytes());
        out.string(Some(&request.member_id));
        out.string(request.group_instance_id.as_deref());
        out.array(Some(&request.topics[..]), |out, topic| {
            out.put(topic.topic_id.as_bytes());
            out.array(Some(&topic.partitions[..]), |out, partition| {
                out.put(&partition.partition_index.to_be_bytes());
                out.put(&partition.committed_offset.to_be_bytes());
                out.put(&partition.committed_leader_epoch.to_be_bytes());
                out.string(partition.committed_metadata.as_deref());
                out.no_tags();
            });
            out.no_tags();
        });
        out.no_tags();
        out.0.freeze()
    }
}

fn member(request: &OffsetCommitRequest) -> Option<GroupMember> {
    let generation = request.generation_id_or_member_epoch;
    let is_member = generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some();
    is_member.then(|| GroupMember {
        generation,
        member_id: shared(&request.member_id),
        instance_id: request.group_instance_id.as_deref().map(shared),
    })
}

fn commit_offset(
    topic: TopicRef,
    partition: &OffsetCommitRequestPartition,
    expires_at_ms: Option<i64>,
) -> CommitOffset {
    CommitOffset {
        topic,
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: Some(partition.committed_leader_epoch).filter(|&epoch| epoch >= 0),
        metadata: partition.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        expires_at_ms,
    }
}

fn response_topic(
    topic: OffsetCommitRequestTopic,
    results: &mut impl Iterator<Item = Result<(), CommitError>>,
) -> OffsetCommitResponseTopic {
    // One result for each partition, in the order of the request.
    let partitions = topic.partitions.iter().zip(results).map(|(partition, result)| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(result.map_or_else(|error| error_of(&error).code(), |()| 0))
    });
    let partitions = partitions.collect();
    OffsetCommitResponseTopic::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

fn error_of(error: &CommitError) -> ResponseError {
    match error {
        CommitError::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition,
        CommitError::UnknownTopicId(_) => ResponseError::UnknownTopicId,
        CommitError::MetadataTooLarge { .. } => ResponseError::OffsetMetadataTooLarge,
        CommitError::InvalidGroup(_) => ResponseError::InvalidGroupId,
        CommitError::UnknownMember { .. } => ResponseError::UnknownMemberId,
        CommitError::IllegalGeneration { .. } => ResponseError::IllegalGeneration,
        CommitError::FencedInstance(_) => ResponseError::FencedInstanceId,
        CommitError::RebalanceInProgress(_) => ResponseError::RebalanceInProgress,
        CommitError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        CommitError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_without_membership_is_told_from_a_member() {
        let simple = OffsetCommitRequest::default().with_generation_id_or_member_epoch(-1);
        assert_eq!(member(&simple), None);
        let zombie = simple.clone().with_member_id("m-1".into());
        assert_eq!(member(&zombie).map(|member| member.generation), Some(-1));
        let fixed = simple.with_group_instance_id(Some("i-1".into()));
        assert_eq!(member(&fixed).and_then(|member| member.instance_id).as_deref(), Some("i-1"));
    }
}
