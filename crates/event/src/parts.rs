//! An event that is being put together, by the builder or by a decoder, and the one place that checks it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::attribute::{check_characters, check_name};
use crate::error::excerpt;
use crate::limits::{ATTRIBUTES_BYTES_MAX, EXTENSIONS_MAX};
use crate::media_type::MediaType;
use crate::trace::check_state;
use crate::{Event, InvalidEvent, Time, TraceError, TraceParent, Value, uri};

/// The names of attributes.
pub(crate) mod name {
    pub(crate) const SPEC_VERSION: &str = "specversion";
    pub(crate) const ID: &str = "id";
    pub(crate) const SOURCE: &str = "source";
    pub(crate) const TYPE: &str = "type";
    pub(crate) const SUBJECT: &str = "subject";
    pub(crate) const TIME: &str = "time";
    pub(crate) const DATA_CONTENT_TYPE: &str = "datacontenttype";
    pub(crate) const DATA_SCHEMA: &str = "dataschema";
    pub(crate) const CORRELATION_ID: &str = "correlationid";
    pub(crate) const CAUSATION_ID: &str = "causationid";
    pub(crate) const PARTITION_KEY: &str = "partitionkey";
    pub(crate) const SCHEMA_VERSION: &str = "schemaversion";
    pub(crate) const TRACE_PARENT: &str = "traceparent";
    pub(crate) const TRACE_STATE: &str = "tracestate";
}

/// The version of CloudEvents that is spoken here.
pub(crate) const SPEC_VERSION: &str = "1.0";

/// Attributes as they come in, not yet checked against each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) spec_version: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) type_name: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) data_content_type: Option<String>,
    pub(crate) data_schema: Option<String>,
    pub(crate) extensions: BTreeMap<String, Value>,
    pub(crate) data: Option<Bytes>,
}

impl Parts {
    /// Whether `attribute` is one of the specification's own.
    pub(crate) fn is_core(attribute: &str) -> bool {
        Self::default().core(attribute).is_some()
    }

    /// Sets the attribute `name`, core or extension, in place of an earlier value.
    pub(crate) fn set(&mut self, name: &str, value: Value) -> Result<(), InvalidEvent> {
        match self.core(name) {
            Some((attribute, slot)) => match value {
                Value::String(text) => *slot = Some(text),
                Value::Boolean(_) | Value::Integer(_) => return Err(InvalidEvent::NotAString { attribute }),
            },
            None => self.set_extension(name, value)?,
        }
        Ok(())
    }

    fn core(&mut self, attribute: &str) -> Option<(&'static str, &mut Option<String>)> {
        Some(match attribute {
            name::SPEC_VERSION => (name::SPEC_VERSION, &mut self.spec_version),
            name::ID => (name::ID, &mut self.id),
            name::SOURCE => (name::SOURCE, &mut self.source),
            name::TYPE => (name::TYPE, &mut self.type_name),
            name::SUBJECT => (name::SUBJECT, &mut self.subject),
            name::TIME => (name::TIME, &mut self.time),
            name::DATA_CONTENT_TYPE => (name::DATA_CONTENT_TYPE, &mut self.data_content_type),
            name::DATA_SCHEMA => (name::DATA_SCHEMA, &mut self.data_schema),
            _ => return None,
        })
    }

    fn set_extension(&mut self, name: &str, value: Value) -> Result<(), InvalidEvent> {
        check_name(name)?;
        if self.extensions.len() >= EXTENSIONS_MAX && !self.extensions.contains_key(name) {
            return Err(InvalidEvent::TooManyExtensions { max: EXTENSIONS_MAX });
        }
        self.extensions.insert(name.to_owned(), value);
        Ok(())
    }

    /// Checks every rule of the specification and makes the event.
    pub(crate) fn into_event(self) -> Result<Event, InvalidEvent> {
        check_spec_version(self.spec_version.as_deref())?;
        self.check_size()?;
        let event = Event {
            id: required(name::ID, self.id)?,
            source: check_source(required(name::SOURCE, self.source)?)?,
            type_name: required(name::TYPE, self.type_name)?,
            subject: self.subject.map(|text| filled(name::SUBJECT, text)).transpose()?,
            time: self.time.map(Time::parse).transpose()?,
            data_content_type: self.data_content_type.map(check_content_type).transpose()?,
            data_schema: self.data_schema.map(check_schema).transpose()?,
            extensions: self.extensions,
            data: self.data,
        };
        for (name, value) in event.extensions() {
            check_characters(name, value.as_str().unwrap_or_default())?;
        }
        Ok(event)
    }

    fn check_size(&self) -> Result<(), InvalidEvent> {
        let core = [
            (name::ID, &self.id),
            (name::SOURCE, &self.source),
            (name::TYPE, &self.type_name),
            (name::SUBJECT, &self.subject),
            (name::TIME, &self.time),
            (name::DATA_CONTENT_TYPE, &self.data_content_type),
            (name::DATA_SCHEMA, &self.data_schema),
        ];
        let core = core.iter().filter_map(|(name, value)| Some(name.len() + value.as_ref()?.len()));
        let extensions = self.extensions.iter().map(|(name, value)| name.len() + value.len());
        let bytes: usize = core.chain(extensions).sum();
        if bytes > ATTRIBUTES_BYTES_MAX {
            return Err(InvalidEvent::TooLarge { bytes, max: ATTRIBUTES_BYTES_MAX });
        }
        Ok(())
    }

    /// Checks the extensions that have a meaning here. Only for events of our own: see the crate's documentation.
    pub(crate) fn check_well_known(&self) -> Result<(), InvalidEvent> {
        for attribute in [name::CORRELATION_ID, name::CAUSATION_ID, name::PARTITION_KEY] {
            if self.extensions.get(attribute).is_some_and(|value| value.as_str().is_none_or(str::is_empty)) {
                return Err(InvalidEvent::Identifier { attribute });
            }
        }
        if let Some(value) = self.extensions.get(name::SCHEMA_VERSION) {
            let text = value.to_string();
            parse_schema_version(&text).ok_or(InvalidEvent::SchemaVersion { value: excerpt(&text) })?;
        }
        Ok(self.check_trace()?)
    }

    fn check_trace(&self) -> Result<(), TraceError> {
        let text = |name| self.extensions.get(name).map(ToString::to_string);
        let (parent, state) = (text(name::TRACE_PARENT), text(name::TRACE_STATE));
        if parent.is_none() && state.is_some() {
            return Err(TraceError::StateAlone);
        }
        parent.map(|text| text.parse::<TraceParent>()).transpose()?;
        state.map(|text| check_state(&text)).transpose()?;
        Ok(())
    }
}

/// A schema version in its canonical string form: no sign, no leading zero.
pub(crate) fn parse_schema_version(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    canonical.then(|| text.parse::<i32>().ok()?.try_into().ok()).flatten()
}

fn check_spec_version(found: Option<&str>) -> Result<(), InvalidEvent> {
    match found {
        Some(SPEC_VERSION) => Ok(()),
        Some(found) => Err(InvalidEvent::SpecVersion { found: excerpt(found) }),
        None => Err(InvalidEvent::Missing { attribute: name::SPEC_VERSION }),
    }
}

fn required(attribute: &'static str, value: Option<String>) -> Result<String, InvalidEvent> {
    filled(attribute, value.ok_or(InvalidEvent::Missing { attribute })?)
}

fn filled(attribute: &'static str, value: String) -> Result<String, InvalidEvent> {
    if value.is_empty() {
        return Err(InvalidEvent::Empty { attribute });
    }
    check_characters(attribute, &value)?;
    Ok(value)
}

fn check_source(value: String) -> Result<String, InvalidEvent> {
    match uri::check_reference(&value) {
        Ok(()) => Ok(value),
        Err(reason) => Err(InvalidEvent::Source { value: excerpt(&value), reason }),
    }
}

fn check_schema(value: String) -> Result<String, InvalidEvent> {
    let value = filled(name::DATA_SCHEMA, value)?;
    match uri::check_uri(&value) {
        Ok(()) => Ok(value),
        Err(reason) => Err(InvalidEvent::DataSchema { value: excerpt(&value), reason }),
    }
}

fn check_content_type(value: String) -> Result<String, InvalidEvent> {
    let value = filled(name::DATA_CONTENT_TYPE, value)?;
    match MediaType::parse(&value) {
        Some(_) => Ok(value),
        None => Err(InvalidEvent::DataContentType { value: excerpt(&value) }),
    }
}
