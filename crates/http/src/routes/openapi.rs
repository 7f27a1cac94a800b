//! The description of this API (OpenAPI 3.1).

use axum::Json;
use utoipa::OpenApi;

use super::{health, index, metrics};
use crate::Problem;

#[derive(OpenApi)]
#[openapi(
    info(title = "Annals", description = "The HTTP API of an Annals server.", license(
        name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"
    )),
    paths(index::get, health::live, health::ready, metrics::get, get),
    components(schemas(Problem)),
    tags(
        (name = "health", description = "Is it alive, is it ready"),
        (name = "metrics", description = "How is it doing"),
        (name = "about", description = "What is here"),
    )
)]
pub(crate) struct Api;

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    super::families().into_document()
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object))
)]
pub(crate) async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
