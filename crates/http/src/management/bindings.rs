//! Bindings, and the keys that tell those between the same two apart.
//!
//! A key (`properties_key`) is the binding's routing key, percent-encoded with `+` for a space, and behind a `~` a number that
//! stands for its arguments, where it has any; `~` alone stands for none of both. Clients get keys from us only, so how the
//! number comes about is our own affair.

use annals_broker::access::Right;
use annals_broker::api::queues::arguments::check_match;
use annals_broker::api::queues::topology::{Bind, BindError};
use annals_broker::api::queues::{Binding, Destination, ExchangeKind, Text};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::{ApiError, exchange_named, locked, queue_named};
use super::exchanges::{find as find_exchange, name_in_path, object};
use super::list::Shape;
use super::queues::find as find_queue;
use super::session::{NOBODY, Session};
use super::table::{from_json, to_json};
use crate::body::Payload;

/// `GET /api/bindings`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    let vhosts = session.vhosts();
    shape.list(vhosts.iter().flat_map(|vhost| describe_if(&session, vhost, |_| true)).collect())
}

/// `GET /api/bindings/{vhost}`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    shape.list(describe_if(&session, &vhost, |_| true))
}

/// `GET /api/exchanges/{vhost}/{name}/bindings/source`
pub(crate) async fn from_exchange(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (vhost, name) = (session.enter(&vhost)?, name_in_path(&name));
    find_exchange(&session, &vhost, &name)?;
    shape.list(describe_if(&session, &vhost, |binding| binding.source == name))
}

/// `GET /api/exchanges/{vhost}/{name}/bindings/destination`
pub(crate) async fn to_exchange(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (vhost, name) = (session.enter(&vhost)?, name_in_path(&name));
    find_exchange(&session, &vhost, &name)?;
    let destination = Destination::Exchange(name);
    shape.list(describe_if(&session, &vhost, |binding| binding.destination == destination))
}

/// `GET /api/queues/{vhost}/{name}/bindings`
pub(crate) async fn to_queue(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = session.enter(&vhost)?;
    find_queue(&session, &vhost, &name)?;
    let destination = Destination::Queue(name.into());
    shape.list(describe_if(&session, &vhost, |binding| binding.destination == destination))
}

/// The bindings of a virtual host, by source, destination and key. The default exchange has one for each queue.
pub(super) fn all(session: &Session, vhost: &Text) -> Vec<Binding> {
    let mut bindings = session.broker.bindings(&session.caller, vhost);
    let default = session.broker.queues(&session.caller, Some(vhost)).into_iter().map(|queue| {
        let name = queue.definition.name.clone();
        let destination = Destination::Queue(name.clone());
        Binding { source: Text::empty(), destination, routing_key: name, arguments: Default::default() }
    });
    bindings.extend(default);
    bindings.sort_by(|one, other| order(one).cmp(&order(other)));
    bindings
}

fn order(binding: &Binding) -> (&Text, &Text, &Text) {
    (&binding.source, destination(binding).1, &binding.routing_key)
}

fn describe_if(session: &Session, vhost: &Text, wanted: impl Fn(&Binding) -> bool) -> Vec<Value> {
    all(session, vhost)
        .iter()
        .filter(|binding| wanted(binding))
        .map(|binding| describe(vhost, binding))
        .collect()
}

/// Which kind of thing a binding leads to, and its name.
fn destination(binding: &Binding) -> (&'static str, &Text) {
    match &binding.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    }
}

pub(super) fn describe(vhost: &Text, binding: &Binding) -> Value {
    let (kind, name) = destination(binding);
    json!({
        "source": binding.source.as_str(),
        "vhost": vhost.as_str(),
        "destination": name.as_str(),
        "destination_type": kind,
        "routing_key": binding.routing_key.as_str(),
        "arguments": to_json(&binding.arguments),
        "properties_key": key(binding),
    })
}

/// What tells a binding from others between the same two.
fn key(binding: &Binding) -> String {
    let quoted = quote(binding.routing_key.as_bytes());
    if binding.arguments.is_empty() {
        return if quoted.is_empty() { "~".to_owned() } else { quoted };
    }
    let mut arguments: Vec<String> = binding.arguments.iter().map(|entry| format!("{entry:?}")).collect();
    arguments.sort_unstable();
    let number = crc32c::crc32c(arguments.concat().as_bytes());
    format!("{quoted}~{}", BASE64_URL_SAFE_NO_PAD.encode(number.to_be_bytes()))
}

/// Whether a path names this key. Some clients put it there as it is, others quoted once more, so that it arrives unquoted
/// here, or as it is; RabbitMQ takes both.
fn is_key(key: &str, wanted: &str) -> bool {
    let mut unquoted = form_urlencoded::parse(key.as_bytes());
    key == wanted || unquoted.next().is_some_and(|(unquoted, _)| unquoted == wanted)
}

fn quote(text: &[u8]) -> String {
    let quoted = text.iter().map(|&byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    });
    quoted.collect()
}

/// A path between a source and a queue.
type Between = Path<(String, String, String)>;
/// As [`Between`], with the key of one binding.
type One = Path<(String, String, String, String)>;

/// `GET /api/bindings/{vhost}/e/{source}/q/{destination}`
pub(crate) async fn between_queue(
    session: Session,
    shape: Shape,
    Path((vhost, source, queue)): Between,
) -> Result<Response, ApiError> {
    between(&session, &shape, &vhost, &source, &Destination::Queue(queue.into()))
}

/// `GET /api/bindings/{vhost}/e/{source}/e/{destination}`
pub(crate) async fn between_exchange(
    session: Session,
    shape: Shape,
    Path((vhost, source, exchange)): Between,
) -> Result<Response, ApiError> {
    between(&session, &shape, &vhost, &source, &Destination::Exchange(name_in_path(&exchange)))
}

fn between(
    session: &Session,
    shape: &Shape,
    vhost: &str,
    source: &str,
    destination: &Destination,
) -> Result<Response, ApiError> {
    let (vhost, source) = (session.enter(vhost)?, name_in_path(source));
    let wanted = |binding: &Binding| binding.source == source && binding.destination == *destination;
    shape.list(describe_if(session, &vhost, wanted))
}

/// `POST /api/bindings/{vhost}/e/{source}/q/{destination}`
pub(crate) async fn bind_queue(
    session: Session,
    Path((vhost, source, queue)): Between,
    body: Payload,
) -> Result<Response, ApiError> {
    bind(&session, &vhost, &source, Destination::Queue(queue.into()), &body).await
}

/// `POST /api/bindings/{vhost}/e/{source}/e/{destination}`
pub(crate) async fn bind_exchange(
    session: Session,
    Path((vhost, source, exchange)): Between,
    body: Payload,
) -> Result<Response, ApiError> {
    bind(&session, &vhost, &source, Destination::Exchange(name_in_path(&exchange)), &body).await
}

async fn bind(
    session: &Session,
    vhost: &str,
    source: &str,
    destination: Destination,
    body: &Payload,
) -> Result<Response, ApiError> {
    let vhost = session.enter_to_make(vhost)?;
    let binding = read(&object(body)?, name_in_path(source), destination)?;
    check(session, &vhost, &binding)?;
    let (key, name) = (key(&binding), self::destination(&binding).1.clone());
    make(session, &vhost, binding).await?;
    // Where the binding is found, seen from the path that was asked; quoted once more, as it lies in a path.
    let location = format!("{}/{}", quote(name.as_bytes()), quote(key.as_bytes()).replace("%7E", "~"));
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// What a binding is to be.
pub(super) fn read(given: &Value, source: Text, destination: Destination) -> Result<Binding, ApiError> {
    let routing_key = match &given["routing_key"] {
        Value::Null => Text::empty(),
        Value::String(key) if key.len() <= 255 => key.as_str().into(),
        _ => return Err(ApiError::bad_request(json!(["not_string", "routing_key"]))),
    };
    Ok(Binding { source, destination, routing_key, arguments: from_json(&given["arguments"])? })
}

/// Binding needs write on what is bound, and read on the exchange.
fn check(session: &Session, vhost: &Text, binding: &Binding) -> Result<(), ApiError> {
    session.check(Right::Write, vhost, destination(binding).1)?;
    session.check(Right::Read, vhost, &binding.source)
}

/// Has a binding be there.
pub(super) async fn make(session: &Session, vhost: &Text, binding: Binding) -> Result<bool, ApiError> {
    let is_queue = matches!(binding.destination, Destination::Queue(_));
    let source = session.broker.exchange(&session.caller, vhost, &binding.source);
    if source.is_some_and(|source| source.kind == ExchangeKind::Headers) {
        check_match(&binding.arguments).map_err(ApiError::bad_request)?;
    }
    let request = Bind { vhost: vhost.clone(), owner: NOBODY, binding };
    session.broker.bind(&session.caller, request).await.map_err(|error| match error {
        BindError::UnknownSource(name) => ApiError::missing(format!("no {}", exchange_named(&name, vhost))),
        BindError::UnknownDestination(name) if is_queue => {
            ApiError::missing(format!("no {}", queue_named(&name, vhost)))
        }
        BindError::UnknownDestination(name) => {
            ApiError::missing(format!("no {}", exchange_named(&name, vhost)))
        }
        BindError::Locked(name) => locked(&name, vhost),
        error => error.into(),
    })
}

/// `GET /api/bindings/{vhost}/e/{source}/q/{destination}/{key}`
pub(crate) async fn show_queue(
    session: Session,
    shape: Shape,
    Path((vhost, source, queue, key)): One,
) -> Result<Response, ApiError> {
    let (vhost, binding) = find(&session, &vhost, &source, &Destination::Queue(queue.into()), &key)?;
    Ok(shape.item(&describe(&vhost, &binding)))
}

/// `GET /api/bindings/{vhost}/e/{source}/e/{destination}/{key}`
pub(crate) async fn show_exchange(
    session: Session,
    shape: Shape,
    Path((vhost, source, exchange, key)): One,
) -> Result<Response, ApiError> {
    let destination = Destination::Exchange(name_in_path(&exchange));
    let (vhost, binding) = find(&session, &vhost, &source, &destination, &key)?;
    Ok(shape.item(&describe(&vhost, &binding)))
}

fn find(
    session: &Session,
    vhost: &str,
    source: &str,
    destination: &Destination,
    wanted: &str,
) -> Result<(Text, Binding), ApiError> {
    let (vhost, source) = (session.enter(vhost)?, name_in_path(source));
    let is_wanted = |binding: &Binding| {
        let is_between = binding.source == source && binding.destination == *destination;
        is_between && is_key(&key(binding), wanted)
    };
    let found = all(session, &vhost).into_iter().find(is_wanted).ok_or_else(ApiError::not_found)?;
    Ok((vhost, found))
}

/// `DELETE /api/bindings/{vhost}/e/{source}/q/{destination}/{key}`
pub(crate) async fn unbind_queue(
    session: Session,
    Path((vhost, source, queue, key)): One,
) -> Result<StatusCode, ApiError> {
    unbind(&session, find(&session, &vhost, &source, &Destination::Queue(queue.into()), &key)?).await
}

/// `DELETE /api/bindings/{vhost}/e/{source}/e/{destination}/{key}`
pub(crate) async fn unbind_exchange(
    session: Session,
    Path((vhost, source, exchange, key)): One,
) -> Result<StatusCode, ApiError> {
    let destination = Destination::Exchange(name_in_path(&exchange));
    unbind(&session, find(&session, &vhost, &source, &destination, &key)?).await
}

async fn unbind(session: &Session, (vhost, binding): (Text, Binding)) -> Result<StatusCode, ApiError> {
    check(session, &vhost, &binding)?;
    session.broker.unbind(&session.caller, Bind { vhost, owner: NOBODY, binding }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(routing_key: &str, arguments: &Value) -> String {
        let binding = Binding {
            source: "x".into(),
            destination: Destination::Queue("q".into()),
            routing_key: routing_key.into(),
            arguments: from_json(arguments).unwrap(),
        };
        key(&binding)
    }

    #[test]
    fn keys_are_rabbitmqs_where_there_are_no_arguments() {
        for (routing_key, expected) in
            [("", "~"), ("a.b", "a.b"), ("a/b ~c", "a%2Fb+%7Ec"), ("orders.#", "orders.%23")]
        {
            assert_eq!(key_of(routing_key, &json!({})), expected);
        }
    }

    #[test]
    fn keys_with_arguments_differ_by_them_whatever_their_order() {
        let one = key_of("k", &json!({"a": 1, "b": 2}));
        assert!(one.starts_with("k~") && one.len() == 8, "{one}");
        assert_eq!(one, key_of("k", &json!({"b": 2, "a": 1})));
        assert_ne!(one, key_of("k", &json!({"a": 1, "b": 3})));
    }
}
