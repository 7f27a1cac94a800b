//! Every API that is served, in one table. The answer to ApiVersions is made from it.

use crate::api::Entry;
use crate::apis::*;

/// In the order of the keys.
static TABLE: &[Entry] = &[
    Entry::of::<produce::Produce>(),
    Entry::of::<fetch::Fetch>(),
    Entry::of::<list_offsets::ListOffsets>(),
    Entry::of::<metadata::Metadata>(),
    Entry::of::<offset_commit::OffsetCommit>(),
    Entry::of::<offset_fetch::OffsetFetch>(),
    Entry::of::<find_coordinator::FindCoordinator>(),
    Entry::of::<join_group::JoinGroup>(),
    Entry::of::<heartbeat::Heartbeat>(),
    Entry::of::<leave_group::LeaveGroup>(),
    Entry::of::<sync_group::SyncGroup>(),
    Entry::of::<describe_groups::DescribeGroups>(),
    Entry::of::<list_groups::ListGroups>(),
    Entry::of::<api_versions::ApiVersions>(),
    Entry::of::<create_topics::CreateTopics>(),
    Entry::of::<delete_topics::DeleteTopics>(),
    Entry::of::<delete_records::DeleteRecords>(),
    Entry::of::<init_producer_id::InitProducerId>(),
    Entry::of::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    Entry::of::<describe_configs::DescribeConfigs>(),
    Entry::of::<alter_configs::AlterConfigs>(),
    Entry::of::<describe_log_dirs::DescribeLogDirs>(),
    Entry::of::<create_partitions::CreatePartitions>(),
    Entry::of::<delete_groups::DeleteGroups>(),
    Entry::of::<elect_leaders::ElectLeaders>(),
    Entry::of::<incremental_alter_configs::IncrementalAlterConfigs>(),
    Entry::of::<list_partition_reassignments::ListPartitionReassignments>(),
    Entry::of::<offset_delete::OffsetDelete>(),
    Entry::of::<describe_cluster::DescribeCluster>(),
    Entry::of::<describe_producers::DescribeProducers>(),
    Entry::of::<describe_topic_partitions::DescribeTopicPartitions>(),
];

/// All rows.
pub(crate) fn all() -> &'static [Entry] {
    TABLE
}

/// The row of one API.
pub(crate) fn find(key: i16) -> Option<&'static Entry> {
    TABLE.binary_search_by_key(&key, |entry| entry.key).ok().map(|at| &TABLE[at])
}

#[cfg(test)]
mod tests;
