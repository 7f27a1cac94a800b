//! Publishing one message, with the checks that its publisher would meet over AMQP.

use annals_broker::access::Right;
use annals_broker::api::queues::properties::{check_user, expiration_ms, take_keys};
use annals_broker::api::queues::publish::{NewMessage, Publish, Published};
use annals_broker::api::queues::{Message, Text};
use axum::Json;
use axum::extract::Path;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::exchanges::{name_in_path, object};
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
    let messages = vec![read(&given, session.user())?];
    let ticket = session.broker.publish(&session.caller, Publish { vhost, exchange, messages }).await?;
    let is_routed = !ticket.outcomes().iter().any(|outcome| matches!(outcome, Published::Unroutable(_)));
    if ticket.outcomes().iter().any(|outcome| matches!(outcome, Published::Refused)) {
        return Err(ApiError::bad_request("a queue is full and refused the message"));
    }
    ticket.durable().await?;
    Ok(Json(json!({"routed": is_routed})))
}

fn read(given: &Value, user: &str) -> Result<NewMessage, ApiError> {
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
    let mut properties = properties_from_json(&given["properties"])?;
    check_user(properties.user_id.as_ref().map(Text::as_bytes), user)?;
    let expiration = properties.expiration.as_ref().map(Text::as_bytes);
    let ttl_ms = expiration.map(expiration_ms).transpose()?;
    let more_keys = take_keys(&mut properties.headers)?;
    let message = Message {
        routing_key: routing_key.into(),
        body: body.into(),
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        ttl_ms,
        properties: Some(Box::new(properties)),
        ..Message::default()
    };
    Ok(NewMessage { message, more_keys })
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
        let message = read(&given, "guest").unwrap().message;
        assert_eq!((&message.body[..], message.persistent, message.priority), (&b"\xff\0"[..], true, 3));
        assert_eq!(message.ttl_ms, Some(500));
    }

    #[test]
    fn what_is_missing_is_told_in_rabbitmqs_words() {
        let refused = read(&json!({"routing_key": "k", "payload": "x"}), "guest").unwrap_err();
        assert_eq!(refused, ApiError::bad_request("[{key_missing,payload_encoding}]"));
    }

    #[test]
    fn what_amqp_refuses_is_refused() {
        let reason = |properties: Value| {
            let given = json!({"routing_key": "k", "payload": "x", "payload_encoding": "string",
                "properties": properties});
            read(&given, "guest").unwrap_err()
        };
        let refused = |text: &str| ApiError::bad_request(format!("406 PRECONDITION_FAILED - {text}"));
        let soon = "invalid expiration 'soon': no_integer";
        assert_eq!(reason(json!({"expiration": "soon"})), refused(soon));
        let root = "user_id property set to 'root' but authenticated user was 'guest'";
        assert_eq!(reason(json!({"user_id": "root"})), refused(root));
        let keys = "invalid message: {unacceptable_type_in_header,\"BCC\",longstr}";
        assert_eq!(reason(json!({"headers": {"BCC": "k"}})), refused(keys));
    }
}
