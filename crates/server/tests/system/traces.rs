//! What an OpenTelemetry collector learns of requests, and what it costs when there is none.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;

use crate::clients::{PATIENCE, admin, block_on, create, fill, patient};
use crate::server::{Server, eventually};

/// Spans leave this soon, instead of every five seconds.
const OFTEN: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

/// Takes traces as any collector does: protobuf, posted to `/v1/traces`.
fn collector() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (sender, receiver) = sync_channel(1000);
    let serve = move || {
        block_on(async {
            let router = Router::new().route("/v1/traces", post(take)).with_state(sender);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    };
    std::thread::Builder::new().name("collector".to_owned()).spawn(serve).unwrap();
    (address, receiver)
}

async fn take(State(taken): State<SyncSender<ExportTraceServiceRequest>>, body: Bytes) -> StatusCode {
    taken.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
    StatusCode::OK
}

/// A span of this name.
fn find<'a>(sent: &'a [ExportTraceServiceRequest], name: &str) -> Option<&'a Span> {
    let resources = sent.iter().flat_map(|request| &request.resource_spans);
    let mut spans = resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
    spans.find(|span| span.name == name)
}

/// The value of an attribute, as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    })
}

#[test]
fn a_request_becomes_a_span_that_tells_who_asked_for_what_and_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (collector, taken) = collector();
    let endpoint = format!("otlp.endpoint=http://{collector}");
    let settings = [&*endpoint, "otlp.sample_ratio=1"];
    let server = Server::start_logging(directory.path(), &settings, &[OFTEN], &directory.path().join("log"));
    create(server.kafka(), "orders", 1, &[]);
    fill(server.kafka(), "orders", 0, ["paid".to_owned()]);
    let missing = block_on(admin(server.kafka()).delete_topics(&["missing"], &patient())).unwrap();
    assert!(missing[0].is_err());
    let mut sent = Vec::new();
    while find(&sent, "Produce").is_none() || find(&sent, "DeleteTopics").is_none() {
        sent.push(taken.recv_timeout(PATIENCE).unwrap());
    }

    for resource in sent.iter().flat_map(|request| &request.resource_spans) {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "service.name").as_deref(), Some("annals"));
        assert_eq!(attribute(attributes, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }
    let produce = find(&sent, "Produce").unwrap();
    let value = |key| attribute(&produce.attributes, key);
    assert_eq!(produce.kind(), SpanKind::Server);
    assert!(produce.end_time_unix_nano > produce.start_time_unix_nano);
    assert!(produce.parent_span_id.is_empty() && produce.trace_id.len() == 16);
    assert_eq!(value("messaging.system").as_deref(), Some("kafka"));
    assert_eq!(value("messaging.client.id").as_deref(), Some("rdkafka"));
    assert_eq!(value("network.peer.address").as_deref(), Some("127.0.0.1"));
    assert!(value("network.peer.port").unwrap().parse::<u16>().unwrap() > 0);
    assert!(value("kafka.correlation_id").unwrap().parse::<i32>().unwrap() > 0);
    assert_eq!(value("kafka.topics").as_deref(), Some("1"));
    assert_eq!(value("error.type"), None);
    assert!(produce.status.as_ref().is_none_or(|status| status.code() == SpanStatus::Unset));

    let delete = find(&sent, "DeleteTopics").unwrap();
    let error = attribute(&delete.attributes, "error.type");
    assert_eq!(error.as_deref(), Some("UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(delete.status.as_ref().unwrap().code(), SpanStatus::Error);
}

#[test]
fn what_has_not_been_sent_is_sent_at_the_end() {
    // The end does not wait for ever, and somebody else may want the processor now and then.
    let is_sent = || {
        let directory = tempfile::tempdir().unwrap();
        let (collector, taken) = collector();
        let endpoint = format!("otlp.endpoint=http://{collector}");
        let mut server = Server::start_with(directory.path(), &[&endpoint, "otlp.sample_ratio=1"]);
        create(server.kafka(), "orders", 1, &[]);
        assert!(server.terminate().0.success());
        let sent: Vec<_> = taken.try_iter().collect();
        find(&sent, "CreateTopics").is_some()
    };
    assert!((0..5).any(|_| is_sent()));
}

#[test]
fn a_collector_that_is_away_costs_one_warning() {
    let directory = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("otlp.endpoint=http://{closed}");
    let log = directory.path().join("log");
    let settings = [&*endpoint, "otlp.sample_ratio=1", "log.filter=debug"];
    let mut server = Server::start_logging(directory.path(), &settings, &[OFTEN], &log);
    fill(server.kafka(), "orders", 0, (0..100).map(|number| number.to_string()));
    let said = |what: &str| std::fs::read_to_string(&log).unwrap().matches(what).count();
    eventually("the server tries again", Duration::from_secs(60), || {
        create_and_delete(&server);
        said("still not taken") > 1
    });
    assert!(server.terminate().0.success());
    assert_eq!(said("traces are dropped until the collector takes them"), 1);
}

/// Some requests.
fn create_and_delete(server: &Server) {
    create(server.kafka(), "short-lived", 1, &[]);
    block_on(admin(server.kafka()).delete_topics(&["short-lived"], &patient())).unwrap();
}

#[test]
fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("otlp.endpoint=http://{}", silent.local_addr().unwrap());
    let end = || {
        let mut server = Server::start_with(directory.path(), &[&endpoint, "otlp.sample_ratio=1"]);
        fill(server.kafka(), "orders", 0, (0..100).map(|number| number.to_string()));
        let (status, took) = server.terminate();
        assert!(status.success());
        println!("ended after {took:?}");
        took
    };
    // Somebody else may want the processor now and then.
    assert!((0..3).any(|_| end() < Duration::from_secs(5)));
}
