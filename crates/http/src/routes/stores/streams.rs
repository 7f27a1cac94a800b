//! Streams: what they are like, their metadata, their end; and the names that there are.

use std::sync::Arc;

use annals_broker::api::stores::{
    ListNames, Names, Position, Revision, StreamDescription, StreamMetadata, StreamState,
};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};

use crate::Problem;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::family::Family;
use crate::input::{object, require_json, stream_name};
use crate::outcome::{no_stream, state_word};
use crate::query::Params;
use crate::segments::Segments;

/// Names of one answer at most.
const NAMES_MAX: usize = 10_000;
/// Names of one answer, unless asked for otherwise.
const NAMES_DEFAULT: usize = 1000;

#[derive(OpenApi)]
#[openapi(
    paths(streams, categories, types, describe, delete, get_metadata, put_metadata),
    tags((name = "streams", description = "Streams: list, describe, metadata, delete"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/streams", streams)
        .get("/stores/{store}/categories", categories)
        .get("/stores/{store}/types", types)
        .get("/stores/{store}/streams/{stream}", describe)
        .delete("/stores/{store}/streams/{stream}", delete)
        .get("/stores/{store}/streams/{stream}/metadata", get_metadata)
        .put("/stores/{store}/streams/{stream}/metadata", put_metadata)
}

/// Names in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamesPage {
    names: Vec<String>,
    /// `after` of the next request; null if there are no more.
    next: Option<String>,
}

/// What a stream keeps of its events, and what users want to remember about it. Replaced as a whole.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metadata {
    /// Events older than so many seconds are not shown, and removed when the store is scavenged.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u64>,
    /// Only so many of the latest events are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_count: Option<u64>,
    /// Events before this revision are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate_before: Option<u64>,
    /// Anything else. Names that start with `$` are reserved.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    custom: Map<String, Value>,
}

impl From<StreamMetadata> for Metadata {
    fn from(metadata: StreamMetadata) -> Self {
        // The truncation of a deleted stream says only that it is deleted.
        let is_deletion = metadata.is_deletion();
        Self {
            max_age_seconds: metadata.max_age_seconds,
            max_count: metadata.max_count,
            truncate_before: metadata.truncate_before.filter(|_| !is_deletion).map(|revision| revision.0),
            custom: metadata.custom,
        }
    }
}

impl From<Metadata> for StreamMetadata {
    fn from(metadata: Metadata) -> Self {
        Self {
            max_age_seconds: metadata.max_age_seconds,
            max_count: metadata.max_count,
            truncate_before: metadata.truncate_before.map(Revision),
            custom: metadata.custom,
        }
    }
}

/// The metadata of a stream, and how often it was set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetadataNow {
    #[serde(flatten)]
    metadata: Metadata,
    /// The revision of the metadata; null if it was never set.
    revision: Option<u64>,
}

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stream {
    /// Its name.
    name: String,
    /// `exists`, `deleted` (an append brings it back), `tombstoned` (deleted for good), or `missing` if it has only metadata.
    state: &'static str,
    /// The revision of its last event.
    last_revision: Option<u64>,
    /// The first revision that is shown, if there is any.
    first_revision: u64,
    metadata: Metadata,
    /// The revision of the metadata; null if it was never set.
    metadata_revision: Option<u64>,
}

/// Where a change stands in the store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    position: u64,
}

/// Metadata that was set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetadataSet {
    /// The revision of the metadata.
    revision: u64,
    position: u64,
}

/// What [`list`] reads, for the description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: `Params` says of each what is wrong with it")]
struct PageOfNames {
    /// Only names that start so
    prefix: Option<String>,
    /// Only names behind this one
    after: Option<String>,
    /// At most so many, 1 to 10,000. Default 1,000
    limit: Option<usize>,
    /// Also names that start with `~` or `$`, of Annals itself
    system: Option<bool>,
}

/// The names of streams that exist, in order.
#[utoipa::path(get, path = "/stores/{store}/streams", tag = "streams",
    params(("store" = String, Path, description = "The store"), PageOfNames),
    responses(
        (status = 200, description = "A page of names", body = NamesPage),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn streams(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
) -> Result<Json<NamesPage>, Problem> {
    list(&app, &asker, store, Names::Streams, params).await
}

/// The names of categories: what stands before the first `-` of the names of streams.
#[utoipa::path(get, path = "/stores/{store}/categories", tag = "streams",
    params(("store" = String, Path, description = "The store"), PageOfNames),
    responses(
        (status = 200, description = "A page of names", body = NamesPage),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn categories(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
) -> Result<Json<NamesPage>, Problem> {
    list(&app, &asker, store, Names::Categories, params).await
}

/// The names of event types.
#[utoipa::path(get, path = "/stores/{store}/types", tag = "streams",
    params(("store" = String, Path, description = "The store"), PageOfNames),
    responses(
        (status = 200, description = "A page of names", body = NamesPage),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn types(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
) -> Result<Json<NamesPage>, Problem> {
    list(&app, &asker, store, Names::Types, params).await
}

async fn list(
    app: &App,
    asker: &Asker,
    store: String,
    names: Names,
    mut params: Params,
) -> Result<Json<NamesPage>, Problem> {
    let (prefix, after) = (params.take("prefix")?.unwrap_or_default(), params.take("after")?);
    let limit = params.number("limit")?.unwrap_or(NAMES_DEFAULT);
    let with_system = params.flag("system")?;
    params.finish()?;
    if !(1..=NAMES_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("limit must be from 1 to {NAMES_MAX}")));
    }
    let request = ListNames { store: store.into(), names, prefix, after, limit, with_system };
    let found = app.broker()?.list_names(&asker.0, request).await?;
    let next = if found.len() < limit { None } else { found.last().cloned() };
    Ok(Json(NamesPage { names: found, next }))
}

/// What a stream is like.
#[utoipa::path(get, path = "/stores/{store}/streams/{stream}", tag = "streams",
    params(("store" = String, Path, description = "The store"), ("stream" = String, Path, description = "The stream")),
    responses(
        (status = 200, description = "The stream, which may be deleted", body = Stream),
        (status = 404, description = "No such store, or nothing was ever done to the stream", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn describe(
    State(app): State<App>,
    asker: Asker,
    Segments((store, stream)): Segments<(String, String)>,
    params: Params,
) -> Result<Json<Stream>, Problem> {
    params.finish()?;
    let found = look(&app, &asker, store, &stream).await?;
    if found.state == StreamState::Missing && found.metadata_revision.is_none() {
        return Err(no_stream(&found.name, found.state));
    }
    Ok(Json(Stream {
        name: found.name.to_string(),
        state: state_word(found.state),
        last_revision: found.state.last().map(|revision| revision.0),
        first_revision: found.first.0,
        metadata: found.metadata.into(),
        metadata_revision: found.metadata_revision.map(|revision| revision.0),
    }))
}

async fn look(app: &App, asker: &Asker, store: String, stream: &str) -> Result<StreamDescription, Problem> {
    let (store, stream): (Arc<str>, _) = (store.into(), stream_name("stream", stream)?);
    Ok(app.broker()?.stream(&asker.0, &store, &stream).await?)
}

/// Deletes a stream: its events are not shown any more. An append brings it back, with later revisions; with `tombstone`,
/// nothing does. Durable when answered.
#[utoipa::path(delete, path = "/stores/{store}/streams/{stream}", tag = "streams",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = String, Path, description = "The stream"),
        ("expected" = Option<String>, Query, description = "What the stream must be like: `any` (the default), `no_stream`, `exists`, or a revision"),
        ("tombstone" = Option<bool>, Query, description = "For good"),
    ),
    responses(
        (status = 200, description = "It is deleted", body = Changed),
        (status = 404, description = "No such store or stream", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The stream is not as expected", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "It is deleted for good already", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, stream)): Segments<(String, String)>,
    mut params: Params,
) -> Result<Json<Changed>, Problem> {
    let (expected, for_good) = (params.expected()?, params.flag("tombstone")?);
    params.finish()?;
    let (store, stream): (Arc<str>, _) = (store.into(), stream_name("stream", &stream)?);
    let broker = app.broker()?;
    let done = if for_good {
        broker.tombstone_stream(&caller, &store, &stream, expected).await?
    } else {
        broker.delete_stream(&caller, &store, &stream, expected).await?
    };
    Ok(Json(Changed { position: done.last_position.0 }))
}

/// The metadata of a stream; empty if it was never set.
#[utoipa::path(get, path = "/stores/{store}/streams/{stream}/metadata", tag = "streams",
    params(("store" = String, Path, description = "The store"), ("stream" = String, Path, description = "The stream")),
    responses(
        (status = 200, description = "The metadata", body = MetadataNow),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_metadata(
    State(app): State<App>,
    asker: Asker,
    Segments((store, stream)): Segments<(String, String)>,
    params: Params,
) -> Result<Json<MetadataNow>, Problem> {
    params.finish()?;
    let found = look(&app, &asker, store, &stream).await?;
    let revision = found.metadata_revision.map(|revision| revision.0);
    Ok(Json(MetadataNow { metadata: found.metadata.into(), revision }))
}

/// Sets the metadata of a stream, which need not exist. Durable when answered.
#[utoipa::path(put, path = "/stores/{store}/streams/{stream}/metadata", tag = "streams",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = String, Path, description = "The stream"),
        ("expected" = Option<String>, Query, description = "The revision of the metadata that this replaces, or `any` (the default), `no_stream`, `exists`"),
    ),
    request_body = Metadata,
    responses(
        (status = 200, description = "It is set", body = MetadataSet),
        (status = 400, description = "`field` names the member that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The metadata is not at the expected revision", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_metadata(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, stream)): Segments<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<MetadataSet>, Problem> {
    let expected = params.expected()?;
    params.finish()?;
    require_json(&headers)?;
    let metadata: Metadata = object(&payload.bytes)?;
    let (store, stream): (Arc<str>, _) = (store.into(), stream_name("stream", &stream)?);
    let set = app.broker()?.set_stream_metadata(&caller, &store, &stream, metadata.into(), expected).await?;
    let revision = set.last_revisions.first().map_or(0, |revision| revision.0);
    let Position(position) = set.last_position;
    Ok(Json(MetadataSet { revision, position }))
}
