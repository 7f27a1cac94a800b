//! Persistent subscriptions: consumers that share the events of a selection.

mod consume;
mod parked;

pub(crate) use consume::wait;

use std::sync::Arc;

use annals_broker::api::stores::Selection;
use annals_broker::api::subscriptions::{NewSubscription, Options, SubscriptionDescription};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::query::{Choice, QueryBody};
use super::subscribe::Begin;
use crate::Problem;
use crate::app::{App, Asker};
use crate::body::Payload;
use crate::family::Family;
use crate::input::{object, require_json};
use crate::outcome::unknown_subscription;
use crate::query::{Params, parse_time_ms};
use crate::segments::Segments;

#[derive(OpenApi)]
#[openapi(
    paths(list, create, describe, change, delete),
    tags((name = "subscriptions", description = "Persistent subscriptions: consumers that share events, with acknowledgements"))
)]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi())
        .get("/stores/{store}/subscriptions", list)
        .post("/stores/{store}/subscriptions", create)
        .get("/stores/{store}/subscriptions/{name}", describe)
        .patch("/stores/{store}/subscriptions/{name}", change)
        .delete("/stores/{store}/subscriptions/{name}", delete)
        .and(consume::family())
        .and(parked::family())
}

/// Which events: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SelectionBody {
    /// All of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    /// Those of one stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Those of streams whose names start so.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_prefix: Option<String>,
    /// Those of all streams of a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// Those of one type.
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    type_name: Option<String>,
    /// Those whose types start so.
    #[serde(skip_serializing_if = "Option::is_none")]
    type_prefix: Option<String>,
    /// Those with one tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// Those that a query describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<QueryBody>,
}

impl SelectionBody {
    fn build(self) -> Result<Selection, Problem> {
        let all = self.all == Some(true);
        let choice = Choice {
            stream: self.stream,
            stream_prefix: self.stream_prefix,
            category: self.category,
            type_name: self.type_name,
            type_prefix: self.type_prefix,
            tag: self.tag,
            query: self.query,
        };
        let selection = choice.build().map_err(|problem| super::query::inside("selection", problem))?;
        if all == (selection == Selection::All) {
            return Ok(selection);
        }
        Err(Problem::invalid(
            "selection",
            "selection must hold exactly one member, `\"all\": true` for everything",
        ))
    }

    fn of(selection: &Selection) -> Self {
        let text = |name: &Arc<str>| Some(name.to_string());
        let none = Self::default();
        match selection {
            Selection::All => Self { all: Some(true), ..none },
            Selection::Stream(name) => Self { stream: Some(name.to_string()), ..none },
            Selection::StreamPrefix(prefix) => Self { stream_prefix: text(prefix), ..none },
            Selection::Category(name) => Self { category: text(name), ..none },
            Selection::Type(name) => Self { type_name: text(name), ..none },
            Selection::TypePrefix(prefix) => Self { type_prefix: text(prefix), ..none },
            Selection::Tag(tag) => Self { tag: text(tag), ..none },
            Selection::Query(query) => Self { query: Some(QueryBody::of(query)), ..none },
        }
    }
}

/// The choices of a subscription. What is left out is as by default or, in a change, as before.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OptionsBody {
    /// How long a consumer has for an event, in milliseconds. Default 30,000.
    ack_timeout_ms: Option<u64>,
    /// How often an event is given before it is parked; 0 for without end. Default 10.
    deliveries_max: Option<u32>,
    /// Events that one consumer may have at a time. Default 32.
    in_flight_max: Option<usize>,
    /// Events that are read ahead of the consumers, open ones included. Default 500.
    buffer_max: Option<usize>,
    /// Gives the events of one stream to one consumer at a time, in order. Default false.
    ordered_by_stream: Option<bool>,
}

/// The most events that a subscription may have in hand.
const EVENTS_MAX: usize = 100_000;

impl OptionsBody {
    fn over(self, before: Options) -> Result<Options, Problem> {
        let in_range = |name: &str, value: usize| match value {
            1..=EVENTS_MAX => Ok(value),
            _ => Err(Problem::invalid(name, format!("{name} must be from 1 to {EVENTS_MAX}"))),
        };
        let ack_timeout_ms = self.ack_timeout_ms.unwrap_or(before.ack_timeout_ms);
        if ack_timeout_ms == 0 {
            return Err(Problem::invalid("ack_timeout_ms", "ack_timeout_ms must be at least 1"));
        }
        Ok(Options {
            ack_timeout_ms,
            deliveries_max: self.deliveries_max.unwrap_or(before.deliveries_max),
            in_flight_max: in_range("in_flight_max", self.in_flight_max.unwrap_or(before.in_flight_max))?,
            buffer_max: in_range("buffer_max", self.buffer_max.unwrap_or(before.buffer_max))?,
            ordered_by_stream: self.ordered_by_stream.unwrap_or(before.ordered_by_stream),
        })
    }
}

/// A subscription to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriptionBody {
    /// Its name within the store: 1 to 200 bytes.
    name: String,
    /// Which events. Default: all.
    #[serde(default)]
    selection: Option<SelectionBody>,
    /// The last position that is left out.
    #[serde(default)]
    after: Option<u64>,
    /// The last revision that is left out; for a stream.
    #[serde(default)]
    after_revision: Option<u64>,
    /// The last moment that is left out, RFC 3339.
    #[serde(default)]
    after_time: Option<String>,
    /// `start` (the default), or `end`: only what comes.
    #[serde(default)]
    from: Option<String>,
    /// Gives the store's own events as well.
    #[serde(default)]
    system: bool,
    #[serde(default)]
    options: OptionsBody,
}

/// A persistent subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Subscription {
    name: String,
    selection: SelectionBody,
    options: OptionsNow,
    status: StatusNow,
}

/// The choices of a subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OptionsNow {
    ack_timeout_ms: u64,
    deliveries_max: u32,
    in_flight_max: usize,
    buffer_max: usize,
    ordered_by_stream: bool,
}

/// How a subscription does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusNow {
    /// The store was looked through up to here.
    looked_to: u64,
    /// Everything below is acknowledged, skipped or parked.
    checkpoint: u64,
    /// Events that wait for a consumer.
    waiting: usize,
    /// Events that consumers have.
    leased: usize,
    /// Events that were put aside.
    parked: usize,
    /// How many consumers there are.
    consumers: usize,
}

impl From<SubscriptionDescription> for Subscription {
    fn from(found: SubscriptionDescription) -> Self {
        let (options, status) = (found.options, found.status);
        Self {
            name: found.name.to_string(),
            selection: SelectionBody::of(&found.selection),
            options: OptionsNow {
                ack_timeout_ms: options.ack_timeout_ms,
                deliveries_max: options.deliveries_max,
                in_flight_max: options.in_flight_max,
                buffer_max: options.buffer_max,
                ordered_by_stream: options.ordered_by_stream,
            },
            status: StatusNow {
                looked_to: status.looked_to.0,
                checkpoint: status.checkpoint.0,
                waiting: status.waiting,
                leased: status.leased,
                parked: status.parked,
                consumers: status.consumers,
            },
        }
    }
}

/// The persistent subscriptions of a store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Subscriptions {
    subscriptions: Vec<Subscription>,
}

/// All persistent subscriptions of a store, by name.
#[utoipa::path(get, path = "/stores/{store}/subscriptions", tag = "subscriptions",
    params(("store" = String, Path, description = "The store")),
    responses(
        (status = 200, description = "All of them", body = Subscriptions),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments(store): Segments<String>,
    params: Params,
) -> Result<Json<Subscriptions>, Problem> {
    params.finish()?;
    let found = app.broker()?.subscriptions(&caller, &store.into()).await?;
    Ok(Json(Subscriptions { subscriptions: found.into_iter().map(Subscription::from).collect() }))
}

/// Creates a persistent subscription. Durable when answered.
#[utoipa::path(post, path = "/stores/{store}/subscriptions", tag = "subscriptions",
    params(("store" = String, Path, description = "The store")),
    request_body = SubscriptionBody,
    responses(
        (status = 201, description = "It is created", body = Subscription, headers(("location" = String, description = "Its address"))),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Subscription>), Problem> {
    params.finish()?;
    require_json(&headers)?;
    let body: SubscriptionBody = object(&payload.bytes)?;
    let selection = body.selection.map_or(Ok(Selection::All), SelectionBody::build)?;
    let time_ms = body.after_time.map(|text| parse_time_ms("after_time", &text)).transpose()?;
    let begin = Begin::choose(body.after, body.after_revision, time_ms, body.from.as_deref(), &selection)?;
    let after = begin.place(&app, &asker, &store).await?;
    let options =
        body.options.over(Options::default()).map_err(|problem| super::query::inside("options", problem))?;
    let location = [&*store, "subscriptions", &body.name]
        .map(|segment| {
            form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
        })
        .join("/");
    let (store, name) = (store.into(), body.name.into());
    let request = NewSubscription { store, name, selection, after, with_system: body.system, options };
    let created = app.broker()?.create_subscription(&asker.0, request).await;
    let created = created.map_err(|error| in_selection(error.into()))?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/stores/{location}"))], Json(created.into())))
}

/// What is wrong with a selection is named as if it were the whole request.
fn in_selection(problem: Problem) -> Problem {
    let field = problem.members.get("field").and_then(|field| field.as_str()).unwrap_or_default();
    let is_selection = ["type", "tag"].contains(&field) || field.starts_with("query.");
    if is_selection { super::query::inside("selection", problem) } else { problem }
}

async fn find(
    app: &App,
    asker: &Asker,
    store: &Arc<str>,
    name: &str,
) -> Result<SubscriptionDescription, Problem> {
    let all = app.broker()?.subscriptions(&asker.0, store).await?;
    let found = all.into_iter().find(|subscription| *subscription.name == *name);
    found.ok_or_else(|| unknown_subscription(store, name))
}

/// One persistent subscription.
#[utoipa::path(get, path = "/stores/{store}/subscriptions/{name}", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    responses(
        (status = 200, description = "The subscription", body = Subscription),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn describe(
    State(app): State<App>,
    asker: Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
) -> Result<Json<Subscription>, Problem> {
    params.finish()?;
    Ok(Json(find(&app, &asker, &store.into(), &name).await?.into()))
}

/// Changes the choices of a persistent subscription. Durable when answered.
#[utoipa::path(patch, path = "/stores/{store}/subscriptions/{name}", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    request_body = OptionsBody,
    responses(
        (status = 200, description = "They are changed", body = Subscription),
        (status = 400, description = "`field` names what is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(app): State<App>,
    asker: Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Json<Subscription>, Problem> {
    params.finish()?;
    require_json(&headers)?;
    let body: OptionsBody = object(&payload.bytes)?;
    let store: Arc<str> = store.into();
    let before = find(&app, &asker, &store, &name).await?;
    let options = body.over(before.options)?;
    let changed = app.broker()?.change_subscription(&asker.0, &store, &name.into(), options).await?;
    Ok(Json(changed.into()))
}

/// Deletes a persistent subscription. Durable when answered.
#[utoipa::path(delete, path = "/stores/{store}/subscriptions/{name}", tag = "subscriptions",
    params(("store" = String, Path, description = "The store"), ("name" = String, Path, description = "The subscription")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "No such store or subscription", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No writes are taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(app): State<App>,
    Asker(caller): Asker,
    Segments((store, name)): Segments<(String, String)>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    app.broker()?.delete_subscription(&caller, &store.into(), &name.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
