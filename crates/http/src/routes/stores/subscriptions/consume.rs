//! Consuming a persistent subscription: fetch, acknowledge, give back.

use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::stores::Position;
use annals_broker::api::subscriptions::{Delivered, Nack, SubscriptionError};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::app::{App, Asker};
use crate::body::Payload;
use crate::event::outgoing;
use crate::family::Family;
use crate::input::{object, require_json};
use crate::problem::Kind;
use crate::query::{Params, excerpt};
use crate::routes::WAIT_MAX;
use crate::segments::Segments;
use crate::sessions::{InUse, Key};
use crate::{Problem, answer};

/// Events of one fetch at most.
const LIMIT_MAX: usize = 1000;
/// Events of one fetch, unless asked for otherwise.
const LIMIT_DEFAULT: usize = 10;
/// Bytes of a session's name.
const NAME_BYTES_MAX: usize = 100;

#[derive(OpenApi)]
#[openapi(paths(fetch, ack, nack, end), components(schemas(Fetched)))]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .post("/stores/{store}/subscriptions/{name}/fetch", fetch)
        .post("/stores/{store}/subscriptions/{name}/ack", ack)
        .post("/stores/{store}/subscriptions/{name}/nack", nack)
        .delete("/stores/{store}/subscriptions/{name}/consumers/{consumer}", end)
}

/// What to fetch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchBody {
    /// The session. Without it, or if it is not there, one is begun.
    #[serde(default)]
    consumer: Option<String>,
    /// At most so many events, 1 to 1,000. Default 10.
    #[serde(default)]
    limit: Option<usize>,
    /// How long to wait for events, in milliseconds, 0 to 60,000. Default 0.
    #[serde(default)]
    wait_ms: Option<u64>,
}

/// Events that are given. Described here; it is written by hand.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Fetched {
    /// The session, to be named from now on.
    consumer: String,
    /// The events. Each must be acknowledged in time, or is given again.
    events: Vec<FetchedEvent>,
}

/// An event that is given.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct FetchedEvent {
    /// How often it was given, this time included.
    delivery: u32,
    event: crate::routes::stores::read::Event,
}

/// Events that are handled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckBody {
    /// The session that they were given to.
    consumer: String,
    /// Their positions.
    positions: Vec<u64>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acknowledged {
    /// How many are done with.
    acknowledged: usize,
    /// Those whose time had passed: they are given again.
    not_leased: Vec<u64>,
}

/// What to do with events that could not be handled.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Put them aside.
    Park,
    /// Give them again.
    Retry,
    /// Do not give them again.
    Skip,
}

/// Events that could not be handled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NackBody {
    /// The session that they were given to.
    consumer: String,
    /// Their positions.
    positions: Vec<u64>,
    action: Action,
    /// Why they are parked.
    #[serde(default)]
    reason: Option<String>,
    /// After how many milliseconds to give them again. Default 0.
    #[serde(default)]
    delay_ms: Option<u64>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Settled {
    /// How many are dealt with.
    settled: usize,
    /// Those whose time had passed: they are given again.
    not_leased: Vec<u64>,
}

/// Gives events to a consumer, and waits for some if there are none. A session that is not used for a minute, or for the
/// subscription's time to acknowledge if that is longer, ends: what it holds is given to others.
#[utoipa::path(post, path = "/stores/{store}/subscriptions/{name}/fetch", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = FetchBody,
    responses(
        (status = 200, description = "Events, or none if the time is up", body = Fetched),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "There are too many sessions", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The events cannot be read now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn fetch(
    State(app): State<App>,
    asker: Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    params.finish()?;
    require_json(&headers)?;
    let body: FetchBody = object(&payload.bytes)?;
    let limit = body.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("limit must be from 1 to {LIMIT_MAX}")));
    }
    let wait = wait("wait_ms", body.wait_ms.unwrap_or(0))?;
    let consumer = body.consumer.map_or_else(|| Ok(app.clock().uuid_v4().to_string()), checked_name)?;
    let key: Key = (store.into(), name.into(), consumer.into());
    let session = session(&app, &asker, &key).await?;
    match next(&app, &session, limit, wait).await {
        // The subscription was deleted; maybe there is one of its name again.
        Err(SubscriptionError::UnknownSubscription { .. } | SubscriptionError::UnknownStore(_)) => {
            app.sessions().discard(&key, &session);
            drop(session);
            let session = self::session(&app, &asker, &key).await?;
            Ok(fetched(&key.2, &next(&app, &session, limit, wait).await?))
        }
        done => Ok(fetched(&key.2, &done?)),
    }
}

/// How long to wait, if that is not too long.
pub(crate) fn wait(field: &str, wait_ms: u64) -> Result<Duration, Problem> {
    let wait = Duration::from_millis(wait_ms);
    if wait <= WAIT_MAX {
        return Ok(wait);
    }
    Err(Problem::invalid(field, format!("{field} must be from 0 to {}", WAIT_MAX.as_millis())))
}

fn checked_name(name: String) -> Result<String, Problem> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine) {
        return Ok(name);
    }
    let detail = format!(
        "consumer has 1 to {NAME_BYTES_MAX} characters of a-z A-Z 0-9 - _ ., and is {:?}",
        excerpt(&name)
    );
    Err(Problem::invalid("consumer", detail))
}

/// The session, which is begun if it is not there.
async fn session(app: &App, asker: &Asker, key: &Key) -> Result<InUse, Problem> {
    if let Some(session) = app.sessions().get(key) {
        return Ok(session);
    }
    let found = super::find(app, asker, &key.0, &key.1).await?;
    let consumer = app.broker()?.consume_subscription(&asker.0, &key.0, &key.1).await?;
    let idle = Duration::from_millis(found.options.ack_timeout_ms);
    let kept = app.sessions().keep(key.clone(), consumer, idle);
    let full =
        || Problem::of(Kind::TooManyRequests, "there are too many consumers of subscriptions").retry_after(5);
    kept.ok_or_else(full)
}

/// Waits for events, but gives what is there in any case. If the client goes away meanwhile, what was given comes again when its
/// time has passed.
async fn next(
    app: &App,
    session: &InUse,
    limit: usize,
    wait: Duration,
) -> Result<Vec<Delivered>, SubscriptionError> {
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.stopped() => {}
        }
    };
    let mut over = std::pin::pin!(over);
    let _turn = tokio::select! {
        biased;
        turn = session.turn() => turn,
        () = &mut over => return Ok(Vec::new()),
    };
    session.consumer().next_or(limit, over).await
}

fn fetched(consumer: &str, events: &[Delivered]) -> Response {
    let bytes: usize = events.iter().map(|delivered| delivered.event.size_bytes() + 128).sum();
    let mut body = Vec::with_capacity(64 + bytes);
    body.extend_from_slice(b"{\"consumer\":");
    outgoing::text(&mut body, consumer);
    body.extend_from_slice(b",\"events\":[");
    for (index, delivered) in events.iter().enumerate() {
        body.extend_from_slice(if index == 0 { b"{\"delivery\":" } else { b",{\"delivery\":" });
        outgoing::number(&mut body, delivered.delivery.into());
        body.extend_from_slice(b",\"event\":");
        outgoing::write(&mut body, &delivered.event);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    answer::json(StatusCode::OK, body)
}

/// A session that must be there.
fn existing(app: &App, store: String, name: String, consumer: &str) -> Result<InUse, Problem> {
    let key: Key = (store.into(), name.into(), consumer.into());
    let gone = || {
        let detail =
            format!("there is no session {consumer:?}: it has ended, and what it held is given to others");
        Problem::of(Kind::UnknownConsumer, detail).with("consumer", consumer)
    };
    app.sessions().get(&key).ok_or_else(gone)
}

/// Says that events are handled. This becomes durable within half a second: after a crash they may be given once more.
#[utoipa::path(post, path = "/stores/{store}/subscriptions/{name}/ack", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = AckBody,
    responses(
        (status = 200, description = "What became of it", body = Acknowledged),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The session has ended", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn ack(
    State(app): State<App>,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Acknowledged>, Problem> {
    params.finish()?;
    require_json(&headers)?;
    app.broker()?;
    let body: AckBody = object(&payload.bytes)?;
    let session = existing(&app, store, name, &body.consumer)?;
    let (done, not_leased): (Vec<u64>, Vec<u64>) =
        body.positions.iter().partition(|position| session.consumer().ack(&[Position(**position)]).is_ok());
    Ok(Json(Acknowledged { acknowledged: done.len(), not_leased }))
}

/// Says that events could not be handled, and what to do with them.
#[utoipa::path(post, path = "/stores/{store}/subscriptions/{name}/nack", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = NackBody,
    responses(
        (status = 200, description = "What became of it", body = Settled),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The session has ended", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn nack(
    State(app): State<App>,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Settled>, Problem> {
    params.finish()?;
    require_json(&headers)?;
    app.broker()?;
    let body: NackBody = object(&payload.bytes)?;
    let nack = body.action()?;
    let session = existing(&app, store, name, &body.consumer)?;
    let (done, not_leased): (Vec<u64>, Vec<u64>) = body
        .positions
        .iter()
        .partition(|position| session.consumer().nack(Position(**position), &nack).is_ok());
    Ok(Json(Settled { settled: done.len(), not_leased }))
}

impl NackBody {
    fn action(&self) -> Result<Nack, Problem> {
        let only = |field: &str, action: &str| {
            Err(Problem::invalid(field, format!("{field} is for the action {action}")))
        };
        match (self.action, &self.reason, self.delay_ms) {
            (Action::Park, reason, None) => Ok(Nack::Park { reason: reason.clone().unwrap_or_default() }),
            (Action::Retry, None, delay_ms) => Ok(Nack::Retry { after_ms: delay_ms.unwrap_or(0) }),
            (Action::Skip, None, None) => Ok(Nack::Skip),
            (Action::Retry | Action::Skip, Some(_), _) => only("reason", "park"),
            (Action::Park | Action::Skip, _, Some(_)) => only("delay_ms", "retry"),
        }
    }
}

/// Ends a session at once: what it holds is given to others.
#[utoipa::path(delete, path = "/stores/{store}/subscriptions/{name}/consumers/{consumer}", tag = "subscriptions",
    params(
        ("store" = String, Path, description = "The store"),
        ("name" = String, Path, description = "The subscription"),
        ("consumer" = String, Path, description = "The session"),
    ),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "There is no such session", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn end(
    State(app): State<App>,
    Segments((store, name, consumer)): Segments<(String, String, String)>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    let session = existing(&app, store.clone(), name.clone(), &consumer)?;
    let shared = |text: String| -> Arc<str> { text.into() };
    app.sessions().end(&(shared(store), shared(name), shared(consumer)));
    drop(session);
    Ok(StatusCode::NO_CONTENT)
}
