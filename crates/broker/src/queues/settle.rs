//! Settling: takes effect at once, and is durable with the next group that the flush writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_queues::queue::ConsumerId;
use annals_queues::routing::QueueId;

use super::consume::SharedWindow;
use super::entry::QueueState;
use super::{QueueEntry, Queues};
use crate::api::Caller;
use crate::api::queues::settle::{Lease, Settlement};
use crate::{Broker, Inner};

/// Settlements that have taken effect and are on their way to the disk.
pub struct SettleTicket {
    unknown: Vec<Lease>,
    /// The entries of state logs that will say so.
    waiting: Vec<(Arc<QueueEntry>, u64)>,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for SettleTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SettleTicket").field("unknown", &self.unknown).finish_non_exhaustive()
    }
}

impl SettleTicket {
    /// What was not held any more: it was settled before, or its time had run out.
    pub fn unknown(&self) -> &[Lease] {
        &self.unknown
    }

    /// Waits until the settlements are on disk, where they are kept at all.
    ///
    /// # Errors
    /// If the journal stopped; then nobody knows.
    pub async fn durable(self) -> Result<(), String> {
        for (entry, offset) in self.waiting {
            if !entry.until_durable(offset, &self.inner).await {
                return Err(self.inner.journal.stopped().unwrap_or_else(|| "it is shutting down".to_owned()));
            }
        }
        Ok(())
    }
}

/// Shared windows in which there is room again, for so many messages. It is given back only when all is settled, so that the
/// queue whose message it was does not take it again before the others had their turn.
#[derive(Default)]
pub(super) struct WindowsFreed(Vec<(Arc<SharedWindow>, u32)>);

impl WindowsFreed {
    /// A consumer's message was settled.
    pub(super) fn note(&mut self, state: &QueueState, consumer: Option<ConsumerId>) {
        let mailbox = consumer.and_then(|id| state.consumers.get(&id));
        let Some(window) = mailbox.and_then(|mailbox| mailbox.window()) else { return };
        if !window.is_limited() {
            return window.give_back(1);
        }
        match self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, window)) {
            Some((_, count)) => *count += 1,
            None => self.0.push((Arc::clone(window), 1)),
        }
    }

    /// The queues that wait for room go on. Not to be called with a queue locked.
    pub(super) fn go_on(self, queues: &Queues) {
        for (window, count) in &self.0 {
            window.give_back(*count);
            window.go_on(queues);
        }
    }
}

impl Broker {
    /// Settles messages, all in the same way. Takes effect on return; [`SettleTicket::durable`] tells when it is on disk.
    pub fn settle(&self, _caller: &Caller, leases: &[Lease], settlement: Settlement) -> SettleTicket {
        let mut by_queue: BTreeMap<QueueId, Vec<u64>> = BTreeMap::new();
        for lease in leases {
            by_queue.entry(lease.queue).or_default().push(lease.number);
        }
        let mut ticket =
            SettleTicket { unknown: Vec::new(), waiting: Vec::new(), inner: Arc::clone(&self.inner) };
        let mut freed = WindowsFreed::default();
        for (queue, numbers) in by_queue {
            self.inner.settle_in(queue, &numbers, settlement, &mut ticket, &mut freed);
        }
        freed.go_on(self.inner.queues());
        ticket
    }
}

impl Inner {
    fn settle_in(
        &self,
        queue: QueueId,
        numbers: &[u64],
        settlement: Settlement,
        ticket: &mut SettleTicket,
        freed: &mut WindowsFreed,
    ) {
        let unknown = |number: &u64| Lease { queue, number: *number };
        let Some(entry) = self.queues().entry(queue) else {
            return ticket.unknown.extend(numbers.iter().map(unknown));
        };
        let mut state = entry.lock();
        let now_ms = self.clock.now_ms();
        for number in numbers {
            match state.queue.settle(*number, settlement, now_ms) {
                Ok(consumer) => freed.note(&state, consumer),
                Err(_) => ticket.unknown.push(unknown(number)),
            }
        }
        let offset = state.queue.has_changes().then(|| state.queue.state_end());
        entry.advance(&mut state, self.queues());
        drop(state);
        ticket.waiting.extend(offset.map(|offset| (entry, offset)));
    }
}
