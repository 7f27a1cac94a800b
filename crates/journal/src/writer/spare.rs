//! The spare segment: allocated ahead, so that the writer never waits for the filesystem and never runs out of space in
//! the middle of a group.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::files::OpenMode;
use crate::frame::BLOCK_LEN;
use crate::options::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::segment::{DATA_START, Segment, SegmentHeader, SegmentName};
use crate::shared::Shared;
use crate::space::Space;
use crate::writer::retired::Kept;

/// How often a full disk is asked again.
const FULL_RETRY: Duration = Duration::from_millis(500);
/// How often a spare that is too small, but may be needed, is looked at again.
const WITHDRAW_RETRY: Duration = Duration::from_millis(20);
/// Left free for footers, names and whoever else lives on the disk, and so that the next start has a first segment: a full
/// disk can then still be told to delete something.
const HEADROOM: u64 = 2 * SEGMENT_BYTES_MIN;
/// Left free by the first segment after a start.
const HEADROOM_FIRST: u64 = 128 << 10;

/// A segment that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) segment: Arc<Segment>,
    pub(crate) capacity: u64,
}

#[derive(Default)]
pub(crate) struct Spare {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    prepared: Option<Prepared>,
    next_id: u64,
    closed: bool,
}

impl Spare {
    pub(crate) fn new(next_id: u64) -> Self {
        Self { state: Mutex::new(State { next_id, ..State::default() }), changed: Condvar::new() }
    }

    /// Takes the spare as the active segment; the next one is prepared at once.
    pub(crate) fn take(&self, space: &Space) -> Option<Prepared> {
        let mut state = self.lock();
        let prepared = state.prepared.take()?;
        // Under the lock, so that the next spare is not announced before.
        space.rolled(prepared.capacity - DATA_START);
        drop(state);
        self.changed.notify_all();
        Some(prepared)
    }

    /// Looks again whether a (larger) spare is wanted.
    pub(crate) fn wake(&self) {
        // Not between the look and the wait of the thread, where it would be missed.
        let _looking = self.lock();
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a spare ready until the journal closes. Runs in a thread of its own.
pub(crate) fn run(shared: &Shared) {
    let spare = &shared.spare;
    let mut headroom = HEADROOM_FIRST;
    let mut state = spare.lock();
    while !state.closed {
        let wanted = shared.space.wanted();
        if state.prepared.is_some() && wanted.is_none() {
            state = spare.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        if state.prepared.is_some() && !shared.space.withdraw_spare() {
            let waited = spare.changed.wait_timeout(state, WITHDRAW_RETRY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        // Here only if it is too small for what waits.
        let too_small = state.prepared.take();
        let id = state.next_id;
        drop(state);
        remove(shared, too_small);
        let prepared = prepare(shared, id, wanted.unwrap_or(0), headroom);
        state = spare.lock();
        match prepared {
            Ok(prepared) => {
                headroom = HEADROOM;
                state.next_id = id + 1;
                let capacity = prepared.capacity - DATA_START;
                state.prepared = Some(prepared);
                shared.space.spare_ready(capacity);
            }
            Err(error) => {
                report(shared, &error);
                let waited = spare.changed.wait_timeout(state, FULL_RETRY);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
    let unused = state.prepared.take();
    drop(state);
    remove(shared, unused);
    while let Some(kept) = shared.retired.take() {
        remove_file(shared, &kept.file_name);
    }
}

fn remove(shared: &Shared, unused: Option<Prepared>) {
    let Some(unused) = unused else { return };
    remove_file(shared, &unused.segment.name.to_string());
}

fn remove_file(shared: &Shared, name: &str) {
    if let Err(error) = shared.files.remove(name) {
        tracing::warn!(segment = name, %error, "cannot remove an unused segment");
    }
}

fn report(shared: &Shared, error: &io::Error) {
    if error.kind() != io::ErrorKind::StorageFull {
        tracing::error!(%error, "cannot prepare the next segment; appends wait until it works");
    } else if !shared.space.is_full() {
        tracing::warn!("the disk is full: appends are refused until space is back");
    }
    shared.space.no_space();
}

fn prepare(shared: &Shared, id: u64, wanted: u64, headroom: u64) -> io::Result<Prepared> {
    while let Some(kept) = shared.retired.take() {
        let prepared = reuse(shared, &kept, id, wanted, headroom);
        match prepared {
            Ok(prepared) => return Ok(prepared),
            Err(error) => tracing::debug!(segment = kept.file_name, %error, "cannot write a file again"),
        }
        // Its space may be what a new one lacks.
        shared.files.remove(&kept.file_name)?;
    }
    let capacity = capacity(shared, wanted, headroom, 0)?;
    let header = header(shared, id, false);
    let file_name = header.name.to_string();
    if shared.files.list()?.contains(&file_name) {
        // Left by an earlier try that ran out of space half-way: it was never written to.
        shared.files.remove(&file_name)?;
    }
    let file = shared.files.open(&file_name, OpenMode::CreateNew)?;
    let ready = file
        .allocate(capacity)
        .and_then(|()| file.write_at(0, &header.encode()))
        .and_then(|()| file.sync_data())
        .and_then(|()| shared.files.sync_directory());
    if let Err(error) = ready {
        shared.files.remove(&file_name)?;
        return Err(error);
    }
    Ok(Prepared { segment: Arc::new(Segment::new(&header, file, DATA_START, false)), capacity })
}

/// Makes a segment of a file that was one before.
fn reuse(shared: &Shared, kept: &Kept, id: u64, wanted: u64, headroom: u64) -> io::Result<Prepared> {
    let capacity = capacity(shared, wanted, headroom, kept.len)?;
    let header = header(shared, id, true);
    // Nor may the first frame be taken for one of a segment whose header is damaged.
    let mut start = header.encode();
    start.resize(2 * BLOCK_LEN, 0);
    let file = Arc::clone(&kept.file);
    // First the index goes, and what does not fit: the rest is zeros. So is the last block at least, which no group reaches: a
    // start looks there for the trailer of an index, and the records of a user must not be what it finds.
    file.set_len(kept.len.min(capacity - BLOCK_LEN as u64))?;
    file.allocate(capacity)?;
    file.write_at(0, &start)?;
    file.sync_data()?;
    shared.files.rename(&kept.file_name, &header.name.to_string())?;
    shared.files.sync_directory()?;
    Ok(Prepared { segment: Arc::new(Segment::new(&header, file, DATA_START, false)), capacity })
}

fn header(shared: &Shared, id: u64, reused: bool) -> SegmentHeader {
    let (salt, created_ms) = (shared.clock.random(), shared.clock.now_ms());
    SegmentHeader { name: SegmentName::fresh(id), salt, created_ms, data_end: 0, reused }
}

/// The size of the next segment: the usual one, larger for a group that needs it, smaller on a small disk. `own` bytes of the disk
/// are its already.
fn capacity(shared: &Shared, wanted: u64, headroom: u64, own: u64) -> io::Result<u64> {
    let free = shared.files.free_bytes()? + own;
    let least = (wanted + DATA_START).max(SEGMENT_BYTES_MIN);
    let usual = shared.options.segment_bytes.min(free / 8);
    let capacity = usual.max(least).min(SEGMENT_BYTES_MAX).next_multiple_of(DATA_START);
    if capacity + headroom > free {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_not_woken_while_it_looks() {
        let spare = Spare::new(1);
        std::thread::scope(|scope| {
            let looking = spare.lock();
            let woken = scope.spawn(|| spare.wake());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!woken.is_finished(), "it would sleep after this, and nobody would wake it");
            drop(looking);
        });
    }
}
