//! Looking at messages without taking them, and at those that are not due yet, which can be taken back.

use std::str::FromStr;

use annals_broker::access::Right;
use annals_broker::api::queues::admin::Peek;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiError;
use super::get::{Writing, describe};
use super::list::parameter;
use super::session::Session;

/// Messages that are shown, unless the request says otherwise.
const COUNT: usize = 10;
/// The most that are shown at once.
const COUNT_MAX: usize = 1000;

/// `GET /api/queues/{vhost}/{name}/messages?from=SEQUENCE&count=N&truncate=BYTES`: nothing is taken, whoever holds it.
pub(crate) async fn peek(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    let request = Peek {
        queue: session.queue(&vhost, &name),
        from: number(&query, "from", 0)?,
        max: number(&query, "count", COUNT)?.min(COUNT_MAX),
    };
    let writing = Writing { always_base64: false, truncate: number(&query, "truncate", usize::MAX)? };
    let found = session.broker.peek(&session.caller, request).await?;
    let shown = found.iter().map(|peeked| {
        let mut shown = describe(&peeked.message, writing);
        shown["sequence"] = json!(peeked.sequence);
        shown["leased"] = json!(peeked.leased);
        shown["published_ms"] = json!(peeked.message.published_ms);
        shown
    });
    Ok(Json(shown.collect()))
}

/// `GET /api/queues/{vhost}/{name}/scheduled?from_ms=MS&count=N&truncate=BYTES`: messages that are due from then on, the earliest
/// first. Only persistent ones have a sequence, by which they can be taken back.
pub(crate) async fn scheduled(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    let (from_ms, max) = (number(&query, "from_ms", 0)?, number(&query, "count", COUNT)?.min(COUNT_MAX));
    let writing = Writing { always_base64: false, truncate: number(&query, "truncate", usize::MAX)? };
    let queue = session.queue(&vhost, &name);
    let found = session.broker.scheduled(&session.caller, &queue, from_ms, max).await?;
    let shown = found.iter().map(|scheduled| {
        let mut shown = describe(&scheduled.message, writing);
        shown["sequence"] = json!(scheduled.persistent.then_some(scheduled.sequence));
        shown["due_ms"] = json!(scheduled.due_ms);
        shown["published_ms"] = json!(scheduled.message.published_ms);
        shown
    });
    Ok(Json(shown.collect()))
}

/// `DELETE /api/queues/{vhost}/{name}/scheduled/{sequence}`: as with a purge, who may read it may take it away.
pub(crate) async fn cancel(
    session: Session,
    Path((vhost, name, sequence)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    let sequence = sequence.parse().map_err(|_| ApiError::bad_request(json!(["not_int", "sequence"])))?;
    let queue = session.queue(&vhost, &name);
    match session.broker.cancel_scheduled(&session.caller, &queue, sequence).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found()),
    }
}

fn number<T: FromStr>(query: &Option<String>, name: &'static str, otherwise: T) -> Result<T, ApiError> {
    match parameter(query.as_deref().unwrap_or_default(), name) {
        None => Ok(otherwise),
        Some(given) => given.parse().map_err(|_| ApiError::bad_request(json!(["not_int", name]))),
    }
}
