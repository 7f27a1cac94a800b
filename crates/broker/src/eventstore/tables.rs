//! Where the indexes of stores lie: each in a database file of its own in a directory, or in memory.
//!
//! A file is named `STORE-GENERATION.redb`. An index that is built anew gets the next generation beside the old file, which
//! goes when the new one is complete. Every value carries a checksum; what does not match, what the library says is damaged
//! and what it stumbles over is an error, upon which the index is built again.
//!
//! Most writes are not synced: after a power failure the file is as of the last one that was, with the checkpoint of that
//! moment, and the log tells the rest.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use annals_clock::Uuid;
use annals_eventstore::index::{Entry, MemoryTable, Table, TableError};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const EXTENSION: &str = "redb";
/// Memory for the pages of one index.
const CACHE_BYTES: usize = 64 << 20;
/// Entries after which a write is synced.
const UNSYNCED_MAX: usize = 1 << 18;
/// Bytes of a value's checksum.
const CHECKSUM_LEN: usize = 4;

/// Makes and finds the tables of indexes.
pub(crate) struct Tables {
    directory: Option<PathBuf>,
    memory: Mutex<HashMap<Uuid, Arc<MemoryTable>>>,
}

impl Tables {
    /// In `directory`, or in memory without one.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, memory: Mutex::default() }
    }

    /// The tables of a store that are there, the latest last.
    pub(super) fn generations(&self, store: Uuid) -> Vec<u64> {
        let Some(directory) = &self.directory else {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            return memory.contains_key(&store).then_some(0).into_iter().collect();
        };
        files(directory, store).into_iter().map(|(generation, _)| generation).collect()
    }

    /// One table of a store.
    pub(super) fn open(&self, store: Uuid, generation: u64) -> Result<Arc<dyn Table>, TableError> {
        let Some(directory) = &self.directory else {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let table = memory.get(&store).map(|table| Arc::clone(table) as Arc<dyn Table>);
            return table.ok_or_else(|| storage("it is not there"));
        };
        Ok(Arc::new(FileTable::open(&path_of(directory, store, generation))?))
    }

    /// A new table for a store, beside the one it has.
    pub(super) fn create(&self, store: Uuid) -> Result<Arc<dyn Table>, TableError> {
        let Some(directory) = &self.directory else {
            let table = Arc::new(MemoryTable::default());
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(store, Arc::clone(&table));
            return Ok(table);
        };
        std::fs::create_dir_all(directory).map_err(storage)?;
        let generation = files(directory, store).last().map_or(1, |(generation, _)| generation + 1);
        Ok(Arc::new(FileTable::open(&path_of(directory, store, generation))?))
    }

    /// Removes all tables of a store but the latest.
    pub(super) fn keep_latest(&self, store: Uuid) {
        if let Some(latest) = self.generations(store).pop() {
            self.keep(store, latest);
        }
    }

    /// Removes all tables of a store but one.
    pub(super) fn keep(&self, store: Uuid, kept: u64) {
        if let Some(directory) = &self.directory {
            let mut files = files(directory, store);
            files.retain(|(generation, _)| *generation != kept);
            remove(files);
        }
    }

    /// Removes the tables of a store.
    pub(super) fn remove(&self, store: Uuid) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&store);
        if let Some(directory) = &self.directory {
            remove(files(directory, store));
        }
    }
}

fn path_of(directory: &Path, store: Uuid, generation: u64) -> PathBuf {
    directory.join(format!("{store}-{generation:04}.{EXTENSION}"))
}

/// The files of a store with their generations, the latest last.
fn files(directory: &Path, store: Uuid) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{store}-");
    let parse = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(&prefix)?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
        Some((number.parse().ok()?, path))
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| parse(entry.path())).collect();
    files.sort();
    files
}

/// On most systems a file that is still open goes when it is closed.
fn remove(files: Vec<(u64, PathBuf)>) {
    for (_, path) in files {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old index");
        }
    }
}

/// A table in a file.
struct FileTable {
    database: Database,
    /// Entries since the last write that was synced.
    unsynced: AtomicUsize,
}

impl FileTable {
    fn open(path: &Path) -> Result<Self, TableError> {
        guarded(|| {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(damaged)?;
            let write = database.begin_write().map_err(damaged)?;
            write.open_table(ENTRIES).map_err(damaged)?;
            write.commit().map_err(damaged)?;
            Ok(Self { database, unsynced: AtomicUsize::new(0) })
        })
    }

    fn write_all(
        &self,
        entries: &mut dyn Iterator<Item = Result<Entry, TableError>>,
    ) -> Result<(), TableError> {
        let mut write = self.database.begin_write().map_err(storage)?;
        let mut count = 0;
        {
            let mut table = write.open_table(ENTRIES).map_err(storage)?;
            for entry in entries {
                let (key, mut value) = entry?;
                value.extend_from_slice(&checksum(&key, &value));
                table.insert(key.as_slice(), value.as_slice()).map_err(storage)?;
                count += 1;
            }
        }
        let unsynced = self.unsynced.fetch_add(count, Ordering::Relaxed) + count;
        if unsynced < UNSYNCED_MAX {
            write.set_durability(Durability::None).map_err(storage)?;
        } else {
            // Opens at once also after a crash; the checksums of values make up for those of pages.
            write.set_quick_repair(true);
            self.unsynced.store(0, Ordering::Relaxed);
        }
        write.commit().map_err(storage)
    }
}

impl Table for FileTable {
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Entry>, TableError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(storage)?;
            last_in(&read.open_table(ENTRIES).map_err(storage)?, from, to)
        })
    }

    fn last_of_each(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Option<Entry>>, TableError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(storage)?;
            let table = read.open_table(ENTRIES).map_err(storage)?;
            ranges.iter().map(|(from, to)| last_in(&table, from, to)).collect()
        })
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), TableError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(storage)?;
            let table = read.open_table(ENTRIES).map_err(storage)?;
            for entry in table.range::<&[u8]>(from..=to).map_err(storage)? {
                let (key, value) = entry.map_err(storage)?;
                if !visit(key.value(), checked(key.value(), value.value())?) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn write(&self, entries: &mut dyn Iterator<Item = Result<Entry, TableError>>) -> Result<(), TableError> {
        guarded(|| self.write_all(entries))
    }
}

fn last_in(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    to: &[u8],
) -> Result<Option<Entry>, TableError> {
    let mut range = table.range::<&[u8]>(from..=to).map_err(storage)?;
    let Some(entry) = range.next_back() else { return Ok(None) };
    let (key, value) = entry.map_err(storage)?;
    let value = checked(key.value(), value.value())?.to_vec();
    Ok(Some((key.value().to_vec(), value)))
}

/// The library takes its own bytes for granted and may stumble over damaged ones.
fn guarded<T>(work: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(TableError::Damaged("its pages make no sense".to_owned())))
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_LEN] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes()
}

fn checked<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], TableError> {
    let value = stored.split_last_chunk::<CHECKSUM_LEN>();
    match value.filter(|(value, sum)| checksum(key, value) == **sum) {
        Some((value, _)) => Ok(value),
        None => Err(TableError::Damaged("the checksum of an entry does not match".to_owned())),
    }
}

fn storage(error: impl std::fmt::Display) -> TableError {
    TableError::Storage(error.to_string())
}

fn damaged(error: impl std::fmt::Display) -> TableError {
    TableError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u8, value: &[u8]) -> Entry {
        (vec![key], value.to_vec())
    }

    #[test]
    fn a_file_is_found_again_with_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let tables = Tables::new(Some(directory.path().join("indexes")));
        let store = Uuid::from_u128(7);
        assert!(tables.generations(store).is_empty());
        let table = tables.create(store).unwrap();
        table.write(&mut [entry(1, b"one"), entry(2, b"two"), entry(4, b"")].map(Ok).into_iter()).unwrap();
        assert_eq!(table.last(&[0], &[3]).unwrap(), Some(entry(2, b"two")));
        let both = [(vec![0], vec![3]), (vec![5], vec![9])];
        assert_eq!(table.last_of_each(&both).unwrap(), [Some(entry(2, b"two")), None]);
        let failing = [Ok(entry(7, b"seven")), Err(storage("a test"))];
        assert!(table.write(&mut failing.into_iter()).is_err());
        assert_eq!(table.last(&[5], &[9]).unwrap(), None, "all or none");
        drop(table);
        let table = tables.open(store, 1).unwrap();
        let mut keys = Vec::new();
        table
            .scan(&[2], &[9], &mut |key, _| {
                keys.push(key.to_vec());
                true
            })
            .unwrap();
        assert_eq!(keys, [[2], [4]]);
        drop(table);
        drop(tables.create(store).unwrap());
        assert_eq!(tables.generations(store), [1, 2]);
        tables.keep_latest(store);
        assert_eq!(tables.generations(store), [2]);
        assert_eq!(tables.open(store, 2).unwrap().last(&[0], &[9]).unwrap(), None);
        drop(tables.create(store).unwrap());
        tables.keep(store, 2);
        assert_eq!(tables.generations(store), [2]);
        tables.remove(store);
        assert!(tables.generations(store).is_empty());
    }

    #[test]
    fn damaged_bytes_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let tables = Tables::new(Some(directory.path().to_owned()));
        let store = Uuid::from_u128(7);
        let table = tables.create(store).unwrap();
        table.write(&mut (0..200).map(|key| Ok(entry(key, b"a value to be found")))).unwrap();
        drop(table);
        let path = files(directory.path(), store).pop().unwrap().1;
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(7).rposition(|window| window == b"a value").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let scanned = tables.open(store, 1).and_then(|table| table.scan(&[0], &[255], &mut |_, _| true));
        assert!(matches!(scanned, Err(TableError::Damaged(_))), "{scanned:?}");
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(tables.open(store, 1).is_err());
    }
}
