//! What operators ask: topics, settings, the cluster, its disk, its producers.

pub(super) mod alter_configs;
pub(super) mod alter_partition_reassignments;
pub(super) mod alter_replica_log_dirs;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_log_dirs;
pub(super) mod describe_producers;
pub(super) mod describe_quorum;
pub(super) mod describe_topic_partitions;
pub(super) mod elect_leaders;
pub(super) mod incremental_alter_configs;
pub(super) mod list_config_resources;
pub(super) mod list_partition_reassignments;
pub(super) mod offset_for_leader_epoch;
mod replicas;
mod resources;
