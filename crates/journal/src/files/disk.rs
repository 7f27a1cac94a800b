//! A real directory.
//!
//! Writes that are aligned to [`DIRECT_ALIGNMENT`] go past the page cache (`O_DIRECT`) where the filesystem can do
//! that: a durable log gains nothing from a second copy in memory, and the kernel's write-back threads cost a core.
//! Everything else, and every filesystem that refuses, goes through the page cache. Reads always do.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags};

use super::{File, Files, OpenMode};

/// Position, length and memory address of a write must be multiples of this to go past the page cache.
pub(crate) const DIRECT_ALIGNMENT: usize = 4096;

/// The files of one directory on disk.
pub struct DiskFiles {
    directory: PathBuf,
    direct: bool,
}

impl DiskFiles {
    /// Opens `directory`, which must exist.
    ///
    /// # Errors
    /// If `directory` cannot be read or is not a directory.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        Self::with_direct(directory, true)
    }

    /// As [`DiskFiles::open`], choosing whether aligned writes may go past the page cache.
    ///
    /// # Errors
    /// If `directory` cannot be read or is not a directory.
    pub fn with_direct(directory: impl Into<PathBuf>, direct: bool) -> io::Result<Self> {
        let directory = directory.into();
        if !fs::metadata(&directory)?.is_dir() {
            let message = format!("{} is not a directory", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        Ok(Self { directory, direct })
    }

    /// The directory these files are in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Files for DiskFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::CreateNew);
        let cached = options.open(&path)?;
        let direct = if self.direct && mode != OpenMode::Read { open_direct(&path) } else { None };
        Ok(Arc::new(DiskFile { cached, direct }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        fs::File::open(&self.directory)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(&self.directory)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(&self.directory)?;
        Ok(facts.f_blocks.saturating_mul(facts.f_frsize))
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}

/// A second handle that bypasses the page cache, where the filesystem offers it.
fn open_direct(path: &Path) -> Option<fs::File> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    fs::OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

struct DiskFile {
    cached: fs::File,
    direct: Option<fs::File>,
}

impl DiskFile {
    fn direct_for(&self, position: u64, bytes: &[u8]) -> Option<&fs::File> {
        let aligned = |n: usize| n.is_multiple_of(DIRECT_ALIGNMENT);
        let fits = position.is_multiple_of(DIRECT_ALIGNMENT as u64)
            && aligned(bytes.len())
            && aligned(bytes.as_ptr().addr());
        self.direct.as_ref().filter(|_| fits)
    }
}

impl File for DiskFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.cached.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(direct) = self.direct_for(position, bytes) {
            match direct.write_all_at(bytes, position) {
                // Some filesystems accept the flag at open and refuse the write: fall through to the page cache.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                done => return done,
            }
        }
        self.cached.write_all_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.cached.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.cached, FallocateFlags::empty(), 0, len) {
            // Without fallocate the space is only promised by the length; running out is then found by the write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.cached.set_len(len),
            done => Ok(done?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.cached.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.cached.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_unaligned_writes_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(directory.path()).unwrap();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        file.allocate(3 * 4096).unwrap();
        file.write_at(4096, &[7; 4096]).unwrap();
        file.write_at(5, b"hello").unwrap();
        file.sync_data().unwrap();
        let mut read = [0; 4096];
        assert_eq!(file.read_at(4096, &mut read).unwrap(), 4096);
        assert_eq!(read, [7; 4096]);
        assert_eq!(file.read_at(5, &mut read[..5]).unwrap(), 5);
        assert_eq!(&read[..5], b"hello");
        assert_eq!(file.read_at(3 * 4096 - 1, &mut read).unwrap(), 1, "short only at the end");
    }

    #[test]
    fn create_new_refuses_what_exists() {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(directory.path()).unwrap();
        drop(files.open("a", OpenMode::CreateNew).unwrap());
        let error = files.open("a", OpenMode::CreateNew).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
