//! Channels of connections, and the consumers on them.

use std::collections::HashMap;
use std::sync::Arc;

use annals_broker::api::connections::{ChannelReport, ConnectionInfo};
use annals_broker::api::queues::admin::{ConsumerInfo, QueueInfo};
use annals_broker::api::queues::{OwnerId, Text};
use axum::extract::Path;
use axum::response::Response;
use serde_json::{Value, json};

use super::NODE;
use super::connections::visible;
use super::error::ApiError;
use super::list::Shape;
use super::session::Session;
use super::table::to_json;

/// `GET /api/channels`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    shape.list(describe_if(&session, |_| true).await)
}

/// `GET /api/vhosts/{name}/channels`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    shape.list(describe_if(&session, |info| info.vhost == vhost).await)
}

/// `GET /api/connections/{name}/channels`
pub(crate) async fn of_connection(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let is_there = session.broker.connection_infos(&session.caller).iter().any(|info| info.name() == name);
    if !is_there {
        return Err(ApiError::not_found());
    }
    shape.list(describe_if(&session, |info| info.name() == name).await)
}

/// `GET /api/channels/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let channels = describe_if(&session, |info| name.starts_with(&info.name())).await;
    let mut found =
        channels.into_iter().find(|channel| channel["name"] == name).ok_or_else(ApiError::not_found)?;
    let all = describe_consumers(&session, None);
    found["consumer_details"] =
        all.into_iter().filter(|consumer| consumer["channel_details"]["name"] == name).collect();
    found["publishes"] = json!([]);
    found["deliveries"] = json!([]);
    Ok(shape.item(&found))
}

async fn describe_if(session: &Session, wanted: impl Fn(&ConnectionInfo) -> bool) -> Vec<Value> {
    let connections = visible(session).await;
    let described = connections.iter().filter(|connection| wanted(&connection.info)).flat_map(|connection| {
        let channels = connection.report.iter().flat_map(|report| &report.channels);
        channels.map(move |channel| describe(&connection.info, channel))
    });
    described.collect()
}

fn channel_name(info: &ConnectionInfo, number: u16) -> String {
    format!("{} ({number})", info.name())
}

fn describe(info: &ConnectionInfo, channel: &ChannelReport) -> Value {
    json!({
        "name": channel_name(info, channel.number),
        "number": channel.number,
        "node": NODE,
        "state": "running",
        "user": info.user,
        "user_who_performed_action": info.user,
        "vhost": info.vhost.as_str(),
        "connection_details": connection_details(info),
        "consumer_count": channel.consumers,
        "messages_unacknowledged": channel.unacknowledged,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": channel.uncommitted,
        "acks_uncommitted": channel.uncommitted_settlements,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.prefetch_in_all,
        "confirm": channel.confirms,
        "transactional": channel.is_transactional,
    })
}

fn connection_details(info: &ConnectionInfo) -> Value {
    json!({"name": info.name(), "peer_host": info.peer.ip().to_string(), "peer_port": info.peer.port()})
}

/// `GET /api/consumers`
pub(crate) async fn consumers(session: Session, shape: Shape) -> Result<Response, ApiError> {
    shape.list(describe_consumers(&session, None))
}

/// `GET /api/consumers/{vhost}`
pub(crate) async fn consumers_of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    shape.list(describe_consumers(&session, Some(&vhost)))
}

fn describe_consumers(session: &Session, vhost: Option<&Text>) -> Vec<Value> {
    let (clients, vhosts) = (&Clients::of(session), session.vhosts());
    let queues = session.broker.queues(&session.caller, vhost);
    let visible = queues.iter().filter(|queue| vhosts.contains(&queue.definition.vhost));
    let described = visible.flat_map(|queue| {
        queue.consumers.iter().map(move |consumer| clients.describe_consumer(queue, consumer))
    });
    described.collect()
}

/// The connections by their numbers, to name those that consumers and exclusive queues belong to.
pub(super) struct Clients(HashMap<OwnerId, Arc<ConnectionInfo>>);

impl Clients {
    pub(super) fn of(session: &Session) -> Self {
        let infos = session.broker.connection_infos(&session.caller);
        Self(infos.into_iter().map(|info| (info.owner, info)).collect())
    }

    /// What is told of a connection where something belongs to it.
    pub(super) fn connection_details(&self, owner: OwnerId) -> Value {
        self.0.get(&owner).map_or_else(|| json!({}), |info| connection_details(info))
    }

    pub(super) fn describe_consumer(&self, queue: &QueueInfo, consumer: &ConsumerInfo) -> Value {
        let (name, vhost) = (&queue.definition.name, &queue.definition.vhost);
        json!({
            "queue": {"name": name.as_str(), "vhost": vhost.as_str()},
            "consumer_tag": consumer.tag.as_str(),
            "channel_details": self.channel_details(consumer),
            "ack_required": !consumer.no_ack,
            "exclusive": consumer.exclusive,
            "active": consumer.active,
            "activity_status": if consumer.active { "up" } else { "waiting" },
            "prefetch_count": consumer.prefetch,
            "arguments": to_json(&consumer.arguments),
        })
    }

    fn channel_details(&self, consumer: &ConsumerInfo) -> Value {
        let Some(info) = self.0.get(&consumer.owner) else { return json!({}) };
        let mut details = connection_details(info);
        details["connection_name"] = json!(info.name());
        details["name"] = json!(channel_name(info, consumer.session));
        details["number"] = json!(consumer.session);
        details["node"] = json!(NODE);
        details["user"] = json!(info.user);
        details
    }
}
