//! Reading events, a page at a time.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::subscriptions::Selection;
use super::target::Target;
use super::{Client, ClientError, Repeat};
use crate::store::{Direction, Position, Revision};

/// Asks for a page of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReadRequest {
    /// Which events; none: all.
    #[serde(flatten, serialize_with = "selection")]
    pub selection: Selection,
    /// In which order.
    pub direction: Direction,
    /// The first event that may be given: its revision where one stream is read, its position otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Forward, the first event recorded then or later; backward, the last one recorded then or earlier. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_time: Option<String>,
    /// The last event that may be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The time of the last event that may be given: the state as of then. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_time: Option<String>,
    /// How many at most; 1,000 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Gives the events of Annals' own as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// All events are asked for by asking for nothing else.
fn selection<S: serde::Serializer>(selection: &Selection, serializer: S) -> Result<S::Ok, S::Error> {
    match selection {
        Selection::All(_) => serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?),
        other => other.serialize(serializer),
    }
}

/// Some events, and where to go on.
#[derive(Clone, Debug, Deserialize)]
pub struct EventPage {
    /// The events. May be none although there are more.
    pub events: Vec<Event>,
    /// [`ReadRequest::from`] of the next page; none at the end of what there is now.
    pub next: Option<u64>,
    /// The position behind the last event of the store.
    pub end: Position,
    /// What the stream is like, where one is read.
    #[serde(default)]
    pub stream: Option<StreamNow>,
}

/// What a stream is like that is read.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamNow {
    /// Its name.
    pub name: String,
    /// `exists`, as nothing else is read.
    pub state: String,
    /// The revision of its last event, whether that event is still shown or not.
    pub last_revision: Option<Revision>,
}

#[derive(Deserialize)]
struct Head {
    position: Option<Position>,
}

impl Client {
    /// Reads a page of events.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn read(&self, store: &str, request: &ReadRequest) -> Result<EventPage, ClientError> {
        let target = Target::of(&["stores", store, "events", "read"]);
        self.send(Method::POST, target, request, Repeat::Always).await
    }

    /// One event of a stream.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn event_at(
        &self,
        store: &str,
        stream: &str,
        revision: Revision,
    ) -> Result<Event, ClientError> {
        let revision = revision.to_string();
        self.get(Target::of(&["stores", store, "streams", stream, "events", &revision])).await
    }

    /// The position of the last event of a store.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn head(&self, store: &str) -> Result<Option<Position>, ClientError> {
        let head: Head = self.get(Target::of(&["stores", store, "head"])).await?;
        Ok(head.position)
    }

    /// The position of the last event as soon as there is one behind `position`, or when `wait` is over, at most a minute.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn head_beyond(
        &self,
        store: &str,
        position: Option<Position>,
        wait: std::time::Duration,
    ) -> Result<Option<Position>, ClientError> {
        let target = Target::of(&["stores", store, "head"]).with_some("beyond", position);
        let head: Head = self.get_waiting(target.with("wait_ms", wait.as_millis()), wait).await?;
        Ok(head.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_only_what_is_asked() {
        let all = ReadRequest { limit: Some(5), ..Default::default() };
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"{"direction":"forward","limit":5}"#);
        let selection = Selection::Stream("a-1".into());
        let stream =
            ReadRequest { selection, direction: Direction::Backward, from: Some(3), ..Default::default() };
        assert_eq!(
            serde_json::to_string(&stream).unwrap(),
            r#"{"stream":"a-1","direction":"backward","from":3}"#
        );
    }
}
