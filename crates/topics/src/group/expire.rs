//! Retention: offsets that nobody needs any more, and groups that are nothing but a name (KIP-211).
//!
//! The offsets of a group of consumers expire `offsets.retention.minutes` after its last member has left. While it
//! has members, only topics that none of them reads expire, each offset by its own age. Offsets of consumers that are
//! in no group expire by their age. A group without members whose last offset has expired is removed.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::TimestampMs;

use super::coordinator::GroupCoordinator;
use super::message::{Now, Output};
use super::state::{Group, State};
use super::write::{Then, Write};
use crate::offsets::Record;
use crate::offsets::store::Expiry;

/// The pause within a sweep that has removed as much as one tick may.
const CONTINUE_AFTER: Duration = Duration::from_millis(100);

/// Where the sweep over all groups stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) at: Duration,
    after: Option<Arc<str>>,
}

/// From when the retention of an offset counts.
enum Since {
    Commit,
    Time(TimestampMs),
}

impl Group {
    /// From when the group's offsets age, or `None` while they do not.
    fn retention_since(&self) -> Option<Since> {
        let has_type = self.protocol_type.is_some();
        match self.state {
            State::Dead => None,
            _ if !has_type => Some(Since::Commit),
            State::Empty => Some(self.state_since_ms.map_or(Since::Commit, Since::Time)),
            State::Stable if self.subscribed.is_some() => Some(Since::Commit),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => None,
        }
    }
}

impl GroupCoordinator {
    /// Removes what has expired, as much as one tick may, if it is time for it.
    pub(super) fn sweep(&mut self, now: Now, out: &mut Output) {
        if now.elapsed < self.sweep.at {
            return;
        }
        let (mut records, mut group_ids) = (Vec::new(), Vec::new());
        let mut pause = CONTINUE_AFTER;
        while records.len() < self.options.expired_per_tick_max {
            let Some(group_id) = self.next_to_sweep() else {
                self.sweep.after = None;
                pause = self.options.offsets_retention_check_interval;
                break;
            };
            if self.sweep_group(&group_id, now, &mut records) {
                group_ids.push(Arc::clone(&group_id));
            }
            self.sweep.after = Some(group_id);
        }
        self.sweep.at = now.elapsed.saturating_add(pause);
        if !records.is_empty() {
            out.writes.push(Write { records, then: Then::Delete { group_ids, waiter: None } });
        }
    }

    fn next_to_sweep(&self) -> Option<Arc<str>> {
        let from = self.sweep.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.groups.range::<str, _>((from, Bound::Unbounded)).next().map(|(group_id, _)| Arc::clone(group_id))
    }

    /// True if the group goes as well.
    fn sweep_group(&mut self, group_id: &str, now: Now, records: &mut Vec<Record>) -> bool {
        let Some(group) = self.groups.get_mut(group_id) else { return false };
        let Some(since) = group.retention_since().filter(|_| !self.offsets.is_in_flight(group_id)) else {
            return false;
        };
        let retention_ms = i64::try_from(self.options.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_expired = |offset: &Expiry| match (offset.expires_at_ms, &since) {
            (Some(at), _) => now.wall_ms >= at,
            (None, Since::Commit) => now.wall_ms.saturating_sub(offset.committed_at_ms) >= retention_ms,
            (None, Since::Time(since)) => now.wall_ms.saturating_sub(*since) >= retention_ms,
        };
        let keeps = |topic: &str| group.is_subscribed(topic);
        let (expired, nothing_left) = self.offsets.expire(group_id, keeps, is_expired);
        records.extend(expired);
        let is_over = nothing_left && group.state == State::Empty && group.pending_join.is_empty();
        if is_over {
            records.push(group.mark_dead());
        }
        is_over
    }
}
