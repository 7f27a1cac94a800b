//! A disk whose syncs take longer than those of the one that it is on, as network disks and spinning ones do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{DiskFiles, File, Files, OpenMode};
use bytes::Bytes;

/// The files of a directory, each of whose syncs takes `more` time.
pub(super) struct SlowFiles {
    files: DiskFiles,
    more: Duration,
}

impl SlowFiles {
    pub(super) fn new(files: DiskFiles, more: Duration) -> Self {
        Self { files, more }
    }
}

impl Files for SlowFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.files.open(name, mode)?;
        Ok(Arc::new(SlowFile { file, more: self.more }))
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
        self.files.free_bytes()
    }

    fn total_bytes(&self) -> io::Result<u64> {
        self.files.total_bytes()
    }

    fn place(&self) -> String {
        self.files.place()
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    more: Duration,
}

impl File for SlowFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buffer)
    }

    fn read_bytes(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.file.read_bytes(position, len)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(position, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(self.more);
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
