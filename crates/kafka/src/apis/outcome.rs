//! What a response says of errors, for the count of requests: its own error, or else the first of those within.

use kafka_protocol::messages::{
    AlterConfigsResponse, AlterPartitionReassignmentsResponse, AlterReplicaLogDirsResponse,
    ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeGroupsResponse, DescribeLogDirsResponse, DescribeProducersResponse, DescribeQuorumResponse,
    DescribeTopicPartitionsResponse, ElectLeadersResponse, FindCoordinatorResponse, HeartbeatResponse,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse,
    MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupResponse,
};

/// A response that may tell of errors.
pub(crate) trait Outcome {
    /// The error that it counts as; 0 for none.
    fn error_code(&self) -> i16;
}

/// The first error among codes.
pub(crate) fn first(codes: impl IntoIterator<Item = i16>) -> i16 {
    codes.into_iter().find(|&code| code != 0).unwrap_or(0)
}

/// Implements [`Outcome`]: all error codes of a response, those of the whole first.
macro_rules! outcomes {
    ($($response:ident: |$it:ident| $codes:expr;)*) => {
        $(impl Outcome for $response {
            fn error_code(&self) -> i16 {
                let $it = self;
                first($codes)
            }
        })*
    };
}

outcomes! {
    AlterConfigsResponse: |it| it.responses.iter().map(|resource| resource.error_code);
    AlterPartitionReassignmentsResponse: |it| {
        let partitions = it.responses.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(it.error_code).chain(partitions.map(|partition| partition.error_code))
    };
    AlterReplicaLogDirsResponse: |it|
        it.results.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    ApiVersionsResponse: |it| [it.error_code];
    CreatePartitionsResponse: |it| it.results.iter().map(|topic| topic.error_code);
    CreateTopicsResponse: |it| it.topics.iter().map(|topic| topic.error_code);
    DeleteGroupsResponse: |it| it.results.iter().map(|group| group.error_code);
    DeleteRecordsResponse: |it|
        it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    DeleteTopicsResponse: |it| it.responses.iter().map(|topic| topic.error_code);
    DescribeClusterResponse: |it| [it.error_code];
    DescribeConfigsResponse: |it| it.results.iter().map(|resource| resource.error_code);
    DescribeGroupsResponse: |it| it.groups.iter().map(|group| group.error_code);
    DescribeLogDirsResponse: |it|
        std::iter::once(it.error_code).chain(it.results.iter().map(|directory| directory.error_code));
    DescribeProducersResponse: |it|
        it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    DescribeQuorumResponse: |it| {
        let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(it.error_code).chain(partitions.map(|partition| partition.error_code))
    };
    DescribeTopicPartitionsResponse: |it| it.topics.iter().flat_map(|topic|
        std::iter::once(topic.error_code).chain(topic.partitions.iter().map(|partition| partition.error_code)));
    ElectLeadersResponse: |it| {
        let topics = it.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        std::iter::once(it.error_code).chain(topics.map(|partition| partition.error_code))
    };
    FindCoordinatorResponse: |it|
        std::iter::once(it.error_code).chain(it.coordinators.iter().map(|found| found.error_code));
    HeartbeatResponse: |it| [it.error_code];
    IncrementalAlterConfigsResponse: |it| it.responses.iter().map(|resource| resource.error_code);
    InitProducerIdResponse: |it| [it.error_code];
    JoinGroupResponse: |it| [it.error_code];
    LeaveGroupResponse: |it|
        std::iter::once(it.error_code).chain(it.members.iter().map(|member| member.error_code));
    ListConfigResourcesResponse: |it| [it.error_code];
    ListGroupsResponse: |it| [it.error_code];
    ListOffsetsResponse: |it|
        it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    ListPartitionReassignmentsResponse: |it| [it.error_code];
    MetadataResponse: |it| it.topics.iter().flat_map(|topic|
        std::iter::once(topic.error_code).chain(topic.partitions.iter().map(|partition| partition.error_code)));
    OffsetCommitResponse: |it|
        it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    OffsetDeleteResponse: |it| {
        let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(it.error_code).chain(partitions.map(|partition| partition.error_code))
    };
    OffsetFetchResponse: |it| {
        let of_topics = it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        let of_groups = it.groups.iter().flat_map(|group| {
            let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            std::iter::once(group.error_code).chain(partitions.map(|partition| partition.error_code))
        });
        std::iter::once(it.error_code).chain(of_topics).chain(of_groups)
    };
    OffsetForLeaderEpochResponse: |it|
        it.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    ProduceResponse: |it|
        it.responses.iter().flat_map(|topic| &topic.partition_responses).map(|partition| partition.error_code);
    SyncGroupResponse: |it| [it.error_code];
}
