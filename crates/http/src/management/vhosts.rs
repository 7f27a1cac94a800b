//! Virtual hosts.

use annals_broker::api::queues::Text;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::NODE;
use super::error::ApiError;
use super::list::Shape;
use super::session::Session;
use super::stats::{Totals, message_stats};

/// `GET /api/vhosts`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    let vhosts = session.vhosts();
    shape.list(vhosts.iter().map(|vhost| describe(&session, vhost)).collect())
}

/// `GET /api/vhosts/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&name)?;
    Ok(shape.item(&describe(&session, &vhost)))
}

fn describe(session: &Session, vhost: &Text) -> Value {
    let queues = session.broker.queues(&session.caller, Some(vhost));
    let mut described = json!({
        "name": vhost.as_str(),
        "description": "",
        "tags": [],
        "default_queue_type": "classic",
        "metadata": {"description": "", "tags": []},
        "tracing": false,
        "cluster_state": {NODE: "running"},
        "message_stats": message_stats(queues.iter().map(|queue| &queue.counters)),
    });
    Totals::of(&queues).put(&mut described);
    session.rated(&["vhost", &vhost.as_str()], described)
}

/// `PUT /api/vhosts/{name}`
pub(crate) async fn create(session: Session, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    session.administrator()?;
    let is_new = session.broker.create_vhost(&session.caller, name.into()).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// `DELETE /api/vhosts/{name}`
pub(crate) async fn remove(session: Session, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    session.administrator()?;
    session.broker.delete_vhost(&session.caller, name.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
