//! The Kafka protocol binding: an event as the key, headers and value of a Kafka record, both ways.
//!
//! In *binary* mode, which [`encode`] writes, the value is the event's data untouched and each attribute is a header:
//! `ce_id`, `ce_type` and so on, and `content-type` for `datacontenttype`. In *structured* mode the value is the
//! whole event in the [JSON event format](crate::json). [`decode`] tells them apart by `content-type`.
//!
//! Choices where the binding leaves room, each following Kafka or the official libraries:
//!
//! - A header that comes twice counts with its last value. Kafka's own `Headers.lastHeader` reads so, and so do the
//!   Java, Go and Python libraries; programs that replace a header by adding another rely on it.
//! - A header without a value (Kafka's null) counts as not there.
//! - Headers that do not start with `ce_` are the application's and are left alone, a tracing library's own
//!   `traceparent` among them.
//! - `ce_datacontenttype`, which some senders write, is read where there is no `content-type`.
//! - The key is `partitionkey` if the event has one. Reading never makes an attribute from a key.
//! - An event without data is a record without value, hence a tombstone in a compacted topic.
//!
//! Source: CloudEvents Kafka protocol binding 1.0.2.

use bytes::Bytes;

use crate::parts::{Parts, SPEC_VERSION, name};
use crate::{Event, InvalidEvent, Value, json};

const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";
/// What the media types of all CloudEvents formats start with.
const FORMAT_PREFIX: &str = "application/cloudevents";

/// The attribute that a header holds in binary mode. `None` if it holds none, or one that has a place of its own.
///
/// ```
/// use annals_event::kafka;
/// assert_eq!(kafka::attribute("ce_type"), Some("type"));
/// assert_eq!(kafka::attribute("content-type"), None);
/// assert_eq!(kafka::header("type"), "ce_type");
/// ```
pub fn attribute(header: &str) -> Option<&str> {
    let found = header.strip_prefix(PREFIX)?;
    (crate::attribute::check_name(found).is_ok() && found != name::DATA_CONTENT_TYPE).then_some(found)
}

/// The header that holds an attribute in binary mode.
pub fn header(attribute: &str) -> String {
    format!("{PREFIX}{attribute}")
}

/// One header of a Kafka record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's key.
    pub name: String,
    /// Its value; Kafka allows for none.
    pub value: Option<Bytes>,
}

impl Header {
    fn new(name: String, value: impl Into<Bytes>) -> Self {
        Self { name, value: Some(value.into()) }
    }
}

/// What an event becomes in a Kafka record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's headers, in order.
    pub headers: Vec<Header>,
    /// The record's value.
    pub value: Option<Bytes>,
}

impl Message {
    /// Replaces the key. The event's attributes stay as they are: a key mapper must not change the event.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether this looks like an event: a CloudEvents media type, or all four required attributes as headers.
    pub fn is_event(&self) -> bool {
        let has = |attribute| self.last(&format!("{PREFIX}{attribute}")).is_some();
        self.is_structured() || [name::SPEC_VERSION, name::ID, name::SOURCE, name::TYPE].into_iter().all(has)
    }

    fn is_structured(&self) -> bool {
        let prefix = self.last(CONTENT_TYPE).and_then(|value| value.get(..FORMAT_PREFIX.len()));
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(FORMAT_PREFIX.as_bytes()))
    }

    fn last(&self, name: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .rev()
            .filter(|header| header.name == name)
            .find_map(|header| header.value.as_ref())
    }
}

/// Why a Kafka record is not an event. Its sender has to fix it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The record has nothing of an event about it.
    #[error("the record is not an event: it has no ce_ header and no content-type of CloudEvents")]
    NotAnEvent,
    /// An attribute's header is not UTF-8.
    #[error("header {header:?} is not UTF-8")]
    NotUtf8 {
        /// The header's name, shortened.
        header: String,
    },
    /// The value is in an event format other than JSON.
    #[error(
        "the record holds an event as {content_type:?}, and only application/cloudevents+json is understood"
    )]
    Format {
        /// The media type, shortened.
        content_type: String,
    },
    /// The record says that its value is an event, and has no value.
    #[error("the record has no value, which its content-type says to be an event")]
    NoValue,
    /// The value is not an event in the JSON event format.
    #[error("the record's value is not an event in JSON")]
    Json(#[from] json::DecodeError),
    /// The attributes break a rule.
    #[error("the event is not valid")]
    Invalid(#[from] InvalidEvent),
}

/// Writes `event` in binary mode.
///
/// ```
/// use annals_clock::Clock;
/// use annals_event::{Event, kafka};
///
/// let event = Event::builder("/shop/orders", "OrderPlaced").partition_key("customer-456").json(&true.into());
/// let message = kafka::encode(&event.build(&Clock::system())?);
/// assert_eq!(message.key.as_deref(), Some(&b"customer-456"[..]));
/// assert_eq!(message.headers[0].name, "ce_specversion");
/// assert_eq!(message.value.as_deref(), Some(&b"true"[..]));
/// # Ok::<(), annals_event::InvalidEvent>(())
/// ```
pub fn encode(event: &Event) -> Message {
    let required = [
        (name::SPEC_VERSION, SPEC_VERSION),
        (name::ID, event.id()),
        (name::SOURCE, event.source()),
        (name::TYPE, event.type_name()),
    ];
    let core = required.into_iter().chain(event.optional_attributes());
    let core = core.map(|(name, value)| (name, value.to_owned()));
    let extensions = event.extensions().map(|(name, value)| (name, value.to_string()));
    let attributes =
        core.chain(extensions).map(|(name, value)| Header::new(format!("{PREFIX}{name}"), value));
    let content_type =
        event.data_content_type().map(|value| Header::new(CONTENT_TYPE.to_owned(), value.to_owned()));
    Message { key: key(event), headers: attributes.chain(content_type).collect(), value: event.data.clone() }
}

/// Writes `event` in structured mode: all of it as JSON in the value.
pub fn encode_structured(event: &Event) -> Message {
    let content_type = format!("{}; charset=UTF-8", json::MEDIA_TYPE);
    let headers = vec![Header::new(CONTENT_TYPE.to_owned(), content_type)];
    Message { key: key(event), headers, value: Some(Bytes::from(json::encode(event))) }
}

fn key(event: &Event) -> Option<Bytes> {
    event.partition_key().map(|key| Bytes::copy_from_slice(key.as_bytes()))
}

/// Reads an event in either mode. The data shares the message's bytes where it can.
///
/// # Errors
/// [`DecodeError`]; [`DecodeError::NotAnEvent`] for a record that does not claim to be an event.
pub fn decode(message: &Message) -> Result<Event, DecodeError> {
    if message.is_structured() {
        return decode_structured(message);
    }
    let mut parts = Parts { data: message.value.clone(), ..Parts::default() };
    let mut found = false;
    for header in &message.headers {
        let (Some(name), Some(value)) = (header.name.strip_prefix(PREFIX), &header.value) else { continue };
        parts.set(name, Value::String(utf8(&header.name, value)?))?;
        found = true;
    }
    if !found {
        return Err(DecodeError::NotAnEvent);
    }
    if let Some(content_type) = message.last(CONTENT_TYPE) {
        parts.data_content_type = Some(utf8(CONTENT_TYPE, content_type)?);
    }
    Ok(parts.into_event()?)
}

fn decode_structured(message: &Message) -> Result<Event, DecodeError> {
    let content_type =
        message.last(CONTENT_TYPE).map_or_else(String::new, |v| String::from_utf8_lossy(v).into_owned());
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(json::MEDIA_TYPE) {
        return Err(DecodeError::Format { content_type: crate::error::excerpt(&content_type) });
    }
    let value = message.value.as_ref().ok_or(DecodeError::NoValue)?;
    Ok(json::decode(value)?)
}

fn utf8(header: &str, value: &Bytes) -> Result<String, DecodeError> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::NotUtf8 { header: crate::error::excerpt(header) }),
    }
}

#[cfg(test)]
mod tests;
