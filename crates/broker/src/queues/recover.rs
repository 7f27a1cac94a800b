//! Finding the queues of the last run again.
//!
//! The log of definitions is read and applied. For each queue the journal says which offsets its lanes hold, and its state
//! log is read; messages are read only where more has to be known of them than where they lie. Logs of queues that are not
//! defined any more held messages that were not to survive: they are deleted.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use annals_journal::{Damage, Group, Journal, LogId, Purpose, ReadError};
use annals_queues::queue::{Place, Queue};
use annals_queues::routing::{Change, QueueId};
use annals_topics::batch::{Batch, ExpandLimits};
use bytes::Bytes;

use super::batch::{Stored, stored};
use super::logs::{BODIES_LOG, Part, lane_log, owner_of, state_log};
use super::{DefinitionsLog, QueueEntry, Queues, lock, sources, vhosts};
use crate::Inner;

/// Bytes of a log that are read at once.
const READ_BYTES: usize = 4 << 20;

impl Queues {
    /// Takes in a batch of the log of definitions.
    pub(crate) fn recover_definitions(&self, batch: Bytes) {
        let records = Batch::parse(batch).and_then(|batch| batch.records(&ExpandLimits::default()));
        let records = match records {
            Ok(records) => records,
            Err(error) => return tracing::error!(%error, "definitions of queues cannot be read"),
        };
        for record in records {
            let change = record.map_err(|error| error.to_string()).and_then(|record| {
                let key = record.key.unwrap_or_default();
                Change::decode(key, record.value).map_err(|error| error.to_string())
            });
            self.with_topology_mut(|topology| match change {
                Ok(change) => {
                    if matches!(change, Change::PutVhost(_)) || topology.vhost(&vhosts::DEFAULT).is_some() {
                        topology.apply(&change);
                    } else {
                        topology.apply(&Change::PutVhost(vhosts::DEFAULT));
                        topology.apply(&change);
                    }
                }
                Err(error) => tracing::error!(error, "a definition of a queue cannot be read"),
            });
        }
    }

    /// Finds the state of all queues, once their definitions are known. `end` is where the log of definitions goes on.
    pub(crate) fn recover(&self, journal: &Journal, end: u64) -> Result<(), ReadError> {
        // Nobody else is here yet, so the lock is free.
        if let Ok(mut log) = self.defining.try_lock() {
            *log = DefinitionsLog { next_offset: end };
        }
        self.with_topology_mut(|topology| {
            topology.apply(&Change::PutVhost(vhosts::DEFAULT));
            topology.skip_promised();
        });
        sources::recover(self, journal)?;
        *lock(&self.bodies.next_offset) = journal.log(BODIES_LOG).map_or(0, |facts| facts.offsets.end);
        let lanes = lanes_of(journal);
        let definitions: Vec<_> = self.with_topology(|topology| {
            topology.vhosts().flat_map(|vhost| vhost.queues().cloned().collect::<Vec<_>>()).collect()
        });
        let now_ms = self.clock.now_ms();
        for definition in definitions {
            let lanes = lanes.get(&definition.id).cloned().unwrap_or_default();
            let facts = journal.log(state_log(definition.id));
            let state_end = facts.as_ref().map_or(0, |facts| facts.offsets.end);
            let mut queue = Queue::recover(Arc::clone(&definition), lanes.clone(), state_end);
            read_state(journal, &mut queue, facts.map(|facts| facts.offsets))?;
            queue.finish_entries();
            for (lane, offsets) in lanes {
                self.read_lane(journal, &mut queue, lane, offsets)?;
            }
            let entry = Arc::new(QueueEntry::new(queue, None, now_ms));
            entry.state_is_written(state_end);
            self.insert(Arc::clone(&entry));
            entry.advance(&mut entry.lock(), self);
        }
        Ok(())
    }

    fn read_lane(
        &self,
        journal: &Journal,
        queue: &mut Queue,
        lane: u16,
        offsets: Range<u64>,
    ) -> Result<(), ReadError> {
        let log = lane_log(queue.definition().id, lane);
        if !queue.wants_messages(lane) {
            queue.recover_bytes(journal.log(log).map_or(0, |facts| facts.bytes));
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        each_entry(journal, log, offsets, |payload| {
            for (offset, stored) in stored(payload) {
                let place = Place::journaled(lane, offset);
                // Bodies of such lanes are never shared.
                if let (Stored::Message(message), true) = (stored, queue.is_live(place)) {
                    queue.recover_message(place, &message, now_ms);
                }
            }
        })
    }
}

fn read_state(journal: &Journal, queue: &mut Queue, offsets: Option<Range<u64>>) -> Result<(), ReadError> {
    let Some(offsets) = offsets else { return Ok(()) };
    let log = state_log(queue.definition().id);
    each_entry(journal, log, offsets, |payload| {
        if let Err(error) = queue.recover_entry(payload) {
            tracing::error!(%log, %error, "an entry about settled messages cannot be read: they are delivered again");
        }
    })
}

/// Gives each entry of a log to `take`, and passes over what is damaged.
pub(super) fn each_entry(
    journal: &Journal,
    log: LogId,
    offsets: Range<u64>,
    mut take: impl FnMut(Bytes),
) -> Result<(), ReadError> {
    let mut next = offsets.start;
    while next < offsets.end {
        let entries = match journal.entries(log, next, READ_BYTES) {
            Err(ReadError::Damaged(damage)) => {
                next = behind(&damage, next);
                tracing::error!(%log, %damage, "a log of a queue is damaged");
                continue;
            }
            entries => entries?,
        };
        let Some(last) = entries.last() else { break };
        next = last.header.end_offset();
        entries.into_iter().for_each(|entry| take(entry.payload));
    }
    Ok(())
}

fn behind(damage: &Damage, offset: u64) -> u64 {
    damage.offsets.as_ref().map_or(offset, |lost| lost.end).max(offset + 1)
}

/// The lanes that the journal has, with their offsets, by queue.
fn lanes_of(journal: &Journal) -> HashMap<QueueId, Vec<(u16, Range<u64>)>> {
    let mut lanes: HashMap<QueueId, Vec<(u16, Range<u64>)>> = HashMap::new();
    for log in journal.logs() {
        if let (Some((queue, Part::Lane(lane))), Some(facts)) = (owner_of(log), journal.log(log)) {
            lanes.entry(queue).or_default().push((lane, facts.offsets));
        }
    }
    lanes
}

/// Deletes the logs of queues that did not survive the restart.
pub(super) async fn delete_orphans(inner: &Inner) {
    let queues = inner.queues();
    let _defining = queues.defining.lock().await;
    let mut group = Group::new();
    for log in inner.journal.logs() {
        if owner_of(log).is_some_and(|(queue, _)| queues.entry(queue).is_none()) {
            group.delete(log);
        }
    }
    if group.is_empty() {
        return;
    }
    let deleted = match inner.journal.admit(group.stored_len(), Purpose::Control).await {
        Ok(permit) => inner.journal.submit(permit, group).await,
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        tracing::warn!(%error, "cannot delete what is left of queues that are gone");
    }
}
