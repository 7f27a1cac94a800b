//! What a well-behaved client is answered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_http::{Options, Readiness, Reason, ReasonCode};
use serde_json::json;

use crate::harness::{Fixture, body, header, json, options, status};

#[tokio::test]
async fn a_live_process_says_so() {
    let server = Fixture::start(options()).await;
    let answer = server.get("/health/live", "").await;
    assert_eq!((status(&answer), header(&answer, "content-type")), (200, "application/json"));
    assert_eq!(json(&answer), json!({"live": true}));
    assert_eq!(header(&answer, "cache-control"), "no-store");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn readiness_follows_the_status_and_gives_its_reasons() {
    let server = Fixture::start(options()).await;
    let answer = server.get("/health/ready", "").await;
    assert_eq!((status(&answer), json(&answer)), (200, json!({"ready": true, "reasons": []})));

    let stopped = Reason::new(ReasonCode::JournalStopped, "fdatasync failed: Input/output error");
    let draining = Reason::new(ReasonCode::Draining, "the server is stopping");
    *server.status.readiness.lock().unwrap() = Readiness::not_ready([stopped, draining]);
    let answer = server.get("/health/ready", "").await;
    let expected = json!({"ready": false, "reasons": [
        {"code": "journal_stopped", "detail": "fdatasync failed: Input/output error"},
        {"code": "draining", "detail": "the server is stopping"},
    ]});
    assert_eq!((status(&answer), json(&answer)), (503, expected));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = Fixture::start(options()).await;
    let plain = server.get("/metrics", "Accept: */*\r\n").await;
    assert_eq!(header(&plain, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        body(&plain)
            .contains("# TYPE annals_appended_records_total counter\nannals_appended_records_total 3\n")
    );
    assert!(!plain.contains("# EOF"));

    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n";
    let open = server.get("/metrics", accept).await;
    assert_eq!(header(&open, "content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        body(&open).contains("# TYPE annals_appended_records counter\nannals_appended_records_total 3\n")
    );
    assert!(open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_that_wait_for_the_disk_hold_up_nothing_else() {
    let request_timeout = Duration::from_millis(100);
    let server = Fixture::start(Options { request_timeout, ..options() }).await;
    server.status.stuck.store(true, Ordering::Release);
    for _ in 0..3 {
        assert_eq!(status(&server.get("/metrics", "").await), 503);
        assert_eq!(status(&server.get("/health/live", "").await), 200);
    }
    server.status.stuck.store(false, Ordering::Release);
    let answered = async { while status(&server.get("/metrics", "").await) != 200 {} };
    tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap();
}

#[tokio::test]
async fn requests_are_counted_by_known_routes_only() {
    let server = Fixture::start(options()).await;
    for path in ["/health/live", "/a", "/b"] {
        server.get(path, "").await;
    }
    let metrics = server.get("/metrics", "").await;
    assert!(
        metrics.contains("annals_http_requests_total{route=\"/health/live\",code=\"200\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("annals_http_requests_total{route=\"other\",code=\"404\"} 2\n"), "{metrics}");
    assert!(metrics.contains("annals_http_connections 1\n"), "{metrics}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let server = Fixture::start(options()).await;
    let answer = server.get("/nothing/here", "").await;
    assert_eq!((status(&answer), header(&answer, "content-type")), (404, "application/problem+json"));
    let expected = json!({
        "type": "about:blank", "title": "Not Found", "status": 404,
        "detail": "there is nothing at \"/nothing/here\": GET / lists what there is",
    });
    assert_eq!(json(&answer), expected);

    let request = "DELETE /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = server.send(request).await;
    assert_eq!((status(&answer), header(&answer, "content-type")), (405, "application/problem+json"));
    assert_eq!(header(&answer, "allow"), "GET,HEAD");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Fixture::start(options()).await;
    let answer = server.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((status(&answer), body(&answer)), (200, ""));
    assert_ne!(header(&answer, "content-length"), "0");
}

#[tokio::test]
async fn the_front_page_lists_what_is_there() {
    let server = Fixture::start(options()).await;
    let index = json(&server.get("/", "").await);
    let page = server.get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n").await;
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert!(header(&page, "content-security-policy").contains("default-src 'none'"));
    for link in index["links"].as_array().unwrap() {
        let path = link["path"].as_str().unwrap();
        // There is no broker behind these tests.
        let expected = if path == "/stores" { 503 } else { 200 };
        assert_eq!(status(&server.get(path, "").await), expected, "{path}");
        assert!(body(&page).contains(&format!("href=\"{path}\"")), "{path}");
    }
}

#[tokio::test]
async fn the_description_covers_every_path_and_refers_to_nothing_missing() {
    let server = Fixture::start(options()).await;
    let document = json(&server.get("/openapi.json", "").await);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/stores/{store}"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(document["components"]["schemas"]["ReasonCode"]["enum"][1], "journal_stopped");
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let server = Fixture::start(options()).await;
    let request = "GET /health/live HTTP/1.1\r\nHost: [::1]:7117\r\n\r\n";
    let last = "GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answers = server.send(format!("{request}{request}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
}
