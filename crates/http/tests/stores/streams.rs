//! Streams: what they are like, metadata, deletion, names, scavenging, shredding; and what projections say of themselves.

use serde_json::{Value, json};

use crate::harness::World;

const STREAM: &str = "/stores/shop/streams/order-1";

#[tokio::test]
async fn a_stream_and_its_metadata() {
    let world = World::with_store().await;
    assert_eq!(world.get(STREAM).await.problem(), (404, "unknown-stream".into()));
    assert_eq!(world.get(&format!("{STREAM}/metadata")).await.json(), json!({"revision": null}));
    let metadata = json!({"max_age_seconds": 3600, "max_count": 2, "custom": {"owner": "sales"}});
    let set = world.put(&format!("{STREAM}/metadata?expected=no_stream"), &metadata).await;
    assert_eq!((set.status, &set.json()["revision"]), (200, &json!(0)));
    let mut expected = metadata.clone();
    expected["revision"] = json!(0);
    assert_eq!(world.get(&format!("{STREAM}/metadata")).await.json(), expected);
    assert_eq!(world.get(STREAM).await.json()["state"], "missing");

    for _ in 0..3 {
        world.append("order-1", &json!({"type": "A"})).await;
    }
    let expected = json!({"name": "order-1", "state": "exists", "last_revision": 2, "first_revision": 1,
        "metadata": metadata, "metadata_revision": 0});
    assert_eq!(world.get(STREAM).await.json(), expected);
    let shown = world.get(&format!("{STREAM}/events")).await.json();
    assert_eq!(shown["events"].as_array().unwrap().len(), 2);

    let stale = world.put(&format!("{STREAM}/metadata?expected=no_stream"), &json!({})).await;
    assert_eq!(stale.problem(), (409, "wrong-expected-revision".into()));
    assert_eq!((&stale.json()["stream"], &stale.json()["actual"]), (&json!("$$order-1"), &json!(0)));
    assert_eq!(world.put(&format!("{STREAM}/metadata?expected=0"), &json!({})).await.json()["revision"], 1);
    assert_eq!(world.get(&format!("{STREAM}/metadata")).await.json(), json!({"revision": 1}));
}

#[tokio::test]
async fn metadata_that_cannot_be_is_refused() {
    let world = World::with_store().await;
    let refused = async |metadata: Value| world.put(&format!("{STREAM}/metadata"), &metadata).await;
    assert_eq!(refused(json!({"max_count": 0})).await.wrong_field(), "max_count");
    assert_eq!(refused(json!({"max_count": -1})).await.wrong_field(), "max_count");
    assert_eq!(refused(json!({"max_age_seconds": 0})).await.wrong_field(), "max_age_seconds");
    assert_eq!(refused(json!({"max_age": 5})).await.wrong_field(), "max_age");
    assert_eq!(refused(json!({"custom": {"$acl": 1}})).await.wrong_field(), "custom");
    assert_eq!(refused(json!([])).await.problem(), (400, "invalid-request".into()));
    let large = json!({"custom": {"text": "x".repeat(70_000)}});
    assert_eq!(refused(large).await.problem(), (413, "too-large".into()));
}

#[tokio::test]
async fn a_deleted_stream_comes_back_and_a_tombstone_stays() {
    let world = World::with_store().await;
    assert_eq!(world.delete(STREAM).await.problem(), (404, "unknown-stream".into()));
    world.append("order-1", &json!({"type": "A"})).await;
    let conflict = world.delete(&format!("{STREAM}?expected=5")).await;
    assert_eq!(conflict.problem(), (409, "wrong-expected-revision".into()));
    assert_eq!(world.delete(&format!("{STREAM}?expected=0")).await.json(), json!({"position": 1}));

    let gone = world.get(&format!("{STREAM}/events")).await;
    assert_eq!(gone.problem(), (404, "unknown-stream".into()));
    assert_eq!((&gone.json()["state"], &gone.json()["last_revision"]), (&json!("deleted"), &json!(0)));
    assert_eq!(world.get(STREAM).await.json()["state"], "deleted");
    assert_eq!(world.get("/stores/shop/streams").await.json(), json!({"names": [], "next": null}));

    let back = world.post(&format!("{STREAM}/events?expected=no_stream"), &json!({"type": "B"})).await;
    assert_eq!(back.json()["streams"][0]["last_revision"], 1);
    let shown = world.get(&format!("{STREAM}/events")).await.json();
    assert_eq!((&shown["events"][0]["type"], &shown["events"][1]), (&json!("B"), &Value::Null));

    assert_eq!(world.delete(&format!("{STREAM}?tombstone=true")).await.status, 200);
    let answers = [
        world.get(&format!("{STREAM}/events")).await,
        world.post(&format!("{STREAM}/events"), &json!({"type": "C"})).await,
        world.delete(STREAM).await,
        world.delete(&format!("{STREAM}?tombstone=true")).await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(), (410, "stream-tombstoned".into()));
        assert_eq!(answer.json()["stream"], "order-1");
    }
    assert_eq!(world.get(STREAM).await.json()["state"], "tombstoned");
}

#[tokio::test]
async fn names_are_listed_page_by_page() {
    let world = World::with_store().await;
    for stream in ["order-1", "order-2", "order-3", "stock-1", "~own-1"] {
        world.append(stream, &json!({"type": format!("{}Changed", &stream[..5])})).await;
    }
    world.delete("/stores/shop/streams/order-2").await;
    let list = async |path: &str| world.get(&format!("/stores/shop/{path}")).await.json();
    assert_eq!(list("streams").await, json!({"names": ["order-1", "order-3", "stock-1"], "next": null}));
    // A deleted stream in the middle does not make the page look like the last one.
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("streams?limit=1&after={after}")).await;
        names.extend(page["names"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = next.replace('$', "%24");
    }
    assert_eq!(names, ["order-1", "order-3", "stock-1"]);
    assert_eq!(list("streams?prefix=stock").await["names"], json!(["stock-1"]));
    assert_eq!(list("streams?prefix=~").await["names"], json!(["~own-1"]));
    assert_eq!(list("streams?system=true&prefix=s").await["names"], json!(["stock-1"]));
    assert_eq!(list("categories").await["names"], json!(["order", "stock"]));
    assert_eq!(list("types").await["names"], json!(["orderChanged", "stockChanged"]));
    assert_eq!(world.get("/stores/shop/streams?limit=0").await.wrong_field(), "limit");
    assert_eq!(world.get("/stores/nowhere/types").await.problem(), (404, "unknown-store".into()));
}

#[tokio::test]
async fn scavenging_gives_space_back_and_the_index_is_rebuilt() {
    let world = World::with_store().await;
    for _ in 0..20 {
        world.append("log-1", &json!({"type": "A", "data": "x".repeat(10_000)})).await;
    }
    world.put("/stores/shop/streams/log-1/metadata", &json!({"max_count": 1})).await;
    let scavenged = world.post("/stores/shop/scavenge", &Value::Null).await;
    assert_eq!(scavenged.status, 200, "{scavenged:?}");
    let bytes = scavenged.json();
    assert!(bytes["bytes_after"].as_u64().unwrap() <= bytes["bytes_before"].as_u64().unwrap(), "{bytes}");
    assert_eq!(world.post("/stores/shop/rebuild-index", &Value::Null).await.status, 204);
    let left = world.get("/stores/shop/streams/log-1/events").await.json();
    assert_eq!((&left["events"][0]["revision"], &left["events"][1]), (&json!(19), &Value::Null));
    assert_eq!(
        world.post("/stores/nowhere/scavenge", &Value::Null).await.problem(),
        (404, "unknown-store".into())
    );
}

#[tokio::test]
async fn a_person_is_forgotten() {
    let world = World::with_store().await;
    let event = json!({"type": "CustomerRegistered", "encrypt_for": "person-1", "data": {"name": "Ada"}});
    world.append("customer-1", &event).await;
    let read = async || world.get("/stores/shop/events/0").await.json();
    let found = read().await;
    assert_eq!((&found["data"], &found["encrypted"]), (&json!({"name": "Ada"}), &json!(true)));
    let shred =
        async |subject: &str| world.post("/stores/shop/shred", &json!({"subject": subject})).await.json();
    assert_eq!(shred("person-1").await, json!({"existed": true}));
    assert_eq!(shred("person-1").await, json!({"existed": false}));
    let found = read().await;
    assert_eq!((found.get("data"), &found["shredded"]), (None, &json!(true)));
    assert_eq!(found["type"], "CustomerRegistered");
}

#[tokio::test]
async fn projections_are_what_they_say_of_themselves() {
    let world = World::with_store().await;
    assert_eq!(world.get("/stores/shop/projections").await.json(), json!({"projections": []}));
    world.append("~projection-orders", &json!({"type": "~Told", "data": {"phase": "catching-up"}})).await;
    world
        .append("~projection-orders", &json!({"type": "~Told", "data": {"phase": "live", "position": 7}}))
        .await;
    world.append("~reaction-mails", &json!({"type": "~ReactionMoved", "data": 5})).await;
    let listed = world.get("/stores/shop/projections").await.json();
    let listed = listed["projections"].as_array().unwrap();
    let short: Vec<_> =
        listed.iter().map(|p| (p["name"].clone(), p["kind"].clone(), p["status"].clone())).collect();
    let expected = [
        (json!("orders"), json!("projection"), json!({"phase": "live", "position": 7})),
        (json!("mails"), json!("reaction"), json!(5)),
    ];
    assert_eq!(short, expected);
    let one = world.get("/stores/shop/projections/orders").await.json();
    assert_eq!((&one, &one["revision"], &one["position"]), (&listed[0], &json!(1), &json!(1)));
    assert_eq!((&one["stream"], &one["type"]), (&json!("~projection-orders"), &json!("~Told")));
    assert_eq!(
        world.get("/stores/shop/projections/nothing").await.problem(),
        (404, "unknown-projection".into())
    );
}
