//! Records that stay on the disk until they are sent.
//!
//! An answer tells its length first, which is known before its records are read. So they are read while it is being sent, a
//! few parts ahead of what is sent: the disk, the network and the client work at the same time, and an answer of many MiB
//! takes as much memory as those few parts.
//!
//! Invariants: only the part that is sent next is waited for with memory; parts behind it are read ahead if there is memory
//! that nobody waits for. When memory is wanted, they are given up. What was given back and begins within a part is read
//! again by its offset, as everything else that was given back.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_broker::StoredRecords;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use crate::close::Close;
use crate::memory::{Memory, Share};
use crate::records::Source;

/// How much is read ahead of what is being sent.
const AHEAD_BYTES: usize = 3 << 20;

/// How much is read ahead of the next request, while the client works on this answer.
const NEXT_BYTES: usize = 4 << 20;

/// The parts of all partitions of one answer, in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Stream {
    memory: Memory,
    /// Whether the next request will go on with what follows, in the same order.
    goes_on: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parts: Vec<Part>,
    /// Those of which the next request will ask for what follows.
    next: Vec<StoredRecords>,
    /// Neighbouring parts that are being read or were read, the next to be sent in front.
    ahead: VecDeque<Ahead>,
}

/// What is read at once.
#[derive(Clone, Debug)]
struct Part {
    records: StoredRecords,
    index: usize,
    offset: i64,
    bytes: usize,
}

/// A part on its way from the disk. Given up when dropped.
#[derive(Debug)]
struct Ahead {
    at: usize,
    bytes: usize,
    read: JoinHandle<Option<(Vec<Bytes>, Share)>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.read.abort();
    }
}

impl Stream {
    pub(super) fn new(memory: &Memory, goes_on: bool) -> Arc<Self> {
        Arc::new(Self { memory: memory.clone(), goes_on, state: Mutex::default() })
    }

    /// The records of the next partition; `again` reads what begins within a part.
    pub(super) fn add(
        self: &Arc<Self>,
        records: &StoredRecords,
        again: impl Source + 'static,
    ) -> Arc<dyn Source> {
        let mut state = self.lock();
        let first = state.parts.len();
        if self.goes_on && first > 0 {
            state.next.push(records.clone());
        }
        let part = |(index, (offset, bytes))| Part { records: records.clone(), index, offset, bytes };
        state.parts.extend(records.parts().enumerate().map(part));
        let parts = first..state.parts.len();
        Arc::new(Partition { stream: Arc::clone(self), parts, again: Box::new(again) })
    }

    /// Reads one part, or takes it if it was read ahead, and begins with those behind it. `None` if it cannot be read.
    async fn read(&self, at: usize) -> Option<(Vec<Bytes>, Share)> {
        if !self.comes_next(at) {
            let part = self.lock().parts.get(at).cloned()?;
            let share = self.memory.take(part.bytes).await;
            let ahead = begin(at, part, share);
            self.lock().ahead.push_front(ahead);
        }
        self.read_ahead();
        let mut next = self.lock().ahead.pop_front()?;
        (&mut next.read).await.ok()?
    }

    /// Whether this part is the first of those that are on their way. If not, they are given up.
    fn comes_next(&self, at: usize) -> bool {
        let ahead = &mut self.lock().ahead;
        let is_next = ahead.front().is_some_and(|next| next.at == at);
        if !is_next {
            ahead.clear();
        }
        is_next
    }

    /// Begins to read what follows, as far as there is memory.
    fn read_ahead(&self) {
        let state = &mut *self.lock();
        while let Some(last) = state.ahead.back() {
            let at = last.at + 1;
            let bytes: usize = state.ahead.iter().skip(1).map(|part| part.bytes).sum();
            if at == state.parts.len() {
                return StoredRecords::read_following(std::mem::take(&mut state.next), NEXT_BYTES);
            }
            let Some(part) = state.parts.get(at).filter(|_| bytes < AHEAD_BYTES) else { return };
            let is_free = self.memory.has(part.bytes);
            let Some(share) = is_free.then(|| self.memory.try_take(part.bytes)).flatten() else { return };
            state.ahead.push_back(begin(at, part.clone(), share));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborted with what it reads for")]
fn begin(at: usize, part: Part, share: Share) -> Ahead {
    let Part { records, index, bytes, .. } = part;
    let read = tokio::spawn(async move { Some((records.read(index).await?, share)) });
    Ahead { at, bytes, read }
}

/// The parts of one partition.
#[derive(Debug)]
struct Partition {
    stream: Arc<Stream>,
    parts: Range<usize>,
    again: Box<dyn Source>,
}

impl Partition {
    fn part_at(&self, offset: i64) -> Option<usize> {
        let state = self.stream.lock();
        let parts = &state.parts[self.parts.clone()];
        let index = parts.binary_search_by_key(&offset, |part| part.offset).ok()?;
        Some(self.parts.start + index)
    }
}

impl Source for Partition {
    fn read(&self, offset: i64, bytes_max: usize) -> BoxFuture<'_, Result<(Vec<Bytes>, Share), Close>> {
        match self.part_at(offset) {
            Some(at) => {
                async move { self.stream.read(at).await.ok_or(Close::RecordsUnreadable { offset }) }.boxed()
            }
            None => self.again.read(offset, bytes_max),
        }
    }

    fn held(&self) -> usize {
        self.stream.lock().ahead.iter().map(|part| part.bytes).sum()
    }

    fn give_back(&self) {
        self.stream.lock().ahead.clear();
    }
}
