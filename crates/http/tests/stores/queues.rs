//! Queues over RabbitMQ's management API: who may do what, and what is checked as over AMQP.

use annals_broker::access::{Access, Permission, User};
use annals_http::Options;
use annals_journal::FaultFiles;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::World;

/// May do everything.
const GUEST: &str = "guest:guest";
/// May do everything with what is called `mine…`.
const CLERK: &str = "clerk:secret";

async fn world() -> World {
    let mut access = Access::default();
    let permission = Permission::parse("^mine", "^mine|^amq.default$", "^mine").unwrap();
    access.users.insert("clerk".to_owned(), User::new("secret").with("/", permission));
    let world = World::without_broker(&FaultFiles::new(), Options::default()).await;
    world.open_with(annals_broker::Options { access, ..Default::default() })
}

/// The status of an answer, and what it says.
async fn ask(world: &World, user: &str, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let authorization = format!("Basic {}", BASE64_STANDARD.encode(user));
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let body = body.map(ToString::to_string).unwrap_or_default();
    let answer = world.send(method, &format!("/api{path}"), &headers, body.into()).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn put(world: &World, user: &str, path: &str, body: &Value) -> u16 {
    ask(world, user, Method::PUT, path, Some(body)).await.0
}

#[tokio::test]
async fn arguments_of_an_exchange_are_no_way_around_permissions() {
    let world = world().await;
    let declare = async |name: &str, arguments: Value| {
        let body = json!({"type": "topic", "arguments": arguments});
        put(&world, CLERK, &format!("/exchanges/%2F/{name}"), &body).await
    };
    for arguments in [
        json!({"x-annals-source-topic": "payroll", "x-annals-source-offset": "first"}),
        json!({"x-annals-topic": "payroll"}),
        json!({"alternate-exchange": "payroll"}),
    ] {
        assert_eq!(declare("mine", arguments.clone()).await, 401, "{arguments}");
    }
    assert_eq!(declare("mine", json!({"alternate-exchange": 1})).await, 400);
    assert_eq!(declare("mine.1", json!({"x-annals-source-topic": "mine.in"})).await, 201);
    assert_eq!(
        declare("mine.2", json!({"alternate-exchange": "mine", "x-annals-topic": "mine.out"})).await,
        201
    );
    let dead = json!({"arguments": {"x-dead-letter-exchange": "payroll"}});
    assert_eq!(put(&world, CLERK, "/queues/%2F/mine", &dead).await, 401);
}

#[tokio::test]
async fn a_message_is_published_as_over_amqp() {
    let world = world().await;
    for queue in ["mine.a", "mine.b", "mine.c"] {
        assert_eq!(put(&world, CLERK, &format!("/queues/%2F/{queue}"), &json!({})).await, 201);
    }
    let publish = async |properties: Value| {
        let body = json!({
            "routing_key": "mine.a", "payload": "x", "payload_encoding": "string", "properties": properties,
        });
        ask(&world, CLERK, Method::POST, "/exchanges/%2F/amq.default/publish", Some(&body)).await
    };
    let (status, refused) = publish(json!({"user_id": "guest"})).await;
    assert_eq!((status, &refused["error"]), (400, &json!("bad_request")), "{refused}");
    let keys = json!({"user_id": "clerk", "headers": {"CC": ["mine.b"], "BCC": ["mine.c"]}});
    assert_eq!(publish(keys).await, (200, json!({"routed": true})));
    for queue in ["mine.a", "mine.b", "mine.c"] {
        let path = format!("/queues/%2F/{queue}/messages");
        let (_, messages) = ask(&world, GUEST, Method::GET, &path, None).await;
        assert_eq!(messages.as_array().map(Vec::len), Some(1), "{queue}");
        let headers = &messages[0]["properties"]["headers"];
        assert_eq!(*headers, json!({"CC": ["mine.b"]}), "BCC is for nobody to see");
    }
}

#[tokio::test]
async fn what_is_not_due_yet_is_seen_and_cancelled() {
    let world = world().await;
    let exchange = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}});
    assert_eq!(put(&world, GUEST, "/exchanges/%2F/later", &exchange).await, 201);
    for (body, delay_ms, mode) in [("second", 7_200_000, 2), ("first", 3_600_000, 2), ("third", 9_000_000, 1)]
    {
        let message = json!({
            "routing_key": "k", "payload": body, "payload_encoding": "string",
            "properties": {"delivery_mode": mode, "headers": {"x-delay": delay_ms}},
        });
        let path = "/exchanges/%2F/later/publish";
        let (status, _) = ask(&world, GUEST, Method::POST, path, Some(&message)).await;
        assert_eq!(status, 200);
    }
    let path = "/queues/%2F/amq.delayed/scheduled";
    assert_eq!(ask(&world, CLERK, Method::GET, path, None).await.0, 401);
    let (_, found) = ask(&world, GUEST, Method::GET, path, None).await;
    let bodies = |found: &Value| -> Vec<String> {
        found.as_array().unwrap().iter().map(|one| one["payload"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bodies(&found), ["first", "second", "third"]);
    let waits_ms = found[0]["due_ms"].as_i64().unwrap() - found[0]["published_ms"].as_i64().unwrap();
    assert_eq!(
        (waits_ms, &found[0]["exchange"], &found[2]["sequence"]),
        (3_600_000, &json!("later"), &Value::Null)
    );
    let from = format!("{path}?from_ms={}&count=1", found[1]["due_ms"]);
    assert_eq!(bodies(&ask(&world, GUEST, Method::GET, &from, None).await.1), ["second"]);
    let first = format!("{path}/{}", found[0]["sequence"]);
    assert_eq!(ask(&world, CLERK, Method::DELETE, &first, None).await.0, 401);
    assert_eq!(ask(&world, GUEST, Method::DELETE, &first, None).await.0, 204);
    assert_eq!(ask(&world, GUEST, Method::DELETE, &first, None).await.0, 404);
    assert_eq!(ask(&world, GUEST, Method::DELETE, &format!("{path}/x"), None).await.0, 400);
    assert_eq!(bodies(&ask(&world, GUEST, Method::GET, path, None).await.1), ["second", "third"]);
}
