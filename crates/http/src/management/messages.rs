//! Looking at messages without taking them.

use annals_broker::access::Right;
use annals_broker::api::queues::admin::Peek;
use axum::Json;
use axum::extract::{Path, RawQuery};
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
    let number =
        |name: &'static str, otherwise: usize| match parameter(query.as_deref().unwrap_or_default(), name) {
            None => Ok(otherwise),
            Some(given) => given.parse().map_err(|_| ApiError::bad_request(json!(["not_int", name]))),
        };
    let request = Peek {
        queue: session.queue(&vhost, &name),
        from: number("from", 0)? as u64,
        max: number("count", COUNT)?.min(COUNT_MAX),
    };
    let writing = Writing { always_base64: false, truncate: number("truncate", usize::MAX)? };
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
