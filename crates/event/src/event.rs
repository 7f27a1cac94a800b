//! An event that follows the rules.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::parts::name;
use crate::{Builder, Time, TraceParent, Value};

/// An event: its attributes and its data. Made by [`Event::builder`], [`crate::kafka::decode`] or
/// [`crate::json::decode`], and valid from then on.
///
/// Two events are equal if all attributes and the bytes of the data are. Consumers tell duplicates by `source` and
/// `id` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) type_name: String,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<Time>,
    pub(crate) data_content_type: Option<String>,
    pub(crate) data_schema: Option<String>,
    pub(crate) extensions: BTreeMap<String, Value>,
    pub(crate) data: Option<Bytes>,
}

impl Event {
    /// Starts an event that happened in `source`, of the type `type_name`, for example `com.example.order.placed`.
    pub fn builder(source: impl Into<String>, type_name: impl Into<String>) -> Builder {
        Builder::new(source.into(), type_name.into())
    }

    /// What tells this event from all others of the same [`Event::source`]; a UUID of version 7 unless chosen.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The context in which it happened, a URI reference.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kind of occurrence: the attribute `type`.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What it happened to, within the source.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When it happened.
    pub fn time(&self) -> Option<&Time> {
        self.time.as_ref()
    }

    /// The media type of the data.
    pub fn data_content_type(&self) -> Option<&str> {
        self.data_content_type.as_deref()
    }

    /// The URI of the schema that the data follows.
    pub fn data_schema(&self) -> Option<&str> {
        self.data_schema.as_deref()
    }

    /// The payload. `None` is no payload, which a compacted Kafka topic takes for a tombstone; empty bytes are a payload.
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// The id that everything caused by one action shares.
    pub fn correlation_id(&self) -> Option<&str> {
        self.identifier(name::CORRELATION_ID)
    }

    /// The [`Event::id`] of the event that caused this one.
    pub fn causation_id(&self) -> Option<&str> {
        self.identifier(name::CAUSATION_ID)
    }

    /// What decides the Kafka partition: the attribute `partitionkey`.
    pub fn partition_key(&self) -> Option<&str> {
        self.identifier(name::PARTITION_KEY)
    }

    /// The version of the data's schema. `None` also where another sender uses `schemaversion` for something that is
    /// not a number from 1; its text is in [`Event::extension`].
    pub fn schema_version(&self) -> Option<u32> {
        match self.extension(name::SCHEMA_VERSION)? {
            Value::Integer(version) => u32::try_from(*version).ok().filter(|version| *version > 0),
            Value::String(text) => crate::parts::parse_schema_version(text),
            Value::Boolean(_) => None,
        }
    }

    /// The W3C trace context that the event started with; `None` also if what it carries cannot be read.
    pub fn trace_parent(&self) -> Option<TraceParent> {
        self.identifier(name::TRACE_PARENT)?.parse().ok()
    }

    /// What tracing systems keep beside [`Event::trace_parent`]; `None` if that is, as the W3C recommendation says.
    pub fn trace_state(&self) -> Option<&str> {
        self.trace_parent()?;
        self.identifier(name::TRACE_STATE).filter(|state| crate::trace::check_state(state).is_ok())
    }

    /// An extension attribute by its name, the well-known ones included.
    pub fn extension(&self, name: &str) -> Option<&Value> {
        self.extensions.get(name)
    }

    /// All extension attributes, ordered by name.
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.extensions.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn identifier(&self, name: &str) -> Option<&str> {
        self.extension(name)?.as_str().filter(|value| !value.is_empty())
    }

    /// The optional core attributes that are there, but for `datacontenttype`, which some bindings treat apart.
    pub(crate) fn optional_attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let time = self.time.as_ref().map(Time::as_str);
        let all =
            [(name::SUBJECT, self.subject()), (name::TIME, time), (name::DATA_SCHEMA, self.data_schema())];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}
