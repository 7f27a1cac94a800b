//! What comes back.

use annals::ErrorKind;
use annals::rpc::{BODY_BYTES_MAX, Body, Call, Client, Context, Failure, RequestError};
use serde_json::{Value, json};

use super::LONG;

/// The example of RabbitMQ's tutorial.
fn fibonacci(number: u32) -> u64 {
    (0..number).fold((0, 1), |(a, b), _| (b, a + b)).0
}

pub(super) async fn every_request_has_its_own_reply(client: &Client, subject: &str) {
    let answer = async |call: Call| {
        let number = call.text().parse().map_err(|_| Failure::input("no-number", "send digits"))?;
        Ok(fibonacci(number).to_string())
    };
    let responder = client.respond(subject, answer).await.unwrap();
    let one = client.request(subject, "30", LONG).await.unwrap();
    assert_eq!((one.text().as_str(), one.content_type()), ("832040", Some("text/plain; charset=utf-8")));
    let asked = (0..50).map(|number: u32| async move {
        let reply = client.request(subject, number.to_string(), LONG).await.unwrap();
        reply.text().parse::<u64>().unwrap()
    });
    let replies = futures_util::future::join_all(asked).await;
    let expected: Vec<u64> = (0..50).map(fibonacci).collect();
    assert_eq!(replies, expected);
    let stats = client.stats();
    assert_eq!((stats.sent, stats.replied, stats.waiting, stats.late_replies), (51, 51, 0, 0));
    assert_eq!(responder.stats().replied, 51);
    responder.stop().await;
}

pub(super) async fn values_and_headers_arrive(client: &Client, subject: &str) {
    let echo = async |call: Call| {
        let order: Value = call.json()?;
        let tenant = call.headers().get("tenant").cloned();
        let seen = json!({"order": order["order"], "tenant": tenant, "type": call.content_type()});
        Ok(Body::json(&seen).unwrap())
    };
    let responder = client.respond(subject, echo).await.unwrap();
    let body = Body::json(&json!({"order": "ord_789"})).unwrap();
    let reply = client.request(subject, body, LONG).header("tenant", "Zürich").await.unwrap();
    let expected = json!({"order": "ord_789", "tenant": "Zürich", "type": "application/json"});
    assert_eq!(reply.json::<Value>().unwrap(), expected);
    let empty = client.request(subject, Vec::new(), LONG).await.unwrap_err();
    assert!(matches!(empty, RequestError::Failed { failure, .. } if failure.code == "bad-request"));
    responder.stop().await;
}

pub(super) async fn failures_are_typed(client: &Client, subject: &str) {
    let refuse = async |_: Call| {
        let failure = Failure::new(ErrorKind::Conflict, "insufficient-funds", "only 20 left");
        Err::<(), _>(failure.with_details(&json!({"balance": 20})).unwrap())
    };
    let responder = client.respond(subject, refuse).await.unwrap();
    let error = client.request(subject, "withdraw 50", LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().ends_with("failed: only 20 left (insufficient-funds)"), "{error}");
    let RequestError::Failed { failure, .. } = error else { panic!("{error}") };
    assert_eq!(failure.details::<Value>().unwrap(), Some(json!({"balance": 20})));
    assert_eq!((client.stats().failed, client.stats().replied), (1, 0));
    assert_eq!((responder.stats().failed, responder.stats().panicked), (1, 0));
    responder.stop().await;
}

pub(super) async fn a_panic_is_a_failure(client: &Client, subject: &str) {
    let answer = async |call: Call| {
        assert_ne!(call.text(), "bad", "this one cannot be done");
        Ok("good")
    };
    let responder = client.respond(subject, answer).concurrency(1).await.unwrap();
    let error = client.request(subject, "bad", LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(error.to_string().contains("this one cannot be done"), "{error}");
    assert_eq!(client.request(subject, "other", LONG).await.unwrap().text(), "good");
    assert_eq!((responder.stats().panicked, responder.stats().redelivered), (1, 0));
    responder.stop().await;
}

pub(super) async fn a_reply_that_is_too_large_is_a_failure(client: &Client, subject: &str) {
    let answer = async |_: Call| Ok(vec![0; BODY_BYTES_MAX + 1]);
    let responder = client.respond(subject, answer).await.unwrap();
    let error = client.request(subject, "much", LONG).await.unwrap_err();
    assert!(matches!(error, RequestError::Failed { failure, .. } if failure.code == "reply-too-large"));
    let error = client.request(subject, vec![0; BODY_BYTES_MAX + 1], LONG).await.unwrap_err();
    assert_eq!(error, RequestError::TooLarge { bytes: 16_777_217 });
    responder.stop().await;
}

/// What a call says about where it belongs.
fn ties(call: &Call) -> Value {
    let context = call.context();
    json!({
        "id": call.id(),
        "correlation": context.correlation_id,
        "causation": context.causation_id,
        "trace": context.trace_parent.map(|parent| parent.to_string()),
        "state": context.trace_state,
    })
}

pub(super) async fn correlation_causation_and_trace_go_on(client: &Client, subject: &str) {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01";
    let (inner_subject, inner) =
        (format!("{subject}.inner"), async |call: Call| Ok(Body::json(&ties(&call)).unwrap()));
    let second = client.respond(&*inner_subject, inner).await.unwrap();
    let (asking, asked) = (client.clone(), inner_subject.clone());
    let outer = move |call: Call| {
        let asking = asking.request(&*asked, "", LONG).caused_by(&call);
        async move {
            let reply = asking.await.map_err(|error| Failure::bug("inner", error.to_string()))?;
            let below: Value = reply.json().unwrap();
            Ok(Body::json(&json!([ties(&call), below])).unwrap())
        }
    };
    let first = client.respond(subject, outer).await.unwrap();
    let context = Context {
        correlation_id: Some("corr_abc".into()),
        causation_id: Some("evt_123455".into()),
        trace_parent: Some(TRACE.parse().unwrap()),
        trace_state: Some("vendor=1".into()),
    };
    let reply = client.request(subject, "", LONG).context(context).await.unwrap();
    let seen: Value = reply.json().unwrap();
    let (above, below) = (&seen[0], &seen[1]);
    assert_eq!((&above["correlation"], &above["causation"]), (&json!("corr_abc"), &json!("evt_123455")));
    assert_eq!((&below["correlation"], &below["causation"]), (&json!("corr_abc"), &above["id"]));
    for call in [above, below] {
        assert_eq!((&call["trace"], &call["state"]), (&json!(TRACE), &json!("vendor=1")));
    }
    assert_eq!(reply.context().correlation_id.as_deref(), Some("corr_abc"));
    assert_eq!(reply.context().causation_id.as_deref(), above["id"].as_str());

    let alone: Value = client.request(&*inner_subject, "", LONG).await.unwrap().json().unwrap();
    assert_eq!(alone["correlation"], alone["id"], "the first of its own");
    assert_eq!((&alone["causation"], &alone["trace"]), (&Value::Null, &Value::Null));
    first.stop().await;
    second.stop().await;
}

pub(super) async fn without_a_queue_it_is_known_at_once(client: &Client, subject: &str) {
    let error = client.request(subject, "anybody?", LONG).await.unwrap_err();
    assert_eq!(error, RequestError::NoResponder { subject: subject.into() });
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!((client.stats().sent, client.stats().waiting), (0, 0));
}

pub(super) async fn what_cannot_be_is_refused(client: &Client) {
    for subject in ["", "amq.mine", &"x".repeat(256)] {
        let error = client.request(subject, "", LONG).await.unwrap_err();
        assert!(matches!(error, RequestError::Subject { .. }), "{subject}: {error}");
        assert!(client.respond(subject, async |_: Call| Ok(())).await.is_err());
    }
    let body = Body::from("x").with_content_type("x".repeat(256));
    let error = client.request("subject", body, LONG).await.unwrap_err();
    assert!(matches!(error, RequestError::TooLong { .. }), "{error}");
}
