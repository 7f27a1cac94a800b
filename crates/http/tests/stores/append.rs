//! Appending: what is stored, what is refused and how, and that what is sent twice is stored once.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

const EVENTS: &str = "/stores/shop/streams/order-1/events";

async fn stored(world: &World) -> Vec<Value> {
    world.get("/stores/shop/events").await.json()["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn one_event_comes_back_as_it_was_sent() {
    let world = World::with_store().await;
    let event = r#"{"id": "1", "type": "OrderPlaced", "source": "/web", "subject": "order", "time": "2025-01-10T12:00:00+01:00",
        "dataschema": "urn:order:1", "metadata": {"correlationid": "c-1", "schemaversion": 2, "test": true},
        "tags": ["customer:7", "big"], "data": {"total":  10.50, "items": []}}"#;
    let answer = world.post_text(EVENTS, event).await;
    assert_eq!(answer.status, 201);
    let expected = json!({"first_position": 0, "last_position": 0,
        "streams": [{"stream": "order-1", "last_revision": 0}], "repeated": false});
    assert_eq!(answer.json(), expected);

    let page = world.get(EVENTS).await;
    let mut found = page.json()["events"][0].clone();
    let recorded = found.as_object_mut().unwrap().remove("recorded").unwrap();
    assert!(recorded.as_str().unwrap().ends_with('Z'), "{recorded}");
    let expected = json!({
        "position": 0, "stream": "order-1", "revision": 0, "id": "1", "type": "OrderPlaced", "source": "/web", "subject": "order",
        "time": "2025-01-10T12:00:00+01:00", "datacontenttype": "application/json", "dataschema": "urn:order:1",
        "metadata": {"correlationid": "c-1", "schemaversion": "2", "test": "true"}, "tags": ["customer:7", "big"],
        "data": {"total": 10.50, "items": []},
    });
    assert_eq!(found, expected);
    // Byte for byte: neither white space nor digits are lost.
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains(r#""data":{"total":  10.50, "items": []}"#), "{text}");
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let world = World::with_store().await;
    world.append("order-1", &json!({"type": "OrderPlaced"})).await;
    let found = &stored(&world).await[0];
    assert_eq!((&found["source"], &found["subject"]), (&json!("/stores/shop"), &json!("order-1")));
    assert_eq!(found["id"].as_str().unwrap().len(), 36);
    assert!(found["time"].is_string());
    for absent in ["data", "data_base64", "tags", "metadata", "datacontenttype", "dataschema", "encrypted"] {
        assert!(found.get(absent).is_none(), "{absent} in {found}");
    }
}

#[tokio::test]
async fn data_may_be_text_bytes_null_or_nothing() {
    let world = World::with_store().await;
    let events = json!([
        {"type": "A", "data": "héllo", "datacontenttype": "text/plain"},
        {"type": "B", "data_base64": "AP/+"},
        {"type": "C", "data": null},
        {"type": "D", "data_base64": "eyJhIjoxfQ==", "datacontenttype": "application/json"},
        {"type": "E", "data_base64": "e25vdCBqc29u", "datacontenttype": "application/json"},
    ]);
    let answer = world.post(EVENTS, &events).await;
    assert_eq!(answer.json()["streams"][0]["last_revision"], 4);
    let found = stored(&world).await;
    assert_eq!(found[0]["data"], "héllo");
    assert_eq!(
        (&found[1]["data_base64"], &found[1]["datacontenttype"]),
        (&json!("AP/+"), &json!("application/octet-stream"))
    );
    assert_eq!((found[2].get("data"), found[2].get("data_base64")), (Some(&Value::Null), None));
    assert_eq!(found[3]["data"], json!({"a": 1}));
    assert_eq!((found[4].get("data"), &found[4]["data_base64"]), (None, &json!("e25vdCBqc29u")));
}

#[tokio::test]
async fn what_is_expected_of_a_stream_is_held() {
    let world = World::with_store().await;
    let event = json!({"type": "A"});
    let append = async |expected: &str| world.post(&format!("{EVENTS}?expected={expected}"), &event).await;
    let conflict = |answer: &Answer| {
        assert_eq!(answer.problem(), (409, "wrong-expected-revision".into()));
        let problem = answer.json();
        assert_eq!(problem["stream"], "order-1");
        (problem["expected"].clone(), problem["actual"].clone(), problem["actual_state"].clone())
    };
    assert_eq!(conflict(&append("exists").await), (json!("exists"), Value::Null, json!("missing")));
    assert_eq!(conflict(&append("0").await), (json!(0), Value::Null, json!("missing")));
    assert_eq!(append("no_stream").await.status, 201);
    assert_eq!(conflict(&append("no_stream").await), (json!("no_stream"), json!(0), json!("exists")));
    assert_eq!(append("0").await.status, 201);
    assert_eq!(conflict(&append("0").await), (json!(0), json!(1), json!("exists")));
    assert_eq!(append("exists").await.status, 201);
    assert_eq!(append("any").await.json()["streams"][0]["last_revision"], 3);
    assert_eq!(append("sometimes").await.wrong_field(), "expected");
    assert_eq!(world.post(&format!("{EVENTS}?expect=0"), &event).await.wrong_field(), "expect");
}

#[tokio::test]
async fn an_append_that_is_sent_again_is_answered_as_the_first_time() {
    let world = World::with_store().await;
    let events = json!([{"id": "a", "type": "A"}, {"id": "b", "type": "B"}]);
    let path = format!("{EVENTS}?expected=no_stream");
    let first = world.post(&path, &events).await;
    let again = world.post(&path, &events).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!((&first.json()["repeated"], &again.json()["repeated"]), (&json!(false), &json!(true)));
    assert_eq!(first.json()["streams"], again.json()["streams"]);
    assert_eq!(stored(&world).await.len(), 2);

    let mixed = world.post(EVENTS, &json!([{"id": "b", "type": "B"}, {"id": "c", "type": "C"}])).await;
    assert_eq!(mixed.problem(), (409, "id-taken".into()));
    let problem = mixed.json();
    assert_eq!(
        (&problem["stream"], &problem["index"], &problem["revision"]),
        (&json!("order-1"), &json!(0), &json!(1))
    );
}

#[tokio::test]
async fn an_append_to_many_streams_is_all_or_nothing() {
    let world = World::with_store().await;
    world.append("stock-7", &json!({"type": "StockCounted", "tags": ["product:7"]})).await;
    let append = async |guard: Value, after: Value| {
        let body = json!({
            "writes": [
                {"stream": "order-1", "expected": "no_stream", "events": [{"type": "OrderPlaced"}]},
                {"stream": "customer-1", "events": [{"type": "OrderNoted"}, {"type": "BonusGiven"}]},
            ],
            "guards": [{"stream": "stock-7", "expected": guard}],
            "conditions": [{"query": {"items": [{"types": ["StockCounted"], "tags": ["product:7"]}]}, "after": after}],
        });
        world.post("/stores/shop/append", &body).await
    };
    let guarded = append(json!("no_stream"), json!(0)).await;
    assert_eq!(guarded.problem(), (409, "wrong-expected-revision".into()));
    assert_eq!((&guarded.json()["stream"], &guarded.json()["actual"]), (&json!("stock-7"), &json!(0)));
    let conditional = append(json!(0), Value::Null).await;
    assert_eq!(conditional.problem(), (409, "condition-failed".into()));
    assert_eq!((&conditional.json()["condition"], &conditional.json()["position"]), (&json!(0), &json!(0)));
    assert_eq!(stored(&world).await.len(), 1);

    let done = append(json!(0), json!(0)).await;
    assert_eq!(done.status, 201);
    let expected = json!({"first_position": 1, "last_position": 3, "repeated": false, "streams": [
        {"stream": "order-1", "last_revision": 0}, {"stream": "customer-1", "last_revision": 1},
    ]});
    assert_eq!(done.json(), expected);
}

#[tokio::test]
async fn each_mistake_in_an_append_is_named() {
    let world = World::with_store().await;
    let field = async |body: Value| world.post("/stores/shop/append", &body).await.wrong_field();
    let one = |event: Value| json!({"writes": [{"stream": "a-1", "events": [{"type": "A"}, event]}]});
    let many = |stream: &str, count: usize| json!({"writes": [{"stream": stream, "events": vec![json!({"type": "A"}); count]}]});
    assert_eq!(field(json!({"writes": []})).await, "writes");
    assert_eq!(field(json!({"writes": [{"stream": "a-1", "events": []}]})).await, "writes[0].events");
    assert_eq!(field(many("a-1", 10_001)).await, "writes");
    assert_eq!(
        field(json!({"writes": [{"stream": "", "events": [{"type": "A"}]}]})).await,
        "writes[0].stream"
    );
    assert_eq!(
        field(json!({"writes": [{"stream": "$own", "events": [{"type": "A"}]}]})).await,
        "writes[0].stream"
    );
    let twice = json!({"writes": [{"stream": "a-1", "events": [{"type": "A"}]}, {"stream": "a-1", "events": [{"type": "A"}]}]});
    assert_eq!(field(twice).await, "writes");
    assert_eq!(
        field(json!({"writes": [{"stream": "a-1", "expected": "x", "events": []}]})).await,
        "writes[0].expected"
    );
    assert_eq!(field(one(json!({"type": 1}))).await, "writes[0].events[1].type");
    assert_eq!(field(one(json!({"typo": "A"}))).await, "writes[0].events[1].typo");
    assert_eq!(field(one(json!({"type": "$own"}))).await, "writes[0].events[1].type");
    assert_eq!(field(one(json!({"type": "A", "time": "x"}))).await, "writes[0].events[1].time");
    assert_eq!(field(one(json!({"type": "A", "source": "a b"}))).await, "writes[0].events[1].source");
    assert_eq!(field(one(json!({"type": "A", "tags": ["a", ""]}))).await, "writes[0].events[1].tags[1]");
    assert_eq!(field(one(json!({"type": "A", "tags": vec!["t"; 33]}))).await, "writes[0].events[1].tags");
    assert_eq!(
        field(one(json!({"type": "A", "metadata": {"B": "c"}}))).await,
        "writes[0].events[1].metadata.B"
    );
    let ids = json!({"writes": [{"stream": "a-1", "events": [{"type": "A", "id": "1"}, {"type": "A", "id": "1"}]}]});
    assert_eq!(field(ids).await, "writes[0].events[1].id");
    let guards = json!({"writes": [{"stream": "a-1", "events": [{"type": "A"}]}], "guards": [{"stream": "", "expected": 1}]});
    assert_eq!(field(guards).await, "guards[0].stream");
    let condition = json!({"writes": [{"stream": "a-1", "events": [{"type": "A"}]}], "conditions": [{"query": {"items": []}}]});
    assert_eq!(field(condition).await, "conditions[0].query.items");
    let condition = json!({"writes": [{"stream": "a-1", "events": [{"type": "A"}]}],
        "conditions": [{"query": {"items": [{"types": ["A"]}]}}, {"query": {"items": [{"types": ["A"]}, {"tags": ["a", ""]}]}}]});
    assert_eq!(field(condition).await, "conditions[1].query.items[1].tags[1]");

    let field = async |body: Value| world.post(EVENTS, &body).await.wrong_field();
    assert_eq!(field(json!([])).await, "");
    assert_eq!(field(json!({"type": "$own"})).await, "type");
    assert_eq!(field(json!([{"type": "A"}, {"type": "$own"}])).await, "[1].type");
    assert_eq!(field(json!([{"type": "A", "id": "1"}, {"type": "A", "id": "1"}])).await, "[1].id");
    let field = async |body: Value| world.post("/events?store=shop", &body).await.wrong_field();
    let mixed = json!([{"type": "A", "subject": "a-1"}, {"type": "A", "subject": "b-1"}, {"type": "$own", "subject": "a-1"}]);
    assert_eq!(field(mixed).await, "[2].type");
    let large = json!([{"type": "A"}, {"type": "A", "data": "x".repeat(5 << 20)}]);
    let large = world.post(EVENTS, &large).await;
    assert_eq!((large.problem(), large.json()["field"].clone()), ((413, "too-large".into()), json!("[1]")));
    assert!(stored(&world).await.is_empty());
}

#[tokio::test]
async fn what_is_not_json_or_not_there_is_told() {
    let world = World::with_store().await;
    for body in ["", "{", "[", "nonsense", "[{\"type\":\"A\"}", "{\"type\":\"A\"} x", "\u{feff}{}", "5"] {
        assert_eq!(world.post_text(EVENTS, body).await.problem(), (400, "invalid-request".into()), "{body}");
    }
    let invalid_utf8 = world.post_text(EVENTS, &b"{\"type\":\"\xff\"}"[..]).await;
    assert_eq!(invalid_utf8.problem(), (400, "invalid-request".into()));
    let nested = format!("{{\"type\":\"A\",\"data\":{}{}}}", "[".repeat(200), "]".repeat(200));
    // Data is never taken apart, so it may be nested as deeply as its sender likes.
    assert_eq!(world.post_text(EVENTS, nested).await.status, 201);
    assert_eq!(world.get("/stores/shop/events/0").await.status, 200);
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/cloudevents+avro", "nonsense"]
    {
        let answer = world
            .send(Method::POST, EVENTS, &[("content-type", content_type)], "{\"type\":\"A\"}".into())
            .await;
        assert_eq!(answer.problem(), (415, "unsupported-media-type".into()), "{content_type}");
    }
    let unknown = world.post("/stores/nowhere/streams/a-1/events", &json!({"type": "A"})).await;
    assert_eq!(unknown.problem(), (404, "unknown-store".into()));
    let long = format!("/stores/shop/streams/{}/events", "x".repeat(513));
    assert_eq!(world.post(&long, &json!({"type": "A"})).await.wrong_field(), "stream");
    let control = world.post("/stores/shop/streams/a%0Ab/events", &json!({"type": "A"})).await;
    assert_eq!(control.wrong_field(), "stream");
    assert_eq!(
        world.post("/stores/shop/streams/a%ff/events", &json!({"type": "A"})).await.wrong_field(),
        "path"
    );
}

#[tokio::test]
async fn names_of_streams_may_hold_anything_that_is_encoded() {
    let world = World::with_store().await;
    for (path, name) in [
        ("a%2Fb%20c-1", "a/b c-1"),
        ("%D0%BA%D0%BE%D0%BD%D1%82%D0%BE-1", "конто-1"),
        ("100%25", "100%"),
        ("..", ".."),
    ] {
        let answer = world.post(&format!("/stores/shop/streams/{path}/events"), &json!({"type": "A"})).await;
        assert_eq!(answer.json()["streams"][0]["stream"], name, "{answer:?}");
        assert_eq!(
            world.get(&format!("/stores/shop/streams/{path}/events")).await.json()["stream"]["name"],
            name
        );
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_just_fits_is_not() {
    let world = World::with_store().await;
    let event = |bytes: usize| format!("{{\"type\":\"A\",\"data\":\"{}\"}}", "x".repeat(bytes));
    assert_eq!(world.post_text(EVENTS, event(4_000_000)).await.status, 201);
    let large = world.post_text(EVENTS, event(4 << 20)).await;
    assert_eq!(large.problem(), (413, "too-large".into()));
    assert_eq!(large.json()["limit"], 4 << 20);
    let many = format!("[{}]", vec![event(3_900_000); 5].join(","));
    assert_eq!(world.post_text(EVENTS, many).await.problem(), (413, "too-large".into()));
    assert_eq!(world.get("/stores/shop").await.json()["end"], 1);
}

#[tokio::test]
async fn a_body_beyond_all_limits_is_refused_before_it_is_read() {
    let world = World::with_store().await;
    let body = vec![b' '; (24 << 20) + 1];
    let mut connection = world.connect().await;
    let answer =
        connection.send(Method::POST, EVENTS, &[("content-type", "application/json")], body.into()).await;
    assert_eq!(answer.status, 413);
}
