//! Clients that are slow, greedy, broken or up to something. Each loses its connection or its request, in bounded time,
//! and others do not notice.

use std::time::Duration;

use annals_http::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::harness::{Fixture, PATIENCE, header, options, read_answer, read_to_end, status};

/// Waits until the server counts no connection.
async fn all_gone(server: &Fixture) {
    let gone = async {
        while server.connections() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

async fn serves(server: &Fixture) {
    assert_eq!(status(&server.get("/health/live", "").await), 200);
}

#[tokio::test]
async fn a_page_with_a_name_of_its_own_is_refused() {
    let allowed_hosts = vec!["annals.internal".to_owned()];
    let server = Fixture::start(Options { allowed_hosts, ..options() }).await;
    for path in ["/", "/metrics", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example:7117\r\nConnection: close\r\n\r\n");
        let answer = server.send(request).await;
        assert_eq!((status(&answer), header(&answer, "content-type")), (421, "application/problem+json"));
        assert!(!answer.contains("annals_"), "{answer}");
    }
    let known = "GET /health/live HTTP/1.1\r\nHost: annals.internal\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&server.send(known).await), 200);
    let none = "GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&server.send(none).await), 400);
    assert_eq!(status(&server.send("GET /health/live HTTP/1.0\r\n\r\n").await), 200);
}

#[tokio::test]
async fn a_client_that_trickles_its_request_is_cut_off() {
    let server = Fixture::start(options()).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let trickle = async {
        while slow.write_all(b"X-Slow: 1\r\n").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trickle).await.unwrap();
    serves(&server).await;
    all_gone(&server).await;
}

#[tokio::test]
async fn silent_and_idle_clients_are_cut_off() {
    let server = Fixture::start(options()).await;
    let (mut silent, mut idle) = (server.connect().await, server.connect().await);
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_answer(&mut idle).await), 200);
    assert_eq!(
        (read_to_end(&mut silent).await, read_to_end(&mut idle).await),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn clients_beyond_the_limit_wait_for_a_place() {
    let server = Fixture::start(Options { connections_max: 2, ..options() }).await;
    let _silent = (server.connect().await, server.connect().await);
    sleep(Duration::from_millis(100)).await;
    serves(&server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Fixture::start(Options { header_bytes_max: 4096, ..options() }).await;
    let large = server.get("/", &format!("X-Large: {}\r\n", "x".repeat(5000))).await;
    assert_eq!(status(&large), 431);
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(status(&server.get("/", &many).await), 431);
    let long = server.get(&format!("/{}", "x".repeat(5000)), "").await;
    assert!([414, 431].contains(&status(&long)), "{long}");
    assert_eq!(status(&server.get("/", &format!("X-Fits: {}\r\n", "x".repeat(3000))).await), 200);
}

#[tokio::test]
async fn an_endless_head_takes_bounded_memory() {
    let server = Fixture::start(options()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nX-Endless: ").await.unwrap();
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(&[b'x'; 64 << 10]).await.is_ok() {
        sent += 64 << 10;
    }
    assert!(sent < 64 << 20, "the server took it all");
    serves(&server).await;
}

#[tokio::test]
async fn tls_and_noise_on_the_plain_port_are_refused() {
    let server = Fixture::start(options()).await;
    // The start of a TLS 1.3 ClientHello, a Kafka ApiVersions request, an AMQP header, noise.
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x8f\x1d\xa5\x00\x11\x22\x33";
    let kafka = b"\x00\x00\x00\x12\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test\x00\x00\x00\x00";
    for bytes in [
        &tls[..],
        kafka,
        b"AMQP\x00\x00\x09\x01",
        b"\xff\xff\xff\xff\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        let answer = server.send(bytes).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    }
    let tls_only = server.send(tls).await;
    assert_eq!(status(&tls_only), 400);
    all_gone(&server).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Fixture::start(options()).await;
    let declared = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n";
    assert_eq!(status(&server.send(declared).await), 413);
    serves(&server).await;
}

#[tokio::test]
async fn an_endless_body_is_not_read_on_and_on() {
    let server = Fixture::start(options()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = [b"1000\r\n".to_vec(), vec![b'x'; 0x1000], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    while sent < 64 << 20 && timeout(PATIENCE, stream.write_all(&chunk)).await.unwrap().is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "the server took it all");
    all_gone(&server).await;
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut_off() {
    let (hour, stall) = (Duration::from_secs(3600), Duration::from_millis(300));
    let patient = Options { header_timeout: hour, write_stall_timeout: stall, ..options() };
    let server = Fixture::start_with(patient, 32 << 20).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    deaf.readable().await.unwrap();
    assert_eq!(server.connections(), 1);
    all_gone(&server).await;
    let mut taken = Vec::new();
    let _ = timeout(PATIENCE, deaf.read_to_end(&mut taken)).await.unwrap();
    assert!(taken.len() < 32 << 20, "the whole answer was kept for it");
}
