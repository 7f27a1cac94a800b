//! Moving messages: started here, made by the broker, which goes on by itself, also after a restart.

use annals_broker::access::Right;
use annals_broker::api::queues::Text;
use annals_broker::api::queues::admin::{Move, MoveError, MoveId, MovePreview, MoveProgress, MoveState};
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::{ApiError, queue_named};
use super::exchanges::{find, name_in_path, object};
use super::session::Session;
use super::table::truth;
use crate::body::Payload;

/// `POST /api/queues/{vhost}/{name}/moves` `{"exchange"?, "routing_key"?, "max"?, "rate"?, "dry_run"?}`. Without an exchange, each
/// dead letter goes back to the queue in which it died last.
pub(crate) async fn start(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    body: Payload,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    let given = object(&body)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    let request = Move {
        source: session.queue(&vhost, &name),
        target: target(&session, &vhost, &given)?,
        max: number(&given, "max")?,
        rate: number(&given, "rate")?.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
    };
    let unknown = |_| ApiError::missing(format!("no {}", queue_named(&name.as_str().into(), &vhost)));
    session.broker.queue_info(&session.caller, &request.source).map_err(unknown)?;
    if truth(&given, "dry_run", false)? {
        let preview = session.broker.preview_move(&session.caller, request).await?;
        return Ok(Json(describe_preview(&preview)).into_response());
    }
    let id = session.broker.start_move(&session.caller, request).await?;
    let progress = session.broker.move_progress(&session.caller, id).ok_or_else(ApiError::not_found)?;
    Ok((StatusCode::CREATED, Json(describe(&progress))).into_response())
}

/// Where messages go, if that is one place. To go back where it died, a message is published to the default exchange.
fn target(session: &Session, vhost: &Text, given: &Value) -> Result<Option<(Text, Text)>, ApiError> {
    let text = |name: &'static str| match &given[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.len() <= 255 => Ok(Some(text.as_str())),
        _ => Err(ApiError::bad_request(json!(["not_string", name]))),
    };
    let Some(exchange) = text("exchange")?.map(name_in_path) else {
        session.check(Right::Write, vhost, &Text::empty())?;
        return Ok(None);
    };
    find(session, vhost, &exchange)?;
    session.check(Right::Write, vhost, &exchange)?;
    let routing_key =
        text("routing_key")?.ok_or_else(|| ApiError::bad_request("[{key_missing,routing_key}]"))?;
    Ok(Some((exchange, routing_key.into())))
}

fn number(given: &Value, name: &'static str) -> Result<Option<u64>, ApiError> {
    match &given[name] {
        Value::Null => Ok(None),
        value => match value.as_u64().filter(|number| *number > 0) {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::bad_request(json!(["not_int", name]))),
        },
    }
}

/// `GET /api/moves`
pub(crate) async fn list(session: Session) -> Json<Value> {
    let vhosts = session.vhosts();
    let mut moves = session.broker.moves(&session.caller, None);
    moves.retain(|progress| vhosts.contains(&progress.vhost));
    Json(moves.iter().map(describe).collect())
}

/// `GET /api/moves/{id}`
pub(crate) async fn show(session: Session, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(describe(&known(&session, &id)?)))
}

/// `DELETE /api/moves/{id}`: ends it. What was moved stays moved.
pub(crate) async fn cancel(session: Session, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let progress = known(&session, &id)?;
    session.check(Right::Read, &progress.vhost, &progress.source)?;
    Ok(Json(describe(&session.broker.cancel_move(&session.caller, progress.id).await?)))
}

/// `POST /api/moves/{id}/resume`: goes on with one that stopped at a message that no queue would get.
pub(crate) async fn resume(session: Session, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let progress = known(&session, &id)?;
    session.check(Right::Read, &progress.vhost, &progress.source)?;
    Ok(Json(describe(&session.broker.resume_move(&session.caller, progress.id).await?)))
}

fn known(session: &Session, id: &str) -> Result<MoveProgress, ApiError> {
    let id: MoveId = id.parse().map_err(|_| ApiError::not_found())?;
    let progress = session.broker.move_progress(&session.caller, id).ok_or_else(ApiError::not_found)?;
    session.enter(&progress.vhost.as_str())?;
    Ok(progress)
}

fn describe(progress: &MoveProgress) -> Value {
    let movement = &progress.movement;
    let mut described = json!({
        "id": progress.id.to_string(),
        "vhost": progress.vhost.as_str(),
        "source": progress.source.as_str(),
        "wanted": movement.wanted,
        "moved": movement.moved,
        "rate": movement.rate,
        "started_ms": movement.started_ms,
    });
    let state = match &movement.state {
        MoveState::Running => "running",
        MoveState::Finished => "finished",
        MoveState::Cancelled => "cancelled",
        MoveState::Unroutable { exchange, routing_key } => {
            described["exchange"] = json!(exchange.as_str());
            described["routing_key"] = json!(routing_key.as_str());
            "unroutable"
        }
    };
    described["state"] = json!(state);
    described
}

fn describe_preview(preview: &MovePreview) -> Value {
    let targets: Vec<Value> = preview
        .targets
        .iter()
        .map(|(queue, count)| json!({"queue": queue.as_str(), "messages": count}))
        .collect();
    json!({"messages": preview.messages, "targets": targets, "unroutable": preview.unroutable})
}

impl From<MoveError> for ApiError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Queue(error) => error.into(),
            MoveError::Unknown(_) => Self::not_found(),
            MoveError::Cancelled { .. } | MoveError::Unroutable { .. } => {
                Self::bad_request(error.to_string())
            }
        }
    }
}
