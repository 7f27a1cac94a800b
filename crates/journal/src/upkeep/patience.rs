//! When a rewrite that failed is tried again, and so an index that could not be written.
//!
//! A full disk makes every rewrite fail, a bad file makes one fail, and neither gets better by trying often: each try
//! costs reads and a line in the log. So the wait doubles from try to try, up to [`WAIT_MAX`]. It ends at once when there
//! is more free space than at the last try. A file that fails does not hold up the others.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rewrite::RewriteError;
use crate::options::SEGMENT_BYTES_MIN;
use crate::segment::Segment;
use crate::shared::Shared;

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// So much more free space is worth another try.
const SPACE_STEP: u64 = SEGMENT_BYTES_MIN;

#[derive(Default)]
pub(super) struct Patience {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// No rewrite had room, at the last try with so many free bytes.
    full: Option<(Wait, u64)>,
    /// Runs that failed for another reason, by the id that they begin with.
    failing: HashMap<u64, Wait>,
    /// Segments that could not be sealed, by id, with the free bytes at the last try.
    unsealed: HashMap<u64, (Wait, u64)>,
    /// Bringing entries together had to give way to something more urgent.
    clustering: Option<Wait>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    until: Duration,
    len: Duration,
}

impl Wait {
    /// The wait after one more failure.
    fn longer(before: Option<Self>, first: Duration, now: Duration) -> Self {
        let len = before.map_or(first, |wait| wait.len * 2).min(WAIT_MAX);
        Self { until: now + len, len }
    }
}

impl Patience {
    /// Whether no rewrite has a chance now: the last one found no room, and no space was freed since.
    pub(super) fn waits_for_space(&self, shared: &Shared) -> bool {
        let full = self.lock().full;
        full.is_some_and(|full| Self::waits(full, shared))
    }

    fn waits((wait, free_then): (Wait, u64), shared: &Shared) -> bool {
        let free = shared.files.free_bytes().unwrap_or(0);
        shared.clock.monotonic() < wait.until && free < free_then.saturating_add(SPACE_STEP)
    }

    /// Whether it is too early to try again to seal `segment`. Once everything in it is dead it is not.
    pub(super) fn waits_to_seal(&self, segment: &Segment, shared: &Shared) -> bool {
        let failed = self.lock().unsealed.get(&segment.name.first).copied();
        segment.live() > 0 && failed.is_some_and(|failed| Self::waits(failed, shared))
    }

    /// The segment with this id could not be sealed.
    pub(super) fn not_sealed(&self, id: u64, shared: &Shared) {
        let (start, now) = (shared.options.upkeep_interval, shared.clock.monotonic());
        let free = shared.files.free_bytes().unwrap_or(0);
        let mut state = self.lock();
        let before = state.unsealed.get(&id).map(|(wait, _)| *wait);
        state.unsealed.insert(id, (Wait::longer(before, start, now), free));
    }

    /// The segment with this id is sealed.
    pub(super) fn sealed(&self, id: u64) {
        self.lock().unsealed.remove(&id);
    }

    /// Whether the run that begins with segment `first` failed not long ago.
    pub(super) fn waits_for(&self, first: u64, shared: &Shared) -> bool {
        let now = shared.clock.monotonic();
        self.lock().failing.get(&first).is_some_and(|wait| now < wait.until)
    }

    /// Whether bringing entries together gave way not long ago.
    pub(super) fn clustering_waits(&self, shared: &Shared) -> bool {
        let now = shared.clock.monotonic();
        self.lock().clustering.is_some_and(|wait| now < wait.until)
    }

    /// The run that begins with segment `first` could not be rewritten.
    pub(super) fn failed(&self, first: u64, error: &RewriteError, shared: &Shared) {
        let (start, now) = (shared.options.upkeep_interval, shared.clock.monotonic());
        let free = shared.files.free_bytes().unwrap_or(0);
        let mut state = self.lock();
        match error {
            RewriteError::GaveWay => {
                state.clustering = Some(Wait::longer(state.clustering, start, now));
            }
            RewriteError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                let before = state.full.map(|(wait, _)| wait);
                state.full = Some((Wait::longer(before, start, now), free));
            }
            RewriteError::Io(_) | RewriteError::Read(_) => {
                let before = state.failing.get(&first).copied();
                state.failing.insert(first, Wait::longer(before, start, now));
            }
        }
    }

    /// The run that begins with segment `first` was rewritten.
    pub(super) fn succeeded(&self, first: u64) {
        let mut state = self.lock();
        state.full = None;
        state.clustering = None;
        state.failing.remove(&first);
    }

    /// A segment was deleted.
    pub(super) fn space_freed(&self) {
        self.lock().full = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use annals_clock::{Clock, ManualClock};

    use super::*;
    use crate::files::fault::FaultFiles;
    use crate::machine::Idle;
    use crate::{Options, Sequence};

    fn world() -> (FaultFiles, ManualClock, Shared) {
        let files = FaultFiles::new();
        files.set_capacity(Some(10 << 20));
        let (clock, hands) = Clock::manual(0, 1);
        let options = Options { upkeep_interval: Duration::from_secs(1), ..Options::default() };
        let shared =
            Shared::new(options, clock, Arc::new(files.clone()), Arc::new(Idle), 1, Sequence::default());
        (files, hands, shared)
    }

    fn full() -> RewriteError {
        RewriteError::Io(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn a_full_disk_is_asked_less_and_less_often() {
        let (_, hands, shared) = world();
        let patience = &shared.upkeep.patience;
        let mut tries = 0;
        for _ in 0..600 {
            if !patience.waits_for_space(&shared) {
                tries += 1;
                patience.failed(1, &full(), &shared);
            }
            hands.advance(Duration::from_secs(1));
        }
        // After 0, 1, 3, 7, 15, 31, 63 seconds, then once a minute: 123, 183 and so on up to 543.
        assert_eq!(tries, 7 + 8);
    }

    #[test]
    fn freed_space_ends_the_wait() {
        let (files, _, shared) = world();
        let patience = &shared.upkeep.patience;
        for _ in 0..10 {
            patience.failed(1, &full(), &shared);
        }
        assert!(patience.waits_for_space(&shared));
        files.set_capacity(Some((10 << 20) + SPACE_STEP - 1));
        assert!(patience.waits_for_space(&shared), "too little to matter");
        files.set_capacity(Some((10 << 20) + SPACE_STEP));
        assert!(!patience.waits_for_space(&shared));
        files.set_capacity(Some(10 << 20));
        assert!(patience.waits_for_space(&shared));
        patience.space_freed();
        assert!(!patience.waits_for_space(&shared), "a segment was deleted");
    }

    #[test]
    fn a_file_that_fails_holds_up_no_other() {
        let (_, hands, shared) = world();
        let patience = &shared.upkeep.patience;
        patience.failed(3, &RewriteError::Io(io::Error::other("bad sector")), &shared);
        assert!(patience.waits_for(3, &shared) && !patience.waits_for(4, &shared));
        assert!(!patience.waits_for_space(&shared));
        hands.advance(Duration::from_secs(1));
        assert!(!patience.waits_for(3, &shared));
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let (first, now) = (Duration::from_secs(1), Duration::from_secs(100));
        let mut wait = Wait::longer(None, first, now);
        let mut lens = Vec::new();
        for _ in 0..8 {
            assert_eq!(wait.until, now + wait.len);
            lens.push(wait.len.as_secs());
            wait = Wait::longer(Some(wait), first, now);
        }
        assert_eq!(lens, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
