//! The two tasks behind the groups: one writes, one keeps time.

use std::sync::Arc;
use std::time::Duration;

use annals_clock::Clock;
use annals_topics::group::{Write, WriteError};
use annals_topics::offsets::Record;

use super::{Groups, now, stored_bytes};
use crate::Inner;
use crate::state_log::frees_space;
use crate::storage::Unavailable;

/// Records that one append takes; a single larger write goes alone.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// A write above this is refused: a record batch counts its bytes in 31 bits, and a journal's group has a limit as well.
const WRITE_BYTES_MAX: usize = 256 << 20;
/// The shortest sleep: what a timer can tell apart.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Appends what the groups want to write, and answers who waits for it. When it ends, all who wait are sent away.
pub(crate) fn write_offsets(inner: Arc<Inner>) -> impl Future<Output = ()> + Send {
    inner.groups.lock().is_closed = false;
    // Made here and not on the first poll: a task may end before that.
    let open = Open(inner);
    async move {
        let inner = &open.0;
        // Where data is lost, a topic that is not there is no proof that it was deleted.
        if inner.journal.damage().is_empty() {
            inner.groups.forget_missing_topics(&inner.state.table);
        }
        loop {
            let writes = inner.groups.take_writes();
            if writes.is_empty() {
                inner.groups.queued.notified().await;
            } else {
                let written = append(inner, &writes).await;
                inner.groups.complete(writes, written, &inner.clock);
            }
        }
    }
}

/// Ends sessions and join phases when their time has come.
pub(crate) async fn keep_time(inner: Arc<Inner>) {
    loop {
        let deadline = inner.groups.tick(&inner.clock);
        let pause = deadline.map(|deadline| deadline.saturating_sub(inner.clock.monotonic()));
        let pause = pause.map_or(Duration::MAX, |pause| pause.max(PAUSE_MIN));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = inner.groups.earlier.notified() => {}
        }
    }
}

/// The time in which groups are answered.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.groups.lock();
        state.is_closed = true;
        state.waiting.clear();
        state.queue.clear();
        state.queued_bytes = 0;
    }
}

async fn append(inner: &Inner, writes: &[Write]) -> Result<(), WriteError> {
    if writes.iter().map(stored_bytes).sum::<usize>() > WRITE_BYTES_MAX {
        return Err(WriteError::TooLarge);
    }
    let records: Vec<Record> = writes.iter().flat_map(Write::records).cloned().collect();
    let appended = inner.offsets_log.append(&inner.journal, &records, inner.clock.now_ms(), &[]).await;
    appended.map_err(|error| match error {
        Unavailable::DiskFull | Unavailable::Stopped(_) => {
            // The journal has said so aloud; here it happens as often as consumers commit.
            tracing::debug!(%error, "changes of consumer groups cannot be stored");
            WriteError::Unavailable
        }
    })
}

impl Groups {
    /// What goes into the next append: at least one write, if there is any.
    ///
    /// Deletions go without others: on a full disk, which refuses those.
    fn take_writes(&self) -> Vec<Write> {
        let mut state = self.lock();
        let (mut taken, mut bytes): (Vec<Write>, _) = (Vec::new(), 0);
        let deletes = |write: &Write| frees_space(write.records());
        while let Some(write) = state.queue.front() {
            bytes += stored_bytes(write);
            let fits = |first| bytes <= APPEND_BYTES_MAX && deletes(first) == deletes(write);
            if !taken.first().is_none_or(fits) {
                break;
            }
            taken.extend(state.queue.pop_front());
        }
        taken
    }

    /// Tells the coordinator what became of its writes.
    fn complete(&self, writes: Vec<Write>, written: Result<(), WriteError>, clock: &Clock) {
        let mut state = self.lock();
        for write in writes {
            state.queued_bytes = state.queued_bytes.saturating_sub(stored_bytes(&write));
            let output = state.coordinator.complete(write, written, now(clock));
            self.carry_out(&mut state, output);
        }
    }

    /// Does what is due. Returns when it is to be called again.
    fn tick(&self, clock: &Clock) -> Option<Duration> {
        let mut state = self.lock();
        let now = now(clock);
        if state.coordinator.next_deadline().is_some_and(|deadline| deadline <= now.elapsed) {
            let output = state.coordinator.tick(now);
            // Nobody has to be woken for what is known here.
            state.awaited = Some(Duration::ZERO);
            self.carry_out(&mut state, output);
        }
        state.awaited = state.coordinator.next_deadline();
        state.awaited
    }
}
