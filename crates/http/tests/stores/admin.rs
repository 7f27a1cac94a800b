//! Stores: create, list, describe, delete, and what a server answers that is not open yet.

use annals_http::Options;
use annals_journal::FaultFiles;
use hyper::Method;
use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn a_store_is_created_listed_described_and_deleted() {
    let world = World::new(Options::default()).await;
    assert_eq!(world.get("/stores").await.json(), json!({"stores": []}));
    let created = world.post("/stores", &json!({"name": "orders"})).await;
    assert_eq!((created.status, created.header("location")), (201, "/stores/orders"));
    let store = created.json();
    assert_eq!((&store["name"], &store["start"], &store["end"]), (&json!("orders"), &json!(0), &json!(0)));
    assert_eq!(store["id"].as_str().unwrap().len(), 36);

    world.post("/stores/orders/streams/order-1/events", &json!({"type": "OrderPlaced"})).await;
    let described = world.get("/stores/orders").await.json();
    assert_eq!((&described["end"], &described["streams"]), (&json!(1), &json!(1)));
    assert_eq!(world.get("/stores").await.json()["stores"][0]["id"], store["id"]);

    let twice = world.post("/stores", &json!({"name": "orders"})).await;
    assert_eq!(twice.problem(), (409, "already-exists".into()));
    assert_eq!(twice.json()["name"], "orders");

    assert_eq!(world.delete("/stores/orders").await.status, 204);
    for gone in [world.delete("/stores/orders").await, world.get("/stores/orders").await] {
        assert_eq!(gone.problem(), (404, "unknown-store".into()));
        assert_eq!(gone.json()["store"], "orders");
    }
}

#[tokio::test]
async fn names_bodies_and_parameters_are_checked() {
    let world = World::new(Options::default()).await;
    for name in ["", "..", "a/b", "a b", "x".repeat(250).as_str()] {
        assert_eq!(world.post("/stores", &json!({"name": name})).await.wrong_field(), "name", "{name}");
    }
    assert_eq!(world.post("/stores", &json!({"nme": "a"})).await.wrong_field(), "nme");
    assert_eq!(world.post("/stores", &json!({"name": 5})).await.wrong_field(), "name");
    assert_eq!(world.post_text("/stores", "{").await.wrong_field(), "");
    assert_eq!(world.post_text("/stores", "").await.wrong_field(), "");
    assert_eq!(world.get("/stores?page=2").await.wrong_field(), "page");
    let form =
        world.send(Method::POST, "/stores", &[("content-type", "text/plain")], "{\"name\":\"a\"}".into());
    assert_eq!(form.await.problem(), (415, "unsupported-media-type".into()));
    let untyped = world.send(Method::POST, "/stores", &[], "{\"name\":\"a\"}".into()).await;
    assert_eq!(untyped.problem(), (415, "unsupported-media-type".into()));
    assert_eq!(world.get("/stores").await.json(), json!({"stores": []}));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_told() {
    let world = World::with_store().await;
    let answer = world.put("/stores", &json!({})).await;
    assert_eq!(answer.status, 405);
    for method in ["GET", "POST"] {
        assert!(answer.header("allow").contains(method), "{answer:?}");
    }
    assert_eq!(world.get("/stores/shop/nothing").await.status, 404);
    let no_number = world.get("/stores/shop/events/first").await;
    assert_eq!(no_number.wrong_field(), "path");
}

#[tokio::test]
async fn a_server_that_is_not_open_yet_says_when_to_come_back() {
    let world = World::without_broker(&FaultFiles::new(), Options::default()).await;
    let event = json!({"type": "OrderPlaced"});
    let answers = [
        world.get("/stores").await,
        world.get("/stores/shop/events").await,
        world.get("/stores/shop/subscribe").await,
        world.get("/stores/shop/head?wait_ms=1000").await,
        world.post("/stores", &json!({"name": "shop"})).await,
        world.post("/stores/shop/streams/order-1/events", &event).await,
        world.post("/stores/shop/subscriptions/s/fetch", &json!({})).await,
        world.post("/stores/shop/subscriptions/s/ack", &json!({"consumer": "a", "positions": [1]})).await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(), (503, "recovering".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    let world = world.open();
    assert_eq!(world.get("/stores").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_make_the_server_work() {
    let world = World::with_store().await;
    let origin = ("origin", "https://evil.example");
    for path in ["/stores/shop/scavenge", "/stores/shop/rebuild-index"] {
        let answer = world.send(Method::POST, path, &[origin], "".into()).await;
        assert_eq!(answer.problem(), (415, "unsupported-media-type".into()), "{path}");
        assert!(world.send(Method::POST, path, &[], "".into()).await.status < 300, "{path}");
    }
}
