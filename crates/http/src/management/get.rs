//! Taking messages from a queue, and settling or returning them at once.

use annals_broker::access::Right;
use annals_broker::api::queues::Message;
use annals_broker::api::queues::consume::{Delivery, Get};
use annals_broker::api::queues::settle::{Lease, Settlement};
use annals_broker::api::queues::{QueueError, Text};
use axum::Json;
use axum::extract::Path;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::error::{ApiError, queue_named};
use super::exchanges::object;
use super::session::Session;
use super::table::properties_to_json;
use crate::body::Payload;

/// The most messages that are taken at once.
const MESSAGES_MAX: usize = 10_000;
/// The most bytes of bodies that are answered.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Writing {
    /// In Base64 always, or only what is no text.
    pub(super) always_base64: bool,
    /// The most bytes of each body.
    pub(super) truncate: usize,
}

/// `POST /api/queues/{vhost}/{name}/get`
pub(crate) async fn get(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    body: Payload,
) -> Result<Json<Value>, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    let wanted = Wanted::read(&object(&body)?)?;
    let queue = session.queue(&vhost, &name);
    let (mut taken, mut bytes, mut remaining) = (Held::new(&session), 0, 0);
    while taken.deliveries.len() < wanted.count && bytes < ANSWER_BYTES_MAX {
        let max = (wanted.count - taken.deliveries.len()).min(100);
        let got = session.broker.get(&session.caller, Get { queue: queue.clone(), no_ack: false, max }).await;
        let got = got.map_err(|error| unknown(error, &name.as_str().into(), &vhost))?;
        remaining = got.remaining;
        if got.deliveries.is_empty() {
            break;
        }
        bytes += got.deliveries.iter().map(|delivery| delivery.message.size()).sum::<usize>();
        taken.deliveries.extend(got.deliveries);
    }
    let count = taken.deliveries.len() as u64;
    let shown = taken.deliveries.iter().zip(1..).map(|(delivery, place)| {
        let mut shown = describe(&delivery.message, wanted.writing);
        shown["redelivered"] = json!(delivery.redelivered);
        shown["message_count"] = json!(remaining + count - place);
        shown
    });
    let shown: Value = shown.collect();
    taken.settle(wanted.settlement).await?;
    Ok(Json(shown))
}

fn unknown(error: QueueError, name: &Text, vhost: &Text) -> ApiError {
    match error {
        QueueError::Unknown { .. } => {
            ApiError::missing(format!("NOT_FOUND - no {}", queue_named(name, vhost)))
        }
        error => error.into(),
    }
}

/// Messages that were taken. Whatever becomes of the request, they are not kept.
struct Held<'a> {
    session: &'a Session,
    deliveries: Vec<Delivery>,
}

impl<'a> Held<'a> {
    fn new(session: &'a Session) -> Self {
        Self { session, deliveries: Vec::new() }
    }

    fn leases(&mut self) -> Vec<Lease> {
        std::mem::take(&mut self.deliveries).into_iter().map(|delivery| delivery.lease).collect()
    }

    async fn settle(mut self, settlement: Settlement) -> Result<(), ApiError> {
        let (session, leases) = (self.session, self.leases());
        let ticket = session.broker.settle(&session.caller, &leases, settlement);
        ticket.durable().await.map_err(|error| ApiError::unavailable(error.to_string()))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let leases = self.leases();
        if !leases.is_empty() {
            drop(self.session.broker.settle(
                &self.session.caller,
                &leases,
                Settlement::Requeue { counts: false },
            ));
        }
    }
}

/// A message in RabbitMQ's fields.
pub(super) fn describe(message: &Message, writing: Writing) -> Value {
    let shown = &message.body[..message.body.len().min(writing.truncate)];
    let text = std::str::from_utf8(shown).ok().filter(|_| !writing.always_base64);
    let (payload, encoding) =
        text.map_or_else(|| (BASE64_STANDARD.encode(shown), "base64"), |text| (text.to_owned(), "string"));
    json!({
        "payload_bytes": message.body.len(),
        "exchange": message.exchange.as_str(),
        "routing_key": message.routing_key.as_str(),
        "properties": properties_to_json(message),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
struct Wanted {
    count: usize,
    settlement: Settlement,
    writing: Writing,
}

impl Wanted {
    fn read(given: &Value) -> Result<Self, ApiError> {
        let missing: Vec<String> = ["ackmode", "count", "encoding"]
            .into_iter()
            .filter(|name| given[name].is_null())
            .map(|name| format!("{{key_missing,{name}}}"))
            .collect();
        if !missing.is_empty() {
            return Err(ApiError::bad_request(format!("[{}]", missing.join(","))));
        }
        let number = |name: &'static str| {
            let value = &given[name];
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            number.ok_or_else(|| ApiError::bad_request(json!(["not_int", name])))
        };
        let settlement = match given["ackmode"].as_str() {
            Some("ack_requeue_true" | "reject_requeue_true") => Settlement::Requeue { counts: true },
            Some("ack_requeue_false") => Settlement::Accept,
            Some("reject_requeue_false") => Settlement::Reject,
            _ => return Err(ApiError::bad_request("unknown ackmode")),
        };
        let always_base64 = match given["encoding"].as_str() {
            Some("auto") => false,
            Some("base64") => true,
            _ => return Err(ApiError::bad_request("unknown encoding")),
        };
        let truncate = if given["truncate"].is_null() { u64::MAX } else { number("truncate")? };
        let truncate = usize::try_from(truncate).unwrap_or(usize::MAX);
        let count = usize::try_from(number("count")?).unwrap_or(usize::MAX).min(MESSAGES_MAX);
        Ok(Self { count, settlement, writing: Writing { always_base64, truncate } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read() {
        let given =
            json!({"count": "2", "ackmode": "reject_requeue_false", "encoding": "base64", "truncate": 3});
        let expected = Wanted {
            count: 2,
            settlement: Settlement::Reject,
            writing: Writing { always_base64: true, truncate: 3 },
        };
        assert_eq!(Wanted::read(&given), Ok(expected));
        let refused = Wanted::read(&json!({"count": 1})).unwrap_err();
        assert_eq!(refused, ApiError::bad_request("[{key_missing,ackmode},{key_missing,encoding}]"));
        assert!(
            Wanted::read(&json!({"count": -1, "ackmode": "ack_requeue_true", "encoding": "auto"})).is_err()
        );
    }

    #[test]
    fn bodies_that_are_no_text_are_written_in_base64() {
        let shown = |body: &'static [u8], truncate| {
            let message = Message { body: body.into(), ..Message::default() };
            let shown = describe(&message, Writing { always_base64: false, truncate });
            (shown["payload"].as_str().unwrap().to_owned(), shown["payload_bytes"].as_u64().unwrap())
        };
        assert_eq!(shown(b"hello", 4), ("hell".to_owned(), 5));
        assert_eq!(shown(b"\xff\0", 9), ("/wA=".to_owned(), 2));
    }
}
