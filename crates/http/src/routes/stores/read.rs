//! Reading events: of a stream, of a selection, of everything; in pages, or a single one.

use annals_broker::api::stores::{
    Direction, EventsRead, Place, Position, ReadEvents, ReadEventsError, RecordedEvent, Revision, Selection,
    StreamName,
};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::{OpenApi, ToSchema};

use super::query::{ReadBody, Wanted};
use crate::Problem;
use crate::answer::{self, Held};
use crate::app::{App, Asker};
use crate::body::{Payload, Room};
use crate::event::{cloud, outgoing};
use crate::family::Family;
use crate::input::{object, require_json, stream_name};
use crate::outcome::state_word;
use crate::problem::Kind;
use crate::query::Params;
use crate::segments::Segments;

#[derive(OpenApi)]
#[openapi(
    paths(stream, selection, long, of_stream, at_position),
    components(schemas(EventsPage, Event, StreamNow)),
    tags((name = "read", description = "Read events, forward or backward, up to now or as of a moment"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/streams/{stream}/events", stream)
        .get("/stores/{store}/streams/{stream}/events/{revision}", of_stream)
        .get("/stores/{store}/events", selection)
        .post("/stores/{store}/events/read", long)
        .get("/stores/{store}/events/{position}", at_position)
}

/// An event as it is stored. Described here; it is written by hand.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Event {
    /// Its place in the store.
    position: u64,
    /// Its stream.
    stream: String,
    /// Its place in the stream.
    revision: u64,
    /// When it was stored. Never goes back along positions.
    #[schema(format = DateTime)]
    recorded: String,
    id: String,
    #[schema(rename = "type")]
    r#type: String,
    source: String,
    subject: Option<String>,
    #[schema(format = DateTime)]
    time: Option<String>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    /// Extension attributes, as text.
    metadata: Option<std::collections::BTreeMap<String, String>>,
    tags: Option<Vec<String>>,
    /// It is stored encrypted.
    encrypted: Option<bool>,
    /// It was encrypted with a key that is gone, and has no data any more.
    shredded: Option<bool>,
    /// The data if it is JSON, or as a string if it is text.
    #[schema(value_type = Option<Object>)]
    data: Option<String>,
    /// The data in Base64 otherwise.
    data_base64: Option<String>,
}

/// A page of events. Described here; it is written by hand.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct EventsPage {
    events: Vec<Event>,
    /// `from` of the next request: a revision of the stream, or else a position. Null if nothing follows at present.
    next: Option<u64>,
    /// The position behind the last durable event of the store.
    end: u64,
    /// What the stream is like, where one is read.
    stream: Option<StreamNow>,
}

/// What a stream is like.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct StreamNow {
    name: String,
    /// `exists`
    state: String,
    /// The revision of its last event.
    last_revision: Option<u64>,
}

/// Reads one stream. 404 if it was never written to or is deleted.
#[utoipa::path(get, path = "/stores/{store}/streams/{stream}/events", tag = "read",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = String, Path, description = "The stream"),
        ("direction" = Option<String>, Query, description = "`forward` (the default) or `backward`"),
        ("from" = Option<u64>, Query, description = "Begin at this revision"),
        ("from_position" = Option<u64>, Query, description = "Begin at this position"),
        ("from_time" = Option<String>, Query, description = "Begin at this moment: forward, with what was recorded then or later; backward, then or earlier"),
        ("until" = Option<u64>, Query, description = "Stop behind this revision"),
        ("until_position" = Option<u64>, Query, description = "Stop behind this position"),
        ("until_time" = Option<String>, Query, description = "Stop behind this moment: the state as of then"),
        ("limit" = Option<usize>, Query, description = "At most so many events, 1 to 10,000. Default 1,000"),
        ("max_bytes" = Option<usize>, Query, description = "Stop when the events have so many bytes. Default 4 MiB"),
        ("system" = Option<bool>, Query, description = "Gives the store's own events as well"),
    ),
    responses(
        (status = 200, description = "A page of events; the header `Link` names the next", content(
            (EventsPage = "application/json"), (Vec<Object> = "application/cloudevents-batch+json"),
        )),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or stream", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The stream is deleted for good", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "What is stored is damaged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be read now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn stream(
    State(app): State<App>,
    asker: Asker,
    Segments((store, stream)): Segments<(String, String)>,
    RawQuery(query): RawQuery,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    let request = Wanted::take(params, Some(stream))?.build(&store)?;
    page(&app, &asker, request, &headers, Some(&uri)).await
}

/// Reads the whole store, or the events of a stream, streams, a category, type, types, tag or query.
#[utoipa::path(get, path = "/stores/{store}/events", tag = "read",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = Option<String>, Query, description = "Events of one stream. At most one of this and the next six; none is all"),
        ("stream_prefix" = Option<String>, Query, description = "Events of streams whose names start so"),
        ("category" = Option<String>, Query, description = "Events of streams whose names start so and go on with `-`"),
        ("type" = Option<String>, Query, description = "Events of one type"),
        ("type_prefix" = Option<String>, Query, description = "Events whose types start so"),
        ("tag" = Option<String>, Query, description = "Events with this tag"),
        ("query" = Option<String>, Query, description = "Events of types and with tags: a `QueryBody` as JSON"),
        ("direction" = Option<String>, Query, description = "`forward` (the default) or `backward`"),
        ("from" = Option<u64>, Query, description = "Begin at this position (with `stream`: at this revision)"),
        ("from_position" = Option<u64>, Query, description = "Begin at this position"),
        ("from_time" = Option<String>, Query, description = "Begin at this moment"),
        ("until" = Option<u64>, Query, description = "Stop behind this position (with `stream`: this revision)"),
        ("until_position" = Option<u64>, Query, description = "Stop behind this position"),
        ("until_time" = Option<String>, Query, description = "Stop behind this moment: the state as of then"),
        ("limit" = Option<usize>, Query, description = "At most so many events, 1 to 10,000. Default 1,000"),
        ("max_bytes" = Option<usize>, Query, description = "Stop when the events have so many bytes. Default 4 MiB"),
        ("system" = Option<bool>, Query, description = "Gives the store's own events as well"),
    ),
    responses(
        (status = 200, description = "A page of events; the header `Link` names the next", content(
            (EventsPage = "application/json"), (Vec<Object> = "application/cloudevents-batch+json"),
        )),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "What is stored is damaged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be read now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn selection(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    RawQuery(query): RawQuery,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    let request = Wanted::take(params, None)?.build(&store)?;
    page(&app, &asker, request, &headers, Some(&uri)).await
}

/// Reads events as `GET /stores/{store}/events` does, for queries that are too long for an address.
#[utoipa::path(post, path = "/stores/{store}/events/read", tag = "read",
    params(("store" = String, Path, description = "The store")),
    request_body = ReadBody,
    responses(
        (status = 200, description = "A page of events", content(
            (EventsPage = "application/json"), (Vec<Object> = "application/cloudevents-batch+json"),
        )),
        (status = 400, description = "`field` names the member that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or stream", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "What is stored is damaged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be read now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn long(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    params.finish()?;
    require_json(&headers)?;
    let body: ReadBody = object(&payload.bytes)?;
    let request = body.into_wanted()?.build(&store)?;
    page(&app, &asker, request, &headers, None).await
}

/// One event of a stream.
#[utoipa::path(get, path = "/stores/{store}/streams/{stream}/events/{revision}", tag = "read",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = String, Path, description = "The stream"),
        ("revision" = u64, Path, description = "Its revision"),
    ),
    responses(
        (status = 200, description = "The event", content((Event = "application/json"), (Object = "application/cloudevents+json"))),
        (status = 404, description = "No such store, stream or event", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The stream is deleted for good", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn of_stream(
    State(app): State<App>,
    asker: Asker,
    Segments((store, stream, revision)): Segments<(String, String, u64)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.finish()?;
    let selection = Selection::Stream(stream_name("stream", &stream)?);
    single(&app, &asker, &store, selection, Place::Revision(Revision(revision)), &headers).await
}

/// One event of the store, also of the store's own.
#[utoipa::path(get, path = "/stores/{store}/events/{position}", tag = "read",
    params(
        ("store" = String, Path, description = "The store"),
        ("position" = u64, Path, description = "Its position"),
    ),
    responses(
        (status = 200, description = "The event", content((Event = "application/json"), (Object = "application/cloudevents+json"))),
        (status = 404, description = "No such store or event", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn at_position(
    State(app): State<App>,
    asker: Asker,
    Segments((store, position)): Segments<(String, u64)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.finish()?;
    single(&app, &asker, &store, Selection::All, Place::Position(Position(position)), &headers).await
}

async fn single(
    app: &App,
    asker: &Asker,
    store: &str,
    selection: Selection,
    place: Place,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let mut request = ReadEvents::new(store, selection);
    (request.from, request.until, request.limit, request.with_system) = (Some(place), Some(place), 1, true);
    let read = app.broker()?.read_events(&asker.0, request).await?;
    let missing = || {
        Problem::of(
            Kind::UnknownEvent,
            "there is no such event: it was not appended yet, or is not shown any more",
        )
    };
    let event = read.events.first().ok_or_else(missing)?;
    let mut body = Vec::with_capacity(event.size_bytes() + 256);
    if cloud::wants(headers, false) {
        cloud::write(&mut body, event)?;
        return Ok(answer::typed(StatusCode::OK, annals_event::json::MEDIA_TYPE, body));
    }
    outgoing::write(&mut body, event);
    Ok(answer::json(StatusCode::OK, body))
}

/// Reads, and answers. `uri` is that of the request, for the way to the next page.
async fn page(
    app: &App,
    asker: &Asker,
    request: ReadEvents,
    headers: &HeaderMap,
    uri: Option<&axum::http::Uri>,
) -> Result<Response, Problem> {
    let broker = app.broker()?;
    let name = match &request.selection {
        Selection::Stream(name) => Some(name.clone()),
        _ => None,
    };
    let room = app.answers().take(request.bytes_max).await;
    let read = broker.read_events(&asker.0, request).await?;
    let bytes: usize = read.events.iter().map(RecordedEvent::size_bytes).sum();
    let room = Room::shrink(room, bytes);
    let as_cloud_events = cloud::wants(headers, true);
    let mut body = Vec::with_capacity(bytes + 128 * read.events.len() + 128);
    let content_type = if as_cloud_events {
        write_batch(&mut body, &read.events)?;
        annals_event::json::BATCH_MEDIA_TYPE
    } else {
        write_page(&mut body, &read, name.as_ref());
        "application/json"
    };
    let next = uri.zip(read.next).map(|(uri, next)| next_page(uri, next));
    let response = answer::typed(StatusCode::OK, content_type, Body::new(Held::new(body, room)));
    Ok(answer::with_next(response, next.as_deref()))
}

fn write_batch(into: &mut Vec<u8>, events: &[RecordedEvent]) -> Result<(), Problem> {
    into.push(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        cloud::write(into, event)?;
    }
    into.push(b']');
    Ok(())
}

fn write_page(into: &mut Vec<u8>, read: &EventsRead, stream: Option<&StreamName>) {
    into.extend_from_slice(b"{\"events\":[");
    for (index, event) in read.events.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        outgoing::write(into, event);
    }
    into.extend_from_slice(b"],\"next\":");
    outgoing::number_or_null(into, read.next.map(place_number));
    into.extend_from_slice(b",\"end\":");
    outgoing::number(into, read.end.0);
    if let Some((state, name)) = read.stream.zip(stream) {
        into.extend_from_slice(b",\"stream\":{\"name\":");
        outgoing::text(into, name.as_str());
        outgoing::member(into, "state", state_word(state));
        into.extend_from_slice(b",\"last_revision\":");
        outgoing::number_or_null(into, state.last().map(|revision| revision.0));
        into.push(b'}');
    }
    into.push(b'}');
}

/// A read goes on at an event and never at a time.
pub(crate) fn place_number(place: Place) -> u64 {
    match place {
        Place::Revision(revision) => revision.0,
        Place::Position(position) => position.0,
        Place::Time(_) => 0,
    }
}

/// The address of the next page: the same, but for where it begins.
fn next_page(uri: &axum::http::Uri, next: Place) -> String {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let kept = pairs.filter(|(name, _)| !["from", "from_position", "from_time"].contains(&&**name));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept).append_pair("from", &place_number(next).to_string());
    format!("{}?{}", uri.path(), query.finish())
}

/// The position of the last event of a store, and where it ends.
pub(crate) async fn head(app: &App, asker: &Asker, store: &str) -> Result<Position, Problem> {
    let mut request = ReadEvents::new(store, Selection::All);
    // Behind every event: nothing is read but where the store ends.
    (request.from, request.limit) = (Some(Place::Position(Position(u64::MAX / 2))), 1);
    debug_assert_eq!(request.direction, Direction::Forward);
    let read: Result<EventsRead, ReadEventsError> = app.broker()?.read_events(&asker.0, request).await;
    Ok(read?.end)
}
