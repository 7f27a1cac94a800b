//! What is served, and what every request passes on its way there.

mod health;
mod index;
mod metrics;
pub(crate) mod openapi;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::{Metrics, Options, Problem, Status, host};

/// What the gate before all routes needs.
struct Gate {
    allowed_hosts: Vec<String>,
    body_bytes_max: usize,
    request_timeout: Duration,
    metrics: Metrics,
}

/// Puts all routes together.
pub(crate) fn router(options: &Options, status: Arc<dyn Status>, metrics: Metrics) -> Router {
    let gate = Gate {
        allowed_hosts: options.allowed_hosts.clone(),
        body_bytes_max: options.body_bytes_max,
        request_timeout: options.request_timeout,
        metrics,
    };
    let scrapes = metrics::Scrapes::new(Arc::clone(&status));
    Router::new()
        .route("/", get(index::get))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::get).with_state(scrapes))
        .route("/openapi.json", get(openapi::get))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(status)
        .layer(DefaultBodyLimit::max(options.body_bytes_max))
        .layer(from_fn_with_state(Arc::new(gate), pass))
}

async fn unknown_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(256).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path:?}: GET / lists what there is"))
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path answers GET and HEAD")
}

/// The gate: checks the request, limits its time, counts it, and adds to the answer what every answer has.
async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match check(&gate, &request) {
        Ok(()) => answer(&gate, request, next).await,
        Err(problem) => problem.into_response(),
    };
    gate.metrics.request(route.as_ref().map_or("other", MatchedPath::as_str), response.status().as_u16());
    harden(&mut response);
    response
}

fn check(gate: &Gate, request: &Request) -> Result<(), Problem> {
    host::check(request, &gate.allowed_hosts)?;
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let max = gate.body_bytes_max;
    if length.is_some_and(|length| length > max as u64) {
        let detail = format!("the request's body may have {max} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(())
}

async fn answer(gate: &Gate, request: Request, next: Next) -> Response {
    match tokio::time::timeout(gate.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("there was no answer within {} s", gate.request_timeout.as_secs_f32());
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// Answers are of the moment, are what they say, and load nothing.
fn harden(response: &mut Response) {
    const HEADERS: [(HeaderName, &str); 3] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn a_request_without_an_answer_in_time_is_unavailable() {
        let request_timeout = Duration::from_millis(50);
        let metrics = Metrics::default();
        let gate = Gate { allowed_hosts: Vec::new(), body_bytes_max: 0, request_timeout, metrics };
        let router = Router::new()
            .route("/", get(std::future::pending::<StatusCode>))
            .layer(from_fn_with_state(Arc::new(gate), pass));
        let request = Request::get("/").header("host", "localhost").body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
