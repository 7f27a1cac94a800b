//! Opening, appending, closing.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use annals_clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::entry::{Durability, EntryKind, Group};
use crate::error::{AppendError, Damage, NotRewritten, OpenError};
use crate::files::{Files, write_atomically};
use crate::frame::FrameKind;
use crate::id::{LogId, Sequence};
use crate::index::row::Row;
use crate::machine::{Machine, Observer, Replay};
use crate::options::{GROUP_BYTES_MAX, Options};
use crate::recover::follow::Follower;
use crate::recover::{Content, Cut, Found, Recovered, Scan, missing, recover, spoiled};
use crate::segment::Segment;
use crate::segment::footer::Control;
use crate::shared::{MEMORY_UNIT, Shared};
use crate::space::{Admission, Purpose, reservation};
use crate::upkeep::{self, SealJob};
use crate::writer::commit::commits;
use crate::writer::queue::Pending;
use crate::writer::{Writer, spare};

/// The on-disk format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// What [`Journal::stopped`] says after [`Journal::close`].
pub const CLOSED: &str = "it was closed";

const FORMAT_FILE: &str = "FORMAT";

/// Writes that the commit thread may lag behind the writer.
const COMMIT_LAG: usize = 4;

/// The one log: cheap to clone, shared by everybody. Dropping the last clone closes it.
#[derive(Clone)]
pub struct Journal {
    pub(crate) shared: Arc<Shared>,
    running: Arc<Running>,
}

/// The filesystem under a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory.
    pub path: String,
    /// Its filesystem's size.
    pub total_bytes: u64,
    /// What can still be written.
    pub free_bytes: u64,
}

/// The threads of a journal, ended when the last handle goes.
struct Running {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    committer: JoinHandle<()>,
    spare: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

/// A journal that was opened and recovered, before anything is appended: its owner reads its logs to find its state again,
/// then calls [`Opened::start`].
pub struct Opened {
    journal: Journal,
    next_offsets: HashMap<LogId, u64>,
    last: Sequence,
    seals: Vec<SealJob>,
    cut: Option<Cut>,
}

impl Journal {
    /// Opens the journal in `files`, recovering what a crash left.
    ///
    /// # Errors
    /// If the directory cannot be read or written, or was written by a newer program.
    pub fn open(
        options: Options,
        files: Arc<dyn Files>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Result<Opened, OpenError> {
        Self::open_replaying(options, files, clock, observer, &mut ())
    }

    /// As [`Journal::open`]; `replay` sees the entries that have to be read for it.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_replaying(
        options: Options,
        files: Arc<dyn Files>,
        clock: Clock,
        observer: Arc<dyn Observer>,
        replay: &mut dyn Replay,
    ) -> Result<Opened, OpenError> {
        check_format(files.as_ref())?;
        let mut follower = Follower::new(replay);
        let recovered = recover(files.as_ref(), &mut follower)?;
        let (last, next_segment) = (recovered.last, recovered.next_segment);
        let shared = Arc::new(Shared::new(options.bounded(), clock, files, observer, next_segment, last));
        let running = Arc::new(Running { shared: Arc::clone(&shared), threads: Mutex::default() });
        Ok(Self { shared, running }.adopt(recovered, &mut follower))
    }

    fn adopt(self, recovered: Recovered, follower: &mut Follower<'_>) -> Opened {
        if let Some(cut) = &recovered.cut {
            let (file, position, bytes) = (&cut.file, cut.position, cut.bytes);
            tracing::info!(file, position, bytes, "cut an unfinished write off the end of the journal");
        }
        for damage in recovered.damage {
            self.shared.report(damage);
        }
        for found in &recovered.found[recovered.followed..] {
            follow(found, follower);
        }
        let seals =
            recovered.found.into_iter().filter_map(|found| adopt_segment(&self.shared, found)).collect();
        let ids = self.shared.index.ids();
        let end = |id: LogId| Some((id, self.shared.index.log(id)?.lock().end));
        let next_offsets = ids.into_iter().filter_map(end).collect();
        Opened { next_offsets, last: recovered.last, seals, cut: recovered.cut, journal: self }
    }

    /// Waits until a group of `bytes` (see [`Group::stored_len`]) may be submitted: memory and disk space are then
    /// reserved for it. On a full disk it depends on the group's `purpose`. Who comes first is served first.
    ///
    /// Cancelling the wait reserves nothing.
    ///
    /// # Errors
    /// [`AppendError::NoSpace`] if the disk is full, [`AppendError::Stopped`] if the journal takes no more,
    /// [`AppendError::TooLarge`] for a group above [`GROUP_BYTES_MAX`].
    pub async fn admit(&self, bytes: usize, purpose: Purpose) -> Result<Permit, AppendError> {
        if bytes > GROUP_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes, max: GROUP_BYTES_MAX });
        }
        let units = (bytes / MEMORY_UNIT + 1).min(self.shared.options.in_flight_bytes_max / MEMORY_UNIT);
        let memory = Arc::clone(&self.shared.memory).acquire_many_owned(units as u32).await;
        let memory = memory.map_err(|_| self.stopped_error())?;
        let reservation = reservation(bytes);
        let _turn = self.shared.space.turn(purpose).await;
        loop {
            let mut changed = pin!(self.shared.space.changed());
            changed.as_mut().enable();
            match self.shared.space.try_admit(reservation, purpose) {
                Admission::Admitted => break,
                Admission::Full => return Err(AppendError::NoSpace),
                Admission::Wait => self.shared.spare.wake(),
            }
            if self.shared.queue.stopped().is_some() {
                return Err(self.stopped_error());
            }
            changed.await;
        }
        Ok(Permit { shared: Arc::clone(&self.shared), bytes, reservation, memory: Some(memory) })
    }

    /// Hands a group to the writer. Never waits; the order of the calls is the order of the journal.
    ///
    /// The group's entries must start where their logs end, groups in flight included: whoever owns a log calls this
    /// while it decides.
    ///
    /// # Panics
    /// If the group is larger than what was admitted: a mistake of the caller.
    pub fn submit(&self, mut permit: Permit, group: Group) -> Ticket {
        let bytes = group.stored_len();
        assert!(bytes <= permit.bytes, "a group of {bytes} bytes was admitted with {}", permit.bytes);
        let (done, ticket) = oneshot::channel();
        let submitted = self.shared.clock.monotonic();
        let reservation = std::mem::take(&mut permit.reservation);
        if let Some(memory) = permit.memory.take() {
            self.shared.queue.push(Pending { group, reservation, submitted, done, _memory: memory });
        }
        Ticket { done: ticket, shared: Arc::clone(&self.shared) }
    }

    /// [`Journal::admit`] and [`Journal::submit`] in one, for callers without a decision in between.
    ///
    /// # Errors
    /// As [`Journal::admit`], and [`AppendError::Stopped`] if the disk failed meanwhile.
    pub async fn append(&self, group: Group) -> Result<Sequence, AppendError> {
        let has_data = group.entries.iter().any(|entry| entry.header.kind == EntryKind::Data);
        let purpose = if has_data { Purpose::Data } else { Purpose::Control };
        let permit = self.admit(group.stored_len(), purpose).await?;
        self.submit(permit, group).await
    }

    /// Has the sealed segments that hold entries of `log` below `up_to` rewritten, asking [`Machine::keep`] about every
    /// entry in them. For compaction, when its owner knows that much of the log is superseded. Resolves when done.
    ///
    /// # Errors
    /// [`NotRewritten`], for the first segment that has to stay as it is. Those behind it were not looked at: go on there with
    /// [`Journal::rewrite_within`], if that makes sense.
    pub fn rewrite(
        &self,
        log: LogId,
        up_to: u64,
    ) -> impl Future<Output = Result<(), NotRewritten>> + Send + 'static {
        self.rewrite_within(log, 0..up_to)
    }

    /// As [`Journal::rewrite`], only where all entries of `log` in a segment are within `offsets`.
    ///
    /// # Errors
    /// As [`Journal::rewrite`].
    pub fn rewrite_within(
        &self,
        log: LogId,
        offsets: Range<u64>,
    ) -> impl Future<Output = Result<(), NotRewritten>> + Send + 'static {
        let finished = self.shared.upkeep.rewrite(log, offsets.clone());
        async move {
            // The thread ends only with the journal.
            finished.await.unwrap_or_else(|_| {
                let (segment, reason) = ("of the log".to_owned(), CLOSED.to_owned());
                Err(NotRewritten { segment, offsets, reason, is_damaged: false })
            })
        }
    }

    /// Has the active segment closed as soon as another is ready to take its place, so that it can be rewritten or
    /// deleted. By itself it happens when a segment is full or old.
    pub fn roll(&self) {
        self.shared.queue.request_roll();
    }

    /// Has groups that linger ([`Group::with_linger`]) written now.
    pub fn hurry(&self) {
        self.shared.queue.hurry();
    }

    /// Makes durable what asynchronous groups have left, up to the last one that is applied by now. In a journal that
    /// is asynchronous itself nobody was promised that, and it does nothing.
    ///
    /// # Errors
    /// If the journal stopped before.
    pub async fn settle(&self) -> Result<(), AppendError> {
        if self.shared.options.durability == Durability::Async {
            return Ok(());
        }
        let wanted = self.shared.want_durable();
        let reached = self.shared.durable.reaches(wanted, || self.shared.queue.stopped().is_some());
        if reached.await { Ok(()) } else { Err(self.stopped_error()) }
    }

    /// Refuses every append from now on, with this reason; reads go on. For owners that cannot decide any more.
    pub fn stop(&self, reason: &str) {
        self.shared.stop(reason);
    }

    /// The last group that is applied, or is being applied.
    pub fn last_committed(&self) -> Sequence {
        self.shared.last_committed()
    }

    /// Why the journal takes no appends, if it does not.
    pub fn stopped(&self) -> Option<String> {
        self.shared.queue.stopped()
    }

    /// Whether appends are refused because the disk is full.
    pub fn is_full(&self) -> bool {
        self.shared.space.is_full()
    }

    /// Where the journal is, and how much room there is. Zeros if the filesystem does not say.
    pub fn disk(&self) -> Disk {
        let files = &self.shared.files;
        Disk {
            path: files.place(),
            total_bytes: files.total_bytes().unwrap_or(0),
            free_bytes: files.free_bytes().unwrap_or(0),
        }
    }

    /// The damage found since the journal was opened, at most a thousand places.
    pub fn damage(&self) -> Vec<Damage> {
        self.shared.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes and syncs what was submitted, seals the active segment and ends the threads. Appends fail from now on,
    /// reads go on. Blocks until done.
    pub fn close(&self) {
        self.running.end();
    }

    fn stopped_error(&self) -> AppendError {
        let reason = self.stopped().unwrap_or_else(|| CLOSED.to_owned());
        AppendError::Stopped { reason }
    }
}

impl Running {
    fn end(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(threads) = threads else { return };
        self.shared.queue.close();
        join(threads.writer);
        join(threads.committer);
        self.shared.spare.close();
        self.shared.upkeep.close();
        join(threads.spare);
        join(threads.upkeep);
        self.shared.queue.stop(CLOSED);
        self.shared.memory.close();
        self.shared.space.wake();
        self.shared.durable.wake();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a journal thread panicked");
    }
}

impl Opened {
    /// The journal, for reading what it holds.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What was cut off the end, if the last process did not end in order.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Starts accepting appends; `machine` sees every entry from here on.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(self, machine: Arc<dyn Machine>) -> io::Result<Journal> {
        let shared = &self.journal.shared;
        // Nobody else has seen this journal yet, so the cell is empty.
        let _ = shared.machine.set(machine);
        for mut job in self.seals {
            job.summaries = job.logs.iter().map(|&log| summary_now(shared, log, &job.segment)).collect();
            shared.upkeep.seal(job);
        }
        let (commits, commit_thread) = commits(Arc::clone(shared), COMMIT_LAG);
        let writer = Writer::new(Arc::clone(shared), commits, self.next_offsets, self.last);
        let (for_spare, for_upkeep, guard) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
        let threads = Threads {
            writer: thread("journal-writer", move || run_guarded(&guard, || writer.run()))?,
            committer: thread("journal-commit", move || commit_thread.run())?,
            spare: thread("journal-spare", move || spare::run(&for_spare))?,
            upkeep: thread("journal-upkeep", move || upkeep::run(&for_upkeep))?,
        };
        *self.journal.running.threads.lock().unwrap_or_else(PoisonError::into_inner) = Some(threads);
        Ok(self.journal)
    }
}

/// A panic in the writer must not leave appenders waiting for ever.
fn run_guarded(shared: &Shared, work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        shared.stop("bug: the writer panicked");
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// The machine's summary of `log`, if it speaks of the state at the end of `segment`.
fn summary_now(shared: &Shared, log: LogId, segment: &Segment) -> Vec<u8> {
    let Some(slot) = shared.index.log(log) else { return Vec::new() };
    let is_last = slot.lock().extents.last().is_some_and(|extent| extent.segment.name == segment.name);
    if is_last { shared.machine().summary(log).unwrap_or_default() } else { Vec::new() }
}

fn check_format(files: &dyn Files) -> Result<(), OpenError> {
    let names = files.list().map_err(OpenError::io("list the journal's directory"))?;
    if !names.iter().any(|name| name == FORMAT_FILE) {
        let text = format!("annals-journal {FORMAT}\n");
        return write_atomically(files, FORMAT_FILE, text.as_bytes()).map_err(OpenError::io("write FORMAT"));
    }
    read_format_number(files)
}

/// Checks that this program understands the directory's format.
pub(crate) fn read_format_number(files: &dyn Files) -> Result<(), OpenError> {
    let found = read_format(files).map_err(OpenError::io("read FORMAT; is this a data directory?"))?;
    let number = found.trim().strip_prefix("annals-journal ").and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(number) if number <= FORMAT => Ok(()),
        _ => Err(OpenError::Format { found: found.trim().to_owned(), supported: FORMAT }),
    }
}

fn read_format(files: &dyn Files) -> io::Result<String> {
    let mut bytes = [0; 64];
    let read = files.open(FORMAT_FILE, crate::files::OpenMode::Read)?.read_at(0, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

/// Shows a recovered segment to the owner of its logs.
fn follow(found: &Found, follower: &mut Follower<'_>) {
    match &found.content {
        Content::Sealed(footer) => follower.sealed(&found.segment, footer),
        Content::Scanned(scan) => scan.frames.iter().for_each(|scanned| follower.frame(scanned)),
    }
}

/// Takes a recovered segment into the index. Gives a job for those that have no footer yet.
fn adopt_segment(shared: &Shared, found: Found) -> Option<SealJob> {
    let segment = found.segment;
    match found.content {
        Content::Sealed(footer) => {
            let controls = footer.controls.clone();
            shared.index.adopt(&segment, footer);
            for control in controls {
                shared.apply_control(control, &segment);
            }
            None
        }
        Content::Scanned(scan) => {
            shared.index.add_segment(Arc::clone(&segment));
            adopt_scan(shared, &segment, scan)
        }
    }
}

fn adopt_scan(shared: &Shared, segment: &Arc<Segment>, scan: Scan) -> Option<SealJob> {
    let mut logs = std::collections::BTreeSet::new();
    let mut controls = Vec::new();
    let sequences = scan.sequences();
    let lost_frames = !scan.unreadable.is_empty();
    for damage in scan.unreadable {
        shared.report(damage);
        segment.set_damaged();
    }
    for scanned in &scan.frames {
        for damage in spoiled(segment.name, scanned) {
            shared.report(damage);
            segment.set_damaged();
        }
        let header = &scanned.frame.header;
        for (entry, position) in scanned.frame.payloads() {
            if entry.kind != EntryKind::Data {
                let control = Control { log: entry.log, kind: entry.kind, offset: entry.base_offset };
                shared.apply_control(control, segment);
                controls.push(control);
                continue;
            }
            logs.insert(entry.log);
            let slot = shared.index.log_or_new(entry.log);
            let mut state = slot.lock();
            // In a group the offsets of a log have no gaps: what is missing was in a frame that cannot be read.
            if lost_frames
                && header.kind == FrameKind::Group
                && entry.base_offset > state.end
                && state.end > 0
            {
                let lost = state.end..entry.base_offset;
                shared.report(missing(segment.name, entry.log, lost.clone()));
                state.append(segment, Row::lost(lost.start, (lost.end - lost.start) as u32));
            }
            state.append(segment, Row::new(entry, position));
        }
    }
    let (logs, end) = (logs.into_iter().collect(), segment.data_end());
    let job = SealJob { segment: Arc::clone(segment), end, logs, summaries: Vec::new(), controls, sequences };
    // A file with unreadable stretches stays as it is, for whoever wants to look at it.
    (!segment.is_damaged()).then_some(job)
}

/// The right to submit one group.
pub struct Permit {
    shared: Arc<Shared>,
    bytes: usize,
    reservation: u64,
    memory: Option<OwnedSemaphorePermit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.reservation > 0 {
            self.shared.space.written(self.reservation, 0);
        }
    }
}

/// The promise of an acknowledgement. Resolves when the group is durable and applied, in the sense of its durability.
///
/// Dropping it does not take the group back.
pub struct Ticket {
    done: oneshot::Receiver<Result<Sequence, AppendError>>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Ticket {
    /// Blocks the thread until the group is acknowledged. Not for asynchronous code.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<Sequence, AppendError> {
        let shared = self.shared;
        self.done.blocking_recv().unwrap_or_else(|_| Err(stopped(&shared)))
    }
}

impl Future for Ticket {
    type Output = Result<Sequence, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = std::task::ready!(Pin::new(&mut self.done).poll(context));
        Poll::Ready(received.unwrap_or_else(|_| Err(stopped(&self.shared))))
    }
}

fn stopped(shared: &Shared) -> AppendError {
    let reason = shared.queue.stopped().unwrap_or_else(|| CLOSED.to_owned());
    AppendError::Stopped { reason }
}
