//! Consumer groups: their coordinator, their members, and what they have committed.

pub(super) mod delete_groups;
pub(super) mod describe_groups;
pub(super) mod find_coordinator;
pub(super) mod heartbeat;
pub(super) mod join_group;
pub(super) mod leave_group;
pub(super) mod list_groups;
pub(super) mod offset_commit;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod sync_group;

use annals_broker::api::groups::{GroupState, MemberError};
use kafka_protocol::ResponseError;

/// The names that Kafka's tools know.
fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Empty => "Empty",
        GroupState::Dead => "Dead",
    }
}

/// What members are told that wait while the server ends. Clients look for the coordinator, and find it when the server
/// is back. Apache Kafka says the same when a group moves to another broker.
const STOPPING: ResponseError = ResponseError::NotCoordinator;

/// What members are told, whatever they asked for.
fn member_error(error: &MemberError) -> ResponseError {
    match error {
        MemberError::UnknownMember(_) => ResponseError::UnknownMemberId,
        MemberError::FencedInstance(_) => ResponseError::FencedInstanceId,
        MemberError::IllegalGeneration(_) => ResponseError::IllegalGeneration,
        MemberError::RebalanceInProgress => ResponseError::RebalanceInProgress,
        MemberError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        MemberError::InvalidGroup(_) => ResponseError::InvalidGroupId,
        MemberError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        MemberError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}
