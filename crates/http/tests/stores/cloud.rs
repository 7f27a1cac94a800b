//! CloudEvents: binary, structured and batch mode in, structured and batch mode out.

use annals_http::Options;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

const EVENTS: &str = "/stores/shop/streams/order-1/events";
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const BINARY: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/web"),
    ("ce-type", "com.example.OrderPlaced"),
];

async fn post(world: &World, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    world.send(Method::POST, path, headers, body.to_owned().into()).await
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/web", "type": "OrderPlaced"})
}

#[tokio::test]
async fn binary_mode() {
    let world = World::with_store().await;
    let more = [
        ("content-type", "application/json"),
        ("ce-subject", "caf%C3%A9"),
        ("ce-time", "2025-01-10T12:00:00Z"),
        ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"),
        ("traceparent", "00-11111111111111111111111111111111-b9c7c989f97918e1-01"),
    ];
    let headers: Vec<_> = BINARY.into_iter().chain(more).collect();
    let path = format!("{EVENTS}?expected=no_stream&tag=a&tag=b");
    let answer = post(&world, &path, &headers, "{\"total\": 1.50}").await;
    assert_eq!((answer.status, &answer.json()["streams"][0]["stream"]), (201, &json!("order-1")));
    let mut found = world.get("/stores/shop/events/0").await.json();
    found.as_object_mut().unwrap().remove("recorded");
    let expected = json!({
        "position": 0, "stream": "order-1", "revision": 0, "id": "1", "type": "com.example.OrderPlaced", "source": "/web",
        "subject": "café", "time": "2025-01-10T12:00:00Z", "datacontenttype": "application/json",
        "metadata": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"}, "tags": ["a", "b"],
        "data": {"total": 1.50},
    });
    assert_eq!(found, expected);
    let empty = post(&world, "/stores/shop/streams/order-2/events", &BINARY, "").await;
    assert_eq!(empty.status, 201);
    assert_eq!(world.get("/stores/shop/events/1").await.json().get("data"), None);
}

#[tokio::test]
async fn structured_and_batch_mode() {
    let world = World::with_store().await;
    let mut structured = event("1");
    structured["data"] = json!({"a": 1});
    structured["comexample"] = json!(5);
    assert_eq!(post(&world, EVENTS, &[STRUCTURED], &structured.to_string()).await.status, 201);
    let batch = json!([event("2"), event("3")]);
    let answer = post(&world, EVENTS, &[BATCH], &batch.to_string()).await;
    assert_eq!(answer.json()["streams"][0]["last_revision"], 2);
    assert_eq!(post(&world, EVENTS, &[BATCH], "[]").await.problem(), (400, "invalid-request".into()));

    let one = world
        .send(Method::GET, "/stores/shop/events/0", &[("accept", "application/cloudevents+json")], "".into())
        .await;
    assert_eq!(one.header("content-type"), "application/cloudevents+json");
    let mut expected = structured;
    expected["datacontenttype"] = json!("application/json");
    expected["comexample"] = json!("5");
    assert_eq!(one.json(), expected);
    let accept = [("accept", "application/cloudevents-batch+json, application/json;q=0.5")];
    let page = world.send(Method::GET, &format!("{EVENTS}?limit=2"), &accept, "".into()).await;
    assert_eq!(page.header("content-type"), "application/cloudevents-batch+json");
    assert_eq!(page.json()[1], event("2"));
    let expected = format!("<{EVENTS}?limit=2&from=2>; rel=\"next\"");
    assert_eq!(page.header("link"), expected);
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_named() {
    let world = World::with_store().await;
    for (missing, _) in &BINARY[1..4] {
        let headers: Vec<_> = BINARY.into_iter().filter(|(name, _)| name != missing).collect();
        assert_eq!(post(&world, EVENTS, &headers, "").await.wrong_field(), *missing);
    }
    let with = async |name: &str, value: &str| {
        let headers: Vec<_> =
            BINARY.into_iter().filter(|(found, _)| *found != name).chain([(name, value)]).collect();
        post(&world, EVENTS, &headers, "").await.wrong_field()
    };
    assert_eq!(with("ce-specversion", "0.3").await, "ce-specversion");
    assert_eq!(with("ce-time", "noon").await, "ce-time");
    assert_eq!(with("ce-source", "a%20b").await, "ce-source");
    assert_eq!(with("ce-bad_name", "1").await, "ce-bad_name");
    assert_eq!(with("ce-subject", "%ff").await, "ce-subject");
    assert_eq!(with("content-type", "json").await, "content-type");

    let mut wrong = event("1");
    wrong.as_object_mut().unwrap().remove("source");
    assert_eq!(post(&world, EVENTS, &[STRUCTURED], &wrong.to_string()).await.wrong_field(), "source");
    let batch = json!([event("1"), wrong]).to_string();
    assert_eq!(post(&world, EVENTS, &[BATCH], &batch).await.wrong_field(), "[1].source");
    for (headers, body) in [(STRUCTURED, "{"), (STRUCTURED, "[]"), (BATCH, "{}"), (BATCH, "[{]")] {
        assert_eq!(post(&world, EVENTS, &[headers], body).await.wrong_field(), "");
    }
    let twice = r#"{"specversion":"1.0","id":"1","id":"2","source":"/","type":"A"}"#;
    assert_eq!(post(&world, EVENTS, &[STRUCTURED], twice).await.wrong_field(), "id");
    assert_eq!(world.get("/stores/shop").await.json()["end"], 0);
}

#[tokio::test]
async fn senders_that_know_one_address_need_no_store() {
    let world = World::new(Options::default()).await;
    let mut first = event("1");
    first["subject"] = json!("order-1");
    let mut third = event("3");
    third["subject"] = json!("order-1");
    let batch = json!([first, event("2"), third]).to_string();
    let answer = post(&world, "/events", &[BATCH], &batch).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let expected = json!([{"stream": "order-1", "last_revision": 1}, {"stream": "/web", "last_revision": 0}]);
    assert_eq!(answer.json()["streams"], expected);
    assert_eq!(world.get("/stores/events/streams/%2Fweb/events/0").await.json()["id"], "2");
    // An id tells events of one stream apart: this one went to another stream before.
    assert_eq!(post(&world, "/events", &BINARY, "").await.status, 201);
}

#[tokio::test]
async fn senders_may_name_store_and_stream() {
    let world = World::with_store().await;
    let path = "/events?store=shop&stream=all-orders&expected=no_stream";
    assert_eq!(post(&world, path, &BINARY, "x").await.json()["streams"][0]["stream"], "all-orders");
    let again = post(&world, path, &[STRUCTURED], &event("9").to_string()).await;
    assert_eq!(again.problem(), (409, "wrong-expected-revision".into()));
    let unnamed = post(&world, "/events?store=shop&expected=no_stream", &BINARY, "").await;
    assert_eq!(unnamed.wrong_field(), "expected");
    assert_eq!(
        post(&world, "/events?store=nowhere", &BINARY, "").await.problem(),
        (404, "unknown-store".into())
    );
    let native = json!({"type": "OrderPlaced", "subject": "order-5"});
    assert_eq!(world.post("/events?store=shop", &native).await.json()["streams"][0]["stream"], "order-5");
    assert_eq!(world.post("/events?store=shop", &json!({"type": "A"})).await.wrong_field(), "[0].subject");
}
