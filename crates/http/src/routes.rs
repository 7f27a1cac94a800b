//! What is served, and what every request passes on its way there.

mod health;
mod index;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod stores;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;

use crate::app::App;
use crate::family::Family;
use crate::{Metrics, Options, Problem, host, management};

/// How long a request may ask to wait for something to come.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// The routes that may be asked to wait.
const WAITING: [&str; 2] = ["/stores/{store}/head", "/stores/{store}/subscriptions/{name}/fetch"];

/// How long a request may work that reads or writes all of a store.
const WORK_MAX: Duration = Duration::from_secs(24 * 3600);

/// The routes that do.
const WORKING: [&str; 2] = ["/stores/{store}/scavenge", "/stores/{store}/rebuild-index"];

/// What the gate before all routes needs.
struct Gate {
    allowed_hosts: Vec<String>,
    body_bytes_max: usize,
    request_timeout: Duration,
    metrics: Metrics,
}

/// All families of routes, each with its description.
fn families() -> Family {
    Family::new(openapi::Api::openapi())
        .get("/", index::get)
        .get("/health/live", health::live)
        .get("/health/ready", health::ready)
        .get("/metrics", metrics::get)
        .get("/openapi.json", openapi::get)
        .and(stores::family())
}

/// Puts all routes together.
pub(crate) fn router(options: &Options, app: App, metrics: Metrics) -> Router {
    let gate = Gate {
        allowed_hosts: options.allowed_hosts.clone(),
        body_bytes_max: options.body_bytes_max,
        request_timeout: options.request_timeout,
        metrics,
    };
    families()
        .into_router()
        .nest("/api", management::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
        .layer(DefaultBodyLimit::max(options.body_bytes_max))
        .layer(from_fn_with_state(Arc::new(gate), pass))
}

async fn unknown_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(256).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path:?}: GET / lists what there is"))
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not answer that method: the header Allow names those that it does",
    )
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
        return Err(crate::body::too_large(max));
    }
    Ok(())
}

async fn answer(gate: &Gate, request: Request, next: Next) -> Response {
    let limit = gate.request_timeout + extra_time(request.extensions().get::<MatchedPath>());
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("there was no answer within {} s", limit.as_secs_f32());
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1).into_response()
        }
    }
}

/// What a route is given beyond the time that every request has.
fn extra_time(path: Option<&MatchedPath>) -> Duration {
    match path.map(MatchedPath::as_str) {
        Some(path) if WAITING.contains(&path) => WAIT_MAX,
        Some(path) if WORKING.contains(&path) => WORK_MAX,
        _ => Duration::ZERO,
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
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let families = families();
        let mut served: Vec<(String, String)> = families
            .listed()
            .iter()
            .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        let document = serde_json::to_value(families.into_document()).unwrap();
        let mut described = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                described.push((method.clone(), path.clone()));
                let text = operation["summary"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{method} {path} says nothing about itself");
            }
        }
        served.sort();
        described.sort();
        assert_eq!(served, described);
    }

    async fn status_of_a_route_that_does_not_answer(path: &str) -> StatusCode {
        let request_timeout = Duration::from_millis(50);
        let metrics = Metrics::default();
        let gate = Gate { allowed_hosts: Vec::new(), body_bytes_max: 0, request_timeout, metrics };
        let router = Router::new()
            .route(path, get(std::future::pending::<StatusCode>))
            .layer(from_fn_with_state(Arc::new(gate), pass));
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        TowerToHyperService::new(router).call(request).await.unwrap().status()
    }

    #[expect(clippy::disallowed_methods, reason = "the paused time is the runtime's")]
    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_in_time_is_unavailable() {
        for (path, least) in [("/", Duration::ZERO), (WAITING[0], WAIT_MAX), (WORKING[0], WORK_MAX)] {
            let begun = tokio::time::Instant::now();
            assert_eq!(status_of_a_route_that_does_not_answer(path).await, StatusCode::SERVICE_UNAVAILABLE);
            let took = begun.elapsed();
            assert!(least < took && took < least + Duration::from_secs(1), "{path}: {took:?}");
        }
    }
}
