//! Events as CloudEvents: the three modes in which they come, and how they go out.
//!
//! Source: CloudEvents HTTP protocol binding 1.0.2.

use std::sync::Arc;

use annals_broker::api::stores::{NewEvent, RecordedEvent};
use annals_event::Event;
use annals_event::http::{self, DecodeError};
use annals_event::json::{self, BATCH_MEDIA_TYPE, BatchError, MEDIA_TYPE};
use axum::http::HeaderMap;
use bytes::Bytes;

use super::incoming::join;
use super::{attribute_of, whole_story};
use crate::Problem;
use crate::accept::prefers;
use crate::input::{media_type, unsupported};
use crate::problem::Kind;
use crate::query::Params;

/// How the events of a request come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// JSON of our own.
    Native,
    /// Attributes in headers, data in the body.
    Binary,
    /// One event in JSON.
    Structured,
    /// Several events in JSON.
    Batch,
}

impl Mode {
    /// Finds out.
    ///
    /// # Errors
    /// 415.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let found = media_type(headers);
        match found.as_deref() {
            Some(MEDIA_TYPE) => Ok(Self::Structured),
            Some(BATCH_MEDIA_TYPE) => Ok(Self::Batch),
            Some(other) if other.starts_with("application/cloudevents") => {
                Err(unsupported(Some(other), &format!("{MEDIA_TYPE} or {BATCH_MEDIA_TYPE}")))
            }
            _ if is_binary(headers) => Ok(Self::Binary),
            Some("application/json") => Ok(Self::Native),
            other => {
                let wanted = format!(
                    "application/json, {MEDIA_TYPE} or {BATCH_MEDIA_TYPE}, or the event has headers ce-id, ce-type, ..."
                );
                Err(unsupported(other, &wanted))
            }
        }
    }
}

/// Whether a request claims to be an event in binary mode. A browser asks before it sends such a header elsewhere.
fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(http::PREFIX))
}

/// What the query says of all events of a request.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    tags: Vec<Arc<str>>,
    encrypt_for: Option<Arc<str>>,
}

impl Marks {
    /// Takes `tag` and `encrypt_for`.
    ///
    /// # Errors
    /// If `encrypt_for` comes twice.
    pub(crate) fn take(params: &mut Params) -> Result<Self, Problem> {
        let tags = params.take_all("tag").into_iter().map(Arc::from).collect();
        Ok(Self { tags, encrypt_for: params.take("encrypt_for")?.map(Arc::from) })
    }

    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.encrypt_for.is_none()
    }

    /// The event with what the query says of it.
    pub(crate) fn put_on(&self, event: Event) -> NewEvent {
        NewEvent { event, tags: self.tags.clone(), encrypt_for: self.encrypt_for.clone() }
    }
}

/// Reads the events of a request, which is not [`Mode::Native`].
///
/// # Errors
/// 400, which names what is wrong.
pub(crate) fn decode(mode: Mode, headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Problem> {
    match mode {
        Mode::Binary => {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            http::decode_binary(headers, body)
                .map(|event| vec![event])
                .map_err(|error| binary_problem(&error))
        }
        Mode::Structured => {
            json::decode(&body).map(|event| vec![event]).map_err(|error| json_problem("", &error, &error))
        }
        Mode::Batch => json::decode_batch(&body).map_err(|error| match &error {
            BatchError::Syntax(_) => Problem::invalid("", whole_story(&error)),
            BatchError::Event { index, source } => json_problem(&format!("[{index}]"), source, &error),
        }),
        Mode::Native => Err(Problem::of(Kind::UnsupportedMediaType, "the body is not a CloudEvent")),
    }
}

fn binary_problem(error: &DecodeError) -> Problem {
    let header = |attribute: &str| match attribute {
        "" => String::new(),
        "datacontenttype" => "content-type".to_owned(),
        _ => format!("{}{attribute}", http::PREFIX),
    };
    let field = match error {
        DecodeError::Repeated { header }
        | DecodeError::NotUtf8 { header }
        | DecodeError::Header { header, .. } => header.clone(),
        DecodeError::Invalid(error) => header(attribute_of(error)),
    };
    Problem::invalid(&field, whole_story(error))
}

fn json_problem(path: &str, error: &json::DecodeError, whole: &dyn std::error::Error) -> Problem {
    use json::DecodeError as E;
    let field = match error {
        E::Syntax(_) => "",
        E::Repeated { member } => member,
        E::AttributeType { attribute, .. } => attribute,
        E::TwoPayloads | E::Base64 => "data_base64",
        E::DataNotAString { .. } | E::Charset { .. } => "data",
        E::Invalid(error) => attribute_of(error),
    };
    Problem::invalid(&join(path, field), whole_story(whole))
}

/// Whether a reader wants CloudEvents rather than JSON of our own: one, or many.
pub(crate) fn wants(headers: &HeaderMap, many: bool) -> bool {
    prefers(headers, if many { BATCH_MEDIA_TYPE } else { MEDIA_TYPE }, "application/json")
}

/// Writes one event.
///
/// # Errors
/// 500 if what is stored is no event that this version knows.
pub(crate) fn write(into: &mut Vec<u8>, event: &RecordedEvent) -> Result<(), Problem> {
    let envelope = event.event().map_err(|error| {
        Problem::of(
            Kind::Corrupt,
            format!("the event at position {}: {}", event.position(), whole_story(&error)),
        )
    })?;
    into.extend_from_slice(json::encode(&envelope).as_bytes());
    Ok(())
}
