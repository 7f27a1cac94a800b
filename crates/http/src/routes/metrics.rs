//! All metrics, as text for a scraper.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};

use crate::accept::prefers;
use crate::exposition::to_prometheus;
use crate::{Problem, Status};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is answered: the headers and the text.
type Exposition = ([(HeaderName, &'static str); 2], String);

/// All metrics, in the OpenMetrics or the Prometheus text format, whichever the client prefers.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "metrics",
    responses(
        (status = 200, description = "All metrics", content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        )),
        (status = 500, description = "The metrics cannot be written", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(status): State<Arc<dyn Status>>,
    headers: HeaderMap,
) -> Result<Exposition, Problem> {
    let mut text = String::new();
    status.encode_metrics(&mut text).map_err(|_| {
        tracing::error!("the metrics cannot be encoded");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded")
    })?;
    let (content_type, text) = if prefers(&headers, "application/openmetrics-text", "text/plain") {
        (OPEN_METRICS, text)
    } else {
        (PROMETHEUS, to_prometheus(&text))
    };
    Ok(([(CONTENT_TYPE, content_type), (VARY, "accept")], text))
}
