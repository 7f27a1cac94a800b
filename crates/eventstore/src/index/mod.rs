//! The derived index of a store: which events a stream, category, type or tag has, and where every stream stands.
//!
//! It holds what is in the log up to its checkpoint and nothing else: delete it, and it is built again from there. It is
//! written in one atomic step with its checkpoint, out of what the store flushes. A digest of all streams tells whether
//! what is loaded is what was written.
//!
//! Where the bytes lie is somebody else's business ([`Table`]): an ordered map of keys to values.
//!
//! | Key | Value |
//! |---|---|
//! | `01` | the checkpoint: 1; id of the store and seed of the keys (16 bytes each); position, number of streams, digest `n` |
//! | `02`, stream name | 1; head `n`; then, if it ever had metadata: first revision `n`, metadata as JSON |
//! | `03`, stream key, revision (8 bytes) | positions of the events from that revision on: first, then differences `n` |
//! | `04`, key of a category, type or tag, position (8 bytes) | positions: differences to the one before `n` |
//! | `05`, name of a category | nothing |
//! | `06`, name of a type | nothing |
//!
//! `n` is an unsigned LEB128 number; keys are big-endian.

mod build;
mod codec;
mod find;
mod load;
mod memory;
mod stream;
mod write;

use std::sync::Arc;

pub use build::{Builder, STAGE_BYTES};
pub use load::Loaded;
pub use memory::MemoryTable;

use crate::TermKey;

/// Where the entries of an index lie: an ordered map of bytes. Reads may block on a disk.
pub trait Table: Send + Sync {
    /// The entry with the largest key from `from` to `to`, both included.
    ///
    /// # Errors
    /// [`TableError`].
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Entry>, TableError>;

    /// The same for each of these ranges, which rise.
    ///
    /// # Errors
    /// [`TableError`].
    fn last_of_each(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Option<Entry>>, TableError> {
        ranges.iter().map(|(from, to)| self.last(from, to)).collect()
    }

    /// Entries from `from` to `to`, both included, in order, until `visit` says `false`.
    ///
    /// # Errors
    /// [`TableError`].
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), TableError>;

    /// Puts all of these, or none, also if one of them is an error. Keys rise. The table may be asked while they come.
    ///
    /// # Errors
    /// [`TableError`].
    fn write(&self, entries: &mut dyn Iterator<Item = Result<Entry, TableError>>) -> Result<(), TableError>;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Why a table did not answer. The index is derived: build it again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TableError {
    /// The bytes are not what was written.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// It cannot be read or written.
    #[error("the index cannot be used: {0}")]
    Storage(String),
}

/// The order in which events are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// From the oldest on.
    #[default]
    Forward,
    /// From the latest on.
    Backward,
}

/// A store's index, in a table.
#[derive(Clone)]
pub struct Index {
    table: Arc<dyn Table>,
}

/// What names are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Streams.
    Streams,
    /// Categories.
    Categories,
    /// Types.
    Types,
}

impl Index {
    /// The index in `table`.
    pub fn new(table: Arc<dyn Table>) -> Self {
        Self { table }
    }

    /// Names that start with `prefix` and come behind `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn names(
        &self,
        names: Names,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, TableError> {
        let kind = match names {
            Names::Streams => codec::STREAM,
            Names::Categories => codec::CATEGORY_NAME,
            Names::Types => codec::TYPE_NAME,
        };
        let from = codec::name_key(kind, after.filter(|after| *after >= prefix).unwrap_or(prefix));
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            let name = String::from_utf8_lossy(&key[1..]);
            if !name.starts_with(prefix) || found.len() >= limit {
                return false;
            }
            if after.is_none_or(|after| *name > *after) {
                found.push(name.into_owned());
            }
            true
        };
        self.table.scan(&from, &[kind + 1], &mut visit)?;
        Ok(found)
    }

    /// Whether this is the same table, and not another of the same store.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }

    fn table(&self) -> &dyn Table {
        self.table.as_ref()
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

fn damaged(what: &str) -> TableError {
    TableError::Damaged(what.to_owned())
}

/// The last key of a stream's or term's chunks, and the first.
fn chunk_bounds(kind: u8, key: TermKey) -> (Vec<u8>, Vec<u8>) {
    (codec::chunk_key(kind, key, 0), codec::chunk_key(kind, key, u64::MAX))
}
