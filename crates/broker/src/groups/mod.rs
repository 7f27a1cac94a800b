//! Consumer groups: the coordinator of `annals-topics`, with time, the journal and those who wait around it.
//!
//! The coordinator is a state machine; here is everything that it is not. A request locks it, has it decide, and waits
//! for its answer without the lock. What it wants to write queues up; one task (`write_offsets`) appends all that has
//! queued in one group, so that the commits of many consumers share a sync, and completes the writes in their order.
//! Another task (`keep_time`) ends sessions and join phases.
//!
//! Invariants: writes reach the journal, and are completed, in the order in which the coordinator gave them out. A
//! request that is dropped leaves nothing behind but what the coordinator decided: its place among those who wait is
//! given up. The lock is held only to decide or to apply, never across an await; whoever holds it may look into the
//! table of topics, and nobody takes it while holding the table.

mod admin;
mod commits;
mod deletions;
mod membership;
mod tasks;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_clock::Clock;
use annals_topics::batch::{Batch, ExpandLimits};
use annals_topics::group::{self, Event, GroupCoordinator, Now, Output, Response, Waiter, Write, WriteError};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, oneshot};

use crate::Inner;

pub(crate) use tasks::{keep_time, write_offsets};

/// Bytes of records that may wait for the journal. A disk that stalls makes requests fail, not the memory grow.
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// All consumer groups, and who waits for their answers.
pub(crate) struct Groups {
    state: Mutex<State>,
    /// Told when there is something to write.
    queued: Notify,
    /// Told when a deadline is earlier than the one that is slept for.
    earlier: Notify,
    pub(crate) rebalances: Counter,
}

struct State {
    coordinator: GroupCoordinator,
    waiting: HashMap<Waiter, oneshot::Sender<Response>>,
    next_waiter: u64,
    queue: VecDeque<Write>,
    queued_bytes: usize,
    /// What `keep_time` sleeps for.
    awaited: Option<Duration>,
    is_closed: bool,
}

/// Why a request was not even decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the server is shutting down")]
    Closed,
    #[error("too many changes of groups wait for the disk; try again")]
    Overloaded,
}

/// A request that is decided and not yet answered. Dropping it gives up the wait.
struct Waiting<'a> {
    groups: &'a Groups,
    waiter: Waiter,
    answer: oneshot::Receiver<Response>,
}

impl Groups {
    pub(crate) fn new(options: &group::Options) -> Self {
        let state = State {
            coordinator: GroupCoordinator::new(options.clone()),
            waiting: HashMap::new(),
            next_waiter: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            awaited: None,
            is_closed: false,
        };
        let (queued, earlier) = (Notify::new(), Notify::new());
        Self { state: Mutex::new(state), queued, earlier, rebalances: Counter::default() }
    }

    /// Takes over a stored batch of the log that groups are kept in.
    pub(crate) fn recover(&self, batch: Bytes) {
        let records = Batch::parse(batch).and_then(|batch| batch.records(&ExpandLimits::default()));
        let records = match records {
            Ok(records) => records,
            Err(error) => return tracing::error!(%error, "a batch of the groups' log cannot be read"),
        };
        let mut state = self.lock();
        for record in records {
            let applied = record.map_err(|error| error.to_string()).and_then(|record| {
                let key = record.key.unwrap_or_default();
                state.coordinator.apply(&key, record.value.as_deref()).map_err(|error| error.to_string())
            });
            if let Err(error) = applied {
                tracing::error!(error, "a record of the groups' log cannot be applied");
            }
        }
    }

    /// All batches are taken over: members have a whole session from now on.
    pub(crate) fn finish_loading(&self, clock: &Clock) {
        self.lock().coordinator.finish_loading(now(clock));
    }

    /// Looks at the groups and offsets as they are. Must be brief.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&GroupCoordinator) -> R) -> R {
        look(&self.lock().coordinator)
    }

    /// Has the coordinator do something that is answered at once. A stalled disk does not keep it from that.
    fn act<R>(
        &self,
        clock: &Clock,
        act: impl FnOnce(&mut GroupCoordinator, Now) -> (R, Output),
    ) -> Result<R, Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        let (result, output) = act(&mut state.coordinator, now(clock));
        self.carry_out(&mut state, output);
        Ok(result)
    }

    /// Has the coordinator decide something that is answered later.
    fn submit(
        &self,
        clock: &Clock,
        decide: impl FnOnce(&mut GroupCoordinator, Waiter, Now) -> Output,
    ) -> Result<Waiting<'_>, Refused> {
        let mut state = self.lock();
        state.check_open()?;
        let waiter = Waiter(state.next_waiter);
        state.next_waiter += 1;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(waiter, sender);
        let output = decide(&mut state.coordinator, waiter, now(clock));
        self.carry_out(&mut state, output);
        Ok(Waiting { groups: self, waiter, answer })
    }

    /// [`Groups::submit`], and the answer.
    async fn ask(
        &self,
        clock: &Clock,
        decide: impl FnOnce(&mut GroupCoordinator, Waiter, Now) -> Output,
    ) -> Result<Response, Refused> {
        self.submit(clock, decide)?.answer().await
    }

    fn carry_out(&self, state: &mut State, output: Output) {
        output.events.iter().for_each(|event| self.report(event));
        for reply in output.replies {
            if let Some(sender) = state.waiting.remove(&reply.waiter) {
                // Whoever asked may have gone away since.
                let _ = sender.send(reply.response);
            }
        }
        if !output.writes.is_empty() {
            state.queued_bytes += output.writes.iter().map(stored_bytes).sum::<usize>();
            state.queue.extend(output.writes);
            self.queued.notify_one();
        }
        let deadline = state.coordinator.next_deadline();
        if deadline.is_some_and(|deadline| state.awaited.is_none_or(|awaited| deadline < awaited)) {
            self.earlier.notify_one();
        }
    }

    fn report(&self, event: &Event) {
        match event {
            Event::RebalanceStarted { group_id, generation, reason } => {
                self.rebalances.inc();
                tracing::info!(group = %group_id, generation, reason, "rebalance started");
            }
            Event::GenerationStarted { group_id, generation, members } => {
                tracing::debug!(group = %group_id, generation, members, "generation started");
            }
            Event::RebalanceCompleted { group_id, generation } => {
                tracing::info!(group = %group_id, generation, "rebalance completed");
            }
            Event::MemberRemoved { group_id, member_id, reason } => {
                tracing::info!(group = %group_id, member = %member_id, reason, "member removed");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_open(&self) -> Result<(), Refused> {
        if self.is_closed {
            return Err(Refused::Closed);
        }
        if self.queued_bytes > QUEUED_BYTES_MAX { Err(Refused::Overloaded) } else { Ok(()) }
    }
}

impl Waiting<'_> {
    async fn answer(mut self) -> Result<Response, Refused> {
        (&mut self.answer).await.map_err(|_| Refused::Closed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.groups.lock().waiting.remove(&self.waiter);
    }
}

impl Inner {
    /// Why a change of a group is not stored, for people.
    fn why_not_stored(&self, error: WriteError) -> String {
        match error {
            WriteError::TooLarge => error.to_string(),
            WriteError::Unavailable => {
                let full = || self.journal.is_full().then(|| "the disk is full".to_owned());
                self.journal.stopped().or_else(full).unwrap_or_else(|| error.to_string())
            }
        }
    }
}

fn now(clock: &Clock) -> Now {
    Now { elapsed: clock.monotonic(), wall_ms: clock.now_ms() }
}

/// About what a write takes in the journal and in memory.
fn stored_bytes(write: &Write) -> usize {
    let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    write.records().iter().map(|record| record.key.len() + bytes(&record.value) + 32).sum()
}

/// An answer of the wrong kind: a mistake of the coordinator, told as an unavailable one rather than by a panic.
fn unexpected(response: &Response) -> String {
    tracing::error!(?response, "bug: an answer to another question");
    "internal error".to_owned()
}
