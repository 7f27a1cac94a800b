//! Streams: what they are like, their metadata, and deleting them.

use std::sync::Arc;

use annals_event::Event;
use annals_eventstore::append::Prepared;
use annals_eventstore::index::Names;
use annals_eventstore::metadata::{METADATA_TYPE, StreamMetadata, TOMBSTONE_TYPE};
use annals_eventstore::{Expected, Revision, StreamName, StreamState, is_internal};

use super::StoreEntry;
use super::find::Finder;
use super::read::Failed;
use crate::api::Caller;
use crate::api::stores::{
    AppendEventsError, Appended, ChangeStreamError, ListNames, ReadEventsError, StreamDescription,
};
use crate::{Broker, Inner};

/// The source of the store's own events.
const SOURCE: &str = "/annals/stores";
/// Names that one list gives.
const NAMES_MAX: usize = 10_000;
/// How often a change of metadata is tried again because another came in between.
const TRIES_MAX: usize = 16;

impl Broker {
    /// Describes a stream, also one that was never written to.
    ///
    /// # Errors
    /// [`ReadEventsError::UnknownStore`].
    pub async fn stream(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        stream: &StreamName,
    ) -> Result<StreamDescription, ReadEventsError> {
        let entry = self.inner.store(store)?;
        let now_ms = self.inner.clock.now_ms();
        let state = entry.lock();
        Ok(StreamDescription {
            name: stream.clone(),
            state: state.stream(stream.as_str()),
            first: state.visible(stream.as_str(), now_ms).first,
            metadata: state.metadata(stream.as_str()).map_or_else(Default::default, |found| (*found).clone()),
            metadata_revision: state.stream(stream.metadata().as_str()).last(),
        })
    }

    /// Lists names of streams, categories or types, in order. A new name is listed when the index has it, shortly after
    /// its event.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub async fn list_names(
        &self,
        _caller: &Caller,
        request: ListNames,
    ) -> Result<Vec<String>, ReadEventsError> {
        let store = self.inner.store(&request.store)?;
        let limit = request.limit.min(NAMES_MAX);
        self.inner
            .read_blocking(&store, move |inner, store| {
                // If the index cannot be written it is given up, and the log tells.
                let _ = store.flush();
                store.listed(&inner.finder(store), &request, limit)
            })
            .await
    }

    /// Sets the metadata of a stream in place of what it had. What was truncated stays so, and a deleted stream stays deleted;
    /// [`StreamMetadata::truncate_before`] beyond the end of the stream is taken as its end. `expected` is about the stream `$$name`, so that
    /// [`Expected::Exact`] with [`StreamDescription::metadata_revision`] finds out whether somebody else changed it. Durable
    /// on return.
    ///
    /// # Errors
    /// [`ChangeStreamError`].
    pub async fn set_stream_metadata(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        stream: &StreamName,
        metadata: StreamMetadata,
        expected: Expected,
    ) -> Result<Appended, ChangeStreamError> {
        let entry = self.inner.store_to_change(store)?;
        // What is too long, or has names that are reserved, cannot be read back.
        let metadata = StreamMetadata::from_json(metadata.to_json().as_bytes())?;
        self.inner.change_metadata(&entry, stream, Expected::Any, expected, |_| metadata.clone()).await
    }

    /// Deletes a stream: its events are not shown any more. A later append brings the stream back, without its past.
    /// Durable on return.
    ///
    /// # Errors
    /// [`ChangeStreamError`].
    pub async fn delete_stream(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        stream: &StreamName,
        expected: Expected,
    ) -> Result<Appended, ChangeStreamError> {
        let entry = self.inner.store_to_change(store)?;
        let state = entry.lock().stream(stream.as_str());
        if !matches!(state, StreamState::At(_)) {
            return Err(ChangeStreamError::NoStream { stream: stream.clone(), state });
        }
        self.inner.change_metadata(&entry, stream, expected, Expected::Any, StreamMetadata::deleting).await
    }

    /// Deletes a stream for good: nothing can ever be appended to it again. Durable on return.
    ///
    /// # Errors
    /// [`ChangeStreamError`].
    pub async fn tombstone_stream(
        &self,
        _caller: &Caller,
        store: &Arc<str>,
        stream: &StreamName,
        expected: Expected,
    ) -> Result<Appended, ChangeStreamError> {
        let entry = self.inner.store_to_change(store)?;
        let event = self.inner.system_event(TOMBSTONE_TYPE, "{}")?;
        let prepared = Prepared::tombstone(stream, expected, &event, &entry.terms);
        Ok(self.inner.append_prepared(&entry, prepared).await?)
    }
}

impl Inner {
    fn store_to_change(&self, store: &Arc<str>) -> Result<Arc<StoreEntry>, AppendEventsError> {
        let entry = self.state.stores.by_name(store);
        entry.ok_or_else(|| AppendEventsError::UnknownStore(Arc::clone(store)))
    }

    /// Writes new metadata, made from the present. If that changes meanwhile and nobody minds, it is made again.
    async fn change_metadata(
        self: &Arc<Self>,
        store: &Arc<StoreEntry>,
        stream: &StreamName,
        guard: Expected,
        expected: Expected,
        change: impl Fn(StreamMetadata) -> StreamMetadata,
    ) -> Result<Appended, ChangeStreamError> {
        let mut tries = 0;
        loop {
            let Change { metadata, of_metadata, of_stream } = store.metadata_now(stream, &change);
            let of_metadata = if expected == Expected::Any { of_metadata } else { expected };
            let of_stream = if guard == Expected::Any { of_stream } else { guard };
            let event = self.system_event(METADATA_TYPE, &metadata.to_json())?;
            let prepared =
                Prepared::metadata((stream, of_stream), of_metadata, metadata, &event, &store.terms);
            tries += 1;
            match self.append_prepared(store, prepared).await {
                Err(AppendEventsError::Conflict { stream: about, .. })
                    if tries < TRIES_MAX
                        && ((about == stream.metadata() && expected == Expected::Any)
                            || (about == *stream && of_stream != guard)) => {}
                done => return Ok(done?),
            }
        }
    }

    fn system_event(&self, type_name: &str, data: &str) -> Result<Event, AppendEventsError> {
        let event = Event::builder(SOURCE, type_name).data("application/json", data.to_owned());
        event.build(&self.clock).map_err(|error| AppendEventsError::Unavailable(error.to_string()))
    }
}

/// New metadata, and what must be true for it to be right.
struct Change {
    metadata: StreamMetadata,
    /// Of the stream of metadata.
    of_metadata: Expected,
    /// Of the stream itself.
    of_stream: Expected,
}

impl StoreEntry {
    /// The metadata that a change leads to. Older metadata may be scavenged, so it says again that the stream is deleted, or what
    /// was truncated before. Nothing is truncated that is not there yet.
    fn metadata_now(&self, stream: &StreamName, change: impl Fn(StreamMetadata) -> StreamMetadata) -> Change {
        let state = self.lock();
        let present = state.metadata(stream.as_str()).map_or_else(Default::default, |found| (*found).clone());
        let (mut metadata, mut of_stream) = (change(present), Expected::Any);
        let now = state.stream(stream.as_str());
        if matches!(now, StreamState::Deleted(_)) {
            // Unless it comes back meanwhile.
            (metadata, of_stream) = (metadata.deleting(), Expected::NoStream);
        } else if !metadata.is_deletion() {
            let next = now.last().map_or(Revision(0), |last| Revision(last.0 + 1));
            let truncated = Some(state.truncated_before(stream.as_str())).filter(|first| first.0 > 0);
            let wanted = metadata.truncate_before.map(|before| before.min(next));
            metadata.truncate_before = wanted.max(truncated);
        }
        let revision = state.stream(stream.metadata().as_str()).last();
        let of_metadata = revision.map_or(Expected::NoStream, Expected::Exact);
        Change { metadata, of_metadata, of_stream }
    }

    /// Names without those of deleted streams and, unless they are asked for, those of Annals' own.
    fn listed(&self, finder: &Finder<'_>, request: &ListNames, limit: usize) -> Result<Vec<String>, Failed> {
        let hides_internal = !request.with_system && !is_internal(&request.prefix);
        let (mut listed, mut after) = (Vec::new(), request.after.clone());
        while listed.len() < limit {
            let wanted = limit - listed.len();
            let mut names = finder.names(request.names, &request.prefix, after.as_deref(), wanted)?;
            let is_last = names.len() < wanted;
            let internal = names.iter().position(|name| hides_internal && is_internal(name));
            let Some(last) = names.last() else { break };
            // All names with the same mark lie together, and there may be many of them.
            after = Some(internal.map_or_else(|| last.clone(), |at| behind_mark(&names[at])));
            names.truncate(internal.unwrap_or(names.len()));
            if request.names == Names::Streams {
                self.leave_out_deleted(&mut names);
            }
            listed.append(&mut names);
            if is_last && internal.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    fn leave_out_deleted(&self, names: &mut Vec<String>) {
        let state = self.lock();
        names.retain(|name| matches!(state.stream(name), StreamState::At(_)));
    }
}

/// What comes behind all names that begin as this one does.
fn behind_mark(name: &str) -> String {
    name.chars().take(1).chain([char::MAX]).collect()
}

impl From<ReadEventsError> for AppendEventsError {
    fn from(error: ReadEventsError) -> Self {
        match error {
            ReadEventsError::UnknownStore(store) => Self::UnknownStore(store),
            ReadEventsError::NotAuthorized(store) => Self::NotAuthorized(store),
            ReadEventsError::NoStream { .. }
            | ReadEventsError::Invalid { .. }
            | ReadEventsError::Corrupt(_)
            | ReadEventsError::Storage(_) => Self::Index(error.to_string()),
        }
    }
}
