//! Who asks, and what they may do.
//!
//! Source: RabbitMQ's documentation of access control, and of the management plugin's authentication.

use std::time::Duration;

use annals_broker::Broker;
use annals_broker::access::{Permission, Right};
use annals_broker::api::queues::rights::Need;
use annals_broker::api::queues::{OwnerId, QueueRef, Text};
use annals_broker::api::{Caller, Principal};
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::time::sleep;

use super::error::ApiError;
use crate::app::{App, Peer};

/// Who gives a wrong password waits so long: nobody shall try passwords quickly.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(300);

/// Requests over HTTP own nothing: what is exclusive to a connection is not theirs.
pub(super) const NOBODY: OwnerId = OwnerId(0);

/// A request of a user who is known.
pub(crate) struct Session {
    pub(super) app: App,
    pub(super) broker: Broker,
    pub(super) caller: Caller,
    pub(super) is_administrator: bool,
}

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let broker = app.broker()?.clone();
        let peer = parts.extensions.get::<Peer>().map_or_else(|| Caller::internal().peer, |peer| peer.0);
        let given = parts.headers.get(AUTHORIZATION).ok_or_else(ApiError::anonymous)?;
        let credentials = given.to_str().ok().and_then(credentials);
        let (name, password) = credentials.ok_or_else(ApiError::login)?;
        if let Err(error) = broker.access().login(&name, &password, peer.ip()) {
            tracing::warn!(%peer, "HTTP login refused: {error}");
            sleep(WRONG_PASSWORD_PAUSE).await;
            return Err(ApiError::login());
        }
        let is_administrator =
            broker.access().users.get(&name).is_some_and(annals_broker::access::User::is_administrator);
        let caller = Caller { principal: Principal::user(&name), client_id: None, peer };
        Ok(Self { app: app.clone(), broker, caller, is_administrator })
    }
}

/// The name and password of HTTP's Basic scheme (RFC 7617).
fn credentials(header: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded =
        scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(encoded.trim()))?.ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

impl Session {
    pub(super) fn user(&self) -> &str {
        self.caller.principal.name()
    }

    pub(super) fn permission(&self, vhost: &Text) -> Option<&Permission> {
        self.broker.access().permission(self.user(), &vhost.as_str())
    }

    /// The virtual hosts that the user may enter.
    pub(super) fn vhosts(&self) -> Vec<Text> {
        let mut vhosts = self.broker.vhosts(&self.caller);
        vhosts.retain(|vhost| self.permission(vhost).is_some());
        vhosts
    }

    /// A virtual host that is there and that the user may enter. `is_object` says whether it is a part of what is asked for.
    pub(super) fn enter(&self, vhost: &str) -> Result<Text, ApiError> {
        let vhost = Text::from(vhost);
        if !self.broker.has_vhost(&self.caller, &vhost) {
            return Err(ApiError::not_found());
        }
        match self.permission(&vhost) {
            Some(_) => Ok(vhost),
            None => Err(ApiError::refused("User not authorised to access virtual host")),
        }
    }

    /// As [`Session::enter`], for something to be made there.
    pub(super) fn enter_to_make(&self, vhost: &str) -> Result<Text, ApiError> {
        match self.broker.has_vhost(&self.caller, &vhost.into()) {
            true => self.enter(vhost),
            false => Err(ApiError::missing("vhost_not_found")),
        }
    }

    /// Checks a right to a queue or an exchange.
    pub(super) fn check(&self, right: Right, vhost: &Text, name: &Text) -> Result<(), ApiError> {
        let known_as = if name.is_empty() { "amq.default".into() } else { name.as_str() };
        let allows = |permission: &Permission| permission.allows(right, &known_as);
        if self.permission(vhost).is_some_and(allows) {
            Ok(())
        } else {
            Err(ApiError::refused("Access refused."))
        }
    }

    /// Checks all of these rights.
    pub(super) fn check_all(&self, vhost: &Text, needs: &[Need]) -> Result<(), ApiError> {
        needs.iter().try_for_each(|need| self.check(need.right, vhost, &need.name))
    }

    /// Only those whom nothing restricts.
    pub(super) fn administrator(&self) -> Result<(), ApiError> {
        if self.is_administrator { Ok(()) } else { Err(ApiError::refused("Not administrator user")) }
    }

    /// Puts rates into what is shown of something, which `of` names among all that is shown.
    pub(super) fn rated(&self, of: &[&str], mut described: Value) -> Value {
        self.app.rates().put(self.app.clock().monotonic(), of.join("\0"), &mut described);
        described
    }

    /// A queue by name.
    pub(super) fn queue(&self, vhost: &Text, name: &str) -> QueueRef {
        QueueRef { vhost: vhost.clone(), name: name.into(), owner: NOBODY }
    }
}

#[cfg(test)]
mod tests {
    use super::credentials;

    #[test]
    fn names_and_passwords_are_read() {
        // printf 'guest:a:b' | base64
        assert_eq!(credentials("Basic Z3Vlc3Q6YTpi"), Some(("guest".to_owned(), b"a:b".to_vec())));
        assert_eq!(credentials("basic Z3Vlc3Q6"), Some(("guest".to_owned(), Vec::new())));
        for wrong in ["Bearer Z3Vlc3Q6", "Basic", "Basic !", "Basic Z3Vlc3Q=", ""] {
            assert_eq!(credentials(wrong), None, "{wrong}");
        }
    }
}
