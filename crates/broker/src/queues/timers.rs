//! Waking queues when something of them is due: a lease that ends, a message that expires or has to be delivered now.

use std::time::Duration;

use annals_clock::TimestampMs;
use annals_queues::routing::QueueId;

use super::{Queues, lock};
use crate::Inner;

/// The longest sleep: the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The shortest: what could not be done at once is not tried again at once.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// Works until it is dropped.
pub(super) async fn run(inner: &Inner) {
    let queues = inner.queues();
    loop {
        let now_ms = inner.clock.now_ms();
        let (due, next_ms) = queues.take_due(now_ms);
        for queue in due {
            ring(inner, queue);
        }
        let sleep = next_ms.map_or(SLEEP_MAX, |at_ms| Duration::from_millis(at_ms.abs_diff(now_ms)));
        tokio::select! {
            () = tokio::time::sleep(sleep.clamp(SLEEP_MIN, SLEEP_MAX)) => {}
            () = queues.work.timers_changed.notified() => {}
        }
    }
}

fn ring(inner: &Inner, queue: QueueId) {
    let queues = inner.queues();
    let Some(entry) = queues.entry(queue) else { return };
    let mut state = entry.lock();
    entry.timer_rang(&mut state);
    if entry.unused_until(&state).is_some_and(|until_ms| until_ms <= inner.clock.now_ms()) {
        queues.work.expire.put(queue);
        return;
    }
    entry.advance(&mut state, queues);
}

impl Queues {
    /// The queues whose time has come, and when the next one's does.
    fn take_due(&self, now_ms: TimestampMs) -> (Vec<QueueId>, Option<TimestampMs>) {
        let mut timers = lock(&self.work.timers);
        let mut due = Vec::new();
        while let Some(&(at_ms, queue)) = timers.first() {
            if at_ms > now_ms {
                return (due, Some(at_ms));
            }
            timers.pop_first();
            due.push(queue);
        }
        (due, None)
    }
}
