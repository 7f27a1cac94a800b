//! What a queue counts: what happened to messages, and how long their consumers took.

use crate::DeathReason;

/// What happened since the queue was opened. Nothing of it survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came in.
    pub published: u64,
    /// Messages that were handed out, repeated ones included, to consumers and to who asked.
    pub delivered: u64,
    /// Of those, the ones that were settled by being handed out.
    pub delivered_no_ack: u64,
    /// Of those, the ones that somebody asked for one by one.
    pub got: u64,
    /// Of those that somebody asked for, the ones that were settled by being handed out.
    pub got_no_ack: u64,
    /// Of those that were handed out, the repeated ones.
    pub redelivered: u64,
    /// Messages that were accepted, or settled by being delivered.
    pub acknowledged: u64,
    /// Messages that were given back to be delivered again.
    pub returned: u64,
    /// Messages that left without being consumed, for whatever reason.
    pub dead: u64,
    /// Of those, the ones that a consumer rejected.
    pub rejected: u64,
    /// Of those, the ones whose time to live ran out.
    pub expired: u64,
    /// Of those, the ones that left because the queue was full.
    pub over_limit: u64,
    /// Of those, the ones that were delivered too often.
    pub over_deliveries: u64,
    /// Messages that were refused because the queue was full.
    pub refused: u64,
    /// Messages that were dropped because their identity was known.
    pub duplicates: u64,
    /// Messages that could not be read any more.
    pub lost: u64,
}

impl Counters {
    pub(super) fn died(&mut self, reason: DeathReason) {
        self.dead += 1;
        *match reason {
            DeathReason::Rejected => &mut self.rejected,
            DeathReason::Expired => &mut self.expired,
            DeathReason::MaxLength => &mut self.over_limit,
            DeathReason::DeliveryLimit => &mut self.over_deliveries,
        } += 1;
    }

    pub(super) fn handed_out(&mut self, asked: bool, no_ack: bool, again: bool) {
        self.delivered += 1;
        self.delivered_no_ack += u64::from(no_ack);
        self.got += u64::from(asked);
        self.got_no_ack += u64::from(asked && no_ack);
        self.redelivered += u64::from(again);
        self.acknowledged += u64::from(no_ack);
    }
}

/// How long messages were held until they were accepted: a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessingTime {
    /// How many took at most as long as each of [`ProcessingTime::BOUNDS_MS`], and longer than the one before; the last
    /// number counts those that took longer than any.
    pub counts: [u64; ProcessingTime::BOUNDS_MS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum_ms: u64,
}

impl ProcessingTime {
    /// The bounds of the histogram, in milliseconds.
    pub const BOUNDS_MS: [u64; 15] =
        [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000, 600_000];

    pub(super) fn took(&mut self, ms: u64) {
        self.counts[Self::BOUNDS_MS.partition_point(|bound| *bound < ms)] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// How many messages it tells of.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_first_bound_that_they_do_not_exceed() {
        let mut times = ProcessingTime::default();
        for ms in [0, 1, 2, 3, 600_000, 600_001] {
            times.took(ms);
        }
        assert_eq!((times.counts[0], times.counts[1], times.counts[2]), (2, 1, 1));
        assert_eq!((times.counts[14], times.counts[15]), (1, 1));
        assert_eq!((times.count(), times.sum_ms), (6, 1_200_007));
    }
}
