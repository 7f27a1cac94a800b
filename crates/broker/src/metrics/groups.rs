//! How far each group is behind, and what the groups are doing. Looked at when somebody asks.
//!
//! The lag in records is the distance from the committed offset to the high watermark, summed over a topic's
//! partitions. The lag in time is the age of the oldest record that the group has not committed, as far as the largest
//! timestamp of its batch tells; nothing is older than zero, and a group that has read everything is at zero.
//!
//! The work of one look is bounded: so many groups, so many offsets, so many timestamps. What is left out is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use annals_clock::{TimestampMs, Uuid};
use annals_topics::group::State;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Watched, encode_gauge};
use crate::Inner;
use crate::api::topics::TopicRef;
use crate::table::PartitionEntry;

/// Groups that are told one by one.
const GROUPS_MAX: usize = 1000;
/// Pairs of a group and a topic whose lag is told.
const LAGS_MAX: usize = 1000;
/// Committed offsets that are looked at.
const OFFSETS_MAX: usize = 20_000;
/// Timestamps that are looked up. Each may read a segment's footer.
const TIMESTAMPS_MAX: usize = 1000;

const STATES: [State; 5] =
    [State::Empty, State::PreparingRebalance, State::CompletingRebalance, State::Stable, State::Dead];

#[derive(Debug)]
pub(super) struct GroupCollector {
    watched: Watched,
}

/// What one look found.
#[derive(Default)]
struct Facts {
    states: [u64; STATES.len()],
    members: Vec<(Arc<str>, u64)>,
    lags: BTreeMap<(Arc<str>, Arc<str>), Lag>,
    left_out: u64,
    rebalances: u64,
}

#[derive(Clone, Copy, Default)]
struct Lag {
    records: u64,
    seconds: f64,
}

/// What is left of the work that one look may do.
struct Budget {
    offsets: usize,
    timestamps: usize,
}

/// One committed offset.
struct Committed {
    topic: Arc<str>,
    topic_id: Option<Uuid>,
    partition: i32,
    offset: i64,
}

impl GroupCollector {
    pub(super) fn new(watched: Watched) -> Self {
        Self { watched }
    }
}

impl Collector for GroupCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.watched.get() else { return Ok(()) };
        Facts::gather(&inner).encode(encoder)
    }
}

impl Facts {
    fn gather(inner: &Inner) -> Self {
        let mut facts = Self { rebalances: inner.groups.rebalances.get(), ..Self::default() };
        let mut budget = Budget { offsets: OFFSETS_MAX, timestamps: TIMESTAMPS_MAX };
        let groups = facts.list(inner);
        let now_ms = inner.clock.now_ms();
        for group in groups {
            // One group at a time: the lock is not held for all of them.
            let members =
                inner.groups.look(|groups| groups.describe(&group).map(|group| group.members.len()));
            let Ok(members) = members else { continue };
            facts.members.push((Arc::clone(&group), members as u64));
            let Some(offsets) = committed(inner, &group, &mut budget) else {
                facts.left_out += 1;
                continue;
            };
            for committed in offsets {
                facts.add(inner, &group, &committed, now_ms, &mut budget);
            }
        }
        facts
    }

    /// Counts all groups, and gives those that are told one by one.
    fn list(&mut self, inner: &Inner) -> Vec<Arc<str>> {
        let mut told = Vec::new();
        inner.groups.look(|groups| {
            for group in groups.list() {
                let state = STATES.iter().position(|state| *state == group.state);
                self.states[state.unwrap_or_default()] += 1;
                if told.len() < GROUPS_MAX { told.push(group.group_id.into()) } else { self.left_out += 1 }
            }
        });
        told
    }

    fn add(
        &mut self,
        inner: &Inner,
        group: &Arc<str>,
        committed: &Committed,
        now_ms: TimestampMs,
        budget: &mut Budget,
    ) {
        let Some(partition) = find(inner, committed) else { return };
        let key = (Arc::clone(group), Arc::clone(&committed.topic));
        if self.lags.len() >= LAGS_MAX && !self.lags.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let Some(lag) = lag(inner, &partition, committed.offset, now_ms, budget) else {
            self.left_out += 1;
            return;
        };
        let sum = self.lags.entry(key).or_default();
        sum.records += lag.records;
        sum.seconds = sum.seconds.max(lag.seconds);
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_groups(&mut encoder)?;
        self.encode_lags(&mut encoder)?;
        let help = "Groups and partitions whose lag is not told, because there are too many.";
        encode_gauge(&mut encoder, "group_lag_left_out", help, &self.left_out)
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut states = encoder.encode_descriptor("groups", "Consumer groups.", None, MetricType::Gauge)?;
        for (state, count) in STATES.iter().zip(self.states) {
            states.encode_family(&[("state", state.name())])?.encode_gauge(&count)?;
        }
        let help = "Members of a consumer group.";
        let mut members = encoder.encode_descriptor("group_members", help, None, MetricType::Gauge)?;
        for (group, count) in &self.members {
            members.encode_family(&[("group", &**group)])?.encode_gauge(count)?;
        }
        encoder
            .encode_descriptor(
                "group_rebalances",
                "Rebalances of consumer groups.",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&self.rebalances, None)
    }

    fn encode_lags(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Records of a topic that a group has not committed.";
        let mut records = encoder.encode_descriptor("group_lag_records", help, None, MetricType::Gauge)?;
        for ((group, topic), lag) in &self.lags {
            records.encode_family(&[("group", &**group), ("topic", &**topic)])?.encode_gauge(&lag.records)?;
        }
        let help = "Age of the oldest record of a topic that a group has not committed.";
        let mut seconds = encoder.encode_descriptor("group_lag_seconds", help, None, MetricType::Gauge)?;
        for ((group, topic), lag) in &self.lags {
            seconds.encode_family(&[("group", &**group), ("topic", &**topic)])?.encode_gauge(&lag.seconds)?;
        }
        Ok(())
    }
}

/// What the group committed; none if that is more than may be looked at.
fn committed(inner: &Inner, group: &str, budget: &mut Budget) -> Option<Vec<Committed>> {
    let found: Vec<_> = inner.groups.look(|groups| {
        let offsets = groups.offsets().group(group).take(budget.offsets + 1);
        let committed = offsets.map(|offset| Committed {
            topic: offset.topic.into(),
            topic_id: offset.topic_id,
            partition: offset.partition,
            offset: offset.committed.offset,
        });
        committed.collect()
    });
    budget.offsets = budget.offsets.checked_sub(found.len())?;
    Some(found)
}

/// The partition, if it is still the one that was committed for.
fn find(inner: &Inner, committed: &Committed) -> Option<Arc<PartitionEntry>> {
    let topic = inner.state.table.topic(&TopicRef::Name(Arc::clone(&committed.topic)))?;
    let is_same = committed.topic_id.is_none_or(|id| id == topic.topic.id);
    let index = usize::try_from(committed.partition).ok().filter(|_| is_same)?;
    topic.partitions.get(index).cloned()
}

/// How far an offset is behind; none if no more timestamps may be looked up.
fn lag(
    inner: &Inner,
    partition: &PartitionEntry,
    offset: i64,
    now_ms: TimestampMs,
    budget: &mut Budget,
) -> Option<Lag> {
    let (start, end) = {
        let partition = partition.lock();
        (partition.log_start(), partition.high_watermark())
    };
    let from = offset.max(start);
    let records = u64::try_from(end - from).unwrap_or(0);
    if records == 0 {
        return Some(Lag::default());
    }
    budget.timestamps = budget.timestamps.checked_sub(1)?;
    // The journal's own row of the entry has the timestamp: nothing of the batch itself is read.
    let heads = inner.journal.read_heads(partition.log, from.cast_unsigned(), 0, 1).unwrap_or_default();
    let age_ms = heads.first().map_or(0, |head| now_ms.saturating_sub(head.header.timestamp_ms));
    Some(Lag { records, seconds: age_ms.max(0) as f64 / 1000.0 })
}
