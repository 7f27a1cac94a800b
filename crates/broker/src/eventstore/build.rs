//! Building the index of a store from its log, while the store goes on.
//!
//! The store takes appends meanwhile. An index that it has is kept up and asked until the new one takes its place; without one
//! the log is asked (`scan`). The new index holds everything below some position; where that meets what is in memory, it is put
//! in place.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use annals_eventstore::Position;
use annals_eventstore::index::{Builder, Index, TableError};
use annals_journal::{Journal, ReadError};

use super::StoreEntry;
use super::read::{LogReader, READ_BYTES, Stretch};
use crate::Inner;

/// When so few events are left the index is closed off.
const CLOSE: u64 = 16_384;
/// How often to go after what came in meanwhile, before the index is closed off whatever is left.
const ROUNDS: usize = 16;
/// Stretches of the log that are read ahead.
const STRETCHES_AHEAD: usize = 3;

/// Why an index was not built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// An index that has been begun.
pub(super) struct Begun {
    pub(super) builder: Builder,
    pub(super) index: Index,
}

impl Inner {
    /// Builds the index of a store anew, beside the old one, and puts it in its place. The store goes on meanwhile.
    pub(super) fn rebuild(&self, store: &StoreEntry) -> Result<(), BuildError> {
        let mut begun = store.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = match begun.take() {
            Some(begun) => begun,
            None => self.begin(store)?,
        };
        tracing::info!(store = %store.name, "building the index of a store");
        store.built_to.store(begun.builder.next().0, Ordering::Relaxed);
        let done = self.build(store, begun);
        store.built_to.store(u64::MAX, Ordering::Relaxed);
        store.flushed.notify_waiters();
        done
    }

    fn begin(&self, store: &StoreEntry) -> Result<Begun, BuildError> {
        let index = Index::new(self.state.stores.tables.create(store.id)?);
        Ok(Begun { builder: Builder::new(store.terms, store.id.into_bytes()), index })
    }

    fn build(&self, store: &StoreEntry, begun: Begun) -> Result<(), BuildError> {
        let Begun { mut builder, index } = begun;
        for _ in 0..ROUNDS {
            // Behind what is durable there is nothing to read yet.
            let end = store.lock().applied();
            feed(&self.journal, store, &mut builder, end, |builder| builder.write(&index))?;
            builder.write(&index)?;
            if store.lock().applied().0 - end.0 <= CLOSE {
                break;
            }
        }
        let _writing = store.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let end = store.lock().applied();
        feed(&self.journal, store, &mut builder, end, |builder| builder.write(&index))?;
        let end = builder.finish(&index)?;
        // Nothing leaves the memory while this is held, so what is behind `end` is still there.
        store.set_index(index);
        store.indexed_to(end);
        self.state.stores.tables.keep_latest(store.id);
        tracing::info!(store = %store.name, events = end.0, "the index of a store is built");
        Ok(())
    }
}

/// Gives a builder what is in the log up to `end`. `full` is called where its memory is used up.
pub(super) fn feed(
    journal: &Journal,
    store: &StoreEntry,
    builder: &mut Builder,
    end: Position,
    mut full: impl FnMut(&mut Builder) -> Result<(), TableError>,
) -> Result<(), BuildError> {
    let reader = LogReader::new(journal, store.log).around_damage();
    let from = builder.next().0.max(reader.start());
    let (send, stretches) = sync_channel::<Result<Stretch, ReadError>>(STRETCHES_AHEAD);
    std::thread::scope(|scope| {
        let read = move || {
            let mut next = from;
            while next < end.0 {
                let stretch = reader.read(next, end.0, READ_BYTES);
                next = stretch.as_ref().map_or(u64::MAX, |stretch| stretch.next);
                if send.send(stretch).is_err() {
                    // The index could not be written.
                    return;
                }
            }
        };
        let reading =
            std::thread::Builder::new().name("store-index-read".to_owned()).spawn_scoped(scope, read);
        reading.map_err(|error| TableError::Storage(error.to_string()))?;
        for stretch in stretches {
            let stretch = stretch?;
            for event in &stretch.events {
                if !builder.takes(event) {
                    full(builder)?;
                }
                builder.add(event);
            }
            builder.skip_to(Position(stretch.next));
            store.built_to.store(stretch.next, Ordering::Relaxed);
        }
        builder.skip_to(end);
        Ok(())
    })
}
