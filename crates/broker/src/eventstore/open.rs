//! Recovery: each store from its index and the end of its log. Without an index that can be used, its log is read once for
//! where the streams stand; the index is then built in the background, from what was read.

use std::sync::{Arc, PoisonError};

use annals_clock::Clock;
use annals_eventstore::Position;
use annals_eventstore::index::{Builder, Index, Loaded};
use annals_eventstore::store::{Options, Store};
use annals_journal::{Journal, ReadError};

use super::build::{Begun, BuildError, feed};
use super::read::{LogReader, READ_BYTES};
use super::{StoreEntry, Stores};

/// Events whose ids are read again, so that what is sent again over a restart is known.
const IDS_READ: u64 = 1 << 16;
/// Events of the log's end that go into the index in one step.
const EVENTS_AT_ONCE: usize = 1 << 16;

/// Gives every store that the catalogue names its state.
///
/// # Errors
/// If a log cannot be read. What is damaged in it is passed over: the events behind it are there.
pub(crate) fn recover(journal: &Journal, stores: &Stores, clock: &Clock) -> Result<(), ReadError> {
    for entry in stores.all() {
        let recovered = recover_store(journal, stores, &entry, clock)?;
        stores.adopt(Arc::new(recovered));
    }
    Ok(())
}

fn recover_store(
    journal: &Journal,
    stores: &Stores,
    entry: &StoreEntry,
    clock: &Clock,
) -> Result<StoreEntry, ReadError> {
    let started = clock.monotonic();
    let facts = journal.log(entry.log);
    let end = Position(facts.as_ref().map_or(0, |facts| facts.offsets.end));
    let (mut store, mut index, begun) = match load(stores, entry, end) {
        Some((store, index)) => (store, Some(index), None),
        None => {
            let (store, begun) = read_streams(journal, stores, entry, end)?;
            let ms = (clock.monotonic() - started).as_millis();
            tracing::info!(store = %entry.name, events = end.0, ms, "a store has no index: it is built");
            (store, None, begun)
        }
    };
    let mut reader = LogReader::new(journal, entry.log).around_damage();
    remember_ids(&mut reader, &mut store, end)?;
    while store.next() < end {
        let to = Position(end.0.min(store.next().0 + EVENTS_AT_ONCE as u64));
        recover_to(&mut reader, &mut store, to)?;
        let Some(written) = &index else { continue };
        match written.write(&store.flush(), entry.id.into_bytes()) {
            Ok(()) => store.indexed_to(store.applied()),
            Err(error) => {
                tracing::warn!(store = %entry.name, %error, "the index of a store is built again");
                index = None;
            }
        }
    }
    let (name, partition) = (Arc::clone(&entry.name), Arc::clone(&entry.partition));
    let recovered = StoreEntry::with(entry.id, name, partition, store, index);
    *recovered.begun.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    Ok(recovered)
}

/// The store as its index has it, if one can be used: the latest may be one that was not finished.
fn load(stores: &Stores, entry: &StoreEntry, end: Position) -> Option<(Store, Index)> {
    for generation in stores.tables.generations(entry.id).into_iter().rev() {
        let loaded = stores.tables.open(entry.id, generation).and_then(|table| {
            let index = Index::new(table);
            let loaded = index.load(entry.id.into_bytes(), Options::default(), end)?;
            Ok((loaded, index))
        });
        match loaded {
            Ok((Loaded::Store(store), index)) => {
                stores.tables.keep(entry.id, generation);
                return Some((*store, index));
            }
            Ok((Loaded::Nothing, _)) => {}
            Err(error) => tracing::warn!(store = %entry.name, %error, "an index of a store cannot be used"),
        }
    }
    None
}

/// Reads the whole log: where every stream stands, and an index that is begun with it.
fn read_streams(
    journal: &Journal,
    stores: &Stores,
    entry: &StoreEntry,
    end: Position,
) -> Result<(Store, Option<Begun>), ReadError> {
    let mut builder = Builder::new(entry.terms, entry.id.into_bytes());
    let warn = |error| tracing::warn!(store = %entry.name, %error, "the index of a store cannot be written");
    let mut index = stores.tables.create(entry.id).map(Index::new).map_err(warn).ok();
    let fed = feed(journal, entry, &mut builder, end, |builder| {
        match index.as_ref().map(|index| builder.write(index)) {
            Some(Ok(())) => {}
            // What the streams are like matters now; building the index is tried again later.
            Some(Err(error)) => {
                warn(error);
                index = None;
            }
            None => builder.forget(),
        }
        Ok(())
    });
    match fed {
        Ok(()) => {}
        Err(BuildError::Log(error)) => return Err(error),
        // No thread could be started: as if the log could not be read.
        Err(BuildError::Table(error)) => return Err(unreadable(entry, &error)),
    }
    let store = builder.store(Options::default());
    Ok((store, index.map(|index| Begun { builder, index })))
}

fn unreadable(entry: &StoreEntry, error: &annals_eventstore::index::TableError) -> ReadError {
    ReadError::Io { file: entry.log.to_string(), source: std::io::Error::other(error.to_string()) }
}

fn remember_ids(reader: &mut LogReader<'_>, store: &mut Store, end: Position) -> Result<(), ReadError> {
    let mut next = end.0.saturating_sub(IDS_READ).max(reader.start());
    let indexed = store.next().0;
    while next < indexed {
        let read = reader.read(next, indexed, READ_BYTES)?;
        read.events.iter().for_each(|event| store.remember(event));
        next = read.next;
    }
    Ok(())
}

/// Gives the store its log up to `end`.
fn recover_to(reader: &mut LogReader<'_>, store: &mut Store, end: Position) -> Result<(), ReadError> {
    while store.next() < end {
        let read = reader.read(store.next().0, end.0, READ_BYTES)?;
        read.events.iter().for_each(|event| store.recover(event));
        store.recover_end(Position(read.next));
    }
    Ok(())
}
