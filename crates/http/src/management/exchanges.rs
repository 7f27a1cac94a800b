//! Exchanges.

use annals_broker::access::Right;
use annals_broker::api::queues::arguments::{Joined, KindError, alternate, exchange_kind, joined};
use annals_broker::api::queues::difference::{exchange_difference, type_of};
use annals_broker::api::queues::rights::exchange_needs;
use annals_broker::api::queues::topology::{
    DeclareExchange, DeclareExchangeError, DeleteExchange, DeleteExchangeError,
};
use annals_broker::api::queues::{ExchangeDefinition, Headers, LogStart, Text};
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::error::{ApiError, exchange_named};
use super::list::{Shape, parameter};
use super::session::Session;
use super::table::{from_json, to_json, truth};
use crate::body::Payload;

/// The default exchange has no name, and paths call it so.
const DEFAULT: &str = "amq.default";

/// The name that a path means.
pub(super) fn name_in_path(name: &str) -> Text {
    if name == DEFAULT { Text::empty() } else { name.into() }
}

/// `GET /api/exchanges`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    let vhosts = session.vhosts();
    shape.list(vhosts.iter().flat_map(|vhost| describe_all(&session, vhost)).collect())
}

/// `GET /api/exchanges/{vhost}`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    shape.list(describe_all(&session, &vhost))
}

fn describe_all(session: &Session, vhost: &Text) -> Vec<Value> {
    let exchanges = session.broker.exchanges(&session.caller, vhost);
    exchanges.iter().map(|(name, definition)| describe(vhost, name, definition)).collect()
}

/// `GET /api/exchanges/{vhost}/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (vhost, name) = (session.enter(&vhost)?, name_in_path(&name));
    let definition = find(&session, &vhost, &name)?;
    let mut described = describe(&vhost, &name, &definition);
    described["incoming"] = json!([]);
    described["outgoing"] = json!([]);
    Ok(shape.item(&described))
}

/// An exchange that is there.
pub(super) fn find(session: &Session, vhost: &Text, name: &Text) -> Result<ExchangeDefinition, ApiError> {
    session.broker.exchange(&session.caller, vhost, name).ok_or_else(ApiError::not_found)
}

fn describe(vhost: &Text, name: &Text, definition: &ExchangeDefinition) -> Value {
    json!({
        "vhost": vhost.as_str(),
        "name": name.as_str(),
        "type": type_of(definition),
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "internal": definition.internal,
        "arguments": to_json(&definition.arguments),
        "policy": null,
        "user_who_performed_action": if is_predeclared(name) { "rmq-internal" } else { "" },
    })
}

/// Whether every virtual host has it from the beginning.
pub(super) fn is_predeclared(name: &Text) -> bool {
    name.is_empty() || name.as_bytes().starts_with(b"amq.")
}

/// `PUT /api/exchanges/{vhost}/{name}`
pub(crate) async fn declare(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    body: Payload,
) -> Result<StatusCode, ApiError> {
    let (vhost, name) = (session.enter_to_make(&vhost)?, name_in_path(&name));
    let declared = read(&session, &object(&body)?)?;
    session.check(Right::Configure, &vhost, &name)?;
    let needs = exchange_needs(&name, &declared.0.arguments)
        .map_err(|error| ApiError::bad_request(format!("{error} in {}", exchange_named(&name, &vhost))))?;
    session.check_all(&vhost, &needs)?;
    let is_new = declare_exchange(&session, vhost, name, declared).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// The object in the body of a request. No body is an empty one.
pub(super) fn object(body: &Payload) -> Result<Value, ApiError> {
    if body.bytes.is_empty() {
        return Ok(json!({}));
    }
    let value: Option<Value> = serde_json::from_slice(&body.bytes).ok();
    value.filter(Value::is_object).ok_or_else(|| ApiError::bad_request("not_json"))
}

/// What an exchange is declared as, and from where it reads the topic that it may be joined to.
pub(super) type Declared = (ExchangeDefinition, LogStart);

/// What an exchange is declared as.
pub(super) fn read(session: &Session, given: &Value) -> Result<Declared, ApiError> {
    let kind = match &given["type"] {
        Value::Null => "direct",
        Value::String(kind) => kind,
        _ => return Err(ApiError::bad_request(json!(["not_string", "type"]))),
    };
    let arguments: Headers = from_json(&given["arguments"])?;
    let (kind, delayed) = exchange_kind(kind, &arguments).map_err(|error| match error {
        KindError::Unknown(_) | KindError::DelayedType => ApiError::bad_request(error.to_string()),
    })?;
    let joined = joined(&arguments, session.app.clock().now_ms());
    let Joined { topic, source, start } = joined.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let definition = ExchangeDefinition {
        kind,
        durable: truth(given, "durable", false)?,
        auto_delete: truth(given, "auto_delete", false)?,
        internal: truth(given, "internal", false)?,
        delayed,
        alternate: alternate(&arguments),
        topic,
        source,
        arguments,
    };
    Ok((definition, start))
}

/// Has an exchange be there; one that is there may differ in what nobody compares.
pub(super) async fn declare_exchange(
    session: &Session,
    vhost: Text,
    name: Text,
    (definition, start): Declared,
) -> Result<bool, ApiError> {
    let current = session.broker.exchange(&session.caller, &vhost, &name);
    if current.is_none() && name.as_bytes().starts_with(b"amq.") {
        return Err(ApiError::refused("Access refused."));
    }
    let request =
        DeclareExchange { vhost: vhost.clone(), name: name.clone(), definition: definition.clone() };
    match session.broker.declare_exchange_from(&session.caller, request, start).await {
        Err(DeclareExchangeError::Inequivalent { name: _, current }) => {
            match exchange_difference(&current, &definition) {
                Some(found) => Err(ApiError::bad_request(found.of(&exchange_named(&name, &vhost)))),
                None => Ok(false),
            }
        }
        declared => Ok(declared?),
    }
}

/// `DELETE /api/exchanges/{vhost}/{name}`
pub(crate) async fn remove(
    session: Session,
    Path((vhost, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, ApiError> {
    let (vhost, name) = (session.enter(&vhost)?, name_in_path(&name));
    find(&session, &vhost, &name)?;
    session.check(Right::Configure, &vhost, &name)?;
    let if_unused =
        parameter(query.as_deref().unwrap_or_default(), "if-unused").is_some_and(|given| given == "true");
    let shown = exchange_named(&name, &vhost);
    match session.broker.delete_exchange(&session.caller, DeleteExchange { vhost, name, if_unused }).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(ApiError::not_found()),
        Err(DeleteExchangeError::InUse(_)) => Err(ApiError::bad_request(format!("{shown} in use"))),
        Err(error) => Err(error.into()),
    }
}
