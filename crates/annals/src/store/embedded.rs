//! A store in a data directory, with everything in this process: the journal, the engine, no network.
//!
//! This maps the library's words to the broker's. Where the library asks for a source and a query at once, the one that
//! finds fewer events is asked for and the other one filters; a page may be empty then and still have a next one.

use std::sync::Arc;

use annals_broker::Broker;
use annals_broker::api::Caller;
use annals_broker::api::stores as api;
use annals_event::Event;
use async_trait::async_trait;

use super::{
    Append, AppendError, Appended, Condition, Direction, Expected, InvalidAppend, Metadata, NewEvent, Page,
    Position, QUERY_TERMS_MAX, Query, Read, ReadError, Recorded, Revision, ShredError, Source, Store,
    StreamName, StreamWrite,
};
use crate::{Clock, Tag};

/// The source attribute of events that the library appends.
const SOURCE_PREFIX: &str = "/stores/";
/// What the data is.
const JSON: &str = "application/json";

/// A [`Store`] of an embedded broker.
pub(crate) struct EmbeddedStore {
    broker: Broker,
    name: Arc<str>,
    clock: Clock,
    caller: Caller,
    /// Keeps the data open as long as there is a store.
    _open: Arc<dyn Send + Sync>,
}

impl EmbeddedStore {
    pub(crate) fn new(broker: Broker, name: &str, clock: Clock, open: Arc<dyn Send + Sync>) -> Self {
        Self { broker, name: name.into(), clock, caller: Caller::internal(), _open: open }
    }

    async fn read_broker(&self, request: api::ReadEvents) -> Result<Option<api::EventsRead>, ReadError> {
        match self.broker.read_events(&self.caller, request).await {
            Ok(read) => Ok(Some(read)),
            Err(api::ReadEventsError::NoStream { .. }) => Ok(None),
            Err(error) => Err(read_error(&error)),
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append.check()?;
        let streams: Vec<StreamName> = append
            .writes
            .iter()
            .filter(|write| !write.events.is_empty())
            .map(|write| write.stream.clone())
            .collect();
        let request = to_request(&self.name, append, &self.clock)?;
        let done = self.broker.append_events(&self.caller, request).await.map_err(append_error)?;
        let revisions = done.last_revisions.iter().map(|revision| Revision(revision.0));
        Ok(Appended {
            revisions: streams.into_iter().zip(revisions).collect(),
            position: Position(done.last_position.0),
            duplicate: done.repeated,
        })
    }

    async fn read(&self, read: Read) -> Result<Page, ReadError> {
        if read.limit == 0 {
            return Err(ReadError::Invalid { reason: "a page has at least one event".to_owned() });
        }
        let request = to_read(&self.name, &read)?;
        let Some(found) = self.read_broker(request).await? else { return Ok(Page::default()) };
        let next = found.next.map(place_number);
        let looked_to = match (&read.source, read.direction) {
            (Source::Stream(_), _) | (_, Direction::Backward) => None,
            _ => next.unwrap_or(found.end.0).checked_sub(1).map(Position),
        };
        let mut events = Vec::with_capacity(found.events.len());
        for event in &found.events {
            events.extend(from_recorded(event, &read)?);
        }
        let last_revision = found.stream.and_then(api::StreamState::last);
        let last_revision = last_revision.map(|revision| Revision(revision.0));
        Ok(Page { events, next, looked_to, last_revision })
    }

    async fn head(&self) -> Result<Option<Position>, ReadError> {
        let mut request = api::ReadEvents::new(&self.name, api::Selection::All);
        (request.from, request.limit) = (Some(api::Place::Position(api::Position(u64::MAX / 2))), 1);
        let read = self.read_broker(request).await?;
        Ok(read.and_then(|read| read.end.0.checked_sub(1)).map(Position))
    }

    async fn beyond(&self, position: Option<Position>) -> Result<(), ReadError> {
        let request = api::SubscribeEvents {
            store: Arc::clone(&self.name),
            selection: api::Selection::All,
            after: position.map(|position| api::Place::Position(api::Position(position.0))),
            with_system: true,
        };
        let mut subscription =
            self.broker.subscribe_events(&self.caller, request).await.map_err(|error| read_error(&error))?;
        loop {
            if let api::Delivery::Events(_) = subscription.next().await.map_err(|error| read_error(&error))? {
                return Ok(());
            }
        }
    }

    async fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamName>, ReadError> {
        let request = api::ListNames {
            store: Arc::clone(&self.name),
            names: api::Names::Streams,
            prefix: prefix.to_owned(),
            after: after.map(|after| after.as_str().to_owned()),
            limit,
            with_system: false,
        };
        let names =
            self.broker.list_names(&self.caller, request).await.map_err(|error| read_error(&error))?;
        let names = names.into_iter().map(StreamName::new).collect::<Result<_, _>>();
        names.map_err(|error| ReadError::Corrupt { reason: error.to_string() })
    }

    async fn shred(&self, subject: &str) -> Result<bool, ShredError> {
        let shredded = self.broker.shred_subject(&self.caller, &self.name, subject).await;
        shredded.map_err(|error| shred_error(&error))
    }

    async fn keep_last(&self, stream: &StreamName, count: u64) -> Result<(), AppendError> {
        let metadata = api::StreamMetadata { max_count: Some(count.max(1)), ..Default::default() };
        let (stream, any) = (to_stream(stream)?, api::Expected::Any);
        let set = self.broker.set_stream_metadata(&self.caller, &self.name, &stream, metadata, any).await;
        match set {
            Ok(_) => Ok(()),
            Err(api::ChangeStreamError::Append(error)) => Err(append_error(error)),
            Err(error @ (api::ChangeStreamError::Metadata(_) | api::ChangeStreamError::NoStream { .. })) => {
                Err(InvalidAppend::Refused { reason: error.to_string() }.into())
            }
        }
    }
}

fn place_number(place: api::Place) -> u64 {
    match place {
        api::Place::Revision(revision) => revision.0,
        api::Place::Position(position) => position.0,
        // A read goes on at an event and never at a time.
        api::Place::Time(_) => 0,
    }
}

fn to_request(store: &Arc<str>, append: Append, clock: &Clock) -> Result<api::AppendEvents, AppendError> {
    let (mut writes, mut guards) = (Vec::new(), Vec::new());
    for StreamWrite { stream, expected, events } in append.writes {
        let (stream, expected) = (to_stream(&stream)?, to_expected(expected));
        if events.is_empty() {
            guards.push(api::Guard { stream, expected });
            continue;
        }
        let events = events.into_iter().map(|event| to_event(store, &stream, event, clock));
        let events = events.collect::<Result<_, _>>()?;
        writes.push(api::WriteStream { stream, expected, events });
    }
    let conditions = append.conditions.iter().map(to_condition).collect();
    Ok(api::AppendEvents { store: Arc::clone(store), writes, guards, conditions })
}

fn to_stream(stream: &StreamName) -> Result<api::StreamName, InvalidAppend> {
    let refused =
        |error: api::NameError| InvalidAppend::Refused { reason: format!("stream {stream}: {error}") };
    api::StreamName::new(stream.as_str()).map_err(refused)
}

fn to_expected(expected: Expected) -> api::Expected {
    match expected {
        Expected::Any => api::Expected::Any,
        Expected::NoStream => api::Expected::NoStream,
        Expected::Exists => api::Expected::Exists,
        Expected::Exact(revision) => api::Expected::Exact(api::Revision(revision.0)),
    }
}

fn from_expected(expected: api::Expected) -> Expected {
    match expected {
        api::Expected::Any => Expected::Any,
        api::Expected::NoStream => Expected::NoStream,
        api::Expected::Exists => Expected::Exists,
        api::Expected::Exact(revision) => Expected::Exact(Revision(revision.0)),
    }
}

/// The event in the form of CloudEvents.
fn to_event(
    store: &str,
    stream: &api::StreamName,
    event: NewEvent,
    clock: &Clock,
) -> Result<api::NewEvent, InvalidAppend> {
    let mut builder = Event::builder(format!("{SOURCE_PREFIX}{store}"), event.name)
        .id(event.id)
        .subject(stream.as_str())
        .data(JSON, event.data)
        .schema_version(event.version);
    if let Some(id) = event.metadata.correlation_id {
        builder = builder.correlation_id(id);
    }
    if let Some(id) = event.metadata.causation_id {
        builder = builder.causation_id(id);
    }
    for (name, value) in event.metadata.other {
        builder = builder.extension(&name, value);
    }
    let built = builder.build(clock);
    let built = built.map_err(|error| InvalidAppend::Refused { reason: error.to_string() })?;
    let tags = event.tags.iter().map(|tag| tag.as_str().into()).collect();
    Ok(api::NewEvent { event: built, tags, encrypt_for: event.encrypt_for.map(Arc::from) })
}

fn to_condition(condition: &Condition) -> api::Condition {
    let after = condition.after.map(|after| api::Position(after.0));
    api::Condition { query: to_query(&condition.query), after }
}

/// The broker's query.
fn to_query(query: &Query) -> api::Query {
    let shared = |text: &str| -> Arc<str> { text.into() };
    let items = query.within(QUERY_TERMS_MAX).items.into_iter().map(|item| api::QueryItem {
        types: item.types.iter().map(|name| shared(name)).collect(),
        tags: item.tags.iter().map(|tag| shared(tag.as_str())).collect(),
    });
    api::Query { items: items.collect() }
}

/// What is asked of the broker.
fn to_read(store: &str, read: &Read) -> Result<api::ReadEvents, ReadError> {
    let selection = match &read.source {
        Source::Stream(name) => match api::StreamName::new(name.as_str()) {
            Ok(name) => api::Selection::Stream(name),
            Err(error) => return Err(ReadError::Invalid { reason: format!("stream {name}: {error}") }),
        },
        Source::Category(name) => api::Selection::Category(name.as_str().into()),
        Source::Prefix(prefix) => api::Selection::StreamPrefix(prefix.as_str().into()),
        Source::All if read.query.is_all() => api::Selection::All,
        Source::All => api::Selection::Query(to_query(&read.query)),
    };
    let place = |number: u64| match read.source {
        Source::Stream(_) => api::Place::Revision(api::Revision(number)),
        _ => api::Place::Position(api::Position(number)),
    };
    let forward = read.direction == Direction::Forward;
    let (early, late) = (read.since_ms.map(api::Place::Time), read.until_ms.map(api::Place::Time));
    let (first, last) = if forward { (early, late) } else { (late, early) };
    let mut request = api::ReadEvents::new(store, selection);
    request.direction = if forward { api::Direction::Forward } else { api::Direction::Backward };
    // A place to go on from is never before the time; a place that a caller chose is filtered by time afterwards.
    request.from = read.from.map(place).or(first);
    request.until = last;
    request.limit = read.limit.min(super::PAGE_EVENTS_MAX);
    Ok(request)
}

/// The event, if `read` asks for it.
fn from_recorded(event: &api::RecordedEvent, read: &Read) -> Result<Option<Recorded>, ReadError> {
    if event.is_system() {
        return Ok(None);
    }
    let corrupt =
        |reason: String| ReadError::Corrupt { reason: format!("position {}: {reason}", event.position().0) };
    let stream = StreamName::new(event.stream()).map_err(|error| corrupt(error.to_string()))?;
    let tags: Vec<Tag> = event.tags().map(Tag::new).collect();
    let wanted = read.source.includes(&stream)
        && read.includes_time(event.recorded_ms())
        && read.query.matches(event.type_name(), &tags);
    if !wanted {
        return Ok(None);
    }
    let envelope = event.event().map_err(|error| corrupt(error.to_string()))?;
    Ok(Some(Recorded {
        id: event.id().to_owned(),
        name: event.type_name().to_owned(),
        version: envelope.schema_version().unwrap_or(1),
        stream,
        revision: Revision(event.revision().0),
        position: Position(event.position().0),
        recorded_ms: event.recorded_ms(),
        data: event.data().unwrap_or_default(),
        tags,
        metadata: from_envelope(&envelope),
        encrypted: event.encryption_key().is_some(),
        shredded: event.is_shredded(),
    }))
}

fn from_envelope(event: &Event) -> Metadata {
    let own = ["correlationid", "causationid", "schemaversion"];
    let others = event.extensions().filter(|(name, _)| !own.contains(name));
    Metadata {
        correlation_id: event.correlation_id().map(str::to_owned),
        causation_id: event.causation_id().map(str::to_owned),
        other: others.map(|(name, value)| (name.to_owned(), value.to_string())).collect(),
    }
}

fn append_error(error: api::AppendEventsError) -> AppendError {
    use api::AppendEventsError as E;
    let text = error.to_string();
    match error {
        E::Conflict { stream, actual: api::StreamState::Tombstoned, .. } => {
            AppendError::Tombstoned { stream: stream.to_string() }
        }
        E::Conflict { stream, expected, actual } => AppendError::Conflict {
            stream: stream.to_string(),
            expected: from_expected(expected),
            actual: actual.last().map(|revision| Revision(revision.0)),
        },
        E::ConditionFailed { position, .. } => AppendError::Condition { position: Position(position.0) },
        E::IdTaken { .. } => AppendError::IdReused { id: text },
        E::Invalid(_) => InvalidAppend::Refused { reason: text }.into(),
        E::Index(_) | E::DiskFull => AppendError::Busy { reason: text },
        E::UnknownStore(_) | E::NotAuthorized(_) | E::Unavailable(_) => {
            AppendError::Unavailable { reason: text }
        }
    }
}

fn shred_error(error: &api::ShredError) -> ShredError {
    use api::ShredError as E;
    let reason = error.to_string();
    match error {
        E::Unavailable(_) | E::StillOnDisk(_) => ShredError::Incomplete { reason },
        E::UnknownStore(_) | E::NotAuthorized(_) => ShredError::Unavailable { reason },
    }
}

fn read_error(error: &api::ReadEventsError) -> ReadError {
    use api::ReadEventsError as E;
    let reason = error.to_string();
    match error {
        E::Invalid { .. } => ReadError::Invalid { reason },
        E::Corrupt(_) => ReadError::Corrupt { reason },
        E::Storage(_) => ReadError::Busy { reason },
        E::UnknownStore(_) | E::NoStream { .. } | E::NotAuthorized(_) => ReadError::Unavailable { reason },
    }
}
