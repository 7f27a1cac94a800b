//! What is asked of a store when events are appended.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::error::InvalidAppend;
use super::{
    APPEND_EVENTS_MAX, EVENT_BYTES_MAX, EVENT_NAME_BYTES_MAX, Position, Query, Revision, SUBJECT_BYTES_MAX,
    StreamName, TAG_BYTES_MAX, TAGS_MAX,
};
use crate::{Clock, Tag};

/// What a stream must be like for an append to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Anything will do.
    #[default]
    Any,
    /// There is no event in it.
    NoStream,
    /// There is at least one event in it.
    Exists,
    /// The last event has this revision.
    #[serde(untagged)]
    Exact(Revision),
}

impl Expected {
    /// What a stream is like that was read up to `revision`.
    pub fn after(revision: Option<Revision>) -> Self {
        revision.map_or(Self::NoStream, Self::Exact)
    }

    /// Whether a stream whose last event is at `actual` is like that.
    pub fn is_met_by(self, actual: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual.is_none(),
            Self::Exists => actual.is_some(),
            Self::Exact(revision) => actual == Some(revision),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("some event"),
            Self::Exact(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// What an event was caused by, and whatever else is stored beside its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// What everything shares that one action caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The id of the event or command that caused this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Anything else. Names are those of CloudEvents attributes: lower-case letters and digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
}

/// An event that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What tells it from all others of its stream: a UUID, unless somebody chose it.
    pub id: String,
    /// Its type.
    pub name: String,
    /// The version of its type.
    pub version: u32,
    /// Its data, JSON.
    pub data: Bytes,
    /// What it can be found by.
    pub tags: Vec<Tag>,
    /// What it was caused by.
    pub metadata: Metadata,
    /// Encrypts its data with the key of this subject, a person for example; the key is made when it is first needed. Everything
    /// else stays readable. See [`super::Store::shred`].
    pub encrypt_for: Option<String>,
}

/// What is appended to one stream. Without events it only guards: the append fails if the stream is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamName,
    /// What it must be like.
    pub expected: Expected,
    /// What is appended to it.
    pub events: Vec<NewEvent>,
}

/// That no event matches a query since a position: what a decision has read is all there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What must not have happened.
    pub query: Query,
    /// Up to where it was read; none: it must never have happened.
    pub after: Option<Position>,
}

/// One append: to several streams, under conditions, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// What goes where. A stream is named once.
    pub writes: Vec<StreamWrite>,
    /// What must not have happened.
    pub conditions: Vec<Condition>,
}

impl Append {
    /// Events for one stream.
    pub fn to(stream: StreamName, expected: Expected, events: Vec<NewEvent>) -> Self {
        Self { writes: vec![StreamWrite { stream, expected, events }], conditions: Vec::new() }
    }

    /// Adds a condition.
    #[must_use]
    pub fn unless(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// All its events, in the order in which they get positions.
    pub fn events(&self) -> impl Iterator<Item = &NewEvent> {
        self.writes.iter().flat_map(|write| &write.events)
    }

    /// Checks what no store accepts.
    ///
    /// # Errors
    /// [`InvalidAppend`]
    pub fn check(&self) -> Result<(), InvalidAppend> {
        let count = self.events().count();
        if count == 0 {
            return Err(InvalidAppend::Empty);
        }
        if count > APPEND_EVENTS_MAX {
            return Err(InvalidAppend::TooManyEvents { count });
        }
        let mut streams = std::collections::HashSet::new();
        if let Some(write) = self.writes.iter().find(|write| !streams.insert(&write.stream)) {
            return Err(InvalidAppend::StreamTwice { stream: write.stream.to_string() });
        }
        let mut ids = std::collections::HashSet::new();
        if let Some(event) = self.events().find(|event| !ids.insert(event.id.as_str())) {
            return Err(InvalidAppend::IdTwice { id: event.id.clone() });
        }
        self.events().try_for_each(NewEvent::check)
    }
}

impl NewEvent {
    /// An event of the library's own.
    pub(crate) fn own(clock: &Clock, name: &str, data: impl Into<Bytes>) -> Self {
        Self {
            id: clock.uuid_v7().to_string(),
            name: name.to_owned(),
            version: 1,
            data: data.into(),
            tags: Vec::new(),
            metadata: Metadata::default(),
            encrypt_for: None,
        }
    }

    fn check(&self) -> Result<(), InvalidAppend> {
        let printable = |character: char| !character.is_control();
        if self.name.is_empty() || self.name.len() > EVENT_NAME_BYTES_MAX || !self.name.chars().all(printable)
        {
            return Err(InvalidAppend::Name { name: self.name.chars().take(40).collect() });
        }
        if self.id.is_empty() || self.id.len() > EVENT_NAME_BYTES_MAX || !self.id.chars().all(printable) {
            return Err(InvalidAppend::Id { id: self.id.chars().take(40).collect() });
        }
        if self.version == 0 {
            return Err(InvalidAppend::Version { name: self.name.clone() });
        }
        if self.data.len() > EVENT_BYTES_MAX {
            return Err(InvalidAppend::TooLarge { name: self.name.clone(), len: self.data.len() });
        }
        if self.tags.len() > TAGS_MAX {
            return Err(InvalidAppend::TooManyTags { name: self.name.clone(), count: self.tags.len() });
        }
        let valid = |tag: &&Tag| {
            let text = tag.as_str();
            !text.is_empty() && text.len() <= TAG_BYTES_MAX && text.chars().all(printable)
        };
        if let Some(tag) = self.tags.iter().find(|tag| !valid(tag)) {
            return Err(InvalidAppend::Tag { tag: tag.as_str().chars().take(40).collect() });
        }
        match &self.encrypt_for {
            Some(subject) if !is_subject(subject) => Err(InvalidAppend::Subject { len: subject.len() }),
            _ => Ok(()),
        }
    }
}

/// Whether a subject may be called so. One without a name would share its key with all others that have none.
pub(crate) fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX && !subject.chars().any(char::is_control)
}

/// What has been appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The last revision of each stream that was written, in the order of the writes; guards are left out.
    pub revisions: Vec<(StreamName, Revision)>,
    /// The position of the last event.
    pub position: Position,
    /// Whether all of it was stored before, by an earlier attempt with the same ids.
    pub duplicate: bool,
}
