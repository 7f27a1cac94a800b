//! A table in memory, for tests and for stores whose index is not kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use super::{Entry, Table, TableError};

/// An ordered map in memory.
#[derive(Default)]
pub struct MemoryTable {
    entries: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryTable {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounds<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Included(to))
}

impl Table for MemoryTable {
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Entry>, TableError> {
        let entries = self.read();
        let last = entries.range::<[u8], _>(bounds(from, to)).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), TableError> {
        let entries = self.read();
        for (key, value) in entries.range::<[u8], _>(bounds(from, to)) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, entries: &mut dyn Iterator<Item = Result<Entry, TableError>>) -> Result<(), TableError> {
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        self.entries.write().unwrap_or_else(PoisonError::into_inner).extend(entries);
        Ok(())
    }
}

impl std::fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTable").field("entries", &self.read().len()).finish()
    }
}
