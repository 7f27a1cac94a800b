//! Snapshots: the state of an aggregate as of a revision, so that loading need not begin at the beginning.
//!
//! A snapshot is only a cache. It is stored by the very append that made it due, in a stream of its own
//! (`~snapshot-STREAM`). It is used only if the event that it ends with is still where it was, by id; whatever else is wrong
//! with it, the events are replayed instead. Deleting every snapshot changes nothing but the time that loading takes.
//!
//! A snapshot is stored readable. So there is none of a state that comes from an encrypted event, until that event is shredded.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::load::AsOf;
use crate::store::{
    EVENT_BYTES_MAX, Expected, NewEvent, Read, ReadError, Recorded, Revision, StreamName, StreamWrite,
};
use crate::{Clock, Decider, EventStore, Loaded};

/// The name of the event that holds a snapshot.
const TAKEN: &str = "~SnapshotTaken";
/// Snapshots of version 1 may hold what comes from encrypted events; they are passed over.
const TAKEN_VERSION: u32 = 2;
/// How many snapshots of a stream are kept, and looked at for one that is old enough for a question about the past.
pub(crate) const SNAPSHOTS_KEPT: u64 = 16;

/// When a snapshot is taken, and of which shape of the state. Never of a state that comes from an encrypted event that can be
/// read: a snapshot would keep what [`EventStore::shred`] takes away.
///
/// ```
/// use annals::SnapshotPolicy;
///
/// let often = SnapshotPolicy::every_events(100);
/// let large = SnapshotPolicy::every_bytes(256 * 1024).or_every_events(1000).shape(2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    events: Option<u64>,
    bytes: Option<usize>,
    shape: u32,
}

impl SnapshotPolicy {
    /// As soon as so many events have come since the last one; at least 1.
    pub fn every_events(events: u64) -> Self {
        Self { events: Some(events.max(1)), bytes: None, shape: 1 }
    }

    /// As soon as the events since the last one hold so many bytes of data.
    pub fn every_bytes(bytes: usize) -> Self {
        Self { events: None, bytes: Some(bytes), shape: 1 }
    }

    /// Also after so many events.
    #[must_use]
    pub fn or_every_events(self, events: u64) -> Self {
        Self { events: Some(events.max(1)), ..self }
    }

    /// The version of the state's Rust type. Snapshots of another shape are passed over, so raise it with every change of
    /// the state or of `evolve`.
    #[must_use]
    pub fn shape(self, shape: u32) -> Self {
        Self { shape, ..self }
    }

    fn is_due(&self, events: u64, bytes: usize) -> bool {
        self.events.is_some_and(|every| events >= every) || self.bytes.is_some_and(|every| bytes >= every)
    }
}

/// How the states of the deciders that have snapshots are written and read.
#[derive(Default)]
pub(crate) struct Snapshots {
    by_decider: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

struct Codec<S> {
    policy: SnapshotPolicy,
    write: fn(&S) -> Result<Box<RawValue>, serde_json::Error>,
    read: fn(&RawValue) -> Result<S, serde_json::Error>,
}

#[derive(Serialize, Deserialize)]
struct Taken {
    shape: u32,
    /// The revision of the last event in it, and that event's id.
    revision: Revision,
    event_id: String,
    state: Box<RawValue>,
}

/// What was read since the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// The number of events that the last snapshot holds.
    pub(crate) version: u64,
    /// The bytes of the events that were read behind it.
    pub(crate) bytes: usize,
    /// Whether one of them is encrypted and can be read.
    pub(crate) secrets: bool,
}

impl Since {
    pub(crate) fn add(&mut self, recorded: &Recorded) {
        self.bytes += recorded.data.len();
        self.secrets |= recorded.tells_secrets();
    }
}

impl Snapshots {
    pub(crate) fn add<D: Decider>(&mut self, policy: SnapshotPolicy)
    where
        D::State: Serialize + DeserializeOwned,
    {
        let codec: Codec<D::State> = Codec {
            policy,
            write: |state| serde_json::value::to_raw_value(state),
            read: |state| serde_json::from_str(state.get()),
        };
        self.by_decider.insert(TypeId::of::<D>(), Box::new(codec));
    }

    fn codec<D: Decider>(&self) -> Option<&Codec<D::State>> {
        self.by_decider.get(&TypeId::of::<D>())?.downcast_ref()
    }

    /// The write that stores a snapshot of `state`, if one is due.
    pub(crate) fn due<D: Decider>(
        &self,
        stream: &StreamName,
        since: Since,
        after: &After<'_, D>,
        clock: &Clock,
    ) -> Option<StreamWrite> {
        let codec = self.codec::<D>()?;
        let events = (after.revision.0 + 1).saturating_sub(since.version);
        if since.secrets || after.secrets || !codec.policy.is_due(events, since.bytes + after.bytes) {
            return None;
        }
        let data = codec.taken(after).inspect_err(|error| {
            tracing::warn!(%error, %stream, "a state cannot be written, so there is no snapshot of it");
        });
        let data = data.ok().filter(|data| data.len() <= EVENT_BYTES_MAX)?;
        let event = NewEvent { version: TAKEN_VERSION, ..NewEvent::own(clock, TAKEN, data) };
        let stream = snapshot_stream(stream)?;
        Some(StreamWrite { stream, expected: Expected::Any, events: vec![event] })
    }
}

/// What a snapshot is taken of.
pub(crate) struct After<'a, D: Decider> {
    pub(crate) state: &'a D::State,
    pub(crate) revision: Revision,
    pub(crate) event_id: &'a str,
    /// Bytes of the new events.
    pub(crate) bytes: usize,
    /// Whether one of them is encrypted.
    pub(crate) secrets: bool,
}

impl<S> Codec<S> {
    fn taken<D: Decider<State = S>>(&self, after: &After<'_, D>) -> Result<Vec<u8>, serde_json::Error> {
        let state = (self.write)(after.state)?;
        let (shape, revision, event_id) = (self.policy.shape, after.revision, after.event_id.to_owned());
        serde_json::to_vec(&Taken { shape, revision, event_id, state })
    }

    /// The state in a snapshot, if it is of the right shape.
    fn read(&self, recorded: &Recorded) -> Option<(S, Revision, String)> {
        let taken: Taken = serde_json::from_slice(&recorded.data).ok()?;
        if taken.shape != self.policy.shape || recorded.version < TAKEN_VERSION {
            return None;
        }
        Some(((self.read)(&taken.state).ok()?, taken.revision, taken.event_id))
    }
}

fn snapshot_stream(stream: &StreamName) -> Option<StreamName> {
    // A stream whose name leaves no room goes without snapshots.
    StreamName::new(format!("~snapshot-{stream}")).ok()
}

impl EventStore {
    /// The state to start from for a question as of `as_of`: that of a snapshot, or that before the first event.
    pub(crate) async fn start<D: Decider>(
        &self,
        stream: &StreamName,
        as_of: AsOf,
    ) -> Result<Loaded<D::State>, ReadError> {
        if let Some(codec) = self.inner.snapshots.codec::<D>()
            && let Some(snapshots) = snapshot_stream(stream)
        {
            let limit = if as_of == AsOf::Now { 1 } else { SNAPSHOTS_KEPT as usize };
            let mut read = Read::stream(snapshots).backward().limit(limit);
            if let AsOf::Time(time_ms) = as_of {
                read.until_ms = Some(time_ms);
            }
            for recorded in self.inner.store.read(read).await?.events {
                if let Some((state, revision, event_id)) = codec.read(&recorded)
                    && as_of.may_include(revision)
                    && self.is_at(stream, revision, &event_id).await?
                {
                    return Ok(Loaded::from_snapshot(state, revision));
                }
            }
        }
        Ok(Loaded::before_the_first(D::State::default()))
    }

    async fn is_at(
        &self,
        stream: &StreamName,
        revision: Revision,
        event_id: &str,
    ) -> Result<bool, ReadError> {
        let read = Read::stream(stream.clone()).from_revision(revision).limit(1);
        let page = self.inner.store.read(read).await?;
        Ok(page.events.first().is_some_and(|event| event.id == event_id && event.revision == revision))
    }
}
