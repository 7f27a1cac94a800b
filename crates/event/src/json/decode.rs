//! A JSON object as an event.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::IMPLIED_CONTENT_TYPE;
use crate::error::excerpt;
use crate::limits::EXTENSIONS_MAX;
use crate::media_type::MediaType;
use crate::parts::Parts;
use crate::{Event, InvalidEvent, Value};

/// Members that an object may have: the extensions, eight core attributes, `data` or `data_base64`, and as many again
/// that are `null` and so count as not there.
const MEMBERS_MAX: usize = 2 * EXTENSIONS_MAX;

/// Why a text is not an event in the JSON event format. Its sender has to fix it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The text is not one JSON object, or has too many members.
    #[error("the text is not a JSON object that holds an event")]
    Syntax(#[source] serde_json::Error),
    /// A member comes twice.
    #[error("member {member:?} comes twice")]
    Repeated {
        /// The member's name, shortened.
        member: String,
    },
    /// An attribute is an object, an array, a fraction or a number beyond 32 bits.
    #[error(
        "attribute {attribute:?} is {found}, and may be a string, a truth value or a whole number of 32 bits"
    )]
    AttributeType {
        /// The attribute's name, shortened.
        attribute: String,
        /// The start of its value.
        found: String,
    },
    /// Both `data` and `data_base64` are there.
    #[error("the event has data and data_base64, and may have one of them")]
    TwoPayloads,
    /// `data_base64` is not Base64 in a string.
    #[error("data_base64 is not a string of Base64 (RFC 4648, section 4)")]
    Base64,
    /// `data` is not a string though its media type is not JSON's.
    #[error("data must be a string, since its datacontenttype {content_type:?} is not JSON")]
    DataNotAString {
        /// The media type, shortened.
        content_type: String,
    },
    /// `data` is text in a character set other than UTF-8.
    #[error(
        "data is a string, but its datacontenttype {content_type:?} asks for another character set: use data_base64"
    )]
    Charset {
        /// The media type, shortened.
        content_type: String,
    },
    /// The attributes break a rule.
    #[error("the event is not valid")]
    Invalid(#[from] InvalidEvent),
}

/// Reads one event. Data without a media type gets `application/json` explicitly, as the format implies.
///
/// ```
/// use annals_event::json;
///
/// let text = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"OrderPaid","data":{"cents":1999}}"#;
/// let event = json::decode(text.as_bytes())?;
/// assert_eq!(event.data_content_type(), Some("application/json"));
/// assert_eq!(event.data().map(|data| &data[..]), Some(&br#"{"cents":1999}"#[..]));
/// # Ok::<(), json::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeError`] says which member breaks which rule.
pub fn decode(text: &[u8]) -> Result<Event, DecodeError> {
    let Members(members) = serde_json::from_slice(text).map_err(DecodeError::Syntax)?;
    let (mut parts, mut payload) = (Parts::default(), Payload::default());
    let mut seen = BTreeSet::new();
    for (member, value) in &members {
        if !seen.insert(member) {
            return Err(DecodeError::Repeated { member: excerpt(member) });
        }
        match member.as_str() {
            "data" => payload.json = Some(value),
            "data_base64" if value.get() != "null" => payload.base64 = Some(value),
            _ => set_attribute(&mut parts, member, value)?,
        }
    }
    payload.apply(&mut parts)?;
    Ok(parts.into_event()?)
}

fn set_attribute(parts: &mut Parts, name: &str, value: &RawValue) -> Result<(), DecodeError> {
    // What is null is not there (section 2.2).
    if value.get() == "null" {
        return Ok(());
    }
    match scalar(value.get()) {
        Some(value) => Ok(parts.set(name, value)?),
        None => Err(DecodeError::AttributeType { attribute: excerpt(name), found: excerpt(value.get()) }),
    }
}

/// Reads a value by its first character, so that nothing is built for an object or an array.
fn scalar(json: &str) -> Option<Value> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok().map(Value::String),
        b't' | b'f' => serde_json::from_str(json).ok().map(Value::Boolean),
        b'-' | b'0'..=b'9' => serde_json::from_str(json).ok().map(Value::Integer),
        _ => None,
    }
}

/// The two ways in which data can come.
#[derive(Default)]
struct Payload<'a> {
    json: Option<&'a RawValue>,
    base64: Option<&'a RawValue>,
}

impl Payload<'_> {
    fn apply(self, parts: &mut Parts) -> Result<(), DecodeError> {
        parts.data = match (self.json, self.base64) {
            (Some(_), Some(_)) => return Err(DecodeError::TwoPayloads),
            (None, None) => None,
            (None, Some(base64)) => Some(decode_base64(base64)?),
            (Some(json), None) => {
                let content_type =
                    parts.data_content_type.get_or_insert_with(|| IMPLIED_CONTENT_TYPE.to_owned());
                Some(decode_data(content_type, json)?)
            }
        };
        Ok(())
    }
}

fn decode_base64(value: &RawValue) -> Result<Bytes, DecodeError> {
    let text: String = serde_json::from_str(value.get()).map_err(|_| DecodeError::Base64)?;
    STANDARD.decode(text).map(Bytes::from).map_err(|_| DecodeError::Base64)
}

/// The bytes that the member `data` stands for where the media type of the data is `content_type`.
///
/// # Errors
/// [`DecodeError`], where the media type is none, or `data` is not a string and its media type not JSON's.
pub fn decode_data(content_type: &str, value: &RawValue) -> Result<Bytes, DecodeError> {
    let media_type = MediaType::parse(content_type)
        .ok_or_else(|| InvalidEvent::DataContentType { value: excerpt(content_type) })?;
    if media_type.is_json() {
        return Ok(Bytes::copy_from_slice(value.get().as_bytes()));
    }
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| DecodeError::DataNotAString { content_type: excerpt(content_type) })?;
    if !media_type.is_utf8() && !text.is_ascii() {
        return Err(DecodeError::Charset { content_type: excerpt(content_type) });
    }
    Ok(Bytes::from(text))
}

/// The members of a JSON object in their order, repeated ones included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == MEMBERS_MAX {
                return Err(serde::de::Error::custom(format_args!("more than {MEMBERS_MAX} members")));
            }
            members.push(member);
        }
        Ok(Members(members))
    }
}
