//! What the threads of one journal share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use annals_clock::Clock;
use tokio::sync::Semaphore;

use crate::cache::TailCache;
use crate::durable::Durable;
use crate::entry::EntryKind;
use crate::error::{AppendError, Damage};
use crate::files::Files;
use crate::id::{LogId, Sequence};
use crate::index::Index;
use crate::machine::{Idle, Machine, Observer};
use crate::options::Options;
use crate::segment::Segment;
use crate::segment::footer::Control;
use crate::space::Space;
use crate::upkeep::Upkeep;
use crate::writer::queue::Queue;
use crate::writer::retired::Retired;
use crate::writer::spare::Spare;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) index: Index,
    pub(crate) cache: TailCache,
    pub(crate) space: Space,
    /// Memory of groups that wait for the disk, in units of [`MEMORY_UNIT`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) queue: Queue,
    pub(crate) spare: Spare,
    pub(crate) retired: Retired,
    pub(crate) upkeep: Upkeep,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) machine: OnceLock<Arc<dyn Machine>>,
    /// The valid trim or deletion of each log, with the segment that holds it.
    pub(crate) controls: Mutex<HashMap<LogId, (Control, u64)>>,
    pub(crate) damage: Mutex<Vec<Damage>>,
    pub(crate) durable: Durable,
    committed: AtomicU64,
}

/// Memory is counted in units of this many bytes, since a semaphore counts to 2³² only.
pub(crate) const MEMORY_UNIT: usize = 256;

/// The most damage reports that are kept in memory; the log has them all.
const DAMAGE_MAX: usize = 1000;

impl Shared {
    pub(crate) fn new(
        options: Options,
        clock: Clock,
        files: Arc<dyn Files>,
        observer: Arc<dyn Observer>,
        next_segment: u64,
        last: Sequence,
    ) -> Self {
        Self {
            index: Index::new(options.row_cache_bytes),
            cache: TailCache::new(options.tail_cache_bytes),
            space: Space::new(),
            memory: Arc::new(Semaphore::new(options.in_flight_bytes_max / MEMORY_UNIT)),
            queue: Queue::default(),
            spare: Spare::new(next_segment),
            retired: Retired::new(options.segment_bytes),
            upkeep: Upkeep::default(),
            machine: OnceLock::new(),
            controls: Mutex::default(),
            damage: Mutex::default(),
            durable: Durable::new(last),
            committed: AtomicU64::new(last.0),
            options,
            clock,
            files,
            observer,
        }
    }

    pub(crate) fn machine(&self) -> &dyn Machine {
        static IDLE: Idle = Idle;
        self.machine.get().map_or(&IDLE, Arc::as_ref)
    }

    pub(crate) fn committed(&self, sequence: Sequence) {
        self.committed.store(sequence.0, Ordering::Release);
    }

    pub(crate) fn last_committed(&self) -> Sequence {
        Sequence(self.committed.load(Ordering::Acquire))
    }

    /// Makes everything durable that is committed by now. `false` if the journal stopped.
    pub(crate) fn make_durable(&self) -> bool {
        let committed = self.want_durable();
        self.durable.wait(committed, || self.queue.stopped().is_some())
    }

    /// Asks for a sync, if something is committed that is not durable. Returns what will be.
    pub(crate) fn want_durable(&self) -> Sequence {
        let committed = self.last_committed();
        if !self.durable.is_at(committed) {
            self.queue.request_sync();
        }
        committed
    }

    /// Takes a trim or deletion into account. The one path for live and recovered ones.
    pub(crate) fn apply_control(&self, control: Control, segment: &Segment) {
        let slot = self.index.log_or_new(control.log);
        let mut state = slot.lock();
        match control.kind {
            EntryKind::Data => return,
            EntryKind::Trim => state.trim(control.offset),
            EntryKind::Delete => state.delete(),
        }
        drop(state);
        let mut controls = self.controls.lock().unwrap_or_else(PoisonError::into_inner);
        let (valid, place) = controls.entry(control.log).or_insert((control, segment.name.first));
        // Of equal ones the later counts, too: it was appended again because the place of the other goes.
        let is_valid = match valid.kind {
            EntryKind::Delete => control.kind == EntryKind::Delete,
            _ => control.kind == EntryKind::Delete || control.offset >= valid.offset,
        };
        if is_valid {
            *valid = control;
            *place = segment.name.first;
        }
    }

    /// Remembers and announces damage.
    pub(crate) fn report(&self, damage: Damage) {
        tracing::error!(%damage, "damage in the journal");
        self.observer.damaged(&damage);
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < DAMAGE_MAX && !known.contains(&damage) {
            known.push(damage);
        }
    }

    /// Stops accepting appends for good and fails those that wait.
    pub(crate) fn stop(&self, reason: &str) {
        let waiting = self.queue.stop(reason);
        self.memory.close();
        self.space.wake();
        self.durable.wake();
        tracing::error!(reason, "the journal stopped accepting appends; reads go on");
        self.observer.stopped(reason);
        for pending in waiting {
            let _ = pending.done.send(Err(AppendError::Stopped { reason: reason.to_owned() }));
        }
    }
}
