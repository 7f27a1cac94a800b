//! Requests of one connection: started in order, answered in order, and Produce without waiting for the one before.

use std::time::Duration;

use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, MetadataRequest, MetadataResponse,
    ProduceResponse,
};

use crate::harness::World;
use crate::records::{batch, create, fetch, produce};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start().await;
    let mut client = world.client().await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(client.send(4, &MetadataRequest::default()).await);
        ids.push(client.send(0, &ApiVersionsRequest::default()).await);
    }
    for pair in ids.chunks(2) {
        let _: MetadataResponse = client.receive(pair[0], 4).await;
        let _: ApiVersionsResponse = client.receive(pair[1], 0).await;
    }
}

#[tokio::test]
async fn produce_requests_overlap_and_keep_their_order() {
    let world = World::start().await;
    let mut client = world.client().await;
    create(&mut client, "t").await;
    world.files.delay_syncs(Duration::from_millis(100));
    let before = world.files.operations();
    let mut ids = Vec::new();
    for value in 0..50 {
        ids.push(client.send(9, &produce(-1, "t", batch(&[value]))).await);
    }
    let behind = client.send(4, &MetadataRequest::default()).await;
    for (offset, id) in (0..).zip(ids) {
        let response: ProduceResponse = client.receive(id, 9).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
    let _: MetadataResponse = client.receive(behind, 4).await;
    let operations = world.files.operations() - before;
    assert!(
        operations < 50,
        "{operations} writes and syncs for 50 batches: they were not under way together"
    );
}

#[tokio::test]
async fn requests_under_way_are_answered_when_the_server_ends() {
    let mut world = World::start().await;
    let (mut client, mut idle) = (world.client().await, world.client().await);
    create(&mut client, "t").await;
    let id = client.send(11, &fetch("t", 0).with_max_wait_ms(60_000).with_min_bytes(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = world.clock.monotonic();
    world.stop().await;
    assert!(world.clock.monotonic() - before < Duration::from_secs(30), "a fetch is not waited for");
    let response: FetchResponse = client.receive(id, 11).await;
    assert_eq!(response.error_code, 0);
    assert!(client.is_closed().await && idle.is_closed().await);
}
