//! What a persistent subscription has put aside.

use annals_broker::api::stores::Position;
use annals_event::Time;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Problem;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::family::Family;
use crate::input::{object, require_json};
use crate::query::Params;
use crate::segments::Segments;

/// Events of one answer at most.
const LIMIT_MAX: usize = 10_000;
/// Events of one answer, unless asked for otherwise.
const LIMIT_DEFAULT: usize = 1000;

#[derive(OpenApi)]
#[openapi(paths(list, replay, discard))]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/subscriptions/{name}/parked", list)
        .post("/stores/{store}/subscriptions/{name}/parked/replay", replay)
        .post("/stores/{store}/subscriptions/{name}/parked/discard", discard)
}

/// Events that were put aside.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ParkedPage {
    parked: Vec<Parked>,
    /// `from` of the next request; null if there are no more.
    next: Option<u64>,
}

/// An event that was put aside.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parked {
    /// Where it is in the store.
    position: u64,
    /// Why it was put aside.
    reason: String,
    /// How often it was given.
    deliveries: u32,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
}

/// Which of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhichBody {
    /// Their positions. Without it: all.
    #[serde(default)]
    positions: Option<Vec<u64>>,
}

/// How many events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Count {
    count: usize,
}

/// The events that a persistent subscription has put aside.
#[utoipa::path(get, path = "/stores/{store}/subscriptions/{name}/parked", tag = "subscriptions",
    params(
        ("store" = String, Path, description = "The store"),
        ("name" = String, Path, description = "The subscription"),
        ("from" = Option<u64>, Query, description = "Begin at this position"),
        ("limit" = Option<usize>, Query, description = "At most so many, 1 to 10,000. Default 1,000"),
    ),
    responses(
        (status = 200, description = "A page of them", body = ParkedPage),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, name)): Segments<(String, String)>,
    mut params: Params,
) -> Result<Json<ParkedPage>, Problem> {
    let from = Position(params.number("from")?.unwrap_or(0));
    let limit = params.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    params.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("limit must be from 1 to {LIMIT_MAX}")));
    }
    let found = app.broker()?.parked_events(&caller, (&store.into(), &name.into()), from, limit).await?;
    let next = if found.len() < limit { None } else { found.last().map(|last| last.position.0 + 1) };
    let parked = found.into_iter().map(|event| Parked {
        position: event.position.0,
        reason: event.reason.to_string(),
        deliveries: event.deliveries,
        since: Time::from_unix_ms(event.since_ms).to_string(),
    });
    Ok(Json(ParkedPage { parked: parked.collect(), next }))
}

/// Gives events again that were put aside. Durable when answered.
#[utoipa::path(post, path = "/stores/{store}/subscriptions/{name}/parked/replay", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = WhichBody,
    responses(
        (status = 200, description = "How many", body = Count),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn replay(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Count>, Problem> {
    params.finish()?;
    let positions = which(&headers, &payload)?;
    let broker = app.broker()?;
    let count = broker.replay_parked(&caller, (&store.into(), &name.into()), positions.as_deref()).await?;
    Ok(Json(Count { count }))
}

/// Forgets events that were put aside. Durable when answered.
#[utoipa::path(post, path = "/stores/{store}/subscriptions/{name}/parked/discard", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = WhichBody,
    responses(
        (status = 200, description = "How many", body = Count),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn discard(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Count>, Problem> {
    params.finish()?;
    let positions = which(&headers, &payload)?;
    let broker = app.broker()?;
    let count = broker.discard_parked(&caller, (&store.into(), &name.into()), positions.as_deref()).await?;
    Ok(Json(Count { count }))
}

fn which(headers: &HeaderMap, payload: &Payload) -> Result<Option<Vec<Position>>, Problem> {
    require_json(headers)?;
    let body: WhichBody = object(&payload.bytes)?;
    Ok(body.positions.map(|positions| positions.into_iter().map(Position).collect()))
}
