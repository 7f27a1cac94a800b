//! One file is one API: its fields, its versions, and its way between the wire and the broker.
//!
//! Requests name topics with partitions inside; the broker takes flat lists and answers in their order. So a handler
//! flattens, asks once, and deals the results out along the request again.

pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_topic_partitions;
pub(crate) mod elect_leaders;
mod errors;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
mod names;
mod operations;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
mod operations;
pub(crate) mod produce;
mod values;
mod replicas;
mod resources;
pub(crate) mod sync_group;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::topics::TopicRef;
use annals_clock::Uuid;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// The epoch of every partition's leader: with one node there never is another leader.
const LEADER_EPOCH: i32 = 0;

/// For error codes: nothing went wrong.
const NO_ERROR: i16 = 0;

fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

fn shared_option(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(shared)
}

fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// An error's message for people.
fn message(error: &impl Display) -> Option<StrBytes> {
    Some(StrBytes::from_string(error.to_string()))
}

/// Negative times mean none.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A topic as requests name it: by id in versions that have ids, else by name.
fn topic_ref(name: &StrBytes, id: Uuid) -> TopicRef {
    if id.is_nil() { TopicRef::Name(shared(name)) } else { TopicRef::Id(id) }
}

/// Refuses an epoch that this server cannot have given out. Clients that know none send -1.
fn check_leader_epoch(epoch: i32) -> Result<(), ResponseError> {
    if epoch > LEADER_EPOCH { Err(ResponseError::UnknownLeaderEpoch) } else { Ok(()) }
}

/// The code of a result.
fn code<T, E>(result: &Result<T, E>, map: impl FnOnce(&E) -> ResponseError) -> i16 {
    result.as_ref().err().map_or(NO_ERROR, |error| map(error).code())
}
