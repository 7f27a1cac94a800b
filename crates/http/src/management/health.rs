//! Checks for those who watch.

use annals_broker::access::Right;
use annals_broker::api::queues::consume::Get;
use annals_broker::api::queues::publish::{NewMessage, Publish};
use annals_broker::api::queues::topology::DeclareQueue;
use annals_broker::api::queues::{Headers, Message, QueueOptions, Text};
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::NODE;
use super::error::ApiError;
use super::queues::declare_queue;
use super::session::{NOBODY, Session};

fn good() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

fn failed(body: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// `GET /api/health/checks/alarms` and `…/local-alarms`: whether publishing has to wait for something.
pub(crate) async fn alarms(session: Session) -> Response {
    if !session.broker.is_disk_full() {
        return good();
    }
    failed(json!({
        "status": "failed",
        "reason": "There are alarms in effect in the cluster",
        "alarms": [{"node": NODE, "resource": "disk"}],
    }))
}

/// `GET /api/health/checks/virtual-hosts`: whether they can be used.
pub(crate) async fn virtual_hosts(session: Session) -> Response {
    match session.broker.stopped() {
        None => good(),
        Some(reason) => {
            failed(json!({"status": "failed", "reason": reason, "virtual-hosts": session.vhosts().len()}))
        }
    }
}

/// `GET /api/health/checks/node-is-quorum-critical`: there is one copy of everything, so nobody depends on this one.
pub(crate) async fn quorum(_: Session) -> Json<Value> {
    Json(json!({"status": "ok", "reason": "single node cluster"}))
}

/// `GET /api/aliveness-test/{vhost}`: publishes a message and gets it back.
pub(crate) async fn aliveness(session: Session, Path(vhost): Path<String>) -> Result<Json<Value>, ApiError> {
    const QUEUE: Text = Text::from_static("aliveness-test");
    let vhost = session.enter(&vhost)?;
    for right in [Right::Configure, Right::Read] {
        session.check(right, &vhost, &QUEUE)?;
    }
    let declare = DeclareQueue {
        vhost: vhost.clone(),
        name: QUEUE,
        owner: NOBODY,
        durable: false,
        exclusive: false,
        auto_delete: false,
        options: QueueOptions::default(),
        arguments: Headers::new(),
    };
    declare_queue(&session, declare).await?;
    let message = Message { routing_key: QUEUE, body: "test_message".into(), ..Message::default() };
    let messages = vec![NewMessage { message, more_keys: Vec::new() }];
    let publish = Publish { vhost: vhost.clone(), exchange: Text::empty(), messages };
    session.broker.publish(&session.caller, publish).await?.durable().await?;
    let get = Get { queue: session.queue(&vhost, "aliveness-test"), no_ack: true, max: 1 };
    let got = session.broker.get(&session.caller, get).await?;
    match got.deliveries.is_empty() {
        false => Ok(Json(json!({"status": "ok"}))),
        true => Err(ApiError::unavailable("a message that was published is not there")),
    }
}
