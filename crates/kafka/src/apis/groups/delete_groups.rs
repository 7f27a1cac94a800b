//! DeleteGroups: groups without members, with what they have committed.

use std::ops::RangeInclusive;

use annals_broker::api::groups::DeleteGroupError;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{ApiKey, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::apis::values::{code, shared};
use crate::apis::{Api, Context};
use crate::shape::{STRING, Shape, array};

pub(crate) struct DeleteGroups;

impl Api for DeleteGroups {
    const KEY: ApiKey = ApiKey::DeleteGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape = Shape { flexible_from: 2, fields: &[array("GroupsNames", &STRING)] };

    type Request = DeleteGroupsRequest;
    type Response = DeleteGroupsResponse;

    async fn handle(context: &Context, _: i16, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let names = request.groups_names.iter().map(|group| shared(group)).collect();
        let deleted = context.broker.delete_groups(&context.caller, names).await;
        let results = request.groups_names.into_iter().zip(&deleted).map(|(group, result)| {
            DeletableGroupResult::default().with_group_id(group).with_error_code(code(result, error_code))
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    }
}

fn error_code(error: &DeleteGroupError) -> ResponseError {
    match error {
        DeleteGroupError::UnknownGroup(_) => ResponseError::GroupIdNotFound,
        DeleteGroupError::NotEmpty(_) => ResponseError::NonEmptyGroup,
        DeleteGroupError::InvalidGroup(_) => ResponseError::InvalidGroupId,
        DeleteGroupError::NotAuthorized(_) => ResponseError::GroupAuthorizationFailed,
        DeleteGroupError::Unavailable(_) => ResponseError::CoordinatorNotAvailable,
    }
}
