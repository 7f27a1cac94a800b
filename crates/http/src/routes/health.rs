//! Is it alive, is it ready.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Readiness, Status};

/// The answer of `/health/live`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Liveness {
    /// Always true: a process that is not alive does not answer.
    live: bool,
}

/// Whether the process answers at all. Restart it if not.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "health",
    responses((status = 200, description = "The process is alive", body = Liveness))
)]
pub(crate) async fn live() -> Json<Liveness> {
    Json(Liveness { live: true })
}

/// Whether clients can be served: not while recovering, when the journal stopped, or when draining.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "health",
    responses(
        (status = 200, description = "Clients can be served", body = Readiness),
        (status = 503, description = "Clients cannot be served now, for the reasons given", body = Readiness),
    )
)]
pub(crate) async fn ready(State(status): State<Arc<dyn Status>>) -> (StatusCode, Json<Readiness>) {
    let readiness = status.ready();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness))
}
