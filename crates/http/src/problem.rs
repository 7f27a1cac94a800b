//! Errors as problem documents (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// An error that a handler answers, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem this is, for programs: `urn:annals:problem:NAME`, or `about:blank` where the status says it all.
    #[serde(rename = "type")]
    #[schema(example = "urn:annals:problem:unknown-store")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What went wrong this time and what to do about it.
    pub detail: String,
    /// What else is known, by the kind of problem: `field`, `store`, `stream`, `expected`, `actual` and others.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub members: Map<String, Value>,
    /// After how many seconds a retry may succeed: the header `Retry-After`.
    #[serde(skip)]
    pub retry_after_s: Option<u32>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// The kinds of problems that programs may want to tell apart. Their names are part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            fn parts(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$name => (concat!("urn:annals:problem:", $text), StatusCode::$status, $title),)*
                }
            }
        }
    };
}

kinds! {
    /// The request makes no sense, or has the wrong form.
    InvalidRequest = "invalid-request", BAD_REQUEST, "Invalid request";
    UnknownStore = "unknown-store", NOT_FOUND, "Unknown store";
    UnknownStream = "unknown-stream", NOT_FOUND, "Unknown stream";
    UnknownEvent = "unknown-event", NOT_FOUND, "Unknown event";
    UnknownSubscription = "unknown-subscription", NOT_FOUND, "Unknown subscription";
    UnknownConsumer = "unknown-consumer", NOT_FOUND, "Unknown consumer";
    UnknownProjection = "unknown-projection", NOT_FOUND, "Unknown projection";
    StreamTombstoned = "stream-tombstoned", GONE, "Stream deleted for good";
    AlreadyExists = "already-exists", CONFLICT, "Already exists";
    WrongExpectedRevision = "wrong-expected-revision", CONFLICT, "Wrong expected revision";
    ConditionFailed = "condition-failed", CONFLICT, "Condition failed";
    IdTaken = "id-taken", CONFLICT, "Event id taken";
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "Too large";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    NotAuthorized = "not-authorized", FORBIDDEN, "Not authorized";
    TooManyRequests = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    Recovering = "recovering", SERVICE_UNAVAILABLE, "Recovering";
    DiskFull = "disk-full", SERVICE_UNAVAILABLE, "Disk full";
    IndexUnavailable = "index-unavailable", SERVICE_UNAVAILABLE, "Index unavailable";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Unavailable";
    /// A key is deleted, but not off the disk.
    KeyOnDisk = "key-on-disk", SERVICE_UNAVAILABLE, "Key still on the disk";
    Storage = "storage", SERVICE_UNAVAILABLE, "Storage failed";
    Corrupt = "corrupt", INTERNAL_SERVER_ERROR, "Stored data is damaged";
}

impl Problem {
    /// A problem whose status says it all.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        Self::build("about:blank", status, title, detail.into())
    }

    /// A problem of a kind.
    pub(crate) fn of(kind: Kind, detail: impl Into<String>) -> Self {
        let (kind, status, title) = kind.parts();
        Self::build(kind, status, title, detail.into())
    }

    fn build(kind: &'static str, status: StatusCode, title: &'static str, detail: String) -> Self {
        let status = status.as_u16();
        Self { kind, title, status, detail, members: Map::new(), retry_after_s: None }
    }

    /// A part of the request is wrong: `field` names it.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::of(Kind::InvalidRequest, detail).with_field(field)
    }

    /// Names the part of the request that is wrong, unless that is all of it.
    #[must_use]
    pub(crate) fn with_field(self, field: &str) -> Self {
        if field.is_empty() { self } else { self.with("field", field) }
    }

    /// The broker is not open yet.
    pub(crate) fn recovering() -> Self {
        Self::of(Kind::Recovering, "the server has just started and reads its journal").retry_after(1)
    }

    /// Adds a member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_s;
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
