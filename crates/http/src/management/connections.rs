//! Connections of clients.

use annals_broker::api::connections::{Connection, ConnectionInfo};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::NODE;
use super::error::ApiError;
use super::list::Shape;
use super::rates::no_rate;
use super::session::Session;
use super::table::to_json;

/// What a client is told that an operator sends away without another reason.
const REASON: &str = "Closed via management plugin";

/// `GET /api/connections`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    let connections = visible(&session).await;
    shape.list(connections.iter().map(|one| describe(&session, one)).collect())
}

/// `GET /api/vhosts/{name}/connections`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    let connections = visible(&session).await;
    shape.list(
        connections.iter().filter(|one| one.info.vhost == vhost).map(|one| describe(&session, one)).collect(),
    )
}

/// The connections that the user may see: all, or the user's own.
pub(super) async fn visible(session: &Session) -> Vec<Connection> {
    let mut connections = session.broker.connections(&session.caller).await;
    connections.retain(|connection| may_see(session, &connection.info));
    connections
}

fn may_see(session: &Session, info: &ConnectionInfo) -> bool {
    session.is_administrator || info.user == session.user()
}

/// `GET /api/connections/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let connections = visible(&session).await;
    let found = connections.iter().find(|connection| connection.info.name() == name);
    Ok(shape.item(&describe(&session, found.ok_or_else(ApiError::not_found)?)))
}

fn describe(session: &Session, connection: &Connection) -> Value {
    let info = &connection.info;
    let report = connection.report.clone().unwrap_or_default();
    let described = json!({
        "name": info.name(),
        "user_provided_name": info.client_name(),
        "node": NODE,
        "type": "network",
        "protocol": info.protocol,
        "state": if report.is_blocked { "blocked" } else { "running" },
        "user": info.user,
        "user_who_performed_action": info.user,
        "vhost": info.vhost.as_str(),
        "auth_mechanism": info.mechanism,
        "client_properties": to_json(&info.client_properties),
        "connected_at": info.connected_ms,
        "host": info.local.ip().to_string(),
        "port": info.local.port(),
        "peer_host": info.peer.ip().to_string(),
        "peer_port": info.peer.port(),
        "channels": report.channels.len(),
        "channel_max": info.channel_max,
        "frame_max": info.frame_bytes_max,
        "timeout": info.heartbeat_s,
        "recv_oct": report.received_bytes,
        "recv_oct_details": no_rate(),
        "send_oct": report.sent_bytes,
        "send_oct_details": no_rate(),
        "send_pend": 0,
        "ssl": false,
        "ssl_protocol": null,
        "ssl_key_exchange": null,
        "ssl_cipher": null,
        "ssl_hash": null,
        "peer_cert_subject": null,
        "peer_cert_issuer": null,
        "peer_cert_validity": null,
    });
    session.rated(&["connection", &info.name()], described)
}

/// `DELETE /api/connections/{name}`: the header `X-Reason` says what its client is told.
pub(crate) async fn close(
    session: Session,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let infos = session.broker.connection_infos(&session.caller);
    let found = infos.iter().find(|info| info.name() == name && may_see(&session, info));
    let owner = found.ok_or_else(ApiError::not_found)?.owner;
    let given = headers.get("x-reason").and_then(|reason| reason.to_str().ok());
    let reason: String = given.unwrap_or(REASON).chars().take(200).collect();
    match session.broker.close_connection(&session.caller, owner, &reason).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found()),
    }
}
