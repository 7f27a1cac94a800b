//! ListGroups (key 16): all groups, filtered by state from version 4 on (KIP-518) and by type from version 5 on
//! (KIP-848). Names in filters are compared without regard to case.

use std::ops::RangeInclusive;

use kafka_protocol::messages::list_groups_response;
use kafka_protocol::messages::{ApiKey, GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::wire;
use crate::apis::{Api, Context};
use crate::shape::{STRING, Shape, array};

use super::state_name;

/// Lists groups.
pub(crate) struct ListGroups;

/// The only type there is: groups of the protocol of JoinGroup and SyncGroup.
const CLASSIC: &str = "classic";

impl Api for ListGroups {
    const KEY: ApiKey = ApiKey::ListGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const SHAPE: Shape = Shape {
        flexible_from: 3,
        fields: &[array("StatesFilter", &STRING).since(4), array("TypesFilter", &STRING).since(5)],
    };
    type Request = ListGroupsRequest;
    type Response = ListGroupsResponse;

    async fn handle(context: &Context, _: i16, request: ListGroupsRequest) -> ListGroupsResponse {
        if !passes(&request.types_filter, CLASSIC) {
            return ListGroupsResponse::default();
        }
        let groups = context.broker.list_groups(&context.caller).await;
        let groups = groups.into_iter().filter_map(|group| {
            let state = state_name(group.state);
            let listed = list_groups_response::ListedGroup::default()
                .with_group_id(GroupId(wire(&group.group)))
                .with_protocol_type(wire(&group.protocol_type))
                .with_group_state(state.into())
                .with_group_type(CLASSIC.into());
            passes(&request.states_filter, state).then_some(listed)
        });
        ListGroupsResponse::default().with_groups(groups.collect())
    }
}

/// No filter lets everything pass.
fn passes(filter: &[StrBytes], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_disregard_case_and_no_filter_lets_all_pass() {
        assert!(passes(&[], "Stable"));
        assert!(passes(&["Empty".into(), "sTABLE".into()], "Stable"));
        assert!(!passes(&["Empty".into()], "Stable"));
        assert!(!passes(&["consumer".into()], CLASSIC));
    }
}
