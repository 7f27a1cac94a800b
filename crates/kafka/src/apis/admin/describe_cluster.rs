//! DescribeCluster: the cluster's id and its one node (KIP-700).

use std::ops::RangeInclusive;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{ApiKey, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::apis::values::{node, wire};
use crate::apis::{Api, Context, operations};
use crate::shape::{Shape, bool, int8};

/// The one type of endpoint there is: there are no controllers to talk to.
const BROKERS: i8 = 1;

pub(crate) struct DescribeCluster;

impl Api for DescribeCluster {
    const KEY: ApiKey = ApiKey::DescribeCluster;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const SHAPE: Shape = Shape {
        flexible_from: 0,
        fields: &[
            bool("IncludeClusterAuthorizedOperations"),
            int8("EndpointType").since(1),
            bool("IncludeFencedBrokers").since(2),
        ],
    };

    type Request = DescribeClusterRequest;
    type Response = DescribeClusterResponse;

    async fn handle(context: &Context, _: i16, request: DescribeClusterRequest) -> DescribeClusterResponse {
        if request.endpoint_type != BROKERS {
            return mismatched();
        }
        let broker = DescribeClusterBroker::default()
            .with_broker_id(node(context))
            .with_host(wire(&context.advertised.host))
            .with_port(context.advertised.port.into());
        let operations = operations::on_cluster(request.include_cluster_authorized_operations);
        DescribeClusterResponse::default()
            .with_cluster_id(wire(&context.broker.cluster_id()))
            .with_controller_id(node(context))
            .with_brokers(vec![broker])
            .with_cluster_authorized_operations(operations)
    }
}

/// Its endpoint type says what this endpoint is, as Kafka's does.
fn mismatched() -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_error_code(ResponseError::MismatchedEndpointType.code())
        .with_error_message(Some(StrBytes::from_static_str("this endpoint is a broker, not a controller")))
}
