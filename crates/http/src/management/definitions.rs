//! Everything that is defined, as one document: to be kept, and to be brought in elsewhere.
//!
//! A document of RabbitMQ's is brought in as far as there is a place for it here: virtual hosts, exchanges, queues and bindings. What
//! has none (users, whom the settings name; policies, parameters) is left out, and the answer counts it. What is there
//! already stays as it is, as with RabbitMQ.
//!
//! Source: RabbitMQ's documentation of definitions, and an export of RabbitMQ 3.10.8.

use annals_broker::api::queues::difference::type_of;
use annals_broker::api::queues::{Destination, Text};
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::RABBITMQ_VERSION;
use super::error::ApiError;
use super::exchanges::is_predeclared;
use super::session::Session;
use super::table::to_json;
use super::{bindings, exchanges, queues, users};
use crate::body::Payload;

/// Parts of a document that there is no place for.
const WITHOUT_PLACE: [&str; 5] =
    ["policies", "operator_policies", "parameters", "topic_permissions", "vhost_limits"];

/// `GET /api/definitions`
pub(crate) async fn export(session: Session) -> Result<Json<Value>, ApiError> {
    session.administrator()?;
    let vhosts = session.broker.vhosts(&session.caller);
    let mut document = head();
    document["rabbit_version"] = json!(RABBITMQ_VERSION);
    document["users"] = users::all(&session).into();
    document["vhosts"] = vhosts.iter().map(|vhost| json!({"name": vhost.as_str()})).collect();
    document["permissions"] = users::all_permissions(&session).into();
    document["topic_permissions"] = json!([]);
    document["global_parameters"] = json!([]);
    put_contents(&session, &vhosts, &mut document);
    Ok(Json(document))
}

/// `GET /api/definitions/{vhost}`
pub(crate) async fn export_vhost(
    session: Session,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let vhost = session.enter(&vhost)?;
    let mut document = head();
    put_contents(&session, &[vhost], &mut document);
    for part in ["queues", "exchanges", "bindings"] {
        let items = document[part].as_array_mut().into_iter().flatten();
        items.filter_map(Value::as_object_mut).for_each(|item| drop(item.remove("vhost")));
    }
    Ok(Json(document))
}

fn head() -> Value {
    json!({
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Annals",
        "product_version": env!("CARGO_PKG_VERSION"),
        "parameters": [],
        "policies": [],
    })
}

/// What lies in virtual hosts, but for what is there from the beginning or belongs to a connection.
fn put_contents(session: &Session, vhosts: &[Text], document: &mut Value) {
    let (mut queues, mut exchanges, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    for vhost in vhosts {
        let mut of_connections = Vec::new();
        for queue in session.broker.queues(&session.caller, Some(vhost)) {
            let definition = &queue.definition;
            if definition.exclusive {
                of_connections.push(Destination::Queue(definition.name.clone()));
                continue;
            }
            queues.push(json!({
                "name": definition.name.as_str(),
                "vhost": vhost.as_str(),
                "durable": definition.durable,
                "auto_delete": definition.auto_delete,
                "arguments": to_json(&definition.arguments),
            }));
        }
        let mut own = session.broker.exchanges(&session.caller, vhost);
        own.retain(|(name, _)| !is_predeclared(name));
        exchanges.extend(own.iter().map(|(name, definition)| {
            json!({
                "name": name.as_str(),
                "vhost": vhost.as_str(),
                "type": type_of(definition),
                "durable": definition.durable,
                "auto_delete": definition.auto_delete,
                "internal": definition.internal,
                "arguments": to_json(&definition.arguments),
            })
        }));
        let mut own = bindings::all(session, vhost);
        own.retain(|binding| !binding.source.is_empty() && !of_connections.contains(&binding.destination));
        bindings.extend(own.iter().map(|binding| {
            let mut described = bindings::describe(vhost, binding);
            if let Some(fields) = described.as_object_mut() {
                fields.remove("properties_key");
            }
            described
        }));
    }
    document["queues"] = queues.into();
    document["exchanges"] = exchanges.into();
    document["bindings"] = bindings.into();
}

/// `POST /api/definitions`
pub(crate) async fn import(session: Session, body: Payload) -> Result<Response, ApiError> {
    session.administrator()?;
    let document = read(&body)?;
    for vhost in items(&document, "vhosts")? {
        session.broker.create_vhost(&session.caller, text(vhost, "name")?.into()).await?;
    }
    bring_in(&session, &document, None).await
}

/// `POST /api/definitions/{vhost}`: whatever virtual hosts the document names, everything comes into this one.
pub(crate) async fn import_vhost(
    session: Session,
    Path(vhost): Path<String>,
    body: Payload,
) -> Result<Response, ApiError> {
    session.administrator()?;
    let vhost = session.enter(&vhost)?;
    bring_in(&session, &read(&body)?, Some(&vhost)).await
}

fn read(body: &Payload) -> Result<Value, ApiError> {
    let document: Option<Value> = serde_json::from_slice(&body.bytes).ok();
    document.filter(Value::is_object).ok_or_else(|| ApiError::bad_request("failed_to_parse_json"))
}

fn items<'a>(document: &'a Value, part: &str) -> Result<&'a [Value], ApiError> {
    match &document[part] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(ApiError::bad_request(json!(["not_a_list", part]))),
    }
}

fn text<'a>(item: &'a Value, field: &str) -> Result<&'a str, ApiError> {
    item[field].as_str().ok_or_else(|| ApiError::bad_request(json!(["missing", field])))
}

/// Which virtual host an item comes into.
fn vhost_of(session: &Session, item: &Value, only: Option<&Text>) -> Result<Text, ApiError> {
    if let Some(only) = only {
        return Ok(only.clone());
    }
    let name = item["vhost"].as_str().unwrap_or("undefined");
    match session.broker.has_vhost(&session.caller, &name.into()) {
        true => Ok(name.into()),
        false => Err(ApiError::bad_request(json!(["no_such_vhost", name]))),
    }
}

async fn bring_in(session: &Session, document: &Value, only: Option<&Text>) -> Result<Response, ApiError> {
    for item in items(document, "exchanges")? {
        let (vhost, name) = (vhost_of(session, item, only)?, Text::from(text(item, "name")?));
        if session.broker.exchange(&session.caller, &vhost, &name).is_none() {
            exchanges::declare_exchange(session, vhost, name, exchanges::read(session, item)?).await?;
        }
    }
    for item in items(document, "queues")? {
        let (vhost, name) = (vhost_of(session, item, only)?, text(item, "name")?);
        if session.broker.queue_info(&session.caller, &session.queue(&vhost, name)).is_err() {
            queues::declare_queue(session, queues::read(item, vhost, name.into())?).await?;
        }
    }
    for item in items(document, "bindings")? {
        let vhost = vhost_of(session, item, only)?;
        let destination = text(item, "destination")?.into();
        let destination = match text(item, "destination_type")? {
            "queue" => Destination::Queue(destination),
            "exchange" => Destination::Exchange(destination),
            _ => return Err(ApiError::bad_request(json!(["unknown", "destination_type"]))),
        };
        let binding = bindings::read(item, text(item, "source")?.into(), destination)?;
        // Every queue has its binding to the default exchange already.
        if !binding.source.is_empty() {
            bindings::make(session, &vhost, binding).await?;
        }
    }
    let left_out = left_out(session, document)?;
    if left_out.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let left_out = Value::Object(left_out);
    tracing::warn!(%left_out, "parts of imported definitions have no place here");
    Ok(Json(json!({ "left_out": left_out })).into_response())
}

/// How many items of each part have no place here.
fn left_out(session: &Session, document: &Value) -> Result<Map<String, Value>, ApiError> {
    let mut left_out = Map::new();
    let mut note = |part: &str, count: usize| {
        if count > 0 {
            left_out.insert(part.to_owned(), json!(count));
        }
    };
    for part in WITHOUT_PLACE {
        note(part, items(document, part)?.len());
    }
    let known = &session.broker.access().users;
    let is_known =
        |item: &&Value, field: &str| item[field].as_str().is_some_and(|name| known.contains_key(name));
    note("users", items(document, "users")?.iter().filter(|item| !is_known(item, "name")).count());
    note(
        "permissions",
        items(document, "permissions")?.iter().filter(|item| !is_known(item, "user")).count(),
    );
    Ok(left_out)
}
