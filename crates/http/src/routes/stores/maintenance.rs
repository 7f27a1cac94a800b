//! Where a store ends, and what operators do with it: scavenge, rebuild the index, forget a person.

use std::sync::Arc;

use annals_broker::api::stores::{Delivery, Place, Position, Selection, SubscribeEvents};
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::read;
use super::subscriptions::wait;
use crate::Problem;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::family::Family;
use crate::input::{object, require_json};
use crate::query::Params;
use crate::segments::Segments;

#[derive(OpenApi)]
#[openapi(paths(head, scavenge, rebuild_index, shred))]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/head", head)
        .post("/stores/{store}/scavenge", scavenge)
        .post("/stores/{store}/rebuild-index", rebuild_index)
        .post("/stores/{store}/shred", shred)
}

/// Where a store ends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Head {
    /// The position of the last event; null if there is none.
    position: Option<u64>,
    /// The position that the next event gets.
    end: u64,
}

/// What a scavenge gave back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scavenged {
    /// Bytes of the store's log before.
    bytes_before: u64,
    /// Bytes of the store's log after.
    bytes_after: u64,
}

/// Whose key to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShredBody {
    /// The subject that events were encrypted for.
    subject: String,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shredded {
    /// Whether there was a key.
    existed: bool,
}

/// The position of the last event. With `wait_ms`, waits until there is one behind `beyond`, or the time is up.
#[utoipa::path(get, path = "/stores/{store}/head", tag = "read",
    params(
        ("store" = String, Path, description = "The store"),
        ("beyond" = Option<u64>, Query, description = "Wait for an event behind this position; without it, for any event"),
        ("wait_ms" = Option<u64>, Query, description = "How long to wait, 0 (the default) to 60,000"),
    ),
    responses(
        (status = 200, description = "Where the store ends now", body = Head),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn head(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    mut params: Params,
) -> Result<Json<Head>, Problem> {
    let beyond = params.number("beyond")?.map(Position);
    let wait = wait("wait_ms", params.number("wait_ms")?.unwrap_or(0))?;
    params.finish()?;
    let mut end = read::head(&app, &asker, &store).await?;
    let is_there = |end: Position| beyond.map_or(end.0 > 0, |beyond| end.0 > beyond.0.saturating_add(1));
    if !wait.is_zero() && !is_there(end) {
        let coming = coming(&app, &asker, &store, beyond);
        tokio::select! {
            come = tokio::time::timeout(wait, coming) => come.unwrap_or(Ok(()))?,
            () = app.stopped() => {}
        }
        end = read::head(&app, &asker, &store).await?;
    }
    Ok(Json(Head { position: end.0.checked_sub(1), end: end.0 }))
}

/// Waits for an event behind a position.
async fn coming(app: &App, asker: &Asker, store: &str, beyond: Option<Position>) -> Result<(), Problem> {
    let (store, after) = (store.into(), beyond.map(Place::Position));
    let request = SubscribeEvents { store, selection: Selection::All, after, with_system: true };
    let mut subscription = app.broker()?.subscribe_events(&asker.0, request).await?;
    while !matches!(subscription.next().await?, Delivery::Events(_)) {}
    Ok(())
}

/// That a request without a body did not come from a web page of another site, which a browser would not ask about first.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(ORIGIN) && !headers.contains_key(CONTENT_TYPE) {
        return require_json(headers);
    }
    Ok(())
}

/// Removes events for good that readers are not shown any more: of deleted streams, and beyond what streams keep.
#[utoipa::path(post, path = "/stores/{store}/scavenge", tag = "stores",
    params(("store" = String, Path, description = "The store")),
    responses(
        (status = 200, description = "What it gave back", body = Scavenged),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be done now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn scavenge(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Json<Scavenged>, Problem> {
    params.finish()?;
    check_origin(&headers)?;
    let done = app.broker()?.scavenge_store(&caller, &store.into()).await?;
    Ok(Json(Scavenged { bytes_before: done.bytes_before, bytes_after: done.bytes_after }))
}

/// Builds the index of a store again from its log, while the store goes on.
#[utoipa::path(post, path = "/stores/{store}/rebuild-index", tag = "stores",
    params(("store" = String, Path, description = "The store")),
    responses(
        (status = 204, description = "It is built"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be done now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn rebuild_index(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    check_origin(&headers)?;
    app.broker()?.rebuild_store_index(&caller, &store.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the key of a subject: what was encrypted with it is unreadable from then on, everywhere and for good.
#[utoipa::path(post, path = "/stores/{store}/shred", tag = "stores",
    params(("store" = String, Path, description = "The store")),
    request_body = ShredBody,
    responses(
        (status = 200, description = "There is no key any more, also not on the disk", body = Shredded),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The key is not deleted; or it is (`key-on-disk`), but its bytes may still be on the disk: `detail` says what \
            stands in the way. Try again", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn shred(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Shredded>, Problem> {
    params.finish()?;
    require_json(&headers)?;
    let body: ShredBody = object(&payload.bytes)?;
    let store: Arc<str> = store.into();
    let existed = app.broker()?.shred_subject(&caller, &store, &body.subject).await?;
    Ok(Json(Shredded { existed }))
}
