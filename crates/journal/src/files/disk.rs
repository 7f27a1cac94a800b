//! A real directory.
//!
//! Writes that are aligned to [`DIRECT_ALIGNMENT`] go past the page cache (`O_DIRECT`) where the filesystem can do
//! that: a durable log gains nothing from a second copy in memory, and the kernel's write-back threads cost a core. So do
//! reads of [`DIRECT_READ_MIN`] and more: whoever reads that much is far behind, and filling the page cache with it takes
//! more of the processor than everything else. What is smaller, and every filesystem that refuses, goes through the page
//! cache.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, OFlags};

use super::{File, Files, OpenMode};

/// Position, length and memory address of a write must be multiples of this to go past the page cache.
pub(crate) const DIRECT_ALIGNMENT: usize = 4096;

/// Reads of at least this many bytes go past the page cache.
const DIRECT_READ_MIN: usize = 64 << 10;

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
        // Not for others: it holds the data and the keys of what is encrypted.
        options.mode(0o640);
        let cached = options.open(&path)?;
        let direct = if self.direct { open_direct(&path, mode != OpenMode::Read) } else { None };
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

/// Reads blocks into memory that nobody has written to before, if the allocator gives it aligned, as jemalloc does: clearing
/// it first would cost as much as the checksum.
fn read_unzeroed(file: &fs::File, start: u64, blocks: usize) -> Option<(Vec<u8>, usize)> {
    let mut buffer: Vec<u8> = Vec::with_capacity(blocks);
    let is_fit = buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT) && buffer.capacity() == blocks;
    if !is_fit {
        return None;
    }
    rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), start).ok()?;
    Some((buffer, 0))
}

/// Reads blocks into a buffer that is large enough to have an aligned part, and tells where that begins.
fn read_zeroed(file: &fs::File, start: u64, blocks: usize) -> Option<(Vec<u8>, usize)> {
    let mut buffer = vec![0; blocks + DIRECT_ALIGNMENT];
    let lead = buffer.as_ptr().align_offset(DIRECT_ALIGNMENT);
    if lead >= DIRECT_ALIGNMENT {
        return None;
    }
    let read = file.read_at(&mut buffer[lead..lead + blocks], start).ok()?;
    buffer.truncate(lead + read);
    Some((buffer, lead))
}

/// A second handle that bypasses the page cache, where the filesystem offers it.
fn open_direct(path: &Path, write: bool) -> Option<fs::File> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    fs::OpenOptions::new().read(true).write(write).custom_flags(flags).open(path).ok()
}

struct DiskFile {
    cached: fs::File,
    direct: Option<fs::File>,
}

impl DiskFile {
    /// Reads the blocks that hold the bytes and cuts the bytes out of them. `None` if that is not possible here.
    fn read_direct(&self, position: u64, len: usize) -> Option<Bytes> {
        let direct = self.direct.as_ref().filter(|_| len >= DIRECT_READ_MIN)?;
        let start = position - position % DIRECT_ALIGNMENT as u64;
        let skip = (position - start) as usize;
        let blocks = (skip + len).next_multiple_of(DIRECT_ALIGNMENT);
        let (buffer, lead) =
            read_unzeroed(direct, start, blocks).or_else(|| read_zeroed(direct, start, blocks))?;
        // Short only at the end of the file; anything else is left to the page cache to report.
        let bytes = lead + skip..lead + skip + len;
        (buffer.len() >= bytes.end).then(|| Bytes::from(buffer).slice(bytes))
    }

    fn direct_for(&self, position: u64, bytes: &[u8]) -> Option<&fs::File> {
        let aligned = |n: usize| n.is_multiple_of(DIRECT_ALIGNMENT);
        let fits = position.is_multiple_of(DIRECT_ALIGNMENT as u64)
            && aligned(bytes.len())
            && aligned(bytes.as_ptr().addr());
        self.direct.as_ref().filter(|_| fits)
    }
}

impl File for DiskFile {
    fn read_bytes(&self, position: u64, len: usize) -> io::Result<Bytes> {
        if let Some(bytes) = self.read_direct(position, len) {
            return Ok(bytes);
        }
        let mut buffer = vec![0; len];
        let read = self.read_at(position, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer.into())
    }

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
    fn large_reads_give_the_same_bytes_as_small_ones() {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(directory.path()).unwrap();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_at(0, &bytes).unwrap();
        for (position, len) in [(0, 300_000), (1, 70_000), (4095, 65_536), (200_000, 100_000), (10, 20)] {
            let read = file.read_bytes(position as u64, len).unwrap();
            assert_eq!(read, bytes[position..position + len], "{len} bytes at {position}");
        }
        assert_eq!(file.read_bytes(250_000, 100_000).unwrap().len(), 50_000, "short only at the end");
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
