//! Appending events: to one stream, to several at once, and wherever a CloudEvent says.

use annals_broker::api::Caller;
use annals_broker::api::stores::{
    AppendEvents, AppendEventsError, Appended, Condition, CreateStoreError, EventPlace, Expected, Guard,
    NewEvent as BrokerEvent, Position, StreamName, WriteStream,
};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use super::query::QueryBody;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::event::cloud::{self, Marks, Mode};
use crate::event::incoming::{self, Destination, NewEvent};
use crate::event::outgoing::{number, text};
use crate::family::Family;
use crate::input::{ExpectedMember, object, require_json, stream_name};
use crate::outcome::append_problem;
use crate::query::Params;
use crate::segments::Segments;
use crate::{Problem, answer};

/// The store of `POST /events` if the request names none.
const DEFAULT_STORE: &str = "events";

#[derive(OpenApi)]
#[openapi(
    paths(to_stream, to_many, anywhere),
    components(schemas(AppendResult, NewEvent<'static>)),
    tags((name = "append", description = "Append events, atomically and durably"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .post("/stores/{store}/streams/{stream}/events", to_stream)
        .post("/stores/{store}/append", to_many)
        .post("/events", anywhere)
}

/// An append to several streams: everything of it happens, or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppendMany<'a> {
    /// The events, by stream. A stream occurs once.
    #[serde(borrow)]
    writes: Vec<WriteMember<'a>>,
    /// Streams that are only read, and must still be as they were.
    #[serde(default)]
    guards: Vec<GuardMember>,
    /// Queries that must not find anything new.
    #[serde(default)]
    conditions: Vec<ConditionMember>,
}

/// The events of one stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMember<'a> {
    /// The stream.
    #[schema(example = "order-1")]
    stream: String,
    /// `any` (the default), `no_stream`, `exists`, or the revision of the last event.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "no_stream")]
    expected: ExpectedMember,
    /// The events, in order.
    #[serde(borrow)]
    events: Vec<NewEvent<'a>>,
}

/// What must be true of a stream that is not written to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardMember {
    /// The stream.
    stream: String,
    /// `no_stream`, `exists`, or the revision of the last event.
    #[schema(value_type = String)]
    expected: ExpectedMember,
}

/// That nothing which a query finds is behind a position.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionMember {
    query: QueryBody,
    /// Up to where it was read. Without it: nothing at all may be found.
    #[serde(default)]
    after: Option<u64>,
}

/// What was appended. Described here; it is written by hand.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct AppendResult {
    /// Position of the first event.
    first_position: u64,
    /// Position of the last event.
    last_position: u64,
    /// The streams that were written to, in the order of the request.
    streams: Vec<StreamResult>,
    /// The same append was made before; these are the places of the first time.
    repeated: bool,
}

/// Where a stream stands now.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct StreamResult {
    /// The stream.
    stream: String,
    /// Revision of its last event of this append.
    last_revision: u64,
}

/// Appends to one stream: JSON of our own (one event or an array of them), or CloudEvents in binary, structured or batch mode.
#[utoipa::path(post, path = "/stores/{store}/streams/{stream}/events", tag = "append",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = String, Path, description = "The stream"),
        ("expected" = Option<String>, Query, description = "`any` (the default), `no_stream`, `exists`, or the revision of the last event"),
        ("tag" = Option<Vec<String>>, Query, description = "A tag for all events; only for CloudEvents"),
        ("encrypt_for" = Option<String>, Query, description = "Encrypts the data of all events for a subject; only for CloudEvents"),
    ),
    request_body(content(
        (NewEvent<'static> = "application/json"),
        (Object = "application/cloudevents+json"),
        (Vec<Object> = "application/cloudevents-batch+json"),
    ), description = "One event, or an array of events. In binary mode: the data, with the attributes in `ce-` headers"),
    responses(
        (status = 201, description = "Appended and durable", body = AppendResult),
        (status = 200, description = "It had been appended before", body = AppendResult),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such store", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The stream is not as expected (`expected`, `actual`), or some ids are taken", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "The stream is deleted for good", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The media type is not known", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken: try again after `Retry-After` seconds", body = Problem,
            content_type = "application/problem+json"),
    )
)]
async fn to_stream(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, stream)): Segments<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    let expected = params.expected()?;
    let marks = Marks::take(&mut params)?;
    params.finish()?;
    let name = stream_name("stream", &stream)?;
    let to = Destination { store: &store, stream: &stream };
    let events = events(&app, &headers, &payload, &marks, &to)?;
    let names = [name.clone()];
    let layout = Layout { mode: Mode::of(&headers)?, is_array: events.len() > 1 };
    let request = AppendEvents::to_stream(&store, name, expected, events);
    let appended = app.broker()?.append_events(&caller, request).await;
    let named = |at: EventPlace, member: &str| layout.field(at.event, member);
    let appended = appended.map_err(|error| append_problem(error, &named))?;
    Ok(result(&appended, &names))
}

/// How the events of a request lie in it.
struct Layout {
    mode: Mode,
    /// Of JSON of our own.
    is_array: bool,
}

impl Layout {
    /// Names a member of the event at `index`.
    fn field(&self, index: usize, member: &str) -> String {
        let is_array = match self.mode {
            // CloudEvents are given their tags by a parameter.
            Mode::Binary | Mode::Structured | Mode::Batch if member.starts_with("tags") => {
                return "tag".to_owned();
            }
            Mode::Binary if member.is_empty() => false,
            Mode::Binary => return format!("{}{member}", annals_event::http::PREFIX),
            Mode::Structured => false,
            Mode::Batch => true,
            Mode::Native => self.is_array,
        };
        let path = if is_array { format!("[{index}]") } else { String::new() };
        incoming::join(&path, member)
    }
}

/// The events of a request that all go to one stream.
fn events(
    app: &App,
    headers: &HeaderMap,
    payload: &Payload,
    marks: &Marks,
    to: &Destination<'_>,
) -> Result<Vec<BrokerEvent>, Problem> {
    match Mode::of(headers)? {
        Mode::Native => {
            check_unmarked(marks)?;
            let events = incoming::parse(&payload.bytes)?;
            let one = events.len() == 1;
            let build = |(index, event): (usize, NewEvent<'_>)| {
                event.build(to, app.clock(), &|| if one { String::new() } else { format!("[{index}]") })
            };
            events.into_iter().enumerate().map(build).collect()
        }
        mode => {
            let events = cloud::decode(mode, headers, payload.bytes.clone())?;
            Ok(events.into_iter().map(|event| marks.put_on(event)).collect())
        }
    }
}

fn check_unmarked(marks: &Marks) -> Result<(), Problem> {
    if marks.is_empty() {
        return Ok(());
    }
    let detail =
        "the parameters tag and encrypt_for are for CloudEvents: here each event has members for them";
    Err(Problem::invalid("tag", detail))
}

/// Appends to several streams under conditions, all or nothing.
#[utoipa::path(post, path = "/stores/{store}/append", tag = "append",
    params(("store" = String, Path, description = "The store")),
    request_body = AppendMany<'static>,
    responses(
        (status = 201, description = "Appended and durable", body = AppendResult),
        (status = 200, description = "It had been appended before", body = AppendResult),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such store", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A stream is not as expected, a condition does not hold, or some ids are taken", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "A stream is deleted for good", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken: try again after `Retry-After` seconds", body = Problem,
            content_type = "application/problem+json"),
    )
)]
async fn to_many(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    params.finish()?;
    require_json(&headers)?;
    let request: AppendMany<'_> = object(&payload.bytes)?;
    let mut writes = Vec::with_capacity(request.writes.len());
    for (at, write) in request.writes.into_iter().enumerate() {
        writes.push(write.build(&app, &store, at)?);
    }
    let names: Vec<StreamName> = writes.iter().map(|write| write.stream.clone()).collect();
    let mut guards = Vec::with_capacity(request.guards.len());
    for (at, guard) in request.guards.into_iter().enumerate() {
        let stream = stream_name(&format!("guards[{at}].stream"), &guard.stream)?;
        guards.push(Guard { stream, expected: guard.expected.0 });
    }
    let conditions = request.conditions.into_iter().map(ConditionMember::build).collect();
    let request = AppendEvents { store: store.into(), writes, guards, conditions };
    let appended = app.broker()?.append_events(&caller, request).await?;
    Ok(result(&appended, &names))
}

impl WriteMember<'_> {
    fn build(self, app: &App, store: &str, at: usize) -> Result<WriteStream, Problem> {
        let stream = stream_name(&format!("writes[{at}].stream"), &self.stream)?;
        let to = Destination { store, stream: &self.stream };
        let build = |(index, event): (usize, NewEvent<'_>)| {
            event.build(&to, app.clock(), &|| format!("writes[{at}].events[{index}]"))
        };
        let events = self.events.into_iter().enumerate().map(build).collect::<Result<_, _>>()?;
        Ok(WriteStream { stream, expected: self.expected.0, events })
    }
}

impl ConditionMember {
    fn build(self) -> Condition {
        Condition { query: self.query.build(), after: self.after.map(Position) }
    }
}

/// Appends events that say themselves where they go: to the stream that is named by their subject or, without one, by their
/// source. For senders of CloudEvents that know one address.
///
/// The store `events`, if none is named, is made when it is first used. A batch is one append, all or nothing.
#[utoipa::path(post, path = "/events", tag = "append",
    params(
        ("store" = Option<String>, Query, description = "The store; `events` by default"),
        ("stream" = Option<String>, Query, description = "The stream; by default that of each event's subject, or else source"),
        ("expected" = Option<String>, Query, description = "What the stream must be like; only with `stream`"),
        ("tag" = Option<Vec<String>>, Query, description = "A tag for all events"),
        ("encrypt_for" = Option<String>, Query, description = "Encrypts the data of all events for a subject"),
    ),
    request_body(content(
        (Object = "application/cloudevents+json"),
        (Vec<Object> = "application/cloudevents-batch+json"),
        (NewEvent<'static> = "application/json"),
    ), description = "A CloudEvent, a batch of them, or JSON of our own. In binary mode: the data, with the attributes in `ce-` headers"),
    responses(
        (status = 201, description = "Appended and durable", body = AppendResult),
        (status = 200, description = "It had been appended before", body = AppendResult),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such store", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The stream is not as expected, or some ids are taken", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "A stream is deleted for good", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The media type is not known", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken: try again after `Retry-After` seconds", body = Problem,
            content_type = "application/problem+json"),
    )
)]
async fn anywhere(
    State(app): State<App>,
    Asker(caller): Asker,
    mut params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    let (store, stream) = (params.take("store")?, params.take("stream")?);
    let expected = params.expected()?;
    let marks = Marks::take(&mut params)?;
    params.finish()?;
    if stream.is_none() && expected != Expected::Any {
        return Err(Problem::invalid(
            "expected",
            "expected is about one stream: name it with the parameter stream",
        ));
    }
    let is_default = store.is_none();
    let store = store.unwrap_or_else(|| DEFAULT_STORE.to_owned());
    let events = addressed(&app, &headers, &payload, &marks, (&store, stream.as_deref()))?;
    let (writes, order) = by_stream(events, expected)?;
    let names: Vec<StreamName> = writes.iter().map(|write| write.stream.clone()).collect();
    let request = AppendEvents { store: store.into(), writes, guards: Vec::new(), conditions: Vec::new() };
    let appended = if is_default {
        append_to_default(&app, &caller, request).await?
    } else {
        app.broker()?.append_events(&caller, request).await
    };
    let layout = Layout { mode: Mode::of(&headers)?, is_array: true };
    let named = |at: EventPlace, member: &str| {
        let index = order.get(at.write).and_then(|write| write.get(at.event));
        layout.field(index.copied().unwrap_or_default(), member)
    };
    let appended = appended.map_err(|error| append_problem(error, &named))?;
    Ok(result(&appended, &names))
}

/// Events with the names of their streams.
fn addressed(
    app: &App,
    headers: &HeaderMap,
    payload: &Payload,
    marks: &Marks,
    (store, stream): (&str, Option<&str>),
) -> Result<Vec<(String, BrokerEvent)>, Problem> {
    match Mode::of(headers)? {
        Mode::Native => {
            check_unmarked(marks)?;
            let mut built = Vec::new();
            for (index, event) in incoming::parse(&payload.bytes)?.into_iter().enumerate() {
                let path = || format!("[{index}]");
                let missing = || {
                    Problem::invalid(
                        &incoming::join(&path(), "subject"),
                        "without the parameter stream, the event needs a subject",
                    )
                };
                let to = stream.or(event.subject()).ok_or_else(missing)?.to_owned();
                let destination = Destination { store, stream: &to };
                let event = event.build(&destination, app.clock(), &path)?;
                built.push((to, event));
            }
            Ok(built)
        }
        mode => {
            let events = cloud::decode(mode, headers, payload.bytes.clone())?;
            let to =
                |event: &annals_event::Event| stream.or(event.subject()).unwrap_or(event.source()).to_owned();
            Ok(events.into_iter().map(|event| (to(&event), marks.put_on(event))).collect())
        }
    }
}

/// Puts the events of each stream together, in the order in which the streams come. Also tells which event of the request each
/// of them was.
fn by_stream(
    events: Vec<(String, BrokerEvent)>,
    expected: Expected,
) -> Result<(Vec<WriteStream>, Vec<Vec<usize>>), Problem> {
    let (mut writes, mut order): (Vec<WriteStream>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
    let mut places = std::collections::HashMap::new();
    for (index, (name, event)) in events.into_iter().enumerate() {
        let stream = stream_name("subject", &name)?;
        let place = *places.entry(name).or_insert(writes.len());
        if place == writes.len() {
            writes.push(WriteStream { stream, expected, events: Vec::new() });
            order.push(Vec::new());
        }
        if let (Some(write), Some(order)) = (writes.get_mut(place), order.get_mut(place)) {
            write.events.push(event);
            order.push(index);
        }
    }
    Ok((writes, order))
}

/// Makes the default store if it is not there.
async fn append_to_default(
    app: &App,
    caller: &Caller,
    request: AppendEvents,
) -> Result<Result<Appended, AppendEventsError>, Problem> {
    let broker = app.broker()?;
    match broker.append_events(caller, request.clone()).await {
        Err(AppendEventsError::UnknownStore(_)) => {}
        done => return Ok(done),
    }
    match broker.create_store(caller, &request.store).await {
        // Somebody else may have made it; a topic of that name shows below.
        Ok(_) | Err(CreateStoreError::AlreadyExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(broker.append_events(caller, request).await)
}

fn result(appended: &Appended, streams: &[StreamName]) -> Response {
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(b"{\"first_position\":");
    number(&mut body, appended.first_position.0);
    body.extend_from_slice(b",\"last_position\":");
    number(&mut body, appended.last_position.0);
    body.extend_from_slice(b",\"streams\":[");
    for (index, (stream, revision)) in streams.iter().zip(&appended.last_revisions).enumerate() {
        body.extend_from_slice(if index == 0 { b"{\"stream\":" } else { b",{\"stream\":" });
        text(&mut body, stream.as_str());
        body.extend_from_slice(b",\"last_revision\":");
        number(&mut body, revision.0);
        body.push(b'}');
    }
    body.extend_from_slice(if appended.repeated {
        b"],\"repeated\":true}"
    } else {
        b"],\"repeated\":false}"
    });
    answer::json(if appended.repeated { StatusCode::OK } else { StatusCode::CREATED }, body)
}
