//! What strangers, broken clients and wrong ports send. Whatever it is, others are served.

use std::time::Duration;

use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, ResponseHeader,
};
use kafka_protocol::protocol::Decodable;

use crate::harness::{World, frame};

async fn assert_served(world: &World) {
    let mut client = world.client().await;
    let response = client.ask(0, &ApiVersionsRequest::default()).await;
    assert_eq!(response.error_code, 0);
}

/// Sends bytes, expects the connection to be closed and the reason counted.
async fn assert_refused(bytes: &'static [u8], kind: &'static str) {
    let world = World::start().await;
    let mut client = world.client().await;
    client.send_bytes(bytes).await;
    assert!(client.is_closed().await, "{kind}");
    assert_served(&world).await;
    // The client may see the end before it is counted.
    let counted = format!("kind=\"{kind}\"");
    for _ in 0..100 {
        if world.metrics().contains(&counted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{counted} is not in {}", world.metrics());
}

#[tokio::test]
async fn lengths_beyond_the_limit_close_the_connection() {
    assert_refused(b"\x7f\xff\xff\xff", "frame_size").await;
    assert_refused(b"\x80\x00\x00\x00", "frame_size").await;
    assert_refused(b"\x00\x00\x00\x00", "frame_size").await;
}

#[tokio::test]
async fn other_protocols_are_recognised() {
    assert_refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "foreign_protocol").await;
    assert_refused(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "foreign_protocol").await;
    assert_refused(b"AMQP\x00\x00\x09\x01", "foreign_protocol").await;
}

#[tokio::test]
async fn an_array_that_asks_for_gigabytes_is_refused() {
    // Metadata version 1 with 2^31 - 1 topics, and version 9 with as many in a varint.
    assert_refused(b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x07\xff\xff\x7f\xff\xff\xff", "malformed").await;
    assert_refused(b"\0\0\0\x13\0\x03\0\x09\0\0\0\x07\xff\xff\0\xff\xff\xff\xff\x07\x01\0\0", "malformed")
        .await;
}

#[tokio::test]
async fn bytes_after_the_end_of_a_request_are_ignored() {
    let world = World::start().await;
    let mut client = world.client().await;
    // Metadata version 12 for all topics, with three bytes behind it as librdkafka 2.12 sends them.
    client.send_bytes(b"\0\0\0\x12\0\x03\0\x0c\0\0\0\x07\xff\xff\0\0\0\0\0\0\0\0").await;
    let response = client.receive::<MetadataResponse>(7, 12).await;
    assert_eq!(response.brokers.len(), 1);
}

#[tokio::test]
async fn unknown_apis_and_versions_close_the_connection() {
    assert_refused(b"\0\0\0\x0a\x7f\xff\0\0\0\0\0\x07\xff\xff", "unknown_api").await;
    assert_refused(b"\0\0\0\x0e\0\x03\0\x63\0\0\0\x07\xff\xff\0\0\0\0", "unsupported_version").await;
    // Produce version 2 is announced for librdkafka's sake, and not served.
    assert_refused(b"\0\0\0\x14\0\0\0\x02\0\0\0\x07\xff\xff\0\x01\0\0\0\0\0\0\0\0", "unsupported_version")
        .await;
}

#[tokio::test]
async fn a_client_id_that_does_not_fit_is_refused() {
    assert_refused(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\x7f\xff", "bad_header").await;
}

#[tokio::test]
async fn a_frame_that_is_cut_short_disturbs_nobody() {
    let world = World::start().await;
    let whole = frame(1, 4, &MetadataRequest::default());
    for end in 0..whole.len() {
        world.client().await.send_bytes(&whole[..end]).await;
    }
    assert_served(&world).await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let world = World::start().await;
    let mut client = world.client().await;
    // Version 99, correlation id 7, and a header and body that nobody can read.
    client.send_bytes(b"\0\0\0\x0c\0\x12\0\x63\0\0\0\x07????").await;
    let mut answer = client.receive_frame().await.expect("an answer");
    let header = ResponseHeader::decode(&mut answer, 0).expect("a header");
    let response = ApiVersionsResponse::decode(&mut answer, 0).expect("a body of version 0");
    assert_eq!((header.correlation_id, response.error_code), (7, 35));
    let own = &response.api_keys[..];
    assert_eq!((own.len(), own[0].api_key, own[0].min_version, own[0].max_version), (1, 18, 0, 4));
    // The connection goes on.
    let response = client.ask(3, &api_versions()).await;
    assert_eq!(response.error_code, 0);
    let produce = &response.api_keys[0];
    assert_eq!((produce.api_key, produce.min_version, produce.max_version), (0, 0, 13));
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name("test".to_owned().into())
        .with_client_software_version("1.0".to_owned().into())
}

#[tokio::test]
async fn memory_that_a_slow_sender_holds_is_waited_for() {
    let world = World::with(|options| {
        options.memory_in_all = 64 << 10;
        options.receive_timeout = Duration::from_secs(3600);
    })
    .await;
    let mut slow = world.client().await;
    slow.send_bytes(&(64_i32 << 10).to_be_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut other = world.client().await;
    let id = other.send(1, &MetadataRequest::default()).await;
    assert!(other.is_silent_for(Duration::from_millis(150)).await, "there is no memory for it");
    drop(slow);
    let response: MetadataResponse = other.receive(id, 1).await;
    assert_eq!(response.brokers.len(), 1);
}

#[tokio::test]
async fn memory_that_a_slow_sender_holds_comes_back_when_its_time_is_over() {
    let world = World::with(|options| {
        options.memory_in_all = 64 << 10;
        options.receive_timeout = Duration::from_millis(300);
    })
    .await;
    let mut slow = world.client().await;
    slow.send_bytes(&(64_i32 << 10).to_be_bytes()).await;
    assert!(slow.is_closed().await, "it had its time");
    let response: MetadataResponse = world.client().await.ask(1, &MetadataRequest::default()).await;
    assert_eq!(response.brokers.len(), 1);
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let world = World::with(|options| options.idle_timeout = Duration::from_millis(100)).await;
    assert!(world.client().await.is_closed().await);
}

#[tokio::test]
async fn connections_from_one_address_are_limited() {
    let world = World::with(|options| options.connections_per_ip_max = 1).await;
    let mut first = world.client().await;
    first.ask(0, &ApiVersionsRequest::default()).await;
    assert!(world.client().await.is_closed().await);
    first.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn clients_that_do_not_read_are_let_go() {
    let world = World::with(|options| options.write_stall_timeout = Duration::from_millis(200)).await;
    let mut client = world.client().await;
    let request = frame(1, 0, &ApiVersionsRequest::default());
    let many = request.repeat(20_000);
    // Whether or not all of it can be sent, it ends.
    tokio::time::timeout(Duration::from_secs(20), async {
        for _ in 0..50 {
            if client.try_send_bytes(&many).await.is_err() {
                return;
            }
        }
    })
    .await
    .expect("the connection is closed");
    assert_served(&world).await;
}
