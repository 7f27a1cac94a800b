//! Events as clients write them in JSON of our own.
//!
//! Data is not parsed into anything and written again: the bytes of the request are what is stored.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use annals_broker::api::stores as api;
use annals_clock::Clock;
use annals_event::{Event, InvalidEvent, Value, json as cloud_json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{attribute_of, whole_story};
use crate::Problem;
use crate::input::{json, object};

/// What data is without a media type.
const JSON: &str = "application/json";
/// What data in Base64 is without a media type.
const BYTES: &str = "application/octet-stream";

/// An event to append.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEvent<'a> {
    /// Makes the append idempotent: what is sent again with the same ids is answered as the first time. Default: a UUID of
    /// version 7.
    #[serde(default)]
    id: Option<String>,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "OrderPlaced")]
    type_name: String,
    /// The data, any JSON; a string if `datacontenttype` is not that of JSON. Stored as it stands here.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    data: Option<&'a RawValue>,
    /// The data in Base64, in place of `data`.
    #[serde(default)]
    data_base64: Option<String>,
    /// The media type of the data. Default: `application/json` with `data`, `application/octet-stream` with `data_base64`.
    #[serde(default)]
    datacontenttype: Option<String>,
    /// The URI of the schema that the data follows.
    #[serde(default)]
    dataschema: Option<String>,
    /// Where it happened, a URI reference. Default: `/stores/NAME`.
    #[serde(default)]
    source: Option<String>,
    /// What it happened to. Default: the stream.
    #[serde(default)]
    subject: Option<String>,
    /// When it happened. Default: now.
    #[serde(default)]
    time: Option<String>,
    /// Extension attributes of CloudEvents: `correlationid`, `causationid`, `schemaversion` and others. Names hold a-z and 0-9.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, Scalar>,
    /// What it can be found by, apart from stream and type. At most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Encrypts the data with the key of this subject, which can be deleted.
    #[serde(default)]
    encrypt_for: Option<String>,
}

/// `null` is data too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Where events go.
pub(crate) struct Destination<'a> {
    pub(crate) store: &'a str,
    pub(crate) stream: &'a str,
}

/// One event or several, as a body holds them.
///
/// # Errors
/// 400, which names what is wrong.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<NewEvent<'_>>, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') { json(body) } else { object(body).map(|event| vec![event]) }
}

impl NewEvent<'_> {
    /// What it is about, if it says so.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The event for the broker. `path` is where it stands in the request.
    ///
    /// # Errors
    /// 400, which names the member that is wrong.
    pub(crate) fn build(
        self,
        to: &Destination<'_>,
        clock: &Clock,
        path: &dyn Fn() -> String,
    ) -> Result<api::NewEvent, Problem> {
        let invalid = |field: &str, detail: String| Problem::invalid(&join(&path(), field), detail);
        let (content_type, data) = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "data_base64",
                    "the event has data and data_base64, and may have one".to_owned(),
                ));
            }
            (Some(value), None) => {
                let content_type = self.datacontenttype.map_or(Cow::Borrowed(JSON), Cow::Owned);
                let data = cloud_json::decode_data(&content_type, value);
                (Some(content_type), Some(data.map_err(|error| invalid("data", whole_story(&error)))?))
            }
            (None, Some(text)) => {
                let wrong =
                    |_| invalid("data_base64", "data_base64 is not Base64 (RFC 4648, section 4)".to_owned());
                let data = STANDARD.decode(text).map(Bytes::from).map_err(wrong)?;
                (Some(self.datacontenttype.map_or(Cow::Borrowed(BYTES), Cow::Owned)), Some(data))
            }
            (None, None) => (self.datacontenttype.map(Cow::Owned), None),
        };
        let source = self.source.unwrap_or_else(|| format!("/stores/{}", to.store));
        let subject = self.subject.unwrap_or_else(|| to.stream.to_owned());
        let mut builder = Event::builder(source, self.type_name).subject(subject);
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        if let Some(time) = self.time {
            let time = time.parse().map_err(|error: InvalidEvent| invalid("time", error.to_string()))?;
            builder = builder.time(&time);
        }
        if let Some(schema) = self.dataschema {
            builder = builder.data_schema(schema);
        }
        builder = match (content_type, data) {
            (Some(content_type), Some(data)) => builder.data(content_type, data),
            (Some(content_type), None) => builder.data_content_type(content_type),
            (None, _) => builder,
        };
        for (name, Scalar(value)) in self.metadata {
            builder = builder.extension(&name, value);
        }
        let event = builder.build(clock).map_err(|error| {
            let field = attribute_of(&error);
            let is_ours = MEMBERS.contains(&field) || field.is_empty();
            let field = if is_ours { Cow::Borrowed(field) } else { format!("metadata.{field}").into() };
            invalid(&field, whole_story(&error))
        })?;
        let tags = self.tags.into_iter().map(Arc::from).collect();
        Ok(api::NewEvent { event, tags, encrypt_for: self.encrypt_for.map(Arc::from) })
    }
}

/// Members that are attributes of the event.
const MEMBERS: [&str; 8] =
    ["id", "type", "source", "subject", "time", "data", "datacontenttype", "dataschema"];

/// The path of a member.
pub(crate) fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("", _) => field.to_owned(),
        (_, "") => path.to_owned(),
        _ => format!("{path}.{field}"),
    }
}

/// The value of an attribute: text, a truth value or a whole number of 32 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scalar(Value);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalars;
        impl Visitor<'_> for Scalars {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, a truth value or a whole number of 32 bits")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
                i32::try_from(value)
                    .map(Value::Integer)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
                i32::try_from(value)
                    .map(Value::Integer)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
                Ok(value.into())
            }
        }
        deserializer.deserialize_any(Scalars).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(body: &str) -> Result<Vec<api::NewEvent>, Problem> {
        let clock = Clock::manual(1_522_949_460_000, 7).0;
        let to = Destination { store: "shop", stream: "order-1" };
        let events = parse(body.as_bytes())?.into_iter().enumerate();
        events.map(|(index, event)| event.build(&to, &clock, &|| format!("[{index}]"))).collect()
    }

    fn one(body: &str) -> api::NewEvent {
        let mut events = built(body).unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_an_event_or_a_problem(text in r#"[\[\]{}",:a-d0-9 \\]{0,60}"#, value in "[ -~]{0,20}") {
            drop(built(&text));
            drop(built(&format!(r#"{{"type":"A","data":{value}}}"#)));
            drop(built(&format!(r#"{{"type":"A","time":"{value}","source":"{value}"}}"#)));
        }
    }

    #[test]
    fn a_type_is_all_that_an_event_needs() {
        let new = one(r#"{"type":"OrderPlaced"}"#);
        assert_eq!((new.event.type_name(), new.event.source()), ("OrderPlaced", "/stores/shop"));
        assert_eq!((new.event.subject(), new.event.data()), (Some("order-1"), None));
        assert_eq!(new.event.time().map(annals_event::Time::unix_ms), Some(1_522_949_460_000));
        assert!(new.tags.is_empty() && new.encrypt_for.is_none());
        assert_ne!(new.event.id(), one(r#"{"type":"OrderPlaced"}"#).event.subject().unwrap());
    }

    #[test]
    fn data_is_kept_byte_for_byte() {
        let data = |body: &str| String::from_utf8(one(body).event.data().unwrap().to_vec()).unwrap();
        assert_eq!(data(r#"{"type":"A","data": {"b":1.10, "a" : 1e400}}"#), r#"{"b":1.10, "a" : 1e400}"#);
        assert_eq!(data(r#"{"type":"A","data":null}"#), "null");
        assert_eq!(data(r#"{"type":"A","data":"text"}"#), "\"text\"");
        assert_eq!(data(r#"{"type":"A","datacontenttype":"text/plain","data":"te\u0078t"}"#), "text");
        assert_eq!(data(r#"{"type":"A","data_base64":"AGE="}"#), "\0a");
        assert_eq!(one(r#"{"type":"A","data_base64":"AGE="}"#).event.data_content_type(), Some(BYTES));
        assert_eq!(one(r#"{"type":"A","data":1}"#).event.data_content_type(), Some(JSON));
    }

    #[test]
    fn everything_can_be_said() {
        let new = one(
            r#"{"id":"1","type":"A","source":"/x","subject":"s","time":"2018-04-05T17:31:00+02:00","dataschema":"urn:a","tags":["a","b"],
            "metadata":{"correlationid":"c","schemaversion":2,"test":true},"encrypt_for":"person-1","data":[]}"#,
        );
        let event = &new.event;
        assert_eq!((event.id(), event.source(), event.subject()), ("1", "/x", Some("s")));
        assert_eq!(event.time().map(annals_event::Time::as_str), Some("2018-04-05T17:31:00+02:00"));
        assert_eq!((event.data_schema(), event.correlation_id()), (Some("urn:a"), Some("c")));
        assert_eq!((event.schema_version(), event.extension("test")), (Some(2), Some(&Value::Boolean(true))));
        assert_eq!(new.tags, ["a".into(), "b".into()]);
        assert_eq!(new.encrypt_for.as_deref(), Some("person-1"));
    }

    #[test]
    fn the_member_that_is_wrong_is_named() {
        let field = |body: &str| {
            let problem = built(body).expect_err(body);
            assert_eq!(problem.status, 400, "{problem:?}");
            problem.members.get("field").and_then(|field| field.as_str()).unwrap_or_default().to_owned()
        };
        assert_eq!(field(r#"[{"type":"A"},{"type":5}]"#), "[1].type");
        assert_eq!(field(r#"[{"type":"A"},{"type":""}]"#), "[1].type");
        assert_eq!(field(r#"{"typ":"A"}"#), "typ");
        assert_eq!(field(r#"{"type":"A","id":""}"#), "[0].id");
        assert_eq!(field(r#"{"type":"A","time":"yesterday"}"#), "[0].time");
        assert_eq!(field(r#"{"type":"A","data":1,"data_base64":""}"#), "[0].data_base64");
        assert_eq!(field(r#"{"type":"A","data_base64":"?"}"#), "[0].data_base64");
        assert_eq!(field(r#"{"type":"A","data":1,"datacontenttype":"text/plain"}"#), "[0].data");
        assert_eq!(field(r#"{"type":"A","metadata":{"a":[]}}"#), "metadata.a");
        assert_eq!(field(r#"{"type":"A","metadata":{"a":3000000000}}"#), "metadata.a");
        assert_eq!(field(r#"{"type":"A","metadata":{"no_good":1}}"#), "[0].metadata.no_good");
        assert_eq!(field(r#"{"type":"A","metadata":{"schemaversion":0}}"#), "[0].metadata.schemaversion");
        assert_eq!(field(r#"{"type":"A","tags":"a"}"#), "tags");
        assert_eq!(field("nonsense"), "");
    }
}
