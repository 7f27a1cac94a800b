//! When reading is over.
//!
//! Each partition that is read is done when it has reached its bound: a time, an offset, or the end. The
//! client library reports the end of a partition by its number alone, so with several topics the reports of
//! one number are counted, and end offsets that were looked up at the start settle most cases earlier.

use std::collections::{BTreeMap, BTreeSet};

use annals_clock::TimestampMs;
use anyhow::Result;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;

use super::group::Membership;
use super::position::Position;
use crate::client::cluster::Partition;
use crate::client::offsets::{Offsets, Which, look_up};
use crate::client::{Quiet, explain};

/// What ends the reading, and how far it has come.
#[derive(Debug)]
pub(crate) struct Finish {
    /// Whether the ends of partitions count.
    at_end: bool,
    /// Offsets at which partitions are done.
    bounds: Offsets,
    /// The moment at which partitions are done.
    until_ms: Option<TimestampMs>,
    /// Partitions that are read and not done.
    open: BTreeSet<Partition>,
    /// Partitions that were read at any time.
    known: BTreeSet<Partition>,
    /// Reports of an end, by partition number.
    ends: BTreeMap<i32, usize>,
}

impl Finish {
    /// Looks up what the options mean for `partitions`.
    pub(crate) fn plan(
        client: &BaseConsumer<Quiet>,
        partitions: &[Partition],
        until: Option<Position>,
        exit_at_end: bool,
        now_ms: TimestampMs,
    ) -> Result<Self> {
        let until_ms = match until {
            Some(Position::Time(timestamp_ms)) => Some(timestamp_ms),
            _ => None,
        };
        // Nothing behind the present can come before a moment in the past.
        let at_end = exit_at_end || until.is_some_and(|_| until_ms.is_none_or(|at| at <= now_ms));
        let mut bounds = if at_end { look_up(client, partitions, Which::Latest)? } else { Offsets::new() };
        if let Some(Position::Offset(offset)) = until {
            bounds.values_mut().for_each(|bound| *bound = offset.min(*bound));
        }
        let open: BTreeSet<Partition> = partitions.iter().cloned().collect();
        Ok(Self { at_end, bounds, until_ms, known: open.clone(), open, ends: BTreeMap::new() })
    }

    /// Whether the record lies before the bound. Notes how far its partition has come.
    pub(crate) fn wants(&mut self, message: &BorrowedMessage<'_>) -> bool {
        if !self.at_end && self.until_ms.is_none() {
            return true;
        }
        let partition = Partition::new(message.topic(), message.partition());
        let too_late = match (self.until_ms, message.timestamp().to_millis()) {
            (Some(until_ms), Some(timestamp_ms)) => timestamp_ms >= until_ms,
            _ => false,
        };
        let bound = self.bounds.get(&partition).copied().unwrap_or(i64::MAX);
        if too_late || message.offset() + 1 >= bound {
            self.open.remove(&partition);
        }
        !too_late && message.offset() < bound
    }

    /// Notes that a partition of this number has no more records.
    pub(crate) fn at_end(&mut self, number: i32) {
        if !self.at_end {
            return;
        }
        let reports = self.ends.entry(number).or_default();
        *reports += 1;
        let same_number = self.known.iter().filter(|partition| partition.number == number).count();
        if *reports >= same_number {
            self.open.retain(|partition| partition.number != number);
        }
    }

    /// Narrows the partitions to those that the group has given to this consumer.
    pub(crate) fn assigned(&mut self, consumer: &BaseConsumer<Membership>) -> Result<()> {
        if !self.at_end && self.until_ms.is_none() {
            return Ok(());
        }
        let assignment = consumer.assignment().map_err(|error| explain(&error))?;
        let elements = assignment.elements();
        if elements.is_empty() {
            return Ok(());
        }
        let mine: BTreeSet<Partition> =
            elements.iter().map(|element| Partition::new(element.topic(), element.partition())).collect();
        self.open.retain(|partition| mine.contains(partition));
        self.known = mine;
        Ok(())
    }

    /// Whether every partition is done.
    pub(crate) fn is_reached(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Finish, Offsets, Partition};

    fn finish(at_end: bool, partitions: &[(&str, i32)]) -> Finish {
        let known = partitions.iter().map(|(topic, number)| Partition::new(topic, *number));
        let known: std::collections::BTreeSet<Partition> = known.collect();
        let (bounds, ends) = (Offsets::new(), BTreeMap::new());
        Finish { at_end, bounds, until_ms: None, open: known.clone(), known, ends }
    }

    #[test]
    fn the_end_of_a_partition_counts_only_if_it_is_asked_for() {
        let mut finish = finish(false, &[("a", 0)]);
        finish.at_end(0);
        assert!(!finish.is_reached());
    }

    #[test]
    fn partitions_of_one_number_are_done_when_all_of_them_have_ended() {
        let mut finish = finish(true, &[("a", 0), ("b", 0), ("b", 1)]);
        finish.at_end(0);
        finish.at_end(1);
        assert!(!finish.is_reached());
        finish.at_end(0);
        assert!(finish.is_reached());
    }
}
