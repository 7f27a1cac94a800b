//! Reading: every selection, both directions, from here to there, page by page, and single events.

use serde_json::{Value, json};

use crate::harness::{Answer, World};

/// Six events in three streams of two categories.
async fn world() -> World {
    let world = World::with_store().await;
    for (stream, kind, tag) in [
        ("order-1", "OrderPlaced", "customer:1"),
        ("order-2", "OrderPlaced", "customer:2"),
        ("order-1", "OrderPaid", "customer:1"),
        ("stock-1", "StockCounted", "product:1"),
        ("order-1", "OrderShipped", "customer:1"),
        ("order-2", "OrderPaid", "customer:2"),
    ] {
        world.append(stream, &json!({"type": kind, "tags": [tag], "data": {}})).await;
    }
    world
}

fn positions(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json()["events"].as_array().unwrap().clone();
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_is_read_both_ways() {
    let world = world().await;
    let read = async |query: &str| world.get(&format!("/stores/shop/streams/order-1/events{query}")).await;
    let all = read("").await;
    assert_eq!(positions(&all), [0, 2, 4]);
    let page = all.json();
    assert_eq!((&page["next"], &page["end"]), (&Value::Null, &json!(6)));
    assert_eq!(page["stream"], json!({"name": "order-1", "state": "exists", "last_revision": 2}));
    assert_eq!(all.header("link"), "");
    assert_eq!(positions(&read("?direction=backward").await), [4, 2, 0]);
    assert_eq!(positions(&read("?from=1").await), [2, 4]);
    assert_eq!(positions(&read("?from=1&until=1").await), [2]);
    assert_eq!(positions(&read("?direction=backward&from=1").await), [2, 0]);
    assert_eq!(positions(&read("?direction=backward&from=1&until=1").await), [2]);
    assert_eq!(positions(&read("?from_position=1").await), [2, 4]);
    assert_eq!(positions(&read("?until_position=3").await), [0, 2]);
    assert_eq!(positions(&read("?from=7").await), [0; 0]);
}

#[tokio::test]
async fn links_lead_through_all_pages() {
    let world = world().await;
    for (path, expected) in [
        ("/stores/shop/streams/order-1/events?limit=1", vec![0, 2, 4]),
        ("/stores/shop/events?limit=4", vec![0, 1, 2, 3, 4, 5]),
        ("/stores/shop/events?limit=2&direction=backward", vec![5, 4, 3, 2, 1, 0]),
        ("/stores/shop/events?limit=1&tag=customer%3A1&from_position=1", vec![2, 4]),
    ] {
        let (mut found, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let page = world.get(&path).await;
            found.extend(positions(&page));
            let link = page.header("link");
            next = link.strip_prefix('<').and_then(|link| Some(link.split_once('>')?.0.to_owned()));
            assert_eq!(next.is_some(), !page.json()["next"].is_null());
        }
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn every_selection() {
    let world = world().await;
    let cases = [
        ("", vec![0, 1, 2, 3, 4, 5]),
        ("stream=order-2", vec![1, 5]),
        ("stream=order-2&from=1", vec![5]),
        ("stream_prefix=order", vec![0, 1, 2, 4, 5]),
        ("stream_prefix=order-2", vec![1, 5]),
        ("category=stock", vec![3]),
        ("category=stoc", vec![]),
        ("type=OrderPaid", vec![2, 5]),
        ("type_prefix=OrderP", vec![0, 1, 2, 5]),
        ("tag=customer%3A2", vec![1, 5]),
        ("category=order&from=2&until=4", vec![2, 4]),
        (
            "query=%7B%22items%22%3A%5B%7B%22types%22%3A%5B%22OrderPaid%22%5D%2C%22tags%22%3A%5B%22customer%3A1%22%5D%7D%2C%7B%22tags%22%3A%5B%22product%3A1%22%5D%7D%5D%7D",
            vec![2, 3],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(positions(&world.get(&format!("/stores/shop/events?{query}")).await), expected, "{query}");
    }
}

#[tokio::test]
async fn long_queries_come_as_a_body() {
    let world = world().await;
    let read = async |body: Value| world.post("/stores/shop/events/read", &body).await;
    let query = json!({"items": [{"types": ["OrderPaid", "OrderShipped"]}]});
    assert_eq!(positions(&read(json!({"query": query})).await), [2, 4, 5]);
    assert_eq!(positions(&read(json!({"query": query, "direction": "backward", "limit": 2})).await), [5, 4]);
    assert_eq!(positions(&read(json!({})).await), [0, 1, 2, 3, 4, 5]);
    assert_eq!(positions(&read(json!({"stream": "order-1", "from": 1, "until": 1})).await), [2]);
    assert_eq!(read(json!({"query": {"items": [{"tag": "x"}]}})).await.wrong_field(), "query.items[0].tag");
    assert_eq!(read(json!({"stream": "order-1", "type": "A"})).await.wrong_field(), "type");
    assert_eq!(read(json!({"query": {"items": []}})).await.problem(), (400, "invalid-request".into()));
}

#[tokio::test]
async fn the_state_as_of_a_moment() {
    let world = world().await;
    let all = world.get("/stores/shop/events").await.json();
    let recorded = |position: usize| all["events"][position]["recorded"].as_str().unwrap().to_owned();
    let (first, last) = (recorded(0), recorded(5));
    let until = positions(&world.get(&format!("/stores/shop/events?until_time={first}")).await);
    assert!(until.contains(&0));
    assert!(until.iter().all(|position| recorded(*position as usize) <= first));
    let since = positions(&world.get(&format!("/stores/shop/events?from_time={last}")).await);
    assert!(since.contains(&5) && since.iter().all(|position| recorded(*position as usize) >= last));
    assert_eq!(positions(&world.get("/stores/shop/events?until_time=2001-01-01T00:00:00Z").await), [0; 0]);
    assert_eq!(positions(&world.get("/stores/shop/events?from_time=9999999999999").await), [0; 0]);
    assert_eq!(positions(&world.get("/stores/shop/streams/order-1/events?from_time=0").await), [0, 2, 4]);
    let late =
        "/stores/shop/streams/order-1/events?direction=backward&from_time=2999-01-01T00:00:00Z&limit=1";
    assert_eq!(positions(&world.get(late).await), [4]);
}

#[tokio::test]
async fn single_events() {
    let world = world().await;
    let event = world.get("/stores/shop/streams/order-1/events/1").await.json();
    assert_eq!((&event["type"], &event["position"]), (&json!("OrderPaid"), &json!(2)));
    assert_eq!(world.get("/stores/shop/events/2").await.json(), event);
    for path in ["/stores/shop/streams/order-1/events/3", "/stores/shop/events/6"] {
        assert_eq!(world.get(path).await.problem(), (404, "unknown-event".into()), "{path}");
    }
    assert_eq!(
        world.get("/stores/shop/streams/order-9/events/0").await.problem(),
        (404, "unknown-stream".into())
    );
    assert_eq!(world.get("/stores/shop/streams/order-1/events/x").await.wrong_field(), "path");
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let world = world().await;
    let missing = world.get("/stores/shop/streams/order-9/events").await;
    assert_eq!(missing.problem(), (404, "unknown-stream".into()));
    let problem = missing.json();
    assert_eq!((&problem["stream"], &problem["state"]), (&json!("order-9"), &json!("missing")));
    assert_eq!(world.get("/stores/nowhere/events").await.problem(), (404, "unknown-store".into()));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limt=1", "limt"),
        ("direction=up", "direction"),
        ("from=1&from_time=0", "from"),
        ("from_time=now", "from_time"),
        ("until=-1", "until"),
        ("max_bytes=0", "max_bytes"),
        ("max_bytes=999999999", "max_bytes"),
        ("stream=a-1&category=a", "category"),
        ("stream=%24%24a", "stream"),
        ("query=x", "query"),
        ("query=%7B%22items%22:%5B%5D%7D", "query.items"),
        ("query=%7B%22items%22:%5B%7B%22types%22:%5B%22%22%5D%7D%5D%7D", "query.items[0].types[0]"),
        ("tag=", "tag"),
        ("type=", "type"),
        ("system=perhaps", "system"),
    ] {
        assert_eq!(world.get(&format!("/stores/shop/events?{query}")).await.wrong_field(), field, "{query}");
    }
}

#[tokio::test]
async fn pages_end_where_they_have_enough_bytes() {
    let world = World::with_store().await;
    for _ in 0..3 {
        world.append("big-1", &json!({"type": "A", "data": "x".repeat(2000)})).await;
    }
    let page = world.get("/stores/shop/events?max_bytes=3000").await;
    assert_eq!(positions(&page), [0, 1]);
    assert_eq!(page.json()["next"], 2);
    assert_eq!(positions(&world.get("/stores/shop/events?max_bytes=1").await), [0]);
}

#[tokio::test]
async fn the_head_is_told_and_waited_for() {
    let world = World::with_store().await;
    let head = async |query: &str| world.get(&format!("/stores/shop/head{query}")).await;
    assert_eq!(head("").await.json(), json!({"position": null, "end": 0}));
    assert_eq!(head("?wait_ms=20").await.json(), json!({"position": null, "end": 0}));
    world.append("a-1", &json!({"type": "A"})).await;
    assert_eq!(head("").await.json(), json!({"position": 0, "end": 1}));
    assert_eq!(head("?wait_ms=60000").await.json(), json!({"position": 0, "end": 1}));
    assert_eq!(head("?beyond=0&wait_ms=20").await.json(), json!({"position": 0, "end": 1}));
    let append = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        world.append("a-1", &json!({"type": "B"})).await
    };
    let (waited, position) = tokio::join!(head("?beyond=0&wait_ms=60000"), append);
    assert_eq!((waited.json(), position), (json!({"position": 1, "end": 2}), 1));
    assert_eq!(head("?wait_ms=60001").await.wrong_field(), "wait_ms");
    assert_eq!(world.get("/stores/nowhere/head").await.problem(), (404, "unknown-store".into()));
}
