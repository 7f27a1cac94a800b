//! Following events as they come, as server-sent events.
//!
//! Invariants: events come in the order of the store, none is left out and none comes twice, also when a reader goes on with
//! the last id that it saw. A reader that takes nothing is given nothing more, and after a while its connection is closed; it
//! holds nobody up, since nothing is pushed: the next events are read when the last ones are sent.
//!
//! The id of an event is its position. So it is also where to go on, whatever the selection.
//!
//! Source: WHATWG HTML, section 9.2, server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use annals_broker::Subscription;
use annals_broker::api::stores::{
    Delivery, Place, Position, ReadEventsError, Revision, Selection, SubscribeEvents,
};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::OpenApi;

use super::query::Choice;
use super::read::head;
use crate::app::{App, Asker};
use crate::event::outgoing;
use crate::family::Family;
use crate::problem::Kind;
use crate::query::Params;
use crate::segments::Segments;
use crate::{Problem, answer};

/// Where a reader goes on, as browsers send it by themselves.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a reader should wait before it connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";

#[derive(OpenApi)]
#[openapi(paths(subscribe), tags((name = "subscribe", description = "Follow events as they come")))]
struct Document;

/// Routes and description.
pub(crate) fn family() -> Family {
    Family::new(Document::openapi()).get("/stores/{store}/subscribe", subscribe)
}

/// Follows events: everything from a place on, and then what comes, as server-sent events.
///
/// Each event is a message whose id is its position and whose data is the event. `caught-up` says that everything up to here
/// was given. Go on with `Last-Event-ID`: nothing is skipped or repeated.
#[utoipa::path(get, path = "/stores/{store}/subscribe", tag = "subscribe",
    params(
        ("store" = String, Path, description = "The store"),
        ("stream" = Option<String>, Query, description = "Events of one stream, which need not exist yet. At most one of this and the next six; none is all"),
        ("stream_prefix" = Option<String>, Query, description = "Events of streams whose names start so"),
        ("category" = Option<String>, Query, description = "Events of streams whose names start so and go on with `-`"),
        ("type" = Option<String>, Query, description = "Events of one type"),
        ("type_prefix" = Option<String>, Query, description = "Events whose types start so"),
        ("tag" = Option<String>, Query, description = "Events with this tag"),
        ("query" = Option<String>, Query, description = "Events of types and with tags: a `QueryBody` as JSON"),
        ("system" = Option<bool>, Query, description = "Gives the store's own events as well"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last position that was seen. Wins over the parameters"),
        ("after" = Option<u64>, Query, description = "The last position that was seen"),
        ("after_revision" = Option<u64>, Query, description = "The last revision that was seen; with `stream`"),
        ("after_time" = Option<String>, Query, description = "Begins behind this moment"),
        ("from" = Option<String>, Query, description = "`start` (the default), or `end`: only what comes"),
    ),
    responses(
        (status = 200, description = "A stream of events without an end", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`field` names the parameter that is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such store", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "There are too many subscribers", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server has just started", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn subscribe(
    State(app): State<App>,
    asker: Asker,
    Segments(store): Segments<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selection = Choice::take(&mut params)?.build()?;
    let with_system = params.flag("system")?;
    let begin = Begin::take(&mut params, &headers, &selection)?;
    params.finish()?;
    let after = begin.place(&app, &asker, &store).await?;
    let full = || Problem::of(Kind::TooManyRequests, "there are too many subscribers").retry_after(5);
    let turn = app.subscriber().ok_or_else(full)?;
    let request = SubscribeEvents { store: store.into(), selection, after, with_system };
    let subscription = app.broker()?.subscribe_events(&asker.0, request).await?;
    let keep_alive = app.options().keep_alive;
    let feed = Feed { app, subscription, keep_alive, is_begun: false, is_over: false, _turn: turn };
    let frames = futures_util::stream::unfold(feed, |mut feed| async {
        let frame = feed.next().await?;
        Some((Ok::<_, Infallible>(frame), feed))
    });
    let mut response = answer::typed(StatusCode::OK, "text/event-stream", Body::from_stream(frames));
    // Proxies that gather answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a subscriber begins.
pub(crate) enum Begin {
    Start,
    End,
    After(Place),
}

impl Begin {
    fn take(params: &mut Params, headers: &HeaderMap, selection: &Selection) -> Result<Self, Problem> {
        let resumed = last_event_id(headers)?;
        let begin = Self::choose(
            params.number("after")?,
            params.number("after_revision")?,
            params.time_ms("after_time")?,
            params.take("from")?.as_deref(),
            selection,
        )?;
        Ok(resumed.map_or(begin, |position| Self::After(Place::Position(Position(position)))))
    }

    /// From the ways of saying it, of which one is enough.
    pub(crate) fn choose(
        position: Option<u64>,
        revision: Option<u64>,
        time_ms: Option<i64>,
        from: Option<&str>,
        selection: &Selection,
    ) -> Result<Self, Problem> {
        if revision.is_some() && !matches!(selection, Selection::Stream(_)) {
            let detail = "revisions are only of one stream: name a position or a time";
            return Err(Problem::invalid("after_revision", detail));
        }
        let from = match from {
            None => None,
            Some("start") => Some(Self::Start),
            Some("end") => Some(Self::End),
            Some(_) => return Err(Problem::invalid("from", "from must be start or end")),
        };
        let mut said = [
            position.map(|position| Self::After(Place::Position(Position(position)))),
            revision.map(|revision| Self::After(Place::Revision(Revision(revision)))),
            time_ms.map(|time_ms| Self::After(Place::Time(time_ms))),
            from,
        ]
        .into_iter()
        .flatten();
        match (said.next(), said.next()) {
            (None, _) => Ok(Self::Start),
            (Some(begin), None) => Ok(begin),
            (Some(_), Some(_)) => {
                Err(Problem::invalid("after", "one of after, after_revision, after_time and from is enough"))
            }
        }
    }

    /// The last place that is left out.
    ///
    /// # Errors
    /// A position that the store has not reached is one of another store: nothing would come for long, and then from its
    /// middle.
    pub(crate) async fn place(self, app: &App, asker: &Asker, store: &str) -> Result<Option<Place>, Problem> {
        let place = match self {
            Self::Start => return Ok(None),
            Self::End => {
                let end = head(app, asker, store).await?;
                return Ok(end.0.checked_sub(1).map(|last| Place::Position(Position(last))));
            }
            Self::After(place) => place,
        };
        if let Place::Position(position) = place {
            let end = head(app, asker, store).await?;
            if position >= end {
                let detail = format!(
                    "position {position} is not in store {store}, which ends at {end}: was the store made anew?"
                );
                return Err(Problem::invalid("after", detail));
            }
        }
        Ok(Some(place))
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Problem::invalid("Last-Event-ID", "Last-Event-ID must be the position of an event");
    text.parse().map(Some).map_err(wrong)
}

/// What is sent to one subscriber.
struct Feed {
    app: App,
    subscription: Subscription,
    keep_alive: Duration,
    is_begun: bool,
    is_over: bool,
    _turn: OwnedSemaphorePermit,
}

impl Feed {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.is_begun {
            self.is_begun = true;
            return Some(Bytes::from_static(RETRY));
        }
        tokio::select! {
            delivered = self.subscription.next() => Some(self.frame(delivered)),
            () = self.app.stopped() => None,
            () = tokio::time::sleep(self.keep_alive) => Some(Bytes::from_static(b": keep-alive\n\n")),
        }
    }

    fn frame(&mut self, delivered: Result<Delivery, ReadEventsError>) -> Bytes {
        let mut frame = Vec::new();
        match delivered {
            Ok(Delivery::Events(events)) => {
                let mut event_json = Vec::new();
                for event in &events {
                    event_json.clear();
                    outgoing::write(&mut event_json, event);
                    message(&mut frame, None, Some(event.position()), &event_json);
                }
            }
            Ok(Delivery::CaughtUp { after }) => {
                let mut data = b"{\"position\":".to_vec();
                outgoing::number_or_null(&mut data, after.map(|position| position.0));
                data.push(b'}');
                message(&mut frame, Some("caught-up"), after, &data);
            }
            Err(error) => {
                self.is_over = true;
                let problem = serde_json::to_vec(&Problem::from(error)).unwrap_or_default();
                message(&mut frame, Some("error"), None, &problem);
            }
        }
        frame.into()
    }
}

/// Writes one message. Line ends within the data become lines of their own, as the format asks; in JSON they can only be
/// white space.
pub(crate) fn message(into: &mut Vec<u8>, name: Option<&str>, id: Option<Position>, data: &[u8]) {
    if let Some(name) = name {
        into.extend_from_slice(b"event: ");
        into.extend_from_slice(name.as_bytes());
        into.push(b'\n');
    }
    if let Some(id) = id {
        into.extend_from_slice(b"id: ");
        outgoing::number(into, id.0);
        into.push(b'\n');
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        into.extend_from_slice(b"data: ");
        into.extend_from_slice(line);
        into.push(b'\n');
    }
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: Option<&str>, id: Option<u64>, data: &str) -> String {
        let mut frame = Vec::new();
        message(&mut frame, name, id.map(Position), data.as_bytes());
        String::from_utf8(frame).unwrap()
    }

    #[test]
    fn messages_are_lines() {
        assert_eq!(written(None, Some(7), "{}"), "id: 7\ndata: {}\n\n");
        assert_eq!(written(Some("caught-up"), None, "1"), "event: caught-up\ndata: 1\n\n");
        assert_eq!(written(None, None, "{\n\"a\":\r\n1}"), "data: {\ndata: \"a\":\ndata: \ndata: 1}\n\n");
    }

    #[test]
    fn the_last_event_id_is_a_position() {
        let read = |text: &'static str| {
            last_event_id(&HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(text))]))
        };
        assert_eq!(last_event_id(&HeaderMap::new()), Ok(None));
        assert_eq!((read(""), read("12")), (Ok(None), Ok(Some(12))));
        assert!(read("abc").is_err());
    }
}
