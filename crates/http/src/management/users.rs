//! Users and their permissions, as the settings of the server have them.

use annals_broker::access::{Permission, Right, User};
use annals_broker::api::queues::Text;
use axum::extract::Path;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::list::Shape;
use super::overview::tags;
use super::session::Session;

/// `GET /api/users`
pub(crate) async fn list(session: Session, shape: Shape) -> Result<Response, ApiError> {
    session.administrator()?;
    shape.list(all(&session))
}

/// All users.
pub(super) fn all(session: &Session) -> Vec<Value> {
    session.broker.access().users.iter().map(|(name, user)| describe(session, name, user)).collect()
}

/// `GET /api/users/{name}`
pub(crate) async fn show(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    session.administrator()?;
    Ok(shape.item(&describe(&session, &name, user(&session, &name)?)))
}

fn user<'a>(session: &'a Session, name: &str) -> Result<&'a User, ApiError> {
    session.broker.access().users.get(name).ok_or_else(ApiError::not_found)
}

fn describe(session: &Session, name: &str, user: &User) -> Value {
    let [a, b, c, d, ..] = *session.app.clock().uuid_v4().as_bytes();
    json!({
        "name": name,
        "password_hash": BASE64_STANDARD.encode(user.salted_password([a, b, c, d])),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags(user.is_administrator()),
        "limits": {},
    })
}

/// `GET /api/permissions`
pub(crate) async fn permissions(session: Session, shape: Shape) -> Result<Response, ApiError> {
    session.administrator()?;
    shape.list(all_permissions(&session))
}

/// The permissions of all users in all virtual hosts.
pub(super) fn all_permissions(session: &Session) -> Vec<Value> {
    session.broker.access().users.iter().flat_map(|(name, user)| of(session, name, user)).collect()
}

fn of<'a>(session: &'a Session, name: &'a str, user: &'a User) -> impl Iterator<Item = Value> + 'a {
    let vhosts = session.broker.vhosts(&session.caller);
    vhosts.into_iter().filter_map(move |vhost| {
        let permission = user.permission(&vhost.as_str())?;
        Some(describe_permission(name, &vhost, permission))
    })
}

fn describe_permission(user: &str, vhost: &Text, permission: &Permission) -> Value {
    json!({
        "user": user,
        "vhost": vhost.as_str(),
        "configure": permission.pattern(Right::Configure).as_str(),
        "write": permission.pattern(Right::Write).as_str(),
        "read": permission.pattern(Right::Read).as_str(),
    })
}

/// `GET /api/users/{name}/permissions`
pub(crate) async fn of_user(
    session: Session,
    shape: Shape,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    session.administrator()?;
    shape.list(of(&session, &name, user(&session, &name)?).collect())
}

/// `GET /api/vhosts/{name}/permissions`
pub(crate) async fn of_vhost(
    session: Session,
    shape: Shape,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    session.administrator()?;
    let vhost = session.enter(&vhost)?;
    let users = session.broker.access().users.iter();
    let described = users.filter_map(|(name, user)| {
        Some(describe_permission(name, &vhost, user.permission(&vhost.as_str())?))
    });
    shape.list(described.collect())
}

/// `GET /api/permissions/{vhost}/{user}`
pub(crate) async fn permission(
    session: Session,
    shape: Shape,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    session.administrator()?;
    let vhost = session.enter(&vhost)?;
    let permission = user(&session, &name)?.permission(&vhost.as_str()).ok_or_else(ApiError::not_found)?;
    Ok(shape.item(&describe_permission(&name, &vhost, permission)))
}
