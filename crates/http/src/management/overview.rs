//! The server as a whole.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::error::ApiError;
use super::session::Session;
use super::stats::{Totals, message_stats};
use super::{NODE, RABBITMQ_VERSION};

/// `GET /api/overview`
pub(crate) async fn overview(session: Session) -> Json<Value> {
    let (broker, caller) = (&session.broker, &session.caller);
    let vhosts = session.vhosts();
    let mut queues = broker.queues(caller, None);
    queues.retain(|queue| vhosts.contains(&queue.definition.vhost));
    let mut connections = broker.connections(caller).await;
    connections.retain(|connection| session.is_administrator || connection.info.user == session.user());
    let channels: usize =
        connections.iter().filter_map(|connection| Some(connection.report.as_ref()?.channels.len())).sum();
    let exchanges: usize = vhosts.iter().map(|vhost| broker.exchanges(caller, vhost).len()).sum();
    let consumers: usize = queues.iter().map(|queue| queue.consumers.len()).sum();
    let mut totals = json!({});
    Totals::of(&queues).put(&mut totals);
    let stats = message_stats(queues.iter().map(|queue| &queue.counters));
    Json(json!({
        "management_version": RABBITMQ_VERSION,
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Annals",
        "product_version": env!("CARGO_PKG_VERSION"),
        "erlang_version": "none",
        "erlang_full_version": "none",
        "cluster_name": "annals",
        "cluster_tags": {},
        "node": NODE,
        "node_tags": {},
        "rates_mode": "basic",
        "disable_stats": false,
        "enable_queue_totals": false,
        "sample_retention_policies": {"global": [], "basic": [], "detailed": []},
        "statistics_db_event_queue": 0,
        "exchange_types": exchange_types(),
        "message_stats": session.rated(&["message stats", session.user()], stats),
        "churn_rates": {},
        "queue_totals": session.rated(&["queue totals", session.user()], totals),
        "object_totals": {
            "channels": channels,
            "connections": connections.len(),
            "consumers": consumers,
            "exchanges": exchanges,
            "queues": queues.len(),
        },
        "listeners": [],
        "contexts": [],
    }))
}

fn exchange_types() -> Value {
    let types = ["direct", "fanout", "headers", "topic", "x-delayed-message"];
    types.iter().map(|name| json!({"name": name, "description": "", "enabled": true})).collect()
}

/// `GET /api/whoami`
pub(crate) async fn whoami(session: Session) -> Json<Value> {
    Json(json!({"name": session.user(), "tags": tags(session.is_administrator)}))
}

/// What RabbitMQ calls the kinds of users.
pub(super) fn tags(is_administrator: bool) -> Value {
    json!([if is_administrator { "administrator" } else { "management" }])
}

/// `GET /api/cluster-name`
pub(crate) async fn cluster_name(_: Session) -> Json<Value> {
    Json(json!({"name": "annals"}))
}

/// `GET /api/extensions`
pub(crate) async fn extensions(_: Session) -> Json<Value> {
    Json(json!([]))
}

/// `GET /api/nodes`
pub(crate) async fn nodes(session: Session) -> Json<Value> {
    Json(json!([describe_node(&session)]))
}

/// `GET /api/nodes/{name}`
pub(crate) async fn node(session: Session, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    if name == NODE { Ok(Json(describe_node(&session))) } else { Err(ApiError::not_found()) }
}

fn describe_node(session: &Session) -> Value {
    json!({
        "name": NODE,
        "type": "disc",
        "running": true,
        "os_pid": std::process::id().to_string(),
        "partitions": [],
        "cluster_links": [],
        "rates_mode": "basic",
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "mem_alarm": false,
        "disk_free_alarm": session.broker.is_disk_full(),
        "exchange_types": exchange_types(),
        "auth_mechanisms": [
            {"name": "PLAIN", "description": "", "enabled": true},
            {"name": "AMQPLAIN", "description": "", "enabled": true},
        ],
        "applications": [],
        "contexts": [],
        "enabled_plugins": [],
        "config_files": [],
        "log_files": [],
    })
}

/// What there is none of.
pub(crate) async fn none(_: Session) -> Json<Value> {
    Json(json!([]))
}
