//! An event as a JSON object.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::media_type::MediaType;
use crate::parts::{SPEC_VERSION, name};
use crate::{Event, Value};

/// Writes `event` as one JSON object without line breaks of its own.
///
/// ```
/// use annals_clock::Clock;
/// use annals_event::{Event, json};
///
/// let clock = Clock::system();
/// let event = Event::builder("/shop", "OrderPaid").id("1").time_ms(0).data("application/json", "[1.50]").build(&clock)?;
/// let expected = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"OrderPaid","#.to_owned()
///     + r#""time":"1970-01-01T00:00:00.000Z","datacontenttype":"application/json","data":[1.50]}"#;
/// assert_eq!(json::encode(&event), expected);
/// # Ok::<(), annals_event::InvalidEvent>(())
/// ```
pub fn encode(event: &Event) -> String {
    let mut object = Object(String::with_capacity(256 + event.data.as_ref().map_or(0, bytes::Bytes::len)));
    object.text(name::SPEC_VERSION, SPEC_VERSION);
    object.text(name::ID, event.id());
    object.text(name::SOURCE, event.source());
    object.text(name::TYPE, event.type_name());
    for (name, value) in event.optional_attributes() {
        object.text(name, value);
    }
    if let Some(content_type) = event.data_content_type() {
        object.text(name::DATA_CONTENT_TYPE, content_type);
    }
    for (name, value) in event.extensions() {
        match value {
            Value::Boolean(_) | Value::Integer(_) => object.raw(name, &value.to_string()),
            Value::String(text) => object.text(name, text),
        }
    }
    if let Some(data) = event.data() {
        write_data(&mut object, event.data_content_type(), data);
    }
    object.finish()
}

fn write_data(object: &mut Object, content_type: Option<&str>, data: &[u8]) {
    match data_member(content_type, data) {
        DataMember::Json(value) => object.raw("data", value.get()),
        DataMember::Text(text) => object.text("data", text),
        DataMember::Binary(data) => object.text("data_base64", &STANDARD.encode(data)),
    }
}

/// How data stands in a JSON object.
#[derive(Debug, Clone, Copy)]
pub enum DataMember<'a> {
    /// As the member `data`, as it is: white space around it is left out.
    Json(&'a RawValue),
    /// As the member `data`, as a string.
    Text(&'a str),
    /// As the member `data_base64`, as Base64 in a string.
    Binary(&'a [u8]),
}

/// How `data` of the media type `content_type` stands in a JSON object.
///
/// Data without a media type is taken for bytes: the format would have a reader take it for JSON. So is what is not what its
/// media type says.
pub fn data_member<'a>(content_type: Option<&str>, data: &'a [u8]) -> DataMember<'a> {
    let media_type = content_type.and_then(MediaType::parse);
    if media_type.is_some_and(|media_type| media_type.is_json())
        && let Ok(value) = serde_json::from_slice(data)
    {
        return DataMember::Json(value);
    }
    if media_type.is_some_and(|media_type| media_type.is_text() && !media_type.is_json())
        && let Ok(text) = std::str::from_utf8(data)
    {
        return DataMember::Text(text);
    }
    DataMember::Binary(data)
}

/// A JSON object being written.
struct Object(String);

impl Object {
    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &serde_json::Value::from(value).to_string());
    }

    /// Writes a member whose value is JSON already. Names are attribute names, which need no escape.
    fn raw(&mut self, name: &str, value: &str) {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(value);
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
