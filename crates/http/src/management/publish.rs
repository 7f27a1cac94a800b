//! Publishing one message.

use annals_broker::access::Right;
use annals_broker::api::queues::Message;
use annals_broker::api::queues::publish::{NewMessage, Publish, Published};
use axum::Json;
use axum::extract::Path;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::exchanges::{find, name_in_path, object};
use super::session::Session;
use super::table::properties_from_json;
use crate::body::Payload;

/// `POST /api/exchanges/{vhost}/{name}/publish`: answers when the message is as safe as it is to be.
pub(crate) async fn publish(
    session: Session,
    Path((vhost, exchange)): Path<(String, String)>,
    body: Payload,
) -> Result<Json<Value>, ApiError> {
    let (vhost, exchange) = (session.enter(&vhost)?, name_in_path(&exchange));
    let given = object(&body)?;
    session.check(Right::Write, &vhost, &exchange)?;
    let mut message = read(&given)?;
    if let Some(delay_ms) = delay(&message) {
        let holds_back = find(&session, &vhost, &exchange).is_ok_and(|definition| definition.delayed);
        message.due_ms = holds_back.then(|| session.app.clock().now_ms().saturating_add(delay_ms));
    }
    let messages = vec![NewMessage { message, more_keys: Vec::new() }];
    let ticket = session.broker.publish(&session.caller, Publish { vhost, exchange, messages }).await?;
    let is_routed = !ticket.outcomes().iter().any(|outcome| matches!(outcome, Published::Unroutable(_)));
    if ticket.outcomes().iter().any(|outcome| matches!(outcome, Published::Refused)) {
        return Err(ApiError::bad_request("a queue is full and refused the message"));
    }
    ticket.durable().await?;
    Ok(Json(json!({"routed": is_routed})))
}

/// How long the message asks to be held back.
fn delay(message: &Message) -> Option<i64> {
    message.headers()?.get("x-delay")?.as_i64().filter(|delay| *delay > 0)
}

fn read(given: &Value) -> Result<Message, ApiError> {
    let missing: Vec<String> = ["routing_key", "payload", "payload_encoding"]
        .into_iter()
        .filter(|name| given[name].is_null())
        .map(|name| format!("{{key_missing,{name}}}"))
        .collect();
    if !missing.is_empty() {
        return Err(ApiError::bad_request(format!("[{}]", missing.join(","))));
    }
    let text = |name: &'static str| {
        given[name].as_str().ok_or_else(|| ApiError::bad_request(json!(["not_string", name])))
    };
    let routing_key = text("routing_key")?;
    if routing_key.len() > 255 {
        return Err(ApiError::bad_request("the routing key has more than 255 bytes"));
    }
    let payload = text("payload")?;
    let body = match text("payload_encoding")? {
        "string" => payload.as_bytes().to_vec(),
        "base64" => {
            BASE64_STANDARD.decode(payload).map_err(|_| ApiError::bad_request("the payload is not Base64"))?
        }
        other => return Err(ApiError::bad_request(json!({"unsupported_encoding": other}))),
    };
    let properties = properties_from_json(&given["properties"])?;
    let ttl_ms = match &properties.expiration {
        None => None,
        Some(text) => {
            let ttl =
                text.as_str().parse().map_err(|_| ApiError::bad_request("the expiration is not a number"))?;
            Some(ttl)
        }
    };
    Ok(Message {
        routing_key: routing_key.into(),
        body: body.into(),
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        ttl_ms,
        properties: Some(Box::new(properties)),
        ..Message::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_the_request_says() {
        let given = json!({
            "routing_key": "k", "payload": "/wA=", "payload_encoding": "base64",
            "properties": {"delivery_mode": 2, "priority": 3, "expiration": "500", "headers": {"x-delay": 7}},
        });
        let message = read(&given).unwrap();
        assert_eq!((&message.body[..], message.persistent, message.priority), (&b"\xff\0"[..], true, 3));
        assert_eq!((message.ttl_ms, delay(&message)), (Some(500), Some(7)));
    }

    #[test]
    fn what_is_missing_is_told_in_rabbitmqs_words() {
        let refused = read(&json!({"routing_key": "k", "payload": "x"})).unwrap_err();
        assert_eq!(refused, ApiError::bad_request("[{key_missing,payload_encoding}]"));
        let wrong = json!({"routing_key": "k", "payload": "x", "payload_encoding": "string",
            "properties": {"expiration": "soon"}});
        assert!(read(&wrong).is_err());
    }
}
