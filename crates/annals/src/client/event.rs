//! Events as the server's HTTP API has them, with everything that an event can hold.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::target::Target;
use super::{Client, ClientError, Repeat};
use crate::Tag;
use crate::store::{Expected, Position, Query, Revision};

/// An event that is to be stored.
///
/// What is not given gets a default: a new id, the store as source, the stream as subject, now as time. Give it an id: an
/// append that is repeated is recognised by it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// What tells it from all others of its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub name: String,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened, as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The media type of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The schema of its data, a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// Its data, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Its data in Base64, where it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// `correlationid`, `causationid`, `schemaversion` and whatever else: names are lower-case letters and digits, values text,
    /// whole numbers or truth values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    /// What it can be found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Encrypts its data with the key of this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt_for: Option<String>,
}

/// An event as the server gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its place among all events.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Its place in the stream.
    pub revision: Revision,
    /// When it was stored, as RFC 3339 has it.
    pub recorded: String,
    /// What tells it from all others of its stream.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub name: String,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The media type of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The schema of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// `correlationid`, `causationid`, `schemaversion` and whatever else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What it can be found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Its data, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Its data in Base64, where it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Whether it is stored encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Whether its key is gone, and its data with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shredded: bool,
}

impl Event {
    /// The bytes of its data; none if there is no data, or it is not readable any more.
    ///
    /// # Errors
    /// What is wrong with what the server sent.
    pub fn data_bytes(&self) -> Result<Option<Bytes>, String> {
        if let Some(text) = &self.data_base64 {
            let bytes = STANDARD.decode(text).map_err(|error| format!("data_base64: {error}"))?;
            return Ok(Some(bytes.into()));
        }
        let Some(data) = &self.data else { return Ok(None) };
        let is_json = self.datacontenttype.as_deref().is_none_or(is_json);
        if is_json {
            return Ok(Some(data.get().to_owned().into()));
        }
        // Text of another kind stands there as a string.
        let text: String = serde_json::from_str(data.get()).map_err(|error| format!("data: {error}"))?;
        Ok(Some(text.into()))
    }

    /// The same event for another store.
    pub fn into_new(self) -> NewEvent {
        NewEvent {
            id: Some(self.id),
            name: self.name,
            source: Some(self.source).filter(|source| !source.is_empty()),
            subject: self.subject,
            time: self.time,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            data: self.data,
            data_base64: self.data_base64,
            metadata: self.metadata.into_iter().map(typed).collect(),
            tags: self.tags,
            encrypt_for: None,
        }
    }
}

/// The version of a schema is a number; it is read as text, as all attributes are.
fn typed((name, value): (String, String)) -> (String, Value) {
    let number = value.parse::<u32>().ok().filter(|_| name == "schemaversion");
    let value = number.map_or(Value::String(value), Value::from);
    (name, value)
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// One append: to several streams, under conditions, all or nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Append {
    /// The events, by stream; a stream occurs once.
    pub writes: Vec<Write>,
    /// Streams that must be as expected and are not written to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// What must not have happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The events of one stream.
#[derive(Clone, Debug, Serialize)]
pub struct Write {
    /// The stream.
    pub stream: String,
    /// What it must be like.
    pub expected: Expected,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

/// A stream that must be as expected.
#[derive(Clone, Debug, Serialize)]
pub struct Guard {
    /// The stream.
    pub stream: String,
    /// What it must be like.
    pub expected: Expected,
}

/// That nothing matches a query behind a position.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    /// What must not have happened.
    pub query: Query,
    /// Up to where it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
}

/// What was appended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Appended {
    /// The position of the first event.
    pub first_position: Position,
    /// The position of the last event.
    pub last_position: Position,
    /// Each stream that was written to.
    pub streams: Vec<AppendedStream>,
    /// Whether all of it was stored before.
    pub repeated: bool,
}

/// A stream that was written to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppendedStream {
    /// The stream.
    pub stream: String,
    /// The revision of the last event.
    pub last_revision: Revision,
}

impl Client {
    /// Appends events. Durable on return. Repeated until an answer comes, if all events have ids.
    ///
    /// # Errors
    /// [`ClientError`]. After [`ClientError::Lost`] it may have been appended: do it again with the same ids.
    pub async fn append(&self, store: &str, append: &Append) -> Result<Appended, ClientError> {
        let mut events = append.writes.iter().flat_map(|write| &write.events);
        let repeat = if events.all(|event| event.id.is_some()) { Repeat::Always } else { Repeat::Unsent };
        self.send(Method::POST, Target::of(&["stores", store, "append"]), append, repeat).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rest: &str) -> Event {
        let text = format!(
            r#"{{"position":7,"stream":"a-1","revision":2,"recorded":"2025-01-10T12:00:00.000Z","id":"x","type":"T"{rest}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn data_is_what_was_stored() {
        let data = |rest: &str| event(rest).data_bytes().map(|data| data.map(|data| data.to_vec()));
        assert_eq!(data(r#","data":{"b": 1,"a":2}"#).unwrap().unwrap(), br#"{"b": 1,"a":2}"#);
        assert_eq!(
            data(r#","datacontenttype":"application/vnd.x+json; charset=utf-8","data":[1]"#)
                .unwrap()
                .unwrap(),
            b"[1]"
        );
        assert_eq!(data(r#","datacontenttype":"text/plain","data":"a\nb""#).unwrap().unwrap(), b"a\nb");
        assert_eq!(data(r#","data_base64":"AAH/""#).unwrap().unwrap(), [0, 1, 255]);
        assert_eq!(data("").unwrap(), None);
        assert!(data(r#","data_base64":"?""#).is_err());
    }

    #[test]
    fn an_event_is_itself_in_another_store() {
        let new =
            event(r#","source":"/bank","metadata":{"schemaversion":"2","who":"7"},"tags":["a:1"],"data":{}"#)
                .into_new();
        let text = serde_json::to_string(&new).unwrap();
        assert_eq!(
            text,
            r#"{"id":"x","type":"T","source":"/bank","data":{},"metadata":{"schemaversion":2,"who":"7"},"tags":["a:1"]}"#
        );
    }
}
