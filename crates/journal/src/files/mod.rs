//! The one door to the disk: every byte the journal reads or writes passes through [`Files`] and [`File`].
//!
//! Two implementations: [`disk::DiskFiles`] on a real directory, and (feature `testing`) [`fault::FaultFiles`], which
//! keeps files in memory, forgets or tears what was not synced, flips bits, fills up, fails and delays. Both see the
//! same calls, so what holds under injected faults is what runs in production.
//!
//! A directory is flat: names have no folders.

pub(crate) mod disk;
#[cfg(feature = "testing")]
pub(crate) mod fault;
pub(crate) mod lock;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// How [`Files::open`] opens a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Only reads. The file must be there.
    Read,
    /// Reads and writes. The file must be there.
    Write,
    /// Reads and writes a file that must not be there yet.
    CreateNew,
}

/// One flat directory of files.
pub trait Files: Send + Sync {
    /// Opens `name`.
    ///
    /// # Errors
    /// As the operating system gives them: not found, exists already, no permission, no space.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames `from` to `to`, replacing it. Durable after [`Files::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes `name`. Open handles keep reading. Durable after [`Files::sync_directory`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that can still be written to this directory's filesystem by this process.
    fn free_bytes(&self) -> io::Result<u64>;

    /// The size of this directory's filesystem in bytes.
    fn total_bytes(&self) -> io::Result<u64>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// One open file. Positions are bytes from its start.
pub trait File: Send + Sync {
    /// Fills `buffer` from `position`; returns fewer bytes than asked only at the end of the file.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads `len` bytes from `position` into memory of their own; fewer only at the end of the file.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn read_bytes(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; len];
        let read = self.read_at(position, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer.into())
    }

    /// Writes all of `bytes` at `position`. Durable after [`File::sync_data`].
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes written bytes, and as much metadata as reading them back needs, durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space so that writes below `len` do not run out of it. Fails with no space before changing anything.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// For more than this it is looked first whether the file has as much: a length that is not true takes no memory.
const TRUSTED_LEN_MAX: usize = 4 << 20;

/// Reads exactly `len` bytes at `position`.
pub(crate) fn read_exact_at(file: &dyn File, position: u64, len: usize) -> io::Result<Bytes> {
    let too_short = |found: u64| {
        let message = format!("wanted {len} bytes at position {position}, found {found}");
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    };
    if len > TRUSTED_LEN_MAX {
        let found = file.len()?.saturating_sub(position);
        if found < len as u64 {
            return Err(too_short(found));
        }
    }
    let bytes = file.read_bytes(position, len)?;
    if bytes.len() < len {
        return Err(too_short(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Writes a small file so that it is there whole or not at all: temporary name, sync, rename, directory sync.
///
/// # Errors
/// As the operating system gives them. A file of that name is then as it was.
pub fn write_atomically(files: &dyn Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    if files.list()?.contains(&temporary) {
        files.remove(&temporary)?;
    }
    let file = files.open(&temporary, OpenMode::CreateNew)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    files.rename(&temporary, name)?;
    files.sync_directory()
}

#[cfg(test)]
mod tests {
    use super::disk::DiskFiles;
    use super::*;

    #[test]
    fn a_length_that_is_not_true_is_told_and_takes_no_memory() {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(directory.path()).unwrap();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        file.write_at(0, &[7; 6 << 20]).unwrap();
        let whole = read_exact_at(file.as_ref(), 4096, (6 << 20) - 4096).unwrap();
        assert_eq!(whole, [7; (6 << 20) - 4096][..]);
        for (position, len) in [(4096, 6 << 20), (7 << 20, 5 << 20), (0, isize::MAX as usize), (6 << 20, 1)] {
            let error = read_exact_at(file.as_ref(), position, len).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len} bytes at {position}");
        }
    }
}
