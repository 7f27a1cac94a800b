//! Carrying out a command: load, decide, append, and again if somebody else was faster.
//!
//! Invariants: what is appended was decided on the state at exactly the revision before it. A command with an idempotency
//! key has its effect once: its events carry the key as a tag, which is looked for after loading and before deciding. An
//! attempt that stored its events after the look changed the stream's revision, so this attempt fails and looks again.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use crate::decider::evolve_all;
use crate::event_store::{Inner, stream_of};
use crate::load::AsOf;
use crate::projection::{VIEWS_KEPT, ViewError};
use crate::snapshot::{After, SNAPSHOTS_KEPT, Since};
use crate::store::{
    Append, AppendError, Expected, Metadata, NewEvent, Position, Query, Read, ReadError, Revision,
    StreamName, TAG_BYTES_MAX,
};
use crate::{Clock, Decider, EncodeError, ErrorKind, EventStore, LoadError, Loaded, Tag};

/// How often a command is tried again after a conflict, unless it says otherwise.
const RETRIES: u32 = 10;
/// The key of the tag that holds a stream and an idempotency key.
const COMMAND_TAG: &str = "$command";
/// The pause before the second retry; it doubles from there, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Why a command was not carried out. Nothing was stored, except perhaps after [`AppendError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The rules of the domain refuse it.
    #[error(transparent)]
    Rejected(E),
    /// The state could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An event could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store did not take the events.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An inline view could not follow.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The idempotency key cannot be one.
    #[error("an idempotency key has 1 to {max} bytes without control characters, this one has {len}")]
    Key {
        /// Its length in bytes.
        len: usize,
        /// What the name of the stream leaves room for.
        max: usize,
    },
}

impl<E> ExecuteError<E> {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rejected(_) | Self::Key { .. } | Self::Encode(_) => ErrorKind::Input,
            Self::Load(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::View(error) => error.kind(),
        }
    }
}

impl<E> From<ReadError> for ExecuteError<E> {
    fn from(error: ReadError) -> Self {
        Self::Load(error.into())
    }
}

/// What a command has done.
pub struct Executed<D: Decider> {
    /// What happened; empty if nothing did, or if an earlier attempt had done it.
    pub events: Vec<D::Event>,
    /// The state after it.
    pub state: D::State,
    /// The revision of the last event of the command; of the stream, if nothing happened; none if there is no event.
    pub revision: Option<Revision>,
    /// The position of the last event of the command, to wait for in a projection; none if nothing happened.
    pub position: Option<Position>,
    /// Whether an earlier attempt with the same idempotency key had done it.
    pub duplicate: bool,
}

impl<D: Decider> std::fmt::Debug for Executed<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executed")
            .field("events", &self.events.len())
            .field("revision", &self.revision)
            .field("position", &self.position)
            .field("duplicate", &self.duplicate)
            .finish_non_exhaustive()
    }
}

/// A command on its way; see [`EventStore::execute`].
#[must_use = "a command is carried out by awaiting this"]
pub struct Execute<D: Decider> {
    store: EventStore,
    id: String,
    command: D::Command,
    key: Option<String>,
    expected: Option<Expected>,
    retries: u32,
    metadata: Metadata,
}

impl<D: Decider> Execute<D> {
    pub(crate) fn new(store: EventStore, id: String, command: D::Command) -> Self {
        let metadata = Metadata::default();
        Self { store, id, command, key: None, expected: None, retries: RETRIES, metadata }
    }

    /// Has the command its effect once, however often it is carried out with this key on this aggregate.
    ///
    /// A command that led to no event leaves no trace, so it is decided anew.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Refuses the command if the stream is not as the caller last saw it, instead of deciding again.
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = Some(expected);
        self
    }

    /// How often to decide again if somebody else was faster; 10 unless said otherwise.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What is stored beside each event: correlation, causation and more.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    async fn run(self) -> Result<Executed<D>, ExecuteError<D::Error>> {
        let stream = stream_of::<D>(&self.id).map_err(LoadError::from)?;
        let tag = self.command_tag(&stream)?;
        let mut attempt = 0;
        loop {
            match self.attempt(&stream, tag.as_ref()).await {
                Err(error) if attempt < self.retries && self.may_pass(&error, &stream) => {
                    attempt += 1;
                    pause(self.store.clock(), attempt).await;
                }
                other => return other,
            }
        }
    }

    /// Whether another attempt may end better: somebody was faster, and the caller does not insist on what it has seen.
    fn may_pass(&self, error: &ExecuteError<D::Error>, stream: &StreamName) -> bool {
        match error {
            ExecuteError::Append(AppendError::Conflict { stream: other, .. }) => {
                self.expected.is_none() || other != stream.as_str()
            }
            ExecuteError::Append(AppendError::Condition { .. }) => true,
            _ => false,
        }
    }

    fn command_tag(&self, stream: &StreamName) -> Result<Option<Tag>, ExecuteError<D::Error>> {
        let Some(key) = &self.key else { return Ok(None) };
        let tag = Tag::of(COMMAND_TAG, &format_args!("{stream}/{key}"));
        let max = TAG_BYTES_MAX.saturating_sub(tag.as_str().len() - key.len());
        if key.is_empty() || key.len() > max || key.chars().any(char::is_control) {
            return Err(ExecuteError::Key { len: key.len(), max });
        }
        Ok(Some(tag))
    }

    async fn attempt(
        &self,
        stream: &StreamName,
        tag: Option<&Tag>,
    ) -> Result<Executed<D>, ExecuteError<D::Error>> {
        let loaded = self.store.load_state::<D>(stream, AsOf::Now).await?;
        if let Some(tag) = tag.filter(|_| loaded.exists())
            && let Some((revision, position)) = self.find(tag).await?
        {
            return Ok(Executed {
                events: Vec::new(),
                state: loaded.state,
                revision: Some(revision),
                position: Some(position),
                duplicate: true,
            });
        }
        self.check_expected(stream, &loaded)?;
        let events = D::decide(&self.command, &loaded.state).map_err(ExecuteError::Rejected)?;
        self.append(stream, tag, loaded, events).await
    }

    /// Where the last event of an earlier attempt is.
    async fn find(&self, tag: &Tag) -> Result<Option<(Revision, Position)>, ReadError> {
        let mut read = Read::all().matching(Query::tags([tag.clone()])).backward().limit(1);
        loop {
            let page = self.store.inner.store.read(read.clone()).await?;
            match (page.events.first(), page.next) {
                (Some(event), _) => return Ok(Some((event.revision, event.position))),
                (None, Some(next)) => read.from = Some(next),
                (None, None) => return Ok(None),
            }
        }
    }

    fn check_expected(&self, stream: &StreamName, loaded: &Loaded<D::State>) -> Result<(), AppendError> {
        let expected = self.expected.unwrap_or_default();
        if expected.is_met_by(loaded.revision) {
            return Ok(());
        }
        Err(AppendError::Conflict { stream: stream.to_string(), expected, actual: loaded.revision })
    }

    async fn append(
        &self,
        stream: &StreamName,
        tag: Option<&Tag>,
        loaded: Loaded<D::State>,
        events: Vec<D::Event>,
    ) -> Result<Executed<D>, ExecuteError<D::Error>> {
        let Loaded { state, revision, since, .. } = loaded;
        if events.is_empty() {
            return Ok(Executed { events, state, revision, position: None, duplicate: false });
        }
        let encoded =
            self.store.encode_tagged(&events, &self.metadata, tag.map_or(&[], std::slice::from_ref))?;
        let state = evolve_all::<D>(state, &events);
        let Commit { append, begun } = self.with_followers(stream, since, revision, &state, encoded).await?;
        let appended = self.store.inner.store.append(append).await?;
        for (stream, count) in begun {
            self.store.keep_last(&stream, count).await;
        }
        let revision = appended.revisions.first().map(|(_, revision)| *revision);
        Ok(Executed { events, state, revision, position: Some(appended.position), duplicate: false })
    }

    /// The events, and what is stored in the same commit: inline views and, when it is due, a snapshot.
    async fn with_followers(
        &self,
        stream: &StreamName,
        since: Since,
        before: Option<Revision>,
        state: &D::State,
        events: Vec<NewEvent>,
    ) -> Result<Commit, ExecuteError<D::Error>> {
        let Inner { snapshots, inline, clock, codec, store, .. } = &*self.store.inner;
        let followers = inline.follow(store.as_ref(), codec, clock, &events).await?;
        let snapshot = events.last().and_then(|last| {
            let revision = Revision(before.map_or(0, |before| before.0 + 1) + events.len() as u64 - 1);
            let bytes = events.iter().map(|event| event.data.len()).sum();
            let secrets = events.iter().any(|event| event.encrypt_for.is_some());
            let after = After::<D> { state, revision, event_id: &last.id, bytes, secrets };
            snapshots.due(stream, since, &after, clock)
        });
        let mut append = Append::to(stream.clone(), Expected::after(before), events);
        let new_views = followers.writes.iter().filter(|write| write.expected == Expected::NoStream);
        let first_snapshot = snapshot.iter().filter(|_| since.version == 0);
        let begun = new_views.map(|write| (write.stream.clone(), VIEWS_KEPT));
        let begun = begun.chain(first_snapshot.map(|write| (write.stream.clone(), SNAPSHOTS_KEPT))).collect();
        append.writes.extend(followers.writes);
        append.conditions.extend(followers.conditions);
        append.writes.extend(snapshot);
        Ok(Commit { append, begun })
    }
}

/// What a command stores.
struct Commit {
    append: Append,
    /// Streams of the library's own that begin with it, and how many of their last events are worth keeping.
    begun: Vec<(StreamName, u64)>,
}

/// Lets others finish: those who met here would meet again.
pub(crate) async fn pause(clock: &Clock, attempt: u32) {
    if attempt > 1 {
        let most = PAUSE.saturating_mul(1 << (attempt - 2).min(10)).min(PAUSE_MAX).as_micros() as u64;
        tokio::time::sleep(Duration::from_micros(clock.random() % (most + 1))).await;
    }
}

impl<D: Decider> IntoFuture for Execute<D> {
    type Output = Result<Executed<D>, ExecuteError<D::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
