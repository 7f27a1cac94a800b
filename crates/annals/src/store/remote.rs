//! A store on a server, over its HTTP API.
//!
//! An append whose answer is lost is sent again with the same event ids until there is an answer or the client gives up, and
//! then says [`AppendError::Unknown`]. Everything else can be repeated as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Append, AppendError, Appended, Direction, Expected, InvalidAppend, Metadata, NewEvent, PAGE_EVENTS_MAX,
    Page, Position, QUERY_TERMS_MAX, Read, ReadError, Recorded, Revision, ShredError, Source, Store,
    StreamName, StreamWrite,
};
use crate::client::{self, Client, ClientError, Problem, ReadRequest, Selection, StreamMetadata};
use crate::{ErrorKind, Time};

/// How long one request waits for something to happen. Below what things in between take for an idle connection.
const WAIT: Duration = Duration::from_secs(25);

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// A [`Store`] on a server.
pub(crate) struct RemoteStore {
    client: Client,
    name: String,
}

impl RemoteStore {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }
}

#[async_trait]
impl Store for RemoteStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append.check()?;
        let request = to_request(append)?;
        let done = self.client.append(&self.name, &request).await.map_err(append_error)?;
        let revisions = done.streams.into_iter().map(|stream| {
            let name = StreamName::new(stream.stream).map_err(|error| unknown(&error))?;
            Ok((name, stream.last_revision))
        });
        Ok(Appended {
            revisions: revisions.collect::<Result<_, AppendError>>()?,
            position: done.last_position,
            duplicate: done.repeated,
        })
    }

    async fn read(&self, read: Read) -> Result<Page, ReadError> {
        if read.limit == 0 {
            return Err(ReadError::Invalid { reason: "a page has at least one event".to_owned() });
        }
        let found = match self.client.read(&self.name, &to_read(&read)).await {
            Ok(found) => found,
            // A stream that is not there, or not any more, has no events.
            Err(error) if is_no_stream(&error) => return Ok(Page::default()),
            Err(error) => return Err(error.into()),
        };
        let looked_to = match (&read.source, read.direction) {
            (Source::Stream(_), _) | (_, Direction::Backward) => None,
            _ => found.next.unwrap_or(found.end.0).checked_sub(1).map(Position),
        };
        let mut events = Vec::with_capacity(found.events.len());
        for event in found.events {
            events.extend(from_event(event, &read)?);
        }
        let last_revision = found.stream.and_then(|stream| stream.last_revision);
        Ok(Page { events, next: found.next, looked_to, last_revision })
    }

    async fn head(&self) -> Result<Option<Position>, ReadError> {
        Ok(self.client.head(&self.name).await?)
    }

    async fn beyond(&self, position: Option<Position>) -> Result<(), ReadError> {
        while self.client.head_beyond(&self.name, position, WAIT).await? <= position {
            // A server that stops answers before the time is up.
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamName>, ReadError> {
        let after = after.map(StreamName::as_str);
        let names =
            self.client.names(&self.name, client::Names::Streams, prefix, after, limit, false).await?.names;
        let names = names.into_iter().map(StreamName::new).collect::<Result<_, _>>();
        names.map_err(|error| ReadError::Corrupt { reason: error.to_string() })
    }

    async fn shred(&self, subject: &str) -> Result<bool, ShredError> {
        self.client.shred(&self.name, subject).await.map_err(|error| {
            let reason = error.to_string();
            match error.kind() {
                ErrorKind::Retry => ShredError::Incomplete { reason },
                _ => ShredError::Unavailable { reason },
            }
        })
    }

    async fn keep_last(&self, stream: &StreamName, count: u64) -> Result<(), AppendError> {
        let metadata = StreamMetadata { max_count: Some(count.max(1)), ..Default::default() };
        let set =
            self.client.set_stream_metadata(&self.name, stream.as_str(), &metadata, Expected::Any).await;
        set.map(drop).map_err(append_error)
    }
}

fn is_no_stream(error: &ClientError) -> bool {
    error.problem("unknown-stream").is_some() || error.problem("stream-tombstoned").is_some()
}

fn to_request(append: Append) -> Result<client::Append, InvalidAppend> {
    let mut request = client::Append::default();
    for StreamWrite { stream, expected, events } in append.writes {
        let stream = stream.to_string();
        if events.is_empty() {
            request.guards.push(client::Guard { stream, expected });
            continue;
        }
        let events = events.into_iter().map(to_event).collect::<Result<_, _>>()?;
        request.writes.push(client::Write { stream, expected, events });
    }
    let conditions = append.conditions.into_iter();
    request.conditions = conditions
        .map(|condition| client::Condition {
            query: condition.query.within(QUERY_TERMS_MAX),
            after: condition.after,
        })
        .collect();
    Ok(request)
}

fn to_event(event: NewEvent) -> Result<client::NewEvent, InvalidAppend> {
    let refused = |reason: String| InvalidAppend::Refused { reason };
    let name = &event.name;
    let data: &RawValue = serde_json::from_slice(&event.data)
        .map_err(|error| refused(format!("the data of event {name} is no JSON: {error}")))?;
    let data = Some(data.to_owned());
    let Metadata { correlation_id, causation_id, other } = event.metadata;
    let others = other.into_iter().map(|(name, value)| (name, Value::from(value)));
    let mut metadata: BTreeMap<String, Value> = others.collect();
    metadata.insert("schemaversion".to_owned(), event.version.into());
    metadata.extend(correlation_id.map(|id| ("correlationid".to_owned(), id.into())));
    metadata.extend(causation_id.map(|id| ("causationid".to_owned(), id.into())));
    Ok(client::NewEvent {
        id: Some(event.id),
        name: event.name,
        data,
        metadata,
        tags: event.tags,
        encrypt_for: event.encrypt_for,
        ..Default::default()
    })
}

/// What is asked of the server. Where a source and a query are asked for at once, the source is asked for and the query
/// filters here.
fn to_read(read: &Read) -> ReadRequest {
    let selection = match &read.source {
        Source::Stream(name) => Selection::Stream(name.to_string()),
        Source::Category(name) => Selection::Category(name.clone()),
        Source::Prefix(prefix) => Selection::StreamPrefix(prefix.clone()),
        Source::All if read.query.is_all() => Selection::All(true),
        Source::All => Selection::Query(read.query.within(QUERY_TERMS_MAX)),
    };
    let forward = read.direction == Direction::Forward;
    let (first, last) = if forward { (read.since_ms, read.until_ms) } else { (read.until_ms, read.since_ms) };
    let time = |ms: Option<i64>| ms.map(|ms| Time::from_unix_ms(ms).to_string());
    ReadRequest {
        selection,
        direction: read.direction,
        from: read.from,
        // A place to go on from is never before the time; a place that a caller chose is filtered by time afterwards.
        from_time: time(first).filter(|_| read.from.is_none()),
        until: None,
        until_time: time(last),
        limit: Some(read.limit.min(PAGE_EVENTS_MAX)),
        system: false,
    }
}

/// The event, if `read` asks for it.
fn from_event(event: client::Event, read: &Read) -> Result<Option<Recorded>, ReadError> {
    if event.stream.starts_with('$') || event.name.starts_with('$') {
        return Ok(None);
    }
    let position = event.position;
    let corrupt = |reason: String| ReadError::Corrupt { reason: format!("position {position}: {reason}") };
    let stream = StreamName::new(event.stream.as_str()).map_err(|error| corrupt(error.to_string()))?;
    let recorded: Time =
        event.recorded.parse().map_err(|_| corrupt(format!("recorded at {:?}", event.recorded)))?;
    let wanted = read.source.includes(&stream)
        && read.includes_time(recorded.unix_ms())
        && read.query.matches(&event.name, &event.tags);
    if !wanted {
        return Ok(None);
    }
    let data: Bytes = event.data_bytes().map_err(corrupt)?.unwrap_or_default();
    let (version, metadata) = from_metadata(event.metadata);
    Ok(Some(Recorded {
        id: event.id,
        name: event.name,
        version,
        stream,
        revision: event.revision,
        position,
        recorded_ms: recorded.unix_ms(),
        data,
        tags: event.tags,
        metadata,
        encrypted: event.encrypted,
        shredded: event.shredded,
    }))
}

fn from_metadata(mut all: BTreeMap<String, String>) -> (u32, Metadata) {
    let version = all.remove("schemaversion").and_then(|version| version.parse().ok()).unwrap_or(1);
    let correlation_id = all.remove("correlationid");
    let causation_id = all.remove("causationid");
    (version, Metadata { correlation_id, causation_id, other: all })
}

fn append_error(error: ClientError) -> AppendError {
    let reason = error.to_string();
    let problem = match error {
        ClientError::Refused(problem) => problem,
        ClientError::Lost { .. } | ClientError::Unexpected { .. } => return AppendError::Unknown { reason },
        ClientError::Unreachable { .. } | ClientError::Address { .. } => {
            return AppendError::Unavailable { reason };
        }
        ClientError::Input(_) => return InvalidAppend::Refused { reason }.into(),
    };
    refusal(&problem).unwrap_or_else(|| match problem.kind() {
        _ if problem.is_unknown() => AppendError::Unknown { reason },
        ErrorKind::Retry => AppendError::Busy { reason },
        ErrorKind::Input | ErrorKind::Conflict => InvalidAppend::Refused { reason }.into(),
        ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Bug => AppendError::Unavailable { reason },
    })
}

/// The error that a problem has a name for.
fn refusal(problem: &Problem) -> Option<AppendError> {
    let stream = || problem.text("stream").unwrap_or_default().to_owned();
    Some(match problem.name.as_str() {
        "wrong-expected-revision" => AppendError::Conflict {
            stream: stream(),
            expected: problem.members.get("expected").and_then(expected).unwrap_or_default(),
            actual: problem.number("actual").map(Revision),
        },
        "condition-failed" => AppendError::Condition { position: Position(problem.number("position")?) },
        "stream-tombstoned" => AppendError::Tombstoned { stream: stream() },
        "id-taken" => AppendError::IdReused { id: problem.detail.clone() },
        _ => return None,
    })
}

fn expected(value: &Value) -> Option<Expected> {
    serde_json::from_value(value.clone()).ok()
}

fn unknown(error: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unknown { reason: format!("the answer cannot be understood: {error}") }
}
