//! The end: what is under way is finished, what hangs is cut, and nothing new begins.

use std::time::Duration;

use annals_http::{Metrics, Options, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::{Fixture, body, options, read_answer, read_to_end, status};

#[tokio::test]
async fn an_answer_under_way_is_finished() {
    let patient = Options { drain_timeout: Duration::from_secs(3600), ..options() };
    let mut server = Fixture::start_with(patient, 8 << 20).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    server.begin_shutdown();
    sleep(Duration::from_millis(50)).await;
    let answer = read_to_end(&mut stream).await;
    assert!(body(&answer).len() > 8 << 20, "{} bytes", answer.len());
    server.ended().await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn idle_connections_end_at_once() {
    let hour = Duration::from_secs(3600);
    let patient = Options { header_timeout: hour, drain_timeout: hour, ..options() };
    let mut server = Fixture::start(patient).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_answer(&mut idle).await), 200);
    server.begin_shutdown();
    server.ended().await;
    assert_eq!(read_to_end(&mut idle).await, "");
}

#[tokio::test]
async fn a_connection_that_hangs_is_cut_when_time_is_up() {
    let (hour, drain_timeout) = (Duration::from_secs(3600), Duration::from_millis(200));
    let stubborn = Options { header_timeout: hour, write_stall_timeout: hour, drain_timeout, ..options() };
    let mut server = Fixture::start_with(stubborn, 32 << 20).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    deaf.readable().await.unwrap();
    server.begin_shutdown();
    server.ended().await;
    assert!(read_to_end(&mut deaf).await.len() < 32 << 20);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = Fixture::start(options()).await;
    let taken = Options { address: server.address, ..options() };
    let refused =
        Server::bind(taken, server.status.clone(), Metrics::default(), annals_clock::Clock::system())
            .await
            .unwrap_err();
    assert!(refused.to_string().contains(&server.address.to_string()), "{refused}");
}
