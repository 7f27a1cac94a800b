//! How projections do, as far as they say so in the store.
//!
//! Projections run in applications, with the library `annals`. What one keeps in the store is in a stream of its own: a
//! reaction its place, in `~reaction-NAME`, and whoever tells its status, in `~projection-NAME`. The last event of such a
//! stream is shown here as it is.

use annals_broker::api::stores::{
    Direction, ListNames, Names, ReadEvents, ReadEventsError, RecordedEvent, Selection,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::{OpenApi, ToSchema};

use crate::app::{App, Asker};
use crate::event::outgoing::{member, number, text, write_data};
use crate::family::Family;
use crate::input::stream_name;
use crate::problem::Kind;
use crate::query::{Params, excerpt};
use crate::segments::Segments;
use crate::{Problem, answer};

/// The kinds, and what the names of their streams start with.
const KINDS: [(&str, &str); 2] = [("projection", "~projection-"), ("reaction", "~reaction-")];
/// Projections of one answer.
const LIMIT: usize = 1000;

#[derive(OpenApi)]
#[openapi(
    paths(list, describe),
    components(schemas(Projections, Projection)),
    tags((name = "projections", description = "How projections do, as they say themselves"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/projections", list)
        .get("/stores/{store}/projections/{name}", describe)
}

/// The projections that a store knows of. Described here; it is written by hand.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Projections {
    projections: Vec<Projection>,
}

/// What a projection said last.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Projection {
    name: String,
    /// `projection` or `reaction`.
    kind: String,
    /// The stream in which it says so.
    stream: String,
    revision: u64,
    position: u64,
    /// When.
    #[schema(format = DateTime)]
    recorded: String,
    /// The type of the event.
    r#type: String,
    /// The data of the event.
    #[schema(value_type = Option<Object>)]
    status: Option<String>,
}

/// All projections that a store knows of, at most 1,000.
#[utoipa::path(get, path = "/stores/{store}/projections", tag = "projections",
    params(("store" = String, Path, description = "The store")),
    responses(
        (status = 200, description = "What each said last", body = Projections),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let mut body = b"{\"projections\":[".to_vec();
    let empty = body.len();
    for kind in KINDS {
        let (name, prefix) = (store.as_str().into(), kind.1.to_owned());
        let (names, after, with_system) = (Names::Streams, None, true);
        let request = ListNames { store: name, names, prefix, after, limit: LIMIT, with_system };
        for stream in app.broker()?.list_names(&asker.0, request).await? {
            let Some(event) = last(&app, &asker, &store, &stream).await? else { continue };
            if body.len() > empty {
                body.push(b',');
            }
            write(&mut body, kind, &event);
        }
    }
    body.extend_from_slice(b"]}");
    Ok(answer::json(StatusCode::OK, body))
}

/// One projection, or a reaction of that name.
#[utoipa::path(get, path = "/stores/{store}/projections/{name}", tag = "projections",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The projection")),
    responses(
        (status = 200, description = "What it said last", body = Projection),
        (status = 404, description = "No such store, or nothing of that name", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn describe(
    State(app): State<App>,
    asker: Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    for kind in KINDS {
        if let Some(event) = last(&app, &asker, &store, &format!("{}{name}", kind.1)).await? {
            let mut body = Vec::new();
            write(&mut body, kind, &event);
            return Ok(answer::json(StatusCode::OK, body));
        }
    }
    let detail = format!("store {store} knows of no projection {:?}", excerpt(&name));
    Err(Problem::of(Kind::UnknownProjection, detail))
}

/// The last event of a stream, if there is any.
async fn last(app: &App, asker: &Asker, store: &str, stream: &str) -> Result<Option<RecordedEvent>, Problem> {
    let mut request = ReadEvents::new(store, Selection::Stream(stream_name("name", stream)?));
    (request.direction, request.limit) = (Direction::Backward, 1);
    match app.broker()?.read_events(&asker.0, request).await {
        Ok(read) => Ok(read.events.into_iter().next()),
        Err(ReadEventsError::NoStream { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(into: &mut Vec<u8>, (kind, prefix): (&str, &str), event: &RecordedEvent) {
    into.extend_from_slice(b"{\"name\":");
    text(into, event.stream().strip_prefix(prefix).unwrap_or_default());
    member(into, "kind", kind);
    member(into, "stream", event.stream());
    into.extend_from_slice(b",\"revision\":");
    number(into, event.revision().0);
    into.extend_from_slice(b",\"position\":");
    number(into, event.position().0);
    member(into, "recorded", annals_event::Time::from_unix_ms(event.recorded_ms()).as_str());
    member(into, "type", event.type_name());
    if let Some(data) = event.data() {
        write_data(into, "status", event.header("content-type"), &data);
    }
    into.push(b'}');
}
