//! Queues.

use annals_broker::access::Right;
use annals_broker::api::queues::admin::QueueInfo;
use annals_broker::api::queues::arguments::{ArgumentError, Lifetime, impossible_property, queue_options};
use annals_broker::api::queues::difference::DeclaredQueue;
use annals_broker::api::queues::rights::queue_needs;
use annals_broker::api::queues::topology::{DeclareQueue, DeclareQueueError, DeleteQueue, DeleteQueueError};
use annals_broker::api::queues::{Headers, QueueError, Text};
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::NODE;
use super::channels::Clients;
use super::error::{ApiError, locked, queue_named};
use super::exchanges::object;
use super::list::{Shape, parameter};
use super::session::{NOBODY, Session};
use super::stats::{Totals, message_stats};
use super::table::{from_json, to_json, truth};
use crate::body::Payload;

/// `GET /api/queues`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    let vhosts = session.vhosts();
    let mut queues = session.broker.queues(&session.caller, None);
    queues.retain(|queue| vhosts.contains(&queue.definition.vhost));
    shape.list(queues.iter().map(|queue| describe(&session, queue)).collect())
}

/// `GET /api/queues/{vhost}`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    let queues = session.broker.queues(&session.caller, Some(&vhost));
    shape.list(queues.iter().map(|queue| describe(&session, queue)).collect())
}

/// `GET /api/queues/{vhost}/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    let queue = find(&session, &vhost, &name)?;
    let clients = Clients::of(&session);
    let mut described = describe(&session, &queue);
    described["consumer_details"] =
        queue.consumers.iter().map(|consumer| clients.describe_consumer(&queue, consumer)).collect();
    described["incoming"] = json!([]);
    described["deliveries"] = json!([]);
    if let Some(owner) = queue.owner {
        described["owner_pid_details"] = clients.connection_details(owner);
    }
    Ok(shape.item(&described))
}

/// A queue that is there, whoever it is exclusive to.
pub(super) fn find(session: &Session, vhost: &Text, name: &str) -> Result<QueueInfo, ApiError> {
    match session.broker.queue_info(&session.caller, &session.queue(vhost, name)) {
        Err(QueueError::Locked { .. }) => {
            let all = session.broker.queues(&session.caller, Some(vhost));
            all.into_iter().find(|queue| queue.definition.name == name).ok_or_else(ApiError::not_found)
        }
        found => Ok(found?),
    }
}

/// A queue in RabbitMQ's fields.
fn describe(session: &Session, queue: &QueueInfo) -> Value {
    let definition = &queue.definition;
    let exclusive_tag = queue.consumers.iter().find(|consumer| consumer.exclusive);
    let only = definition.options.single_active_consumer;
    let active = queue.consumers.iter().find(|consumer| only && consumer.active);
    let mut described = json!({
        "vhost": definition.vhost.as_str(),
        "name": definition.name.as_str(),
        "type": type_of(&definition.arguments),
        "node": NODE,
        "state": "running",
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "exclusive": definition.exclusive,
        "arguments": to_json(&definition.arguments),
        "policy": null,
        "operator_policy": null,
        "effective_policy_definition": {},
        "consumers": queue.consumers.len(),
        "consumer_capacity": 0,
        "consumer_utilisation": 0,
        "exclusive_consumer_tag": exclusive_tag.map(|consumer| consumer.tag.as_str()),
        "single_active_consumer_tag": active.map(|consumer| consumer.tag.as_str()),
        "messages_delayed": queue.delayed,
        "messages_dead": queue.counters.dead,
        "message_bytes": queue.ready_bytes + queue.unacknowledged_bytes,
        "message_bytes_ready": queue.ready_bytes,
        "message_bytes_unacknowledged": queue.unacknowledged_bytes,
        "oldest_ms": queue.oldest_ms,
        "message_stats": message_stats([&queue.counters]),
    });
    Totals::of([queue]).put(&mut described);
    session.rated(&["queue", &definition.vhost.as_str(), &definition.name.as_str()], described)
}

/// Kinds of queues are equal here: it is what it was declared as.
fn type_of(arguments: &Headers) -> String {
    let declared = arguments.get("x-queue-type").and_then(|kind| Some(kind.as_text()?.to_string()));
    declared.unwrap_or_else(|| "classic".to_owned())
}

/// `PUT /api/queues/{vhost}/{name}`
pub(crate) async fn declare(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    body: Payload,
) -> Result<StatusCode, ApiError> {
    let (vhost, name) = (session.enter_to_make(&vhost)?, Text::from(name));
    session.check(Right::Configure, &vhost, &name)?;
    let request = read(&object(&body)?, vhost, name)?;
    let needs = queue_needs(&request.name, &request.arguments).map_err(|error| {
        let shown = queue_named(&request.name, &request.vhost);
        ApiError::bad_request(format!("{error} in {shown}"))
    })?;
    session.check_all(&request.vhost, &needs)?;
    let is_new = declare_queue(&session, request).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// What a queue is declared as.
pub(super) fn read(given: &Value, vhost: Text, name: Text) -> Result<DeclareQueue, ApiError> {
    let arguments = from_json(&given["arguments"])?;
    let options = queue_options(&arguments).map_err(|error| {
        let shown = queue_named(&name, &vhost);
        ApiError::bad_request(told(&error, &shown))
    })?;
    let (durable, auto_delete) = (truth(given, "durable", false)?, truth(given, "auto_delete", false)?);
    let lifetime = Lifetime { durable, exclusive: false, auto_delete };
    if let Some(property) = impossible_property(&arguments, lifetime) {
        let shown = queue_named(&name, &vhost);
        return Err(ApiError::bad_request(format!("invalid property '{property}' for {shown}")));
    }
    Ok(DeclareQueue {
        vhost,
        name,
        owner: NOBODY,
        durable,
        exclusive: false,
        auto_delete,
        options,
        arguments,
    })
}

/// What is wrong with an argument of something, in RabbitMQ's words.
pub(super) fn told(error: &ArgumentError, of: &str) -> String {
    match error {
        ArgumentError::Value { name, reason } => format!("invalid arg '{name}' for {of}: {reason}"),
        ArgumentError::NotOfType { name, kind } => {
            format!("invalid arg '{name}' for {of} of queue type {kind}")
        }
    }
}

/// Has a queue be there; one that is there may differ in what nobody compares.
pub(super) async fn declare_queue(session: &Session, request: DeclareQueue) -> Result<bool, ApiError> {
    let DeclareQueue { vhost, name, .. } = request.clone();
    let is_there = session.broker.queue_info(&session.caller, &session.queue(&vhost, &name.as_str())).is_ok();
    if !is_there && name.as_bytes().starts_with(b"amq.") {
        return Err(ApiError::refused("Access refused."));
    }
    match session.broker.declare_queue(&session.caller, request.clone()).await {
        Err(DeclareQueueError::Inequivalent { name: _, current }) => {
            if current.exclusive {
                return Err(locked(&name, &vhost));
            }
            let DeclareQueue { durable, auto_delete, arguments, .. } = &request;
            let declared = DeclaredQueue { durable: *durable, auto_delete: *auto_delete, arguments };
            match declared.difference(&current) {
                Some(found) => Err(ApiError::bad_request(found.of(&queue_named(&name, &vhost)))),
                None => Ok(false),
            }
        }
        Err(DeclareQueueError::Locked(_)) => Err(locked(&name, &vhost)),
        declared => Ok(declared?.created),
    }
}

/// `DELETE /api/queues/{vhost}/{name}`
pub(crate) async fn remove(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Configure, &vhost, &name.as_str().into())?;
    let is_set =
        |name| parameter(query.as_deref().unwrap_or_default(), name).is_some_and(|given| given == "true");
    let request = DeleteQueue {
        queue: session.queue(&vhost, &name),
        if_unused: is_set("if-unused"),
        if_empty: is_set("if-empty"),
    };
    let shown = queue_named(&request.queue.name, &vhost);
    match session.broker.delete_queue(&session.caller, request).await {
        Err(DeleteQueueError::InUse(_)) => Err(ApiError::bad_request(format!("{shown} in use"))),
        Err(DeleteQueueError::NotEmpty(_)) => Err(ApiError::bad_request(format!("{shown} not empty"))),
        removed => {
            removed?;
            Ok(StatusCode::NO_CONTENT)
        }
    }
}

/// `DELETE /api/queues/{vhost}/{name}/contents`
pub(crate) async fn purge(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = session.enter(&vhost)?;
    session.check(Right::Read, &vhost, &name.as_str().into())?;
    session.broker.purge_queue(&session.caller, &session.queue(&vhost, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
