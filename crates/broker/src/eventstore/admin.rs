//! Creating, listing and deleting stores.

use std::sync::Arc;

use annals_clock::Uuid;
use annals_eventstore::Position;
use annals_journal::LogId;
use annals_topics::catalogue::{CreateError, Layout, NewTopic};

use super::StoreEntry;
use crate::api::Caller;
use crate::api::stores::{CreateStoreError, DeleteStoreError, StoreDescription};
use crate::{Broker, Inner};

/// What a store's topic is configured with: only the store itself removes events.
const CONFIGS: &[(&str, Option<&str>)] = &[("retention.ms", Some("-1")), ("retention.bytes", Some("-1"))];

impl Inner {
    /// Makes the index of a new store. If that fails it is tried again in the background.
    async fn prepare_index(self: &Arc<Self>, store: &Arc<StoreEntry>) {
        let (inner, entry) = (Arc::clone(self), Arc::clone(store));
        if let Err(error) = self.blocking(move || inner.rebuild(&entry)).await {
            tracing::warn!(store = %store.name, %error, "the index of a new store could not be made");
        }
    }
}

impl Broker {
    /// Creates a store, and with it a topic of the same name. Durable on return.
    ///
    /// # Errors
    /// [`CreateStoreError`].
    pub async fn create_store(
        &self,
        _caller: &Caller,
        name: &str,
    ) -> Result<StoreDescription, CreateStoreError> {
        let inner = &*self.inner;
        let _changing = inner.changing.lock().await;
        let id = inner.clock.uuid_v4();
        let topic = NewTopic { store: true, configs: CONFIGS, ..NewTopic::new(name, id, Layout::Count(1)) };
        let limits = &inner.options.topics;
        let decision = inner.state.with_catalogue(|catalogue| catalogue.decide_create(&[topic], limits));
        if let Some(Err(error)) = decision.results.first() {
            return Err(create_error(name.into(), error));
        }
        let unavailable = |reason: String| CreateStoreError::Unavailable { name: name.into(), reason };
        let appended = inner.append_catalogue(&decision.records, &[]).await;
        appended.map_err(|error| unavailable(error.to_string()))?;
        let store = inner.state.stores.by_name(name);
        let store = store.ok_or_else(|| unavailable("it was deleted".to_owned()))?;
        self.inner.prepare_index(&store).await;
        Ok(describe(inner, &store))
    }

    /// All stores, by name.
    pub async fn stores(&self, _caller: &Caller) -> Vec<StoreDescription> {
        let stores = self.inner.state.stores.all();
        stores.iter().map(|store| describe(&self.inner, store)).collect()
    }

    /// Deletes a store with its topic and all events. Durable on return.
    ///
    /// # Errors
    /// [`DeleteStoreError`].
    pub async fn delete_store(&self, _caller: &Caller, name: &str) -> Result<Uuid, DeleteStoreError> {
        let inner = &*self.inner;
        let _changing = inner.changing.lock().await;
        let unknown = || DeleteStoreError::UnknownStore(name.into());
        let store = inner.state.stores.by_name(name).ok_or_else(unknown)?;
        let decision = inner.state.with_catalogue(|catalogue| catalogue.decide_delete(store.id));
        let record = decision.map_err(|_| unknown())?;
        let logs: [LogId; 1] = [store.log];
        let appended = inner.append_catalogue(&[record], &logs).await;
        appended.map_err(|error| DeleteStoreError::Unavailable(error.to_string()))?;
        inner.topic_deleted(&store.name);
        inner.metrics.topic_deleted(&store.name);
        inner.state.stores.tables.remove(store.id);
        Ok(store.id)
    }
}

fn describe(inner: &Inner, store: &StoreEntry) -> StoreDescription {
    let start = inner.journal.log(store.log).map_or(0, |facts| facts.offsets.start);
    let indexed = store.found_to();
    let state = store.lock();
    StoreDescription {
        name: Arc::clone(&store.name),
        id: store.id,
        end: state.applied(),
        start: Position(start),
        streams: state.stream_count() as u64,
        indexed,
    }
}

fn create_error(name: Arc<str>, error: &CreateError) -> CreateStoreError {
    let reason = error.to_string();
    match error {
        CreateError::Exists { .. } => CreateStoreError::AlreadyExists(name),
        CreateError::Name(_) | CreateError::Collision { .. } | CreateError::Duplicate { .. } => {
            CreateStoreError::InvalidName { name, reason }
        }
        CreateError::InvalidPartitions { .. }
        | CreateError::TooManyPartitions { .. }
        | CreateError::InvalidReplicationFactor { .. }
        | CreateError::InvalidAssignment { .. }
        | CreateError::Config(_) => CreateStoreError::Unavailable { name, reason },
    }
}
