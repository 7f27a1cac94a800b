//! Records and bytes of each topic. Counted once per request and partition, so a topic is found without a write lock
//! and without a formatted name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::TOPICS_MAX;

/// What the topics beyond the limit are counted as. No topic can have this name.
const OTHER: &str = "~other";

/// All counted topics.
#[derive(Debug, Default)]
pub(super) struct TopicMetrics {
    by_name: RwLock<BTreeMap<Arc<str>, Arc<Counters>>>,
    other: Counters,
}

/// One of a topic's counters.
type Counter = fn(&Counters) -> &AtomicU64;

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Counters {
    appended_records: AtomicU64,
    appended_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn append(&self, records: u64, bytes: u64) {
        self.appended_records.fetch_add(records, Ordering::Relaxed);
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn fetch(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl TopicMetrics {
    pub(super) fn count(&self, topic: &Arc<str>, count: impl Fn(&Counters)) {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.get(topic) {
            return count(counters);
        }
        let is_room = known.len() < TOPICS_MAX;
        drop(known);
        if is_room { count(&self.add(topic)) } else { count(&self.other) }
    }

    fn add(&self, topic: &Arc<str>) -> Arc<Counters> {
        let mut known = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(Arc::clone(topic)).or_default())
    }

    /// Forgets the topics that `is_gone` says are gone. Whoever counts is not kept waiting while it is asked.
    pub(super) fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.known().into_iter().filter(|(topic, _)| is_gone(topic)).collect();
        for (topic, _) in gone {
            self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(&topic);
        }
    }

    fn known(&self) -> Vec<(Arc<str>, Arc<Counters>)> {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(topic, counters)| (Arc::clone(topic), Arc::clone(counters))).collect()
    }
}

impl Collector for TopicMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.known();
        let families: [(&str, &str, Counter); 3] = [
            ("topic_appended_records", "Records written to a topic.", |counters| &counters.appended_records),
            ("topic_appended_bytes", "Bytes written to a topic.", |counters| &counters.appended_bytes),
            ("topic_fetched_bytes", "Bytes read from a topic.", |counters| &counters.fetched_bytes),
        ];
        for (name, help, counter) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            let named = known.iter().map(|(topic, counters)| (&**topic, counter(counters)));
            let other = Some((OTHER, counter(&self.other)));
            for (topic, counter) in named.chain(other) {
                let value = counter.load(Ordering::Relaxed);
                if topic == OTHER && value == 0 {
                    continue;
                }
                family
                    .encode_family(&[("topic", topic)])?
                    .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }
}
