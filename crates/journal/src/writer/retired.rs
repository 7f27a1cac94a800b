//! Retired segments: files in which nothing is live any more, kept to be written again.
//!
//! Deleting a file costs more than it seems to: on a filesystem that is mounted with `discard` the next sync waits until the disk
//! has taken back the blocks (28 ms for 64 MiB on one machine), and writing into new blocks makes every sync write that they
//! are in use now. A file that was full before has neither. So a few dead segments are kept, and the next spare is made of one.
//!
//! What makes that safe: only a file that nobody can read any more is kept; it has a name that counts for nothing, durably, before
//! a byte of it changes; its index is cut off; and it gets a header with a new salt, so that no frame in it belongs to it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{File, Files};
use crate::segment::Segment;

/// How the names of retired segments end.
pub(crate) const RETIRED_ENDING: &str = ".retired";
/// So many are kept at most.
const KEPT_MAX: usize = 2;

/// The retired segments of one journal.
pub(crate) struct Retired {
    kept: Mutex<Vec<Kept>>,
    /// A file that holds less is not worth it.
    least: u64,
}

/// A file that waits to be written again.
pub(crate) struct Kept {
    pub(crate) file_name: String,
    pub(crate) file: Arc<dyn File>,
    /// Up to here it holds blocks that were written.
    pub(crate) len: u64,
}

impl Retired {
    /// For segments of `usual` bytes.
    pub(crate) fn new(usual: u64) -> Self {
        Self { kept: Mutex::default(), least: usual / 2 }
    }

    /// Takes the file of a segment out of the directory: keeps it, if it can be written again, or removes it.
    ///
    /// # Errors
    /// As the operating system gives them. The file may still be there under its name.
    pub(crate) fn retire(&self, files: &dyn Files, segment: Arc<Segment>) -> io::Result<()> {
        let name = segment.name.to_string();
        let len = segment.data_end();
        let wanted = len >= self.least && self.lock().len() < KEPT_MAX;
        let unread = Arc::into_inner(segment).map(|segment| segment.file);
        let unread = unread.filter(|file| wanted && Arc::strong_count(file) == 1);
        let Some(file) = unread else {
            files.remove(&name)?;
            return files.sync_directory();
        };
        let file_name = format!("{name}{RETIRED_ENDING}");
        files.rename(&name, &file_name)?;
        files.sync_directory()?;
        self.lock().push(Kept { file_name, file, len });
        Ok(())
    }

    /// One to be written again. Who takes it answers for it.
    pub(crate) fn take(&self) -> Option<Kept> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
