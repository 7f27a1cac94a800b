//! What is asked of a store when events are read, and how they come back.

use bytes::Bytes;

use super::{Metadata, PAGE_EVENTS_MAX, Position, Revision, StreamName};
use crate::{Tag, TimestampMs};

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What tells it from all others of its stream.
    pub id: String,
    /// Its type.
    pub name: String,
    /// The version of its type.
    pub version: u32,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its place among all events.
    pub position: Position,
    /// When it was stored.
    pub recorded_ms: TimestampMs,
    /// Its data.
    pub data: Bytes,
    /// What it can be found by.
    pub tags: Vec<Tag>,
    /// What it was caused by.
    pub metadata: Metadata,
    /// Whether its data is stored encrypted. It is given decrypted as long as its key is there.
    pub encrypted: bool,
    /// Whether its key was shredded. Its data is empty then.
    pub shredded: bool,
}

impl Recorded {
    /// Whether it tells what shredding its subject would take away.
    pub(crate) fn tells_secrets(&self) -> bool {
        self.encrypted && !self.shredded
    }
}

/// Which events: those that any of its items describes. Without items: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Query {
    /// The alternatives.
    pub items: Vec<QueryItem>,
}

/// Events of any of these types that carry all of these tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueryItem {
    /// Names of event types; none: all types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Tags; none: whatever they carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl Query {
    /// All events.
    pub fn all() -> Self {
        Self::default()
    }

    /// Events of any of these types.
    pub fn types<T: Into<String>>(types: impl IntoIterator<Item = T>) -> Self {
        Self {
            items: vec![QueryItem { types: types.into_iter().map(Into::into).collect(), tags: Vec::new() }],
        }
    }

    /// Events that carry all of these tags.
    pub fn tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Self { items: vec![QueryItem { types: Vec::new(), tags: tags.into_iter().collect() }] }
    }

    /// Adds the alternatives of another query.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        if self.items.is_empty() || other.items.is_empty() {
            return Self::all();
        }
        self.items.extend(other.items);
        self
    }

    /// Whether it leaves nothing out.
    pub(crate) fn is_all(&self) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.types.is_empty() && item.tags.is_empty())
    }

    /// The same with no more than so many types and tags in an item: an item with more types becomes several.
    #[cfg(any(feature = "embedded", feature = "client"))]
    pub(crate) fn within(&self, terms_max: usize) -> Self {
        let mut items = Vec::new();
        for QueryItem { types, tags } in &self.items {
            let room = terms_max.saturating_sub(tags.len()).max(1);
            let of_types = |types: &[String]| QueryItem { types: types.to_vec(), tags: tags.clone() };
            match types.as_slice() {
                [] => items.push(of_types(&[])),
                types => items.extend(types.chunks(room).map(of_types)),
            }
        }
        Self { items }
    }

    /// Whether an event of this name with these tags is meant.
    pub fn matches(&self, name: &str, tags: &[Tag]) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.matches(name, tags))
    }
}

impl QueryItem {
    fn matches(&self, name: &str, tags: &[Tag]) -> bool {
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == name))
            && self.tags.iter().all(|wanted| tags.contains(wanted))
    }
}

/// Where events are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The whole store, the streams of Annals' own left out.
    #[default]
    All,
    /// One stream.
    Stream(StreamName),
    /// All streams whose names start with `CATEGORY-`.
    Category(String),
    /// All streams whose names start like that; those of Annals' own only if the prefix starts as their names do.
    Prefix(String),
}

impl Source {
    /// Whether the events of `stream` are read.
    pub fn includes(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => !stream.is_system(),
            Self::Stream(wanted) => stream == wanted,
            Self::Category(category) => stream.category() == category && stream.id().is_some(),
            Self::Prefix(prefix) => {
                let asks_for_system = prefix.starts_with(super::name::SYSTEM_MARKS);
                stream.as_str().starts_with(prefix.as_str()) && (asks_for_system || !stream.is_system())
            }
        }
    }
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The oldest first.
    #[default]
    Forward,
    /// The newest first.
    Backward,
}

/// A question for events; start with [`Read::all`], [`Read::stream`] or [`Read::category`].
///
/// ```
/// use annals::store::{Query, Read, StreamName};
///
/// let deposits = Read::stream(StreamName::of("account", "123")?)
///     .matching(Query::types(["DepositMade"]))
///     .until(&"2025-03-31T23:59:59.999Z".parse()?)
///     .limit(100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// From where.
    pub source: Source,
    /// Which.
    pub query: Query,
    /// In which order.
    pub direction: Direction,
    /// The first place to look at: a revision where the source is one stream, a position otherwise. None: the beginning
    /// or, backward, the end.
    pub from: Option<u64>,
    /// Not those recorded before this time.
    pub since_ms: Option<TimestampMs>,
    /// Not those recorded after this time.
    pub until_ms: Option<TimestampMs>,
    /// How many at most.
    pub limit: usize,
}

impl Read {
    /// From one source, forward, from the beginning.
    pub fn from_source(source: Source) -> Self {
        Self {
            source,
            query: Query::all(),
            direction: Direction::Forward,
            from: None,
            since_ms: None,
            until_ms: None,
            limit: PAGE_EVENTS_MAX,
        }
    }

    /// From all streams.
    pub fn all() -> Self {
        Self::from_source(Source::All)
    }

    /// From one stream.
    pub fn stream(stream: StreamName) -> Self {
        Self::from_source(Source::Stream(stream))
    }

    /// From all streams of a category.
    pub fn category(category: impl Into<String>) -> Self {
        Self::from_source(Source::Category(category.into()))
    }

    /// Only what matches `query`.
    #[must_use]
    pub fn matching(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// The newest first.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// From this revision on, where the source is one stream.
    #[must_use]
    pub fn from_revision(mut self, revision: impl Into<Revision>) -> Self {
        self.from = Some(revision.into().0);
        self
    }

    /// From this position on, where the source is not one stream.
    #[must_use]
    pub fn from_position(mut self, position: impl Into<Position>) -> Self {
        self.from = Some(position.into().0);
        self
    }

    /// Only what was recorded at or after `time`.
    #[must_use]
    pub fn since(mut self, time: &crate::Time) -> Self {
        self.since_ms = Some(time.unix_ms());
        self
    }

    /// Only what was recorded at or before `time`.
    #[must_use]
    pub fn until(mut self, time: &crate::Time) -> Self {
        self.until_ms = Some(time.unix_ms());
        self
    }

    /// At most so many, [`PAGE_EVENTS_MAX`] for a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the times ask for an event that was recorded then.
    pub fn includes_time(&self, recorded_ms: TimestampMs) -> bool {
        self.since_ms.is_none_or(|since| recorded_ms >= since)
            && self.until_ms.is_none_or(|until| recorded_ms <= until)
    }
}

/// Some events, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The events, in the order that was asked for. May be fewer than asked for although there are more.
    pub events: Vec<Recorded>,
    /// What to put into [`Read::from`] for the next page; none at the end of what there is now.
    pub next: Option<u64>,
    /// Up to where this page has looked, where the source is not one stream: there is nothing more at or before this
    /// position, forward.
    pub looked_to: Option<Position>,
    /// Where the source is one stream, the revision of its last event, whether that event is still shown or not: what an append
    /// must expect. None if there is no event, or the stream is deleted.
    pub last_revision: Option<Revision>,
}
