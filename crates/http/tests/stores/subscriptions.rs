//! Persistent subscriptions: from creating one to replaying what was parked.

use serde_json::{Value, json};

use crate::harness::World;

const SUBSCRIPTIONS: &str = "/stores/shop/subscriptions";

async fn world(options: Value) -> World {
    let world = World::with_store().await;
    for (stream, kind) in [("order-1", "A"), ("order-1", "B"), ("stock-1", "C"), ("order-2", "D")] {
        world.append(stream, &json!({"type": kind})).await;
    }
    let body = json!({"name": "mails", "selection": {"category": "order"}, "options": options});
    assert_eq!(world.post(SUBSCRIPTIONS, &body).await.status, 201);
    world
}

impl World {
    /// What a consumer is given: position and delivery.
    async fn fetch(&self, consumer: &str, limit: usize) -> Vec<(u64, u64)> {
        let body = json!({"consumer": consumer, "limit": limit, "wait_ms": 200});
        let answer = self.post(&format!("{SUBSCRIPTIONS}/mails/fetch"), &body).await;
        assert_eq!((answer.status, &answer.json()["consumer"]), (200, &json!(consumer)), "{answer:?}");
        let events = answer.json()["events"].as_array().unwrap().clone();
        let short = |event: &Value| {
            (event["event"]["position"].as_u64().unwrap(), event["delivery"].as_u64().unwrap())
        };
        events.iter().map(short).collect()
    }

    async fn settle(&self, how: &str, body: Value) -> Value {
        let answer = self.post(&format!("{SUBSCRIPTIONS}/mails/{how}"), &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn status(&self) -> Value {
        self.get(&format!("{SUBSCRIPTIONS}/mails")).await.json()["status"].clone()
    }
}

#[tokio::test]
async fn a_subscription_is_created_described_changed_and_deleted() {
    let world = World::with_store().await;
    let query = json!({"items": [{"types": ["A"], "tags": ["t"]}]});
    let body = json!({"name": "a b", "selection": {"query": query}, "options": {"in_flight_max": 5}});
    let created = world.post(SUBSCRIPTIONS, &body).await;
    assert_eq!((created.status, created.header("location")), (201, "/stores/shop/subscriptions/a%20b"));
    let expected = json!({
        "name": "a b", "selection": {"query": query},
        "options": {"ack_timeout_ms": 30000, "deliveries_max": 10, "in_flight_max": 5, "buffer_max": 500, "ordered_by_stream": false},
        "status": {"looked_to": 0, "checkpoint": 0, "waiting": 0, "leased": 0, "parked": 0, "consumers": 0},
    });
    assert_eq!(created.json(), expected);
    assert_eq!(world.get(created.header("location")).await.json(), expected);
    assert_eq!(world.get(SUBSCRIPTIONS).await.json(), json!({"subscriptions": [expected]}));
    assert_eq!(world.post(SUBSCRIPTIONS, &body).await.problem(), (409, "already-exists".into()));

    let changed = world.patch(created.header("location"), &json!({"deliveries_max": 3})).await.json();
    assert_eq!(
        (&changed["options"]["deliveries_max"], &changed["options"]["in_flight_max"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(world.delete(created.header("location")).await.status, 204);
    for gone in [world.get(created.header("location")).await, world.delete(created.header("location")).await]
    {
        assert_eq!(gone.problem(), (404, "unknown-subscription".into()));
        assert_eq!(gone.json()["subscription"], "a b");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_named() {
    let world = World::with_store().await;
    let field = async |body: Value| world.post(SUBSCRIPTIONS, &body).await.wrong_field();
    assert_eq!(field(json!({})).await, "");
    assert_eq!(field(json!({"name": ""})).await, "name");
    assert_eq!(field(json!({"name": "n".repeat(1000)})).await, "name");
    assert_eq!(field(json!({"name": "a", "selection": {"tag": ""}})).await, "selection.tag");
    let query = json!({"items": [{"types": ["A"]}, {}]});
    assert_eq!(field(json!({"name": "a", "selection": {"query": query}})).await, "selection.query.items[1]");
    assert_eq!(field(json!({"name": "a", "selection": {}})).await, "selection");
    assert_eq!(field(json!({"name": "a", "selection": {"all": true, "tag": "x"}})).await, "selection");
    assert_eq!(field(json!({"name": "a", "selection": {"type": "a", "tag": "x"}})).await, "selection.tag");
    assert_eq!(field(json!({"name": "a", "selection": {"sort": "x"}})).await, "selection.sort");
    assert_eq!(field(json!({"name": "a", "options": {"buffer_max": 0}})).await, "options.buffer_max");
    assert_eq!(field(json!({"name": "a", "options": {"ack_timeout_ms": 0}})).await, "options.ack_timeout_ms");
    assert_eq!(field(json!({"name": "a", "after": 5})).await, "after");
    assert_eq!(field(json!({"name": "a", "from": "now"})).await, "from");
    let unknown = world.post("/stores/nowhere/subscriptions", &json!({"name": "a"})).await;
    assert_eq!(unknown.problem(), (404, "unknown-store".into()));
}

#[tokio::test]
async fn consumers_share_events_and_acknowledge_them() {
    let world = world(json!({"in_flight_max": 2})).await;
    assert_eq!(world.fetch("one", 1).await, [(0, 1)]);
    assert_eq!(world.fetch("two", 10).await, [(1, 1), (3, 1)]);
    assert_eq!(world.fetch("one", 10).await, []);
    let acknowledged = world.settle("ack", json!({"consumer": "one", "positions": [0, 1]})).await;
    assert_eq!(acknowledged, json!({"acknowledged": 1, "not_leased": [1]}));
    let status = world.status().await;
    assert_eq!(
        (&status["checkpoint"], &status["leased"], &status["consumers"]),
        (&json!(1), &json!(2), &json!(2))
    );
    // What a consumer holds that goes is given to others.
    assert_eq!(world.delete(&format!("{SUBSCRIPTIONS}/mails/consumers/two")).await.status, 204);
    assert_eq!(world.fetch("one", 10).await, [(1, 2), (3, 2)]);
    let gone = world
        .post(&format!("{SUBSCRIPTIONS}/mails/ack"), &json!({"consumer": "two", "positions": [1]}))
        .await;
    assert_eq!(gone.problem(), (404, "unknown-consumer".into()));
    world.settle("ack", json!({"consumer": "one", "positions": [1, 3]})).await;
    assert_eq!(world.status().await["checkpoint"], 4);
}

#[tokio::test]
async fn a_consumer_without_a_name_gets_one_and_waits_for_events() {
    let world = world(json!({})).await;
    let fetch = async |body: Value| world.post(&format!("{SUBSCRIPTIONS}/mails/fetch"), &body).await.json();
    let first = fetch(json!({})).await;
    assert_eq!(first["events"].as_array().unwrap().len(), 3);
    let waiting = fetch(json!({"consumer": first["consumer"], "wait_ms": 60000}));
    let append = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        world.append("order-3", &json!({"type": "E"})).await
    };
    let (second, position) = tokio::join!(waiting, append);
    assert_eq!(
        (&second["events"][0]["event"]["position"], &second["consumer"]),
        (&json!(position), &first["consumer"])
    );
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_comes_again() {
    let world = world(json!({"ack_timeout_ms": 100})).await;
    assert_eq!(world.fetch("one", 1).await, [(0, 1)]);
    let again = async {
        loop {
            let given = world.fetch("two", 10).await;
            if given.contains(&(0, 2)) {
                return;
            }
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, again).await.unwrap();
    let late = world.settle("ack", json!({"consumer": "one", "positions": [0]})).await;
    assert_eq!(late, json!({"acknowledged": 0, "not_leased": [0]}));
}

#[tokio::test]
async fn events_are_retried_skipped_parked_and_replayed() {
    let world = world(json!({})).await;
    assert_eq!(world.fetch("one", 10).await, [(0, 1), (1, 1), (3, 1)]);
    let nack = async |body: Value| world.settle("nack", body).await;
    let retried = nack(json!({"consumer": "one", "positions": [0], "action": "retry"})).await;
    assert_eq!(retried, json!({"settled": 1, "not_leased": []}));
    nack(json!({"consumer": "one", "positions": [1], "action": "park", "reason": "no address"})).await;
    nack(json!({"consumer": "one", "positions": [3], "action": "skip"})).await;
    assert_eq!(world.fetch("one", 10).await, [(0, 2)]);
    world.settle("ack", json!({"consumer": "one", "positions": [0]})).await;

    let parked = world.get(&format!("{SUBSCRIPTIONS}/mails/parked")).await.json();
    assert_eq!((&parked["next"], parked["parked"].as_array().unwrap().len()), (&Value::Null, 1));
    let event = &parked["parked"][0];
    assert_eq!(
        (&event["position"], &event["reason"], &event["deliveries"]),
        (&json!(1), &json!("no address"), &json!(1))
    );
    assert!(event["since"].as_str().unwrap().ends_with('Z'));

    let replay = async |body: Value| world.settle("parked/replay", body).await;
    assert_eq!(replay(json!({"positions": [9]})).await, json!({"count": 0}));
    assert_eq!(replay(json!({})).await, json!({"count": 1}));
    // It counts from the start again: whoever replays has mended what was wrong.
    let given = world.fetch("one", 10).await;
    assert_eq!(given.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1]);
    nack(json!({"consumer": "one", "positions": [1], "action": "park"})).await;
    assert_eq!(world.settle("parked/discard", json!({"positions": [1]})).await, json!({"count": 1}));
    assert_eq!(world.status().await["parked"], 0);
    assert_eq!(world.fetch("one", 10).await, []);
}

#[tokio::test]
async fn what_was_acknowledged_is_known_after_a_restart() {
    let world = world(json!({})).await;
    assert_eq!(world.fetch("one", 2).await, [(0, 1), (1, 1)]);
    world.settle("ack", json!({"consumer": "one", "positions": [0]})).await;
    world.settle("nack", json!({"consumer": "one", "positions": [1], "action": "park", "reason": "x"})).await;
    // Acknowledgements are written now and then, and with what is durable when it is answered.
    assert_eq!(world.settle("parked/replay", json!({"positions": [0]})).await, json!({"count": 0}));
    let world = world.restart().await;
    assert_eq!(world.status().await["parked"], 1);
    let body = json!({"consumer": "one", "positions": [1]});
    let gone = world.post(&format!("{SUBSCRIPTIONS}/mails/ack"), &body).await;
    assert_eq!(gone.problem(), (404, "unknown-consumer".into()));
    assert_eq!(world.fetch("one", 10).await.iter().map(|given| given.0).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn wrong_requests_of_consumers_are_named() {
    let world = world(json!({})).await;
    let field = async |how: &str, body: Value| {
        world.post(&format!("{SUBSCRIPTIONS}/mails/{how}"), &body).await.wrong_field()
    };
    assert_eq!(field("fetch", json!({"limit": 0})).await, "limit");
    assert_eq!(field("fetch", json!({"wait_ms": 60001})).await, "wait_ms");
    assert_eq!(field("fetch", json!({"consumer": "a/b"})).await, "consumer");
    assert_eq!(field("fetch", json!({"consumer": ""})).await, "consumer");
    assert_eq!(field("ack", json!({"positions": []})).await, "");
    let nack = |more: Value| {
        let mut body = json!({"consumer": "one", "positions": [0], "action": "park"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(field("nack", nack(json!({"action": "throw"}))).await, "action");
    assert_eq!(field("nack", nack(json!({"delay_ms": 5}))).await, "delay_ms");
    assert_eq!(field("nack", nack(json!({"action": "skip", "reason": "x"}))).await, "reason");
    let unknown = world.post(&format!("{SUBSCRIPTIONS}/nothing/fetch"), &json!({})).await;
    assert_eq!(unknown.problem(), (404, "unknown-subscription".into()));
    assert_eq!(world.get(&format!("{SUBSCRIPTIONS}/mails/parked?limit=0")).await.wrong_field(), "limit");
}

#[tokio::test]
async fn a_consumer_of_a_subscription_that_was_made_anew_begins_anew() {
    let world = world(json!({})).await;
    assert_eq!(world.fetch("one", 1).await, [(0, 1)]);
    assert_eq!(world.delete(&format!("{SUBSCRIPTIONS}/mails")).await.status, 204);
    let fetch = world.post(&format!("{SUBSCRIPTIONS}/mails/fetch"), &json!({"consumer": "one"})).await;
    assert_eq!(fetch.problem(), (404, "unknown-subscription".into()));
    world.post(SUBSCRIPTIONS, &json!({"name": "mails", "selection": {"stream": "stock-1"}})).await;
    assert_eq!(world.fetch("one", 10).await, [(2, 1)]);
}
