//! A queue that is a log: its messages lie elsewhere, and every consumer reads all of them from where it likes.
//!
//! What is left for the queue is who consumes, how many messages each holds, and what is counted. Settling a message, however,
//! gives its consumer room for another; it takes nothing away. Source: RabbitMQ's documentation of streams.

use super::settle::Held;
use super::{ConsumerId, Place, Queue};
use crate::TimestampMs;

impl Queue {
    /// How many more messages a consumer may be handed. `None` if there is no such consumer.
    pub fn room(&self, id: ConsumerId) -> Option<u32> {
        let consumer = self.consumers.get(id)?;
        if consumer.retired {
            return Some(0);
        }
        Some(consumer.options.prefetch.saturating_sub(consumer.leased))
    }

    /// A consumer is handed the message at `offset` of the log. Returns what it is settled by.
    pub fn hand_out_of_stream(&mut self, id: ConsumerId, offset: u64, size: u64, now_ms: TimestampMs) -> u64 {
        self.consumers.serve(id, 0);
        self.consumers.taken(id);
        self.counters.handed_out(false, false, false);
        let lease = self.next_lease;
        self.next_lease += 1;
        self.leased_bytes += size;
        let held = Held {
            place: Place::journaled(0, offset),
            consumer: Some(id),
            group: None,
            since_ms: now_ms,
            deadline_ms: None,
            size,
            message: None,
        };
        self.leases.insert(lease, held);
        lease
    }

    pub(super) fn settled_in_stream(&mut self, held: &Held, now_ms: TimestampMs) {
        self.counters.acknowledged += 1;
        self.processed(held, now_ms);
    }

    /// Messages came in that lie elsewhere.
    pub fn count_published(&mut self, messages: u64) {
        self.counters.published += messages;
    }
}
