//! Files that count what is asked of them, and may be wrong about free space as some filesystems are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_journal::{FaultFiles, File, Files, OpenMode};

#[derive(Clone)]
pub(crate) struct CountingFiles {
    files: FaultFiles,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    rewrites: AtomicU64,
    /// More bytes than there are that are said to be free.
    promised: AtomicU64,
}

impl CountingFiles {
    pub(crate) fn new(files: &FaultFiles) -> Self {
        Self { files: files.clone(), counts: Arc::default() }
    }

    /// Reads so far.
    pub(crate) fn reads(&self) -> u64 {
        self.counts.reads.load(Ordering::Relaxed)
    }

    /// Rewrites that were begun.
    pub(crate) fn rewrites(&self) -> u64 {
        self.counts.rewrites.load(Ordering::Relaxed)
    }

    /// Says from now on that so much more is free than there is.
    pub(crate) fn promise(&self, bytes: u64) {
        self.counts.promised.store(bytes, Ordering::Relaxed);
    }
}

impl Files for CountingFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode == OpenMode::CreateNew && name.ends_with(".segment.tmp") {
            self.counts.rewrites.fetch_add(1, Ordering::Relaxed);
        }
        let file = self.files.open(name, mode)?;
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.counts) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.files.free_bytes()? + self.counts.promised.load(Ordering::Relaxed))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        self.files.total_bytes()
    }

    fn place(&self) -> String {
        self.files.place()
    }
}

struct CountingFile {
    file: Arc<dyn File>,
    counts: Arc<Counts>,
}

impl File for CountingFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(position, buffer)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(position, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
