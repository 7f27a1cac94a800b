//! The lock on a data directory: one process at a time.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::OpenError;

const LOCK_FILE: &str = "LOCK";

/// Holds a directory for this process until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    file: fs::File,
}

impl DataLock {
    /// Takes the lock of `directory`, or says who has it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it, [`OpenError::Io`] if the lock file cannot be made.
    pub fn acquire(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(OpenError::io(format!("open {}", path.display())))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(OpenError::io(format!("lock {}", path.display()))(error.into()));
            }
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let holder = read.ok().map(|_| holder.trim().to_owned()).filter(|pid| !pid.is_empty());
            return Err(OpenError::InUse { directory: directory.to_owned(), holder });
        }
        // For people who look; the lock itself is the kernel's.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(OpenError::io(format!("write {}", path.display())))?;
        Ok(Self { file })
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // Closing the file would not be enough while a process that is being started still holds a copy of it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_the_other_learns_by_whom() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DataLock::acquire(directory.path()).unwrap();
        let error = DataLock::acquire(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        DataLock::acquire(directory.path()).unwrap();
        drop(copy);
    }
}
