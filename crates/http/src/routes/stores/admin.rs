//! Creating, listing, describing and deleting stores.

use annals_broker::api::stores::StoreDescription;
use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Problem;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::family::Family;
use crate::input::{object, require_json};
use crate::outcome::unknown_store;
use crate::query::Params;
use crate::segments::Segments;

#[derive(OpenApi)]
#[openapi(
    paths(list, create, describe, delete),
    tags((name = "stores", description = "Event stores: create, list, describe and delete them"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores", list)
        .post("/stores", create)
        .get("/stores/{store}", describe)
        .delete("/stores/{store}", delete)
}

/// An event store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Store {
    /// Its name, which is also that of its topic.
    #[schema(example = "orders")]
    name: String,
    /// Its id, and that of its topic.
    id: String,
    /// The first position that can still be read.
    start: u64,
    /// The position that the next event gets.
    end: u64,
    /// How many streams there are or were.
    streams: u64,
    /// The index holds everything below this position. It follows `end`, and is further behind while it is rebuilt.
    indexed: u64,
}

impl From<StoreDescription> for Store {
    fn from(store: StoreDescription) -> Self {
        Self {
            name: store.name.to_string(),
            id: store.id.to_string(),
            start: store.start.0,
            end: store.end.0,
            streams: store.streams,
            indexed: store.indexed.0,
        }
    }
}

/// The event stores of a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stores {
    stores: Vec<Store>,
}

/// A store to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStore {
    /// Its name, as of a topic: 1 to 249 of a-z A-Z 0-9 `.` `_` `-`.
    #[schema(example = "orders")]
    name: String,
}

/// All stores, by name.
#[utoipa::path(get, path = "/stores", tag = "stores", responses(
    (status = 200, description = "All stores", body = Stores),
    (status = 503, description = "The server has just started", body = Problem, content_type = "application/problem+json"),
))]
async fn list(State(app): State<App>, Asker(caller): Asker, params: Params) -> Result<Json<Stores>, Problem> {
    params.finish()?;
    let stores = app.broker()?.stores(&caller).await;
    Ok(Json(Stores { stores: stores.into_iter().map(Store::from).collect() }))
}

/// Creates a store. Durable when answered.
#[utoipa::path(post, path = "/stores", tag = "stores", request_body = NewStore, responses(
    (status = 201, description = "It is created", body = Store, headers(("location" = String, description = "Its address"))),
    (status = 400, description = "The name is not possible", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "There is a store or topic of that name", body = Problem,
        content_type = "application/problem+json"),
    (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
))]
async fn create(
    State(app): State<App>,
    Asker(caller): Asker,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Store>), Problem> {
    params.finish()?;
    require_json(&headers)?;
    let NewStore { name } = object(&payload.bytes)?;
    let store = app.broker()?.create_store(&caller, &name).await?;
    let location = format!("/stores/{}", store.name);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(store.into())))
}

/// One store.
#[utoipa::path(get, path = "/stores/{store}", tag = "stores", params(("store" = String, Path, description = "The store")), responses(
    (status = 200, description = "The store", body = Store),
    (status = 404, description = "There is none of that name", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The server has just started", body = Problem, content_type = "application/problem+json"),
))]
async fn describe(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(name): Segments<String>,
    params: Params,
) -> Result<Json<Store>, Problem> {
    params.finish()?;
    let stores = app.broker()?.stores(&caller).await;
    let found = stores.into_iter().find(|store| *store.name == *name);
    found.map(|store| Json(store.into())).ok_or_else(|| unknown_store(&name))
}

/// Deletes a store with all its events, and its topic. Durable when answered.
#[utoipa::path(delete, path = "/stores/{store}", tag = "stores", params(("store" = String, Path, description = "The store")), responses(
    (status = 204, description = "It is deleted"),
    (status = 404, description = "There is none of that name", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
))]
async fn delete(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(name): Segments<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    app.broker()?.delete_store(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
