//! All metrics, as text for a scraper.
//!
//! They may need a look at the disk, so they are written on a thread that may block. Invariant: one such thread at most
//! is busy, however many ask and however long the disk takes. Who waits too long for it gets no metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::Semaphore;

use crate::accept::prefers;
use crate::exposition::to_prometheus;
use crate::{Problem, Status};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is answered: the headers and the text.
type Exposition = ([(HeaderName, &'static str); 2], String);

/// What the metrics are written from, and whose turn it is.
#[derive(Clone)]
pub(crate) struct Scrapes {
    status: Arc<dyn Status>,
    turn: Arc<Semaphore>,
}

/// The metrics could not be written.
struct Unencodable;

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
pub(crate) async fn get(State(scrapes): State<Scrapes>, headers: HeaderMap) -> Result<Exposition, Problem> {
    let text = scrapes.encode().await.map_err(|Unencodable| {
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

impl Scrapes {
    pub(crate) fn new(status: Arc<dyn Status>) -> Self {
        Self { status, turn: Arc::new(Semaphore::new(1)) }
    }

    /// All metrics as OpenMetrics text. The turn ends with the work, even where nobody waits for it any more.
    async fn encode(&self) -> Result<String, Unencodable> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Unencodable)?;
        let status = Arc::clone(&self.status);
        let encoding = tokio::task::spawn_blocking(move || {
            let (mut text, _turn) = (String::new(), turn);
            status.encode_metrics(&mut text).map(|()| text)
        });
        encoding.await.map_err(|_| Unencodable)?.map_err(|_| Unencodable)
    }
}
