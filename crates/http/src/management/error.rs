//! Errors in the form of RabbitMQ's management API: `{"error": …, "reason": …}`.

use annals_broker::api::queues::properties::PropertyError;
use annals_broker::api::queues::publish::PublishError;
use annals_broker::api::queues::topology::{
    BindError, DeclareExchangeError, DeclareQueueError, DeleteExchangeError, DeleteQueueError, VhostError,
};
use annals_broker::api::queues::{QueueError, Text};
use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::Problem;

/// Why a request was refused.
#[derive(Debug, PartialEq)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: &'static str,
    reason: Value,
    /// Nobody said who asks.
    asks_who: bool,
}

impl ApiError {
    fn new(status: StatusCode, error: &'static str, reason: impl Into<Value>) -> Self {
        Self { status, error, reason: reason.into(), asks_who: false }
    }

    /// 400.
    pub(crate) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 400, with a word of its own.
    pub(crate) fn invalid(error: &'static str, reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, reason)
    }

    /// 404 for a path.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404 for something that the request names.
    pub(crate) fn missing(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 401, as RabbitMQ answers whoever may not.
    pub(crate) fn refused(reason: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 401 for a name or password that is wrong.
    pub(crate) fn login() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed")
    }

    /// 401 for a request that does not say who asks.
    pub(crate) fn anonymous() -> Self {
        Self { asks_who: true, ..Self::login() }
    }

    /// 503.
    pub(crate) fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "reason": self.reason});
        let mut response = (self.status, Json(body)).into_response();
        if self.asks_who {
            let ask = HeaderValue::from_static("Basic realm=\"Annals Management\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, ask);
        }
        response
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = status.canonical_reason().unwrap_or("error");
        Self::new(status, error, problem.detail)
    }
}

/// `queue 'q' in vhost '/'`.
pub(super) fn queue_named(name: &Text, vhost: &Text) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// `exchange 'x' in vhost '/'`.
pub(super) fn exchange_named(name: &Text, vhost: &Text) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

pub(super) fn locked(name: &Text, vhost: &Text) -> ApiError {
    ApiError::bad_request(format!(
        "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
        queue_named(name, vhost)
    ))
}

fn no_vhost() -> ApiError {
    ApiError::missing("vhost_not_found")
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::UnknownVhost(_) | QueueError::Unknown { .. } => Self::not_found(),
            QueueError::Locked { vhost, name } => locked(&name, &vhost),
            QueueError::Stream { .. } => Self::bad_request(error.to_string()),
            QueueError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<DeclareQueueError> for ApiError {
    fn from(error: DeclareQueueError) -> Self {
        let reason = error.to_string();
        match error {
            DeclareQueueError::UnknownVhost(_) => no_vhost(),
            DeclareQueueError::Locked(_)
            | DeclareQueueError::Stream { .. }
            | DeclareQueueError::Inequivalent { .. }
            | DeclareQueueError::NameTooLong(_) => Self::bad_request(reason),
            DeclareQueueError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<DeleteQueueError> for ApiError {
    fn from(error: DeleteQueueError) -> Self {
        match error {
            DeleteQueueError::Queue(error) => error.into(),
            DeleteQueueError::InUse(_) | DeleteQueueError::NotEmpty(_) => {
                Self::bad_request(error.to_string())
            }
        }
    }
}

impl From<DeclareExchangeError> for ApiError {
    fn from(error: DeclareExchangeError) -> Self {
        let reason = error.to_string();
        match error {
            DeclareExchangeError::UnknownVhost(_) => no_vhost(),
            DeclareExchangeError::Default => Self::refused("Access refused."),
            DeclareExchangeError::Inequivalent { .. }
            | DeclareExchangeError::Topic { .. }
            | DeclareExchangeError::NameTooLong(_) => Self::bad_request(reason),
            DeclareExchangeError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<DeleteExchangeError> for ApiError {
    fn from(error: DeleteExchangeError) -> Self {
        match error {
            DeleteExchangeError::UnknownVhost(_) => no_vhost(),
            DeleteExchangeError::InUse(_) => Self::bad_request(error.to_string()),
            DeleteExchangeError::Predeclared(_) => Self::refused("Access refused."),
            DeleteExchangeError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<BindError> for ApiError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::UnknownVhost(_) => no_vhost(),
            BindError::UnknownSource(_) | BindError::UnknownDestination(_) => {
                Self::missing(error.to_string())
            }
            BindError::Default => Self::refused("Access refused."),
            BindError::Locked(_) => Self::bad_request(error.to_string()),
            BindError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<VhostError> for ApiError {
    fn from(error: VhostError) -> Self {
        match error {
            VhostError::Unknown(_) => Self::not_found(),
            VhostError::Name(_) => Self::bad_request(error.to_string()),
            VhostError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let reason = error.to_string();
        match error {
            PublishError::UnknownVhost(_) => no_vhost(),
            PublishError::UnknownExchange { vhost, exchange } => {
                Self::bad_request(format!("404 NOT_FOUND - no {}", exchange_named(&exchange, &vhost)))
            }
            PublishError::Internal(exchange) => Self::bad_request(format!(
                "403 ACCESS_REFUSED - cannot publish to internal exchange '{exchange}'"
            )),
            PublishError::TooLarge { .. } | PublishError::UnknownLease(_) | PublishError::UnknownTopic(_) => {
                Self::bad_request(reason)
            }
            PublishError::DiskFull | PublishError::Unavailable(_) => Self::unavailable(reason),
        }
    }
}

/// As RabbitMQ tells it, whose management API publishes over AMQP.
impl From<PropertyError> for ApiError {
    fn from(error: PropertyError) -> Self {
        Self::bad_request(format!("406 PRECONDITION_FAILED - {error}"))
    }
}
