//! What the broker's errors are in HTTP: one exhaustive `match` for each, so that a new error cannot be forgotten.

use std::sync::Arc;

use annals_broker::api::stores::{
    APPEND_BYTES_MAX, AppendEventsError, ChangeStreamError, Counted, CreateStoreError, DeleteStoreError,
    EVENT_BYTES_MAX, EventPlace, Expected, InvalidAppend, MetadataError, ReadEventsError, ShredError,
    StreamName, StreamState,
};
use annals_broker::api::subscriptions::SubscriptionError;
use serde_json::Value;

use crate::Problem;
use crate::event::incoming::join;
use crate::problem::Kind;

/// When to try again after a failure that passes by itself.
const SOON_S: u32 = 1;
/// When to try again where somebody may have to act first.
const LATER_S: u32 = 5;

/// An expectation as JSON: a word or a revision.
pub(crate) fn expected_json(expected: Expected) -> Value {
    match expected {
        Expected::Any => "any".into(),
        Expected::NoStream => "no_stream".into(),
        Expected::Exists => "exists".into(),
        Expected::Exact(revision) => revision.0.into(),
    }
}

/// What a stream is like, in a word.
pub(crate) fn state_word(state: StreamState) -> &'static str {
    match state {
        StreamState::Missing => "missing",
        StreamState::At(_) => "exists",
        StreamState::Deleted(_) => "deleted",
        StreamState::Tombstoned => "tombstoned",
    }
}

pub(crate) fn last_revision(state: StreamState) -> Value {
    state.last().map_or(Value::Null, |revision| revision.0.into())
}

pub(crate) fn unknown_store(name: &str) -> Problem {
    let detail =
        format!("store {name} does not exist: create it with POST /stores, or with `annals store create`");
    Problem::of(Kind::UnknownStore, detail).with("store", name)
}

fn not_authorized(detail: String) -> Problem {
    Problem::of(Kind::NotAuthorized, detail)
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::of(Kind::Unavailable, detail).retry_after(LATER_S)
}

fn storage(detail: String) -> Problem {
    Problem::of(Kind::Storage, detail).retry_after(LATER_S)
}

/// The stream is not there.
pub(crate) fn no_stream(stream: &StreamName, state: StreamState) -> Problem {
    let kind = match state {
        StreamState::Tombstoned => Kind::StreamTombstoned,
        StreamState::Missing | StreamState::Deleted(_) | StreamState::At(_) => Kind::UnknownStream,
    };
    Problem::of(kind, format!("stream {stream}: {state}"))
        .with("stream", stream.as_str())
        .with("state", state_word(state))
        .with("last_revision", last_revision(state))
}

impl From<AppendEventsError> for Problem {
    fn from(error: AppendEventsError) -> Self {
        use AppendEventsError as E;
        let detail = error.to_string();
        match error {
            E::UnknownStore(name) => unknown_store(&name),
            E::Invalid(error) => invalid_append(&error, &in_writes),
            E::Conflict { stream, actual: actual @ StreamState::Tombstoned, .. } => {
                no_stream(&stream, actual)
            }
            E::Conflict { stream, expected, actual } => Self::of(Kind::WrongExpectedRevision, detail)
                .with("stream", stream.as_str())
                .with("expected", expected_json(expected))
                .with("actual", last_revision(actual))
                .with("actual_state", state_word(actual)),
            E::ConditionFailed { index, position } => {
                Self::of(Kind::ConditionFailed, detail).with("condition", index).with("position", position.0)
            }
            E::IdTaken { stream, index, revision } => Self::of(Kind::IdTaken, detail)
                .with("stream", stream.as_str())
                .with("index", index)
                .with("revision", revision.0),
            E::NotAuthorized(_) => not_authorized(detail),
            E::Index(_) => Self::of(Kind::IndexUnavailable, detail).retry_after(SOON_S),
            E::DiskFull => {
                let detail = "the disk is full: appending resumes by itself when there is space again";
                Self::of(Kind::DiskFull, detail).retry_after(LATER_S)
            }
            E::Unavailable(_) => unavailable(detail),
        }
    }
}

/// The request can never go through. `path` names a member of one of its events.
fn invalid_append(error: &InvalidAppend, path: &dyn Fn(EventPlace, &str) -> String) -> Problem {
    use InvalidAppend as E;
    let detail = error.to_string();
    let of_event = |at: &EventPlace, member: &str| path(*at, member);
    match error {
        E::TooLarge { .. } => Problem::of(Kind::TooLarge, detail).with("limit", APPEND_BYTES_MAX),
        E::EventTooLarge { at, .. } => {
            let problem = Problem::of(Kind::TooLarge, detail).with("limit", EVENT_BYTES_MAX);
            problem.with_field(&of_event(at, ""))
        }
        E::Empty { write: None }
        | E::Twice(_)
        | E::TooMany { what: Counted::Events | Counted::Streams, .. } => Problem::invalid("writes", detail),
        E::Empty { write: Some(write) } => Problem::invalid(&format!("writes[{write}].events"), detail),
        E::TooMany { what: Counted::Conditions, .. } => Problem::invalid("conditions", detail),
        E::IdTwice { at, .. } => Problem::invalid(&of_event(at, "id"), detail),
        E::Type { at, .. } => Problem::invalid(&of_event(at, "type"), detail),
        E::TooManyTags { at, .. } => Problem::invalid(&of_event(at, "tags"), detail),
        E::Tag { at, index, .. } => Problem::invalid(&of_event(at, &format!("tags[{index}]")), detail),
        E::Condition { index, reason } => {
            Problem::invalid(&format!("conditions[{index}].query.{}", reason.path()), detail)
        }
    }
}

/// The problem of an append whose events are the body. `path` names a member of one of them.
pub(crate) fn append_problem(error: AppendEventsError, path: &dyn Fn(EventPlace, &str) -> String) -> Problem {
    match error {
        // What is wrong with all events together is wrong with the body.
        AppendEventsError::Invalid(error @ (InvalidAppend::Empty { .. } | InvalidAppend::TooMany { .. })) => {
            Problem::invalid("", error.to_string())
        }
        AppendEventsError::Invalid(error) => invalid_append(&error, path),
        error => error.into(),
    }
}

fn in_writes(at: EventPlace, member: &str) -> String {
    join(&format!("writes[{}].events[{}]", at.write, at.event), member)
}

impl From<ReadEventsError> for Problem {
    fn from(error: ReadEventsError) -> Self {
        use ReadEventsError as E;
        let detail = error.to_string();
        match error {
            E::UnknownStore(name) => unknown_store(&name),
            E::NoStream { stream, state } => no_stream(&stream, state),
            E::Invalid { field, reason } => Self::invalid(&field, reason),
            E::NotAuthorized(_) => not_authorized(detail),
            E::Corrupt(_) => Self::of(Kind::Corrupt, detail),
            E::Storage(_) => storage(detail),
        }
    }
}

impl From<ChangeStreamError> for Problem {
    fn from(error: ChangeStreamError) -> Self {
        match error {
            ChangeStreamError::Metadata(error) => metadata(&error),
            ChangeStreamError::NoStream { stream, state } => no_stream(&stream, state),
            ChangeStreamError::Append(error) => error.into(),
        }
    }
}

/// The metadata's members have other names here than in the store.
fn metadata(error: &MetadataError) -> Problem {
    let detail = error.to_string();
    match error {
        MetadataError::NotAnObject(_) => Problem::invalid("", detail),
        MetadataError::Number { member, min } => {
            let field = match *member {
                "$maxAge" => "max_age_seconds",
                "$maxCount" => "max_count",
                _ => "truncate_before",
            };
            Problem::invalid(field, format!("{field} must be a whole number of at least {min}"))
        }
        MetadataError::Reserved(_) => Problem::invalid("custom", detail),
        MetadataError::TooLarge { .. } => Problem::of(Kind::TooLarge, detail),
    }
}

impl From<CreateStoreError> for Problem {
    fn from(error: CreateStoreError) -> Self {
        let detail = error.to_string();
        match error {
            CreateStoreError::AlreadyExists(name) => {
                Self::of(Kind::AlreadyExists, detail).with("name", &*name)
            }
            CreateStoreError::InvalidName { .. } => Self::invalid("name", detail),
            CreateStoreError::NotAuthorized(_) => not_authorized(detail),
            CreateStoreError::Unavailable { .. } => unavailable(detail),
        }
    }
}

impl From<DeleteStoreError> for Problem {
    fn from(error: DeleteStoreError) -> Self {
        let detail = error.to_string();
        match error {
            DeleteStoreError::UnknownStore(name) => unknown_store(&name),
            DeleteStoreError::NotAuthorized(_) => not_authorized(detail),
            DeleteStoreError::Unavailable(_) => unavailable(detail),
        }
    }
}

impl From<ShredError> for Problem {
    fn from(error: ShredError) -> Self {
        let detail = error.to_string();
        match error {
            ShredError::UnknownStore(name) => unknown_store(&name),
            ShredError::NotAuthorized(_) => not_authorized(detail),
            ShredError::Unavailable(_) => unavailable(detail),
            ShredError::StillOnDisk(_) => Self::of(Kind::KeyOnDisk, detail).retry_after(LATER_S),
        }
    }
}

pub(crate) fn unknown_subscription(store: &Arc<str>, name: &str) -> Problem {
    Problem::of(Kind::UnknownSubscription, format!("store {store} has no subscription {name}"))
        .with("store", &**store)
        .with("subscription", name)
}

impl From<SubscriptionError> for Problem {
    fn from(error: SubscriptionError) -> Self {
        use SubscriptionError as E;
        let detail = error.to_string();
        match error {
            E::UnknownStore(name) => unknown_store(&name),
            E::UnknownSubscription { store, name } => unknown_subscription(&store, &name),
            E::AlreadyExists { name, .. } => Self::of(Kind::AlreadyExists, detail).with("name", &*name),
            E::Invalid { field, reason } => Self::invalid(&field, reason),
            E::NotAuthorized(_) => not_authorized(detail),
            E::Storage(_) => storage(detail),
            E::Unavailable(_) => unavailable(detail),
        }
    }
}
