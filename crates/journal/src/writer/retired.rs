//! Retired segments: files in which nothing is live any more, kept to be written again.
//!
//! Deleting a file costs more than it seems to: on a filesystem that is mounted with `discard` the next sync waits until the disk
//! has taken back the blocks (28 ms for 64 MiB on one machine), and writing into new blocks makes every sync write that they
//! are in use now. A file that was full before has neither. So a few dead segments are kept, and the next spare is made of one.
//!
//! What makes that safe: only a file that nobody can read any more is kept; it has a name that counts for nothing, durably, before
//! a byte of it changes; its index is cut off; and it gets a header with a new salt, so that no frame in it belongs to it.
//!
//! What a rewrite replaces is not kept if it held entries of a secret log ([`crate::Machine::is_secret`]), such as the key of a
//! subject: who asked for the rewrite is told that it is gone.
//!
//! A file that cannot be removed is tried again. Until it is gone, what makes it obsolete stays, or the next start would take it in.

use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{File, Files};
use crate::segment::{Segment, SegmentName};

/// How the names of retired segments end.
pub(crate) const RETIRED_ENDING: &str = ".retired";
/// So many are kept at most.
const KEPT_MAX: usize = 2;

/// The retired segments of one journal.
pub(crate) struct Retired {
    kept: Mutex<Vec<Kept>>,
    /// Segments that do not count any more and whose files may still be there.
    left: Mutex<Vec<SegmentName>>,
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
        Self { kept: Mutex::default(), left: Mutex::default(), least: usual / 2 }
    }

    /// Takes the file of a dead segment out of the directory: keeps it, if it can be written again, or removes it.
    ///
    /// # Errors
    /// As the operating system gives them. The file may still be there under its name; that is tried again.
    pub(crate) fn retire(&self, files: &dyn Files, segment: Arc<Segment>) -> io::Result<()> {
        let name = segment.name;
        let retired = self.keep_or_remove(files, segment);
        if retired.is_err() {
            self.left().push(name);
        }
        retired
    }

    fn keep_or_remove(&self, files: &dyn Files, segment: Arc<Segment>) -> io::Result<()> {
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

    /// Removes the files of segments that were replaced. Those that stay are tried again.
    pub(crate) fn remove(&self, files: &dyn Files, replaced: impl Iterator<Item = SegmentName>) {
        self.left().extend(replaced);
        if let Err(error) = self.remove_left(files) {
            tracing::warn!(%error, "cannot remove segments that were replaced; it is tried again");
        }
    }

    /// Tries again to remove what could not be removed.
    ///
    /// # Errors
    /// As the operating system gives them, the last one. All files were tried.
    pub(crate) fn remove_left(&self, files: &dyn Files) -> io::Result<()> {
        let mut left = self.left();
        if left.is_empty() {
            return Ok(());
        }
        let (mut failed, mut outcome) = (Vec::new(), Ok(()));
        for &name in left.iter() {
            match files.remove(&name.to_string()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failed.push(name);
                    outcome = Err(error);
                }
                Ok(()) | Err(_) => {}
            }
        }
        // Without this they could come back, so none of them is done with before.
        files.sync_directory()?;
        *left = failed;
        outcome
    }

    /// Whether all files are gone that should be.
    pub(crate) fn all_gone(&self) -> bool {
        self.left().is_empty()
    }

    /// Whether the file of `name` is all that keeps one that should be gone from being taken in at the next start.
    pub(crate) fn is_covered_by(&self, name: SegmentName) -> bool {
        self.left().iter().any(|left| name.supersedes(left))
    }

    /// The highest generation among files that should be gone and cover some of `ids`.
    pub(crate) fn generation_left(&self, ids: RangeInclusive<u64>) -> Option<u32> {
        let left = self.left();
        let inside = left.iter().filter(|left| left.first <= *ids.end() && *ids.start() <= left.last);
        inside.map(|left| left.generation).max()
    }

    /// One to be written again. Who takes it answers for it.
    pub(crate) fn take(&self) -> Option<Kept> {
        self.lock().pop()
    }

    fn left(&self) -> MutexGuard<'_, Vec<SegmentName>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
