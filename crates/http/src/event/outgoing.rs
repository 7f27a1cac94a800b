//! Events as readers get them: JSON of our own, written straight from what is stored.

use annals_broker::api::stores::RecordedEvent;
use annals_event::Time;
use annals_event::json::{DataMember, data_member};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What stands before the names of attributes in the store.
const PREFIX: &str = "ce_";
/// The attributes of the specification, but for `specversion`, which is always the same.
const CORE: [&str; 6] = ["id", "type", "source", "subject", "time", "dataschema"];

/// Writes one event.
pub(crate) fn write(into: &mut Vec<u8>, event: &RecordedEvent) {
    into.extend_from_slice(b"{\"position\":");
    number(into, event.position().0);
    into.extend_from_slice(b",\"stream\":");
    text(into, event.stream());
    into.extend_from_slice(b",\"revision\":");
    number(into, event.revision().0);
    member(into, "recorded", Time::from_unix_ms(event.recorded_ms()).as_str());
    let content_type = write_attributes(into, event);
    write_tags(into, event);
    if event.encryption_key().is_some() {
        into.extend_from_slice(b",\"encrypted\":true");
    }
    if event.is_shredded() {
        into.extend_from_slice(b",\"shredded\":true");
    }
    if let Some(data) = event.data() {
        write_data(into, "data", content_type, &data);
    }
    into.push(b'}');
}

/// Writes the attributes. Says what the data is.
fn write_attributes<'a>(into: &mut Vec<u8>, event: &'a RecordedEvent) -> Option<&'a str> {
    let (mut extensions, mut content_type) = (Vec::new(), None);
    for (name, value) in event.headers() {
        let (Ok(name), Some(Ok(value))) = (std::str::from_utf8(name), value.map(std::str::from_utf8)) else {
            continue;
        };
        match name.strip_prefix(PREFIX) {
            None if name == "content-type" => content_type = Some(value),
            None | Some("specversion") => {}
            Some(attribute) if CORE.contains(&attribute) => member(into, attribute, value),
            Some(attribute) => extensions.push((attribute, value)),
        }
    }
    if let Some(content_type) = content_type {
        member(into, "datacontenttype", content_type);
    }
    for (index, (name, value)) in extensions.iter().enumerate() {
        into.extend_from_slice(if index == 0 { b",\"metadata\":{" } else { b"," });
        text(into, name);
        into.push(b':');
        text(into, value);
    }
    if !extensions.is_empty() {
        into.push(b'}');
    }
    content_type
}

fn write_tags(into: &mut Vec<u8>, event: &RecordedEvent) {
    let mut count = 0;
    for tag in event.tags() {
        into.extend_from_slice(if count == 0 { b",\"tags\":[" } else { b"," });
        text(into, tag);
        count += 1;
    }
    if count > 0 {
        into.push(b']');
    }
}

/// Writes data as the member `name` or, if it is neither JSON nor text, as `name_base64`.
pub(crate) fn write_data(into: &mut Vec<u8>, name: &str, content_type: Option<&str>, data: &[u8]) {
    match data_member(content_type, data) {
        DataMember::Json(value) => {
            into.extend_from_slice(b",\"");
            into.extend_from_slice(name.as_bytes());
            into.extend_from_slice(b"\":");
            into.extend_from_slice(value.get().as_bytes());
        }
        DataMember::Text(data) => member(into, name, data),
        DataMember::Binary(data) => member(into, &format!("{name}_base64"), &STANDARD.encode(data)),
    }
}

/// `,"name":"value"`. The name needs no escape.
pub(crate) fn member(into: &mut Vec<u8>, name: &str, value: &str) {
    into.extend_from_slice(b",\"");
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b"\":");
    text(into, value);
}

pub(crate) fn text(into: &mut Vec<u8>, value: &str) {
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(into, value);
}

pub(crate) fn number(into: &mut Vec<u8>, value: u64) {
    let _ = serde_json::to_writer(into, &value);
}

/// A number, or `null`.
pub(crate) fn number_or_null(into: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(into, value),
        None => into.extend_from_slice(b"null"),
    }
}
