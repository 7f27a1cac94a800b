//! Files in memory that misbehave on demand.
//!
//! What was written and not yet synced is kept apart from what is durable, so that [`FaultFiles::crash`] can decide, from
//! a seed, which of the unsynced writes reached the disk whole, in part, or not at all, and whether unsynced creations,
//! renames and removals survived. This is the adversary of a power failure; a killed process loses nothing here, as on a
//! real system, where the page cache survives it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{File, Files, OpenMode};
use crate::frame::FrameKind;
use crate::recover::{self, inspect};

/// A directory in memory with injectable faults. Clones share the directory.
#[derive(Clone, Default)]
pub struct FaultFiles(Arc<Mutex<Directory>>);

#[derive(Default)]
struct Directory {
    /// What a running process sees.
    names: HashMap<String, FileId>,
    /// What would be there after a power failure: names as of the last directory sync.
    durable_names: HashMap<String, FileId>,
    files: Vec<Content>,
    faults: Faults,
    /// How many writes, syncs and directory changes were made: a crash point is a number of these.
    operations: u64,
}

type FileId = usize;

#[derive(Default, Clone)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Bytes that take space. What lies behind them has only a length.
    allocated: u64,
}

#[derive(Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Default)]
struct Faults {
    capacity: Option<u64>,
    fail_syncs: bool,
    fail_writes: bool,
    fail_removals: bool,
    fail_directory_syncs: bool,
    fail_reads: bool,
    sync_delay: Duration,
    stop_after: Option<u64>,
}

impl FaultFiles {
    /// An empty directory without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the space of all files together to `bytes`; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().faults.capacity = bytes;
    }

    /// Makes every following `fdatasync` fail with an input/output error, or work again.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().faults.fail_syncs = fail;
    }

    /// Makes every following write fail with an input/output error, or work again.
    pub fn fail_writes(&self, fail: bool) {
        self.lock().faults.fail_writes = fail;
    }

    /// Makes every following removal of a file fail, or work again.
    pub fn fail_removals(&self, fail: bool) {
        self.lock().faults.fail_removals = fail;
    }

    /// Makes every following sync of the directory fail, or work again.
    pub fn fail_directory_syncs(&self, fail: bool) {
        self.lock().faults.fail_directory_syncs = fail;
    }

    /// Makes every following read fail with an input/output error, or work again.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().faults.fail_reads = fail;
    }

    /// Makes every following `fdatasync` take this long.
    pub fn delay_syncs(&self, delay: Duration) {
        self.lock().faults.sync_delay = delay;
    }

    /// How many changing operations (writes, syncs, lengths, names) were made so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes every changing operation after the first `operations` fail, as if the power went then.
    pub fn stop_after(&self, operations: u64) {
        self.lock().faults.stop_after = Some(operations);
    }

    /// The directory as a machine finds it after a power failure now. `seed` decides the fate of what was not synced:
    /// each unsynced write is kept, dropped or torn at some byte, and unsynced names are kept or lost.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let directory = self.lock();
        let mut dice = Dice(seed);
        let names = if dice.below(2) == 0 { &directory.names } else { &directory.durable_names };
        let mut after = Directory::default();
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort();
        for (name, &id) in sorted {
            let bytes = directory.files[id].after_crash(&mut dice);
            after.adopt(name, bytes);
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// The directory as it is on disk if only what was synced survives.
    #[must_use]
    pub fn crash_keeping_only_synced(&self) -> Self {
        let directory = self.lock();
        let mut after = Directory::default();
        for (name, &id) in &directory.durable_names {
            after.adopt(name, directory.files[id].durable.clone());
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// The directory as it is after the process was killed: everything written is there.
    #[must_use]
    pub fn kill(&self) -> Self {
        let directory = self.lock();
        let mut after = Directory::default();
        for (name, &id) in &directory.names {
            after.adopt(name, directory.files[id].current.clone());
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// Flips bit `bit` (counted from the start of the file) of `name`.
    ///
    /// # Panics
    /// If there is no such file or bit: a test's mistake.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        let mut directory = self.lock();
        let id = directory.names[name];
        let byte = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        let mask = 1 << (bit % 8);
        directory.files[id].current[byte] ^= mask;
        if let Some(durable) = directory.files[id].durable.get_mut(byte) {
            *durable ^= mask;
        }
    }

    /// The bytes of `name` as a running process sees them; `None` if there is no such file (any more).
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let directory = self.lock();
        directory.names.get(name).map(|&id| directory.files[id].current.clone())
    }

    /// Waits until a segment is prepared that nothing was written to yet. A disk that fails before looks like a full one: no
    /// segment can be prepared.
    ///
    /// # Panics
    /// If there is none after two minutes.
    pub fn wait_for_spare(&self) {
        let tries = (0..24_000).take_while(|_| !self.has_spare());
        let tries = tries.inspect(|_| std::thread::sleep(Duration::from_millis(5))).count();
        assert!(tries < 24_000, "no segment is prepared");
    }

    fn has_spare(&self) -> bool {
        inspect(&self.crash_keeping_only_synced()).is_ok_and(|recovered| {
            let last = recovered.found.last().map_or(0, |found| found.segment.name.last);
            recovered.next_segment > last + 1
        })
    }

    /// Whether what was written last is proven to be durable: by a marker, or by the footer of its segment. See `docs/format.md`.
    pub fn is_proven(&self) -> bool {
        // A file may be gone while it is looked for: then the answer is not known yet.
        let found = inspect(self).map(|recovered| recovered.found).unwrap_or_default();
        found.last().is_some_and(|last| match &last.content {
            recover::Content::Sealed(_) => true,
            recover::Content::Scanned(scan) => {
                scan.frames.last().is_some_and(|scanned| scanned.frame.header.kind == FrameKind::Marker)
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Directory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory {
    fn adopt(&mut self, name: &str, bytes: Vec<u8>) {
        let id = self.files.len();
        let allocated = bytes.len() as u64;
        self.files.push(Content { current: bytes.clone(), durable: bytes, unsynced: Vec::new(), allocated });
        self.names.insert(name.to_owned(), id);
        self.durable_names.insert(name.to_owned(), id);
    }

    fn change(&mut self) -> io::Result<()> {
        if self.faults.stop_after.is_some_and(|limit| self.operations >= limit) {
            return Err(io::Error::other("injected power failure"));
        }
        self.operations += 1;
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|&id| self.files[id].space()).sum()
    }

    fn require_space(&self, more: u64) -> io::Result<()> {
        match self.faults.capacity {
            Some(capacity) if self.used() + more > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<FileId> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not there"));
        self.names.get(name).copied().ok_or_else(missing)
    }
}

impl Content {
    fn space(&self) -> u64 {
        self.allocated
    }

    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Length(len) => bytes.resize(*len, 0),
            Change::Write { position, bytes: written } => {
                let end = position + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*position..end].copy_from_slice(written);
            }
        }
    }

    fn after_crash(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match (dice.below(3), change) {
                (0, _) => {}
                (1, Change::Write { position, bytes: written }) => {
                    // Torn: a stretch of it arrives. Disks may write sectors in any order, so not always a prefix.
                    let from = dice.below(written.len() as u64 + 1) as usize;
                    let to = from + dice.below((written.len() - from) as u64 + 1) as usize;
                    let torn = Change::Write { position: position + from, bytes: written[from..to].to_vec() };
                    Self::apply(&mut bytes, &torn);
                }
                _ => Self::apply(&mut bytes, change),
            }
        }
        bytes
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            Self::apply(&mut self.durable, &change);
        }
    }
}

impl Files for FaultFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut directory = self.lock();
        let id = if mode == OpenMode::CreateNew {
            if directory.names.contains_key(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
            }
            directory.change()?;
            let id = directory.files.len();
            directory.files.push(Content::default());
            directory.names.insert(name.to_owned(), id);
            id
        } else {
            directory.find(name)?
        };
        Ok(Arc::new(FaultFile { directory: self.clone(), id }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut directory = self.lock();
        directory.change()?;
        let id = directory.find(from)?;
        directory.names.remove(from);
        directory.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut directory = self.lock();
        directory.change()?;
        directory.find(name)?;
        if directory.faults.fail_removals {
            return Err(io::Error::other("injected removal failure"));
        }
        directory.names.remove(name);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut directory = self.lock();
        directory.change()?;
        if directory.faults.fail_directory_syncs {
            return Err(io::Error::other("injected sync failure of the directory"));
        }
        directory.durable_names = directory.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let directory = self.lock();
        Ok(directory.faults.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(directory.used())))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        Ok(self.lock().faults.capacity.unwrap_or(1 << 40))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

struct FaultFile {
    directory: FaultFiles,
    id: FileId,
}

impl FaultFile {
    fn record(&self, change: Change, directory: &mut Directory) {
        let content = &mut directory.files[self.id];
        Content::apply(&mut content.current, &change);
        content.unsynced.push(change);
    }
}

impl File for FaultFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let directory = self.directory.lock();
        if directory.faults.fail_reads {
            return Err(io::Error::other("injected read failure"));
        }
        let bytes = &directory.files[self.id].current;
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut directory = self.directory.lock();
        directory.change()?;
        if directory.faults.fail_writes {
            return Err(io::Error::other("injected write failure"));
        }
        let end = position + bytes.len() as u64;
        let space = directory.files[self.id].space();
        directory.require_space(end.saturating_sub(space))?;
        directory.files[self.id].allocated = space.max(end);
        let position = usize::try_from(position).map_err(io::Error::other)?;
        self.record(Change::Write { position, bytes: bytes.to_vec() }, &mut directory);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let delay = self.directory.lock().faults.sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut directory = self.directory.lock();
        directory.change()?;
        if directory.faults.fail_syncs {
            return Err(io::Error::other("injected sync failure"));
        }
        directory.files[self.id].sync();
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut directory = self.directory.lock();
        directory.change()?;
        let space = directory.files[self.id].space();
        directory.require_space(len.saturating_sub(space))?;
        directory.files[self.id].allocated = len;
        if directory.files[self.id].current.len() < len as usize {
            self.record(Change::Length(len as usize), &mut directory);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut directory = self.directory.lock();
        directory.change()?;
        let space = directory.files[self.id].space();
        directory.files[self.id].allocated = space.min(len);
        self.record(Change::Length(len as usize), &mut directory);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.directory.lock().files[self.id].current.len() as u64)
    }
}

/// A small seeded source of decisions (SplitMix64), so that a failing seed fails again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let files = FaultFiles::new();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        files.sync_directory().unwrap();
        file.write_at(0, b"kept").unwrap();
        file.sync_data().unwrap();
        file.write_at(4, b"lost").unwrap();
        assert_eq!(files.crash_keeping_only_synced().bytes("a").unwrap(), b"kept");
        assert_eq!(files.kill().bytes("a").unwrap(), b"keptlost");
        for seed in 0..50 {
            let bytes = files.crash(seed).bytes("a").unwrap();
            assert_eq!(&bytes[..4], b"kept", "seed {seed}");
        }
    }

    #[test]
    fn a_full_directory_refuses_and_recovers() {
        let files = FaultFiles::new();
        files.set_capacity(Some(10));
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        let error = file.write_at(0, &[0; 11]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        files.set_capacity(None);
        file.write_at(0, &[0; 11]).unwrap();
    }
}
