//! Reading ahead for a reader that is far behind.
//!
//! Such a reader takes a piece, works on it, and asks for the next one; the disk would be idle meanwhile, and then the reader.
//! So when a read from disk goes on where the one before it ended, the pieces behind it are read at once and wait here for
//! the next requests: up to [`DEPTH`] of them, several at a time. Where a piece ends is known before it is read
//! ([`Journal::plan_read`]), so the next one can begin at once.
//!
//! Of several partitions, the caller knows what its reader will ask for next: that is planned and read likewise
//! ([`crate::StoredRecords::read_following`]).
//!
//! Invariants:
//! - what waits here is bounded ([`BYTES_MAX`]), and is given up if nobody comes for it ([`WAIT_MAX`]);
//! - a piece is given once, and only to a reader that may have all of it: its end is not beyond what the reader may see;
//! - whatever goes wrong here (damage, no memory, no time) makes the reader read for itself, and hear of it there.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_journal::{Journal, Limit, LogId, Read, ReadPlan};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::Inner;

/// Memory for all pieces that wait: enough for eight readers that take 1 MiB at a time, or two that take 4.
const BYTES_MAX: usize = 32 << 20;

/// How many pieces wait for one reader: one to take, one that is ready, one on its way, and one that begins.
const DEPTH: usize = 4;

/// A reader that takes less gains nothing.
const PIECE_BYTES_MIN: usize = 64 << 10;

/// A piece that nobody has come for in this time is given up. Tests count pieces, on machines that may be very busy.
const WAIT_MAX: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 2 });

/// Pieces on their way from the disk, or waiting for their reader.
pub(crate) struct ReadAhead {
    /// By log and first offset: several readers of a log may be at different places.
    pieces: Mutex<HashMap<(LogId, u64), Piece>>,
    memory: Arc<Semaphore>,
}

/// What was read ahead of one reader.
struct Piece {
    bytes_max: usize,
    begun: Duration,
    /// Where the next piece begins, once that is known.
    end: Option<u64>,
    read: oneshot::Receiver<Read>,
    _memory: OwnedSemaphorePermit,
}

impl Piece {
    fn fits(&self, limit: Limit) -> bool {
        self.bytes_max <= limit.bytes
    }
}

/// A piece to be read.
struct Order {
    log: LogId,
    /// From its first offset to the end of what may be read.
    offsets: Range<u64>,
    bytes_max: usize,
    /// How many pieces are in front of it.
    in_front: usize,
    /// Where it goes.
    sender: oneshot::Sender<Read>,
}

impl ReadAhead {
    pub(crate) fn new() -> Self {
        Self { pieces: Mutex::default(), memory: Arc::new(Semaphore::new(BYTES_MAX)) }
    }

    /// The piece for a reader of `offsets`, if there is one that it may have. Waits for it if it is on its way.
    pub(crate) async fn take(&self, log: LogId, offsets: &Range<u64>, limit: Limit) -> Option<Read> {
        let piece = self.remove(log, offsets.start, limit)?;
        let read = piece.read.await.ok()?;
        (read.bytes > 0 && read.next_offset <= offsets.end).then_some(read)
    }

    /// The piece that is what is planned, if there is one. Waits for it if it is on its way.
    pub(crate) async fn take_planned(&self, log: LogId, plan: &ReadPlan) -> Option<Read> {
        let limit = Limit { bytes: plan.bytes(), first_always: false };
        let piece = self.remove(log, plan.offset(), limit)?;
        let read = piece.read.await.ok()?;
        (read.bytes == plan.bytes() && read.next_offset == plan.next_offset()).then_some(read)
    }

    /// Announces what is planned. `None` if there is something for that place already, or no memory.
    fn announce_planned(&self, log: LogId, plan: &ReadPlan, now: Duration) -> Option<oneshot::Sender<Read>> {
        let mut pieces = self.pieces();
        let key = (log, plan.offset());
        if plan.is_empty() || pieces.contains_key(&key) {
            return None;
        }
        let (piece, sender) = self.begin(plan.bytes(), Some(plan.next_offset()), now)?;
        pieces.insert(key, piece);
        Some(sender)
    }

    /// A piece with memory, if there is any, and where to send what is read for it.
    fn begin(
        &self,
        bytes_max: usize,
        end: Option<u64>,
        begun: Duration,
    ) -> Option<(Piece, oneshot::Sender<Read>)> {
        let memory = u32::try_from(bytes_max).ok()?;
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(memory).ok()?;
        let (sender, read) = oneshot::channel();
        Some((Piece { bytes_max, begun, end, read, _memory: memory }, sender))
    }

    /// Whether a piece from offset `from` on is waiting, or on its way.
    pub(crate) fn has(&self, log: LogId, from: u64, limit: Limit) -> bool {
        self.pieces().get(&(log, from)).is_some_and(|piece| piece.fits(limit))
    }

    fn remove(&self, log: LogId, from: u64, limit: Limit) -> Option<Piece> {
        let mut pieces = self.pieces();
        let fits = pieces.get(&(log, from)).is_some_and(|piece| piece.fits(limit));
        fits.then(|| pieces.remove(&(log, from)))?
    }

    /// Announces the first piece that is still to be read of `offsets`, of which `in_front` pieces are in front. `None` if
    /// there are enough, if the one before it has not told where it ends, or if there is no memory.
    fn announce(
        &self,
        log: LogId,
        offsets: Range<u64>,
        bytes_max: usize,
        in_front: usize,
        now: Duration,
    ) -> Option<Order> {
        let mut pieces = self.pieces();
        let (mut from, mut in_front) = (offsets.start, in_front);
        while let Some(piece) = pieces.get(&(log, from)) {
            from = piece.end?;
            in_front += 1;
        }
        if bytes_max < PIECE_BYTES_MIN || in_front >= DEPTH || from >= offsets.end {
            return None;
        }
        let (piece, sender) = self.begin(bytes_max, None, now)?;
        pieces.insert((log, from), piece);
        Some(Order { log, offsets: from..offsets.end, bytes_max, in_front, sender })
    }

    /// Says where a piece ends. Whoever has taken it meanwhile knows.
    fn ends(&self, log: LogId, from: u64, end: u64) {
        if let Some(piece) = self.pieces().get_mut(&(log, from)) {
            piece.end = Some(end);
        }
    }

    /// Gives up the pieces that nobody has come for.
    fn expire(&self, now: Duration) {
        self.pieces().retain(|_, piece| now.saturating_sub(piece.begun) < WAIT_MAX);
    }

    fn pieces(&self) -> MutexGuard<'_, HashMap<(LogId, u64), Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Begins to read what follows a piece of `log` that ended at the start of `rest`.
    pub(crate) fn read_ahead(self: &Arc<Self>, log: LogId, rest: Range<u64>, bytes_max: usize) {
        self.read_further(log, rest, bytes_max, 0);
    }

    /// Begins to read what `plans` come to, one after the other, up to so many bytes. Nothing if somebody waits for the disk.
    pub(crate) fn read_planned(
        self: &Arc<Self>,
        bytes_max: usize,
        plans: impl Iterator<Item = (LogId, ReadPlan)> + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.disk_reads).try_acquire_owned() else { return };
        let inner = Arc::clone(self);
        // Ends by itself; whoever takes a piece awaits it.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let (now, mut bytes) = (inner.clock.monotonic(), 0);
            let fits = |(_, plan): &(LogId, ReadPlan)| {
                bytes += plan.bytes();
                bytes <= bytes_max
            };
            let announced = plans.take_while(fits).filter_map(|(log, plan)| {
                let sender = inner.ahead.announce_planned(log, &plan, now)?;
                Some((plan, sender))
            });
            // All are announced before the first is read: whoever comes meanwhile waits for them.
            for (plan, sender) in announced.collect::<Vec<_>>() {
                if !sender.is_closed()
                    && let Ok(read) = inner.journal.read_planned(&plan)
                {
                    let _unwanted = sender.send(read);
                }
            }
        });
    }

    fn read_further(self: &Arc<Self>, log: LogId, rest: Range<u64>, bytes_max: usize, in_front: usize) {
        if rest.is_empty() {
            return;
        }
        // Somebody who waits for the disk comes first.
        let Ok(permit) = Arc::clone(&self.disk_reads).try_acquire_owned() else { return };
        let now = self.clock.monotonic();
        let Some(order) = self.ahead.announce(log, rest, bytes_max, in_front, now) else { return };
        let inner = Arc::clone(self);
        // Ends by itself; whoever takes the piece awaits it.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            inner.fill(order);
        });
    }

    /// Reads a piece, having begun the next one.
    fn fill(self: &Arc<Self>, order: Order) {
        let Order { log, offsets, bytes_max, in_front, sender } = order;
        let (journal, limit): (&Journal, _) =
            (&self.journal, Limit { bytes: bytes_max, first_always: false });
        let Ok(plan) = journal.plan_read(log, offsets.clone(), limit) else { return };
        let next = plan.next_offset();
        if !plan.is_empty() {
            self.ahead.ends(log, offsets.start, next);
            self.read_further(log, next..offsets.end, bytes_max, in_front + 1);
        }
        if let Ok(read) = journal.read_planned(&plan) {
            // The piece may have been given up meanwhile.
            let _unwanted = sender.send(read);
        }
    }
}

/// Gives up pieces that nobody comes for, until it is dropped.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(WAIT_MAX).await;
        inner.ahead.expire(inner.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use annals_journal::FaultFiles;

    use super::*;
    use crate::StoredRecords;
    use crate::api::fetch::{FetchPartition, FetchRequest};
    use crate::api::topics::{Isolation, TopicRef};
    use crate::fetch::tests::read_on;
    use crate::groups::tests::World;

    const LOG: LogId = LogId(70);
    const PIECE: usize = 1 << 20;

    fn read(next_offset: u64) -> Read {
        Read { pieces: Vec::new(), bytes: 10, next_offset }
    }

    fn limit(bytes: usize) -> Limit {
        Limit { bytes, first_always: false }
    }

    fn announce(ahead: &ReadAhead, log: LogId, from: u64, bytes_max: usize, now: Duration) -> Option<Order> {
        ahead.announce(log, from..1000, bytes_max, 0, now)
    }

    #[test]
    fn a_few_pieces_wait_for_one_reader_each_once_the_one_before_it_has_an_end() {
        let ahead = ReadAhead::new();
        let mut orders = Vec::new();
        for at in 0..DEPTH as u64 {
            let order = announce(&ahead, LOG, 100, PIECE, Duration::ZERO).unwrap();
            assert_eq!(order.offsets, 100 + 10 * at..1000);
            assert!(announce(&ahead, LOG, 100, PIECE, Duration::ZERO).is_none(), "it has no end yet");
            ahead.ends(LOG, order.offsets.start, order.offsets.start + 10);
            orders.push(order);
        }
        assert!(announce(&ahead, LOG, 100, PIECE, Duration::ZERO).is_none(), "these are enough");
        let taken = ahead.remove(LOG, 100, limit(PIECE));
        assert!(taken.is_some());
        let next = announce(&ahead, LOG, 110, PIECE, Duration::ZERO).unwrap();
        assert_eq!(next.offsets.start, 100 + 10 * DEPTH as u64);
    }

    #[tokio::test]
    async fn a_piece_is_given_once_to_the_reader_that_goes_on() {
        let ahead = ReadAhead::new();
        let order = announce(&ahead, LOG, 100, PIECE, Duration::ZERO).unwrap();
        order.sender.send(read(150)).unwrap();
        assert!(ahead.take(LOG, &(90..200), limit(PIECE)).await.is_none(), "another place");
        assert!(ahead.take(LOG, &(100..200), limit(PIECE - 1)).await.is_none(), "it might be too large");
        assert_eq!(ahead.take(LOG, &(100..200), limit(PIECE)).await.unwrap().next_offset, 150);
        assert!(ahead.take(LOG, &(100..200), limit(PIECE)).await.is_none(), "it is gone");
    }

    #[tokio::test]
    async fn a_piece_beyond_what_the_reader_may_see_is_not_given() {
        let ahead = ReadAhead::new();
        announce(&ahead, LOG, 100, PIECE, Duration::ZERO).unwrap().sender.send(read(150)).unwrap();
        assert!(ahead.take(LOG, &(100..149), limit(PIECE)).await.is_none());
    }

    #[tokio::test]
    async fn a_failed_read_is_left_to_the_reader() {
        let ahead = ReadAhead::new();
        drop(announce(&ahead, LOG, 100, PIECE, Duration::ZERO).unwrap());
        assert!(ahead.take(LOG, &(100..200), limit(PIECE)).await.is_none());
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let ahead = ReadAhead::new();
        let has_room = |log: &LogId| announce(&ahead, *log, 0, 4 * PIECE, Duration::ZERO).is_some();
        let logs = (0..).map(LogId).take_while(has_room);
        assert_eq!(logs.count(), BYTES_MAX / (4 * PIECE));
        ahead.expire(WAIT_MAX - Duration::from_millis(1));
        assert!(announce(&ahead, LOG, 0, PIECE, WAIT_MAX).is_none(), "all still wait");
        ahead.expire(WAIT_MAX);
        assert!(announce(&ahead, LOG, 0, PIECE, WAIT_MAX).is_some());
        assert!(announce(&ahead, LOG, 0, PIECE, WAIT_MAX).is_none(), "it is on its way");
        assert!(announce(&ahead, LOG, 9, PIECE, WAIT_MAX).is_some(), "another reader");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_far_behind_finds_what_follows_and_misses_nothing() {
        const RECORDS: i64 = 2000;
        let files = FaultFiles::new();
        let mut world = World::open(&files);
        world.create("orders", 1).await;
        for at in 0..RECORDS {
            world.produce("orders", 0, 1, at).await;
        }
        world.stop().await;
        let world = World::open(&files);
        let (mut next, mut waiting) = (0, 0);
        while next < RECORDS {
            next = read_on(&world, next, PIECE_BYTES_MIN).await;
            waiting += world.broker.inner.ahead.pieces().len();
        }
        assert!(waiting > 0, "a piece was read ahead");
    }

    /// What a request for both partitions leaves on the disk.
    async fn left_on_disk(world: &World, offsets: [u64; 2]) -> Vec<StoredRecords> {
        let topic = TopicRef::Name("orders".into());
        let partition = |(partition, offset): (i32, u64)| FetchPartition {
            topic: topic.clone(),
            partition,
            offset: offset.cast_signed(),
            max_bytes: 2 * PIECE,
        };
        let request = FetchRequest {
            max_wait: Duration::ZERO,
            min_bytes: 1,
            max_bytes: 16 * PIECE,
            isolation: Isolation::ReadUncommitted,
            stored: true,
            partitions: (0..).zip(offsets).map(partition).collect(),
        };
        let results = world.broker.fetch(&world.caller, request).await.partitions;
        results.into_iter().map(|result| result.unwrap().stored.unwrap()).collect()
    }

    async fn read_parts(records: &StoredRecords) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in 0..records.parts().count() {
            bytes.extend_from_slice(&records.read(part).await.unwrap().concat());
        }
        bytes
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_follows_of_several_partitions_is_read_before_it_is_asked_for() {
        let files = FaultFiles::new();
        let mut world = World::open(&files);
        world.create("orders", 2).await;
        for at in 0..40 {
            for partition in 0..2 {
                world.produce("orders", partition, 10_000, at).await;
            }
        }
        world.stop().await;
        let world = World::open(&files);
        let first = left_on_disk(&world, [0, 0]).await;
        let next = [first[0].next_offset(), first[1].next_offset()];
        let expected = left_on_disk(&world, next).await;
        let bytes = [read_parts(&expected[0]).await, read_parts(&expected[1]).await];
        let parts = expected[0].parts().count();
        assert!(parts > 1, "several parts of each");

        // Memory for one partition and a part of the other.
        let ahead = &world.broker.inner.ahead;
        let bytes_max = bytes[0].len() + PIECE;
        StoredRecords::read_following(first, bytes_max);
        while ahead.pieces().len() <= parts {
            tokio::task::yield_now().await;
        }
        let second = left_on_disk(&world, next).await;
        assert_eq!(read_parts(&second[0]).await, bytes[0]);
        assert_eq!(ahead.pieces().len(), 1, "the parts of the first partition are taken");
        assert_eq!(read_parts(&second[1]).await, bytes[1], "some of it was read ahead");
        assert!(ahead.pieces().is_empty());
    }
}
