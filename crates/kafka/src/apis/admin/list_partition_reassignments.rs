//! ListPartitionReassignments: which replicas are moving. With one node, none ever is (KIP-455).

use std::ops::RangeInclusive;

use kafka_protocol::messages::{
    ApiKey, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::apis::{Api, Context};
use crate::shape::{INT32, Kind, Shape, array, int32, string};

const TOPIC: Kind = Kind::Struct(&[string("Name"), array("PartitionIndexes", &INT32)]);

pub(crate) struct ListPartitionReassignments;

impl Api for ListPartitionReassignments {
    const KEY: ApiKey = ApiKey::ListPartitionReassignments;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const SHAPE: Shape = Shape { flexible_from: 0, fields: &[int32("TimeoutMs"), array("Topics", &TOPIC)] };

    type Request = ListPartitionReassignmentsRequest;
    type Response = ListPartitionReassignmentsResponse;

    async fn handle(
        _: &Context,
        _: i16,
        _: ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse::default()
    }
}
