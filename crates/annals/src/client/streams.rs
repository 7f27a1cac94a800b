//! Streams: which there are, what they are like, their metadata, and deleting them.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::target::Target;
use super::{Client, ClientError, Repeat};
use crate::store::{Expected, Position, Revision};

/// What names are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Streams.
    Streams,
    /// Categories of streams.
    Categories,
    /// Types of events.
    Types,
}

/// Some names in order, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NamePage {
    /// The names.
    pub names: Vec<String>,
    /// Behind which name to go on; none at the end.
    pub next: Option<String>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// `exists`, `deleted`, `tombstoned` or `missing`.
    pub state: String,
    /// The revision of its last event.
    pub last_revision: Option<Revision>,
    /// The first revision that is shown.
    pub first_revision: Revision,
    /// What it keeps of its events.
    pub metadata: StreamMetadata,
    /// How often its metadata was set: the revision of the latest.
    pub metadata_revision: Option<Revision>,
}

/// What a stream keeps of its events, and what users want to remember about it. Replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamMetadata {
    /// Events older than so many seconds are not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// Only so many of the latest events are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u64>,
    /// Events before this revision are not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate_before: Option<Revision>,
    /// What users want to remember.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub custom: Map<String, Value>,
}

/// Metadata and how often it was set.
#[derive(Clone, Debug, Deserialize)]
struct Found {
    #[serde(flatten)]
    metadata: StreamMetadata,
    revision: Option<Revision>,
}

#[derive(Deserialize)]
struct Set {
    revision: Revision,
}

#[derive(Deserialize)]
struct Deleted {
    position: Position,
}

impl Client {
    /// Lists names that start with `prefix`, behind `after`, at most `limit` at a time. Those of Annals' own are left out, unless
    /// `system` or the prefix asks for them.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn names(
        &self,
        store: &str,
        names: Names,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        system: bool,
    ) -> Result<NamePage, ClientError> {
        let kind = match names {
            Names::Streams => "streams",
            Names::Categories => "categories",
            Names::Types => "types",
        };
        let target = Target::of(&["stores", store, kind])
            .with_some("prefix", Some(prefix).filter(|prefix| !prefix.is_empty()))
            .with_some("after", after)
            .with("limit", limit)
            .with_some("system", Some(system).filter(|system| *system));
        self.get(target).await
    }

    /// What a stream is like.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `unknown-stream` if it was never written to.
    pub async fn stream(&self, store: &str, stream: &str) -> Result<StreamInfo, ClientError> {
        self.get(Target::of(&["stores", store, "streams", stream])).await
    }

    /// The metadata of a stream and its revision; nothing if it was never set.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn stream_metadata(
        &self,
        store: &str,
        stream: &str,
    ) -> Result<(StreamMetadata, Option<Revision>), ClientError> {
        let found: Found = self.get(Target::of(&["stores", store, "streams", stream, "metadata"])).await?;
        Ok((found.metadata, found.revision))
    }

    /// Sets the metadata of a stream; `expected` is about the revision of its metadata. Returns the new one.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn set_stream_metadata(
        &self,
        store: &str,
        stream: &str,
        metadata: &StreamMetadata,
        expected: Expected,
    ) -> Result<Revision, ClientError> {
        let target = Target::of(&["stores", store, "streams", stream, "metadata"]);
        let repeat = if expected == Expected::Any { Repeat::Always } else { Repeat::Unsent };
        let target = target.with_some("expected", word(expected));
        let set: Set = self.send(Method::PUT, target, metadata, repeat).await?;
        Ok(set.revision)
    }

    /// Deletes a stream: its events are not shown any more. `for_good`: nothing can ever be appended to it again.
    ///
    /// # Errors
    /// [`ClientError`], with the problem `unknown-stream` if there is nothing to delete.
    pub async fn delete_stream(
        &self,
        store: &str,
        stream: &str,
        expected: Expected,
        for_good: bool,
    ) -> Result<Position, ClientError> {
        let target = Target::of(&["stores", store, "streams", stream])
            .with_some("expected", word(expected))
            .with_some("tombstone", Some(for_good).filter(|for_good| *for_good));
        let body = self.call(Method::DELETE, target, Repeat::Unsent).await?;
        let deleted: Deleted = self.parse(&body)?;
        Ok(deleted.position)
    }
}

/// What is expected, as a parameter; none where anything will do.
fn word(expected: Expected) -> Option<String> {
    Some(match expected {
        Expected::Any => return None,
        Expected::NoStream => "no_stream".to_owned(),
        Expected::Exists => "exists".to_owned(),
        Expected::Exact(revision) => revision.to_string(),
    })
}
