//! Records and bytes of each topic. Counted once per request and partition, so a topic is found without a write lock
//! and without a formatted name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use annals_topics::batch::{BatchHeader, HEADER_LEN};
use bytes::Bytes;
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
    fetched_records: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// Records on their way to the disk. They count once they are there; duplicates and what fails never do.
#[derive(Debug)]
pub(crate) struct Appending {
    topics: Arc<TopicMetrics>,
    parts: Vec<(Arc<str>, Volume)>,
}

/// So many records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Counters {
    fn append(&self, volume: Volume) {
        self.appended_records.fetch_add(volume.records, Ordering::Relaxed);
        self.appended_bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }

    pub(super) fn fetch(&self, volume: Volume) {
        self.fetched_records.fetch_add(volume.records, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }
}

impl Appending {
    pub(super) fn new(topics: Arc<TopicMetrics>) -> Self {
        Self { topics, parts: Vec::new() }
    }

    /// A batch was decided for a topic.
    pub(crate) fn add(&mut self, topic: &Arc<str>, header: &BatchHeader) {
        self.parts.push((Arc::clone(topic), Volume::of_batch(header)));
    }

    /// All of it is acknowledged.
    pub(crate) fn acknowledged(self) {
        for (topic, volume) in &self.parts {
            self.topics.count(topic, |counters| counters.append(*volume));
        }
    }
}

impl Volume {
    fn of_batch(header: &BatchHeader) -> Self {
        Self { records: u64::from(header.record_count.unsigned_abs()), bytes: header.size_bytes() as u64 }
    }

    /// What whole batches hold, cut anywhere into pieces. Reads the head of each batch.
    pub(super) fn of_batches(pieces: &[Bytes]) -> Self {
        let mut volume = Self { records: 0, bytes: pieces.iter().map(|piece| piece.len() as u64).sum() };
        let mut at = Pieces { pieces, skip: 0 };
        while let Some(header) = at.head().and_then(|head| BatchHeader::parse(&head).ok()) {
            volume.records += Self::of_batch(&header).records;
            at.skip(header.size_bytes());
        }
        volume
    }
}

/// A place in bytes that come in pieces.
struct Pieces<'a> {
    pieces: &'a [Bytes],
    /// How far into the first piece, or beyond it.
    skip: usize,
}

impl Pieces<'_> {
    fn skip(&mut self, bytes: usize) {
        self.skip += bytes;
        while let Some(first) = self.pieces.first().filter(|first| first.len() <= self.skip) {
            self.skip -= first.len();
            self.pieces = &self.pieces[1..];
        }
    }

    /// The bytes of a batch's head; none if there are not so many left.
    fn head(&self) -> Option<[u8; HEADER_LEN]> {
        let (mut head, mut filled) = ([0; HEADER_LEN], 0);
        let mut skip = self.skip;
        for piece in self.pieces {
            let part = &piece[skip..piece.len().min(skip + HEADER_LEN - filled)];
            head[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
            skip = 0;
            if filled == HEADER_LEN {
                return Some(head);
            }
        }
        None
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
        let families: [(&str, &str, Counter); 4] = [
            ("topic_appended_records", "Records acknowledged to producers.", |topic| &topic.appended_records),
            ("topic_appended_bytes", "Bytes acknowledged to producers.", |topic| &topic.appended_bytes),
            ("topic_fetched_records", "Records given to readers.", |topic| &topic.fetched_records),
            ("topic_fetched_bytes", "Bytes given to readers.", |topic| &topic.fetched_bytes),
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
