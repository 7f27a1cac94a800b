//! What is here, for whoever opens the address.

use axum::Json;
use axum::http::HeaderMap;
use axum::http::header::VARY;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::prefers;

/// What `/` lists.
const LINKS: [Link; 5] = [
    Link { path: "/stores", description: "the event stores" },
    Link { path: "/health/live", description: "whether the process is alive" },
    Link { path: "/health/ready", description: "whether clients can be served, and if not, why" },
    Link { path: "/metrics", description: "metrics for Prometheus" },
    Link { path: "/openapi.json", description: "the description of this API" },
];

/// The answer of `/`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Index {
    /// The name of the server: `annals`.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// The paths that it serves.
    links: [Link; 5],
}

/// One path that is served.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Link {
    /// The path.
    path: &'static str,
    /// What it answers.
    description: &'static str,
}

/// What is here: a page for a browser, JSON for everybody else.
#[utoipa::path(
    get,
    path = "/",
    tag = "about",
    responses((status = 200, description = "The paths that are served", content(
        (Index = "application/json"),
        (String = "text/html"),
    )))
)]
pub(crate) async fn get(headers: HeaderMap) -> Response {
    let vary = [(VARY, "accept")];
    if prefers(&headers, "text/html", "application/json") {
        return (vary, Html(page())).into_response();
    }
    let index = Index { name: "annals", version: env!("CARGO_PKG_VERSION"), links: LINKS };
    (vary, Json(index)).into_response()
}

fn page() -> String {
    let item = |link: &Link| format!("<li><a href=\"{0}\">{0}</a>: {1}</li>\n", link.path, link.description);
    let items: String = LINKS.iter().map(item).collect();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Annals</title>\n\
         <h1>Annals {version}</h1>\n<ul>\n{items}</ul>\n</html>\n"
    )
}
