//! Compaction: of the records with one key, the latest survives.
//!
//! A pass over one partition first reads what is new and notes the latest offset of each key, then has the journal
//! rewrite the partition's segments, which asks [`Cleaning::keep`] about every batch. Only sealed segments are
//! rewritten; the active one is closed early when records wait in it longer than the topic's `segment.ms`, or more of
//! them than its `segment.bytes`.
//! The broker's own state logs are compacted in the same way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_journal::{EntryHeader, ExtentFacts, Journal, Keep, LogId, ReadError};
use annals_topics::NO_TIMESTAMP;
use annals_topics::batch::{Batch, BatchHeader, ExpandLimits};
use annals_topics::compaction::{CleanRules, Cleaned, Dirt, OffsetMap, clean, cleanable_until};
use annals_topics::config::{Compaction, SegmentRules, TopicConfig};
use annals_topics::partition::retention::Extent;
use bytes::Bytes;

use crate::Inner;
use crate::eventstore::SUBSCRIPTIONS_LOG;
use crate::queues::DEFINITIONS_LOG;
use crate::state_log::{CATALOGUE_LOG, OFFSETS_LOG};

/// Bytes of a log that are read at once.
const READ_BYTES: usize = 4 << 20;
/// After a pass that could not clean everything, the next is this far away.
const RETRY_MS: i64 = 60_000;
/// A state log smaller than this is not worth a pass.
const STATE_LOG_BYTES_MIN: u64 = 4 << 20;

/// The passes that are under way, and how far the last ones went.
#[derive(Default)]
pub(crate) struct Cleaning {
    passes: Mutex<HashMap<LogId, Arc<Pass>>>,
    cleaned_to: Mutex<HashMap<LogId, i64>>,
    /// Logs of which something could not be cleaned that is worth another try, and when.
    retries: Mutex<HashMap<LogId, i64>>,
}

/// One pass over one log.
struct Pass {
    map: OffsetMap,
    rules: CleanRules,
    /// Something that was passed could not be cleaned.
    left_something: AtomicBool,
    /// The offset of each producer's last record.
    producer_tails: HashMap<i64, i64>,
}

/// A log that may be compacted.
struct Candidate {
    log: LogId,
    config: Compaction,
    /// How long and how many records may wait in the active segment.
    segment: SegmentRules,
    high_watermark: i64,
    producer_tails: HashMap<i64, i64>,
    bytes_min: u64,
}

impl Cleaning {
    /// What a rewrite keeps of an entry: everything, unless a pass over its log is under way.
    pub(crate) fn keep(&self, header: &EntryHeader, payload: &Bytes) -> Keep {
        let Some(pass) = lock(&self.passes).get(&header.log).cloned() else { return Keep::All };
        let is_tail = |header: &BatchHeader| {
            pass.producer_tails.get(&header.producer_id).is_some_and(|&last| last == header.last_offset())
        };
        let rules = CleanRules { keep_tombstones: pass.left_something.load(Ordering::Relaxed), ..pass.rules };
        let cleaned = Batch::parse(payload.clone())
            .map_err(Into::into)
            .and_then(|batch| clean(&batch, &pass.map, &rules, is_tail));
        match cleaned {
            Ok(Cleaned::Keep) => Keep::All,
            Ok(Cleaned::Drop) => Keep::Drop,
            Ok(Cleaned::Replace(batch)) => replace(&batch),
            Err(error) => {
                tracing::warn!(log = %header.log, offset = header.base_offset, %error, "cannot compact a batch");
                Keep::All
            }
        }
    }
}

/// A batch that takes the place of a larger one. One that is only kept for its producer has no timestamp.
pub(crate) fn replace(batch: &Batch) -> Keep {
    let header = &batch.header;
    let timestamp_ms = if header.record_count > 0 { header.max_timestamp } else { NO_TIMESTAMP };
    Keep::Replace { payload: batch.encode(), timestamp_ms }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at all compacted logs every now and then.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(inner.options.compaction_interval).await;
        for candidate in inner.candidates() {
            inner.compact_if_due(candidate).await;
        }
    }
}

impl Inner {
    fn candidates(&self) -> Vec<Candidate> {
        let state_logs = [CATALOGUE_LOG, OFFSETS_LOG, DEFINITIONS_LOG, SUBSCRIPTIONS_LOG];
        let mut candidates: Vec<_> = state_logs.into_iter().filter_map(|log| self.state_log(log)).collect();
        for topic in self.state.table.topics() {
            if topic.topic.store || !topic.topic.config.cleanup.compact {
                continue;
            }
            for partition in &topic.partitions {
                let state = partition.lock();
                candidates.push(Candidate {
                    log: partition.log,
                    config: topic.topic.config.compaction,
                    segment: topic.topic.config.segment,
                    high_watermark: state.high_watermark(),
                    producer_tails: state.producer_tails(),
                    bytes_min: 1,
                });
            }
        }
        candidates
    }

    fn state_log(&self, log: LogId) -> Option<Candidate> {
        let end = self.journal.log(log)?.offsets.end;
        let defaults = TopicConfig::default();
        Some(Candidate {
            log,
            config: Compaction { delete_retention_ms: 0, ..defaults.compaction },
            segment: SegmentRules { bytes: u64::MAX, ms: i64::MAX },
            high_watermark: end.cast_signed(),
            producer_tails: HashMap::new(),
            bytes_min: STATE_LOG_BYTES_MIN,
        })
    }

    async fn compact_if_due(&self, candidate: Candidate) {
        let now_ms = self.clock.now_ms();
        let facts = self.journal.extents(candidate.log);
        let sealed = facts.iter().take_while(|facts| facts.sealed).count();
        let waits_too_long =
            |facts: &ExtentFacts| now_ms.saturating_sub(facts.max_timestamp_ms) > candidate.segment.ms;
        let waiting = &facts[sealed..];
        if waiting.iter().any(waits_too_long) || super::waits(waiting, candidate.segment) {
            self.journal.roll();
        }
        let mut extents = super::extents(&self.journal, candidate.log, now_ms);
        extents.truncate(sealed);
        let end = extents.last().map_or(0, |extent| extent.next_offset).min(candidate.high_watermark);
        let end = cleanable_until(&extents, end, candidate.config.min_lag_ms, now_ms);
        let from = lock(&self.state.cleaning.cleaned_to).get(&candidate.log).copied().unwrap_or(0);
        let dirt = dirt(&extents, from, end);
        let retry = lock(&self.state.cleaning.retries).get(&candidate.log).copied();
        if retry.is_some_and(|at_ms| now_ms < at_ms) {
            return;
        }
        if dirt.dirty_bytes >= candidate.bytes_min && dirt.is_due(&candidate.config, now_ms) {
            self.compact(candidate, from, end, now_ms).await;
        }
    }

    async fn compact(&self, candidate: Candidate, from: i64, end: i64, now_ms: i64) {
        let Candidate { log, config, producer_tails, .. } = candidate;
        let expand = self.options.expand;
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.clock.random().to_le_bytes());
        seed[8..].copy_from_slice(&self.clock.random().to_le_bytes());
        let map = OffsetMap::new(from, self.options.compaction_bytes_max, seed);
        let journal = self.journal.clone();
        let filled = self.blocking(move || fill(&journal, log, map, end, &expand)).await;
        let map = match filled {
            Ok(map) => map,
            Err(error) => return tracing::warn!(%log, %error, "cannot compact a log"),
        };
        let complete_to = map.complete_to();
        let delete_retention_ms = config.delete_retention_ms;
        let rules = CleanRules { now_ms, delete_retention_ms, keep_tombstones: false, expand };
        let pass = Arc::new(Pass { map, rules, left_something: AtomicBool::new(false), producer_tails });
        lock(&self.state.cleaning.passes).insert(log, Arc::clone(&pass));
        let is_done = self.clean(log, end, &pass).await;
        lock(&self.state.cleaning.passes).remove(&log);
        if is_done {
            lock(&self.state.cleaning.cleaned_to).insert(log, complete_to);
            lock(&self.state.cleaning.retries).remove(&log);
            tracing::debug!(%log, from, to = complete_to, "compacted a log");
        } else {
            lock(&self.state.cleaning.retries).insert(log, now_ms.saturating_add(RETRY_MS));
        }
    }

    /// Has a log rewritten up to `end`. `false` if something is left that another pass may clean.
    ///
    /// Behind a segment that cannot be cleaned all tombstones stay: what they delete may still be in it.
    async fn clean(&self, log: LogId, end: i64, pass: &Pass) -> bool {
        let (mut next, mut is_done) = (0, true);
        while let Err(left) = self.journal.rewrite_within(log, next..end.cast_unsigned()).await {
            tracing::warn!(%log, %left, "a part of a log cannot be compacted now");
            pass.left_something.store(true, Ordering::Relaxed);
            is_done &= left.is_damaged;
            next = left.offsets.end;
        }
        is_done
    }
}

fn dirt(extents: &[Extent], from: i64, end: i64) -> Dirt {
    let is_clean = |extent: &&Extent| extent.next_offset <= from;
    let clean_bytes = extents.iter().filter(is_clean).map(|extent| extent.size_bytes).sum();
    let dirty = || extents.iter().filter(|extent| extent.next_offset > from && extent.next_offset <= end);
    let oldest_dirty_ms = dirty().map(|extent| extent.max_timestamp).min().unwrap_or(i64::MAX);
    Dirt { clean_bytes, dirty_bytes: dirty().map(|extent| extent.size_bytes).sum(), oldest_dirty_ms }
}

/// Notes the latest offset of each key between where the map stands and `end`.
fn fill(
    journal: &Journal,
    log: LogId,
    mut map: OffsetMap,
    end: i64,
    limits: &ExpandLimits,
) -> Result<OffsetMap, ReadError> {
    let start = journal.log(log).map_or(0, |facts| facts.offsets.start);
    let mut next = map.complete_to().cast_unsigned().max(start);
    while next < end.cast_unsigned() {
        let entries = journal.entries(log, next, READ_BYTES)?;
        let Some(last) = entries.last() else { break };
        next = last.header.end_offset();
        for entry in entries {
            if entry.header.base_offset >= end.cast_unsigned() {
                return Ok(map);
            }
            let added = Batch::parse(entry.payload).and_then(|batch| map.add(&batch, limits));
            if matches!(added, Ok(false)) {
                return Ok(map);
            }
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use annals_journal::Files as _;
    use annals_topics::batch::{BatchBuilder, BatchOptions, NewRecord};

    use super::*;
    use crate::api::topics::{CreateTopics, NewTopic, TopicRef};
    use crate::groups::tests::World;

    const TOPIC: &str = "state";

    impl World {
        async fn create_compacted(&self) {
            let config = |(name, value): (&str, &str)| (name.to_owned(), Some(value.to_owned()));
            let configs = [
                ("cleanup.policy", "compact"),
                ("delete.retention.ms", "0"),
                ("min.cleanable.dirty.ratio", "0"),
            ];
            let configs = configs.map(config).to_vec();
            let topic = NewTopic { name: TOPIC.into(), partitions: Some(1), configs };
            let request =
                CreateTopics { topics: vec![topic], validate_only: false, timeout: Duration::from_secs(5) };
            self.broker.create_topics(&self.caller, request).await.remove(0).unwrap();
        }

        /// Appends one batch to a topic.
        async fn put(&self, topic: &str, records: &[(&str, Option<&str>)]) {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            for (key, value) in records {
                let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
                builder.push(&NewRecord { key, value, ..NewRecord::at(1_700_000_000_000) }).unwrap();
            }
            let batch = builder.build().unwrap().encode();
            self.send(topic, 0, batch).await.durable().await.remove(0).unwrap();
        }

        async fn close_segment(&self, log: LogId) {
            let journal = &self.broker.inner.journal;
            while !journal.extents(log).iter().all(|extent| extent.sealed) {
                journal.roll();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        async fn compact(&self, log: LogId) {
            let candidates = self.broker.inner.candidates();
            let candidate = candidates.into_iter().find(|candidate| candidate.log == log).unwrap();
            self.broker.inner.compact_if_due(candidate).await;
        }

        fn records(&self, log: LogId) -> Vec<(String, Option<String>)> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let entries = self.broker.inner.journal.entries(log, 0, 1 << 20).unwrap();
            let batches = entries.into_iter().map(|entry| Batch::parse(entry.payload).unwrap());
            let records = batches.flat_map(|batch| {
                batch.records(&ExpandLimits::default()).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
            });
            records
                .map(|record| (text(&record.key.unwrap_or_default()), record.value.map(|value| text(&value))))
                .collect()
        }
    }

    /// Of a segment that cannot be rewritten, here because a record of another topic in it is damaged, everything stays. So a
    /// tombstone for what is in it must stay too.
    #[tokio::test]
    async fn a_tombstone_stays_while_what_it_deletes_cannot_go() {
        let world = World::new();
        world.create_compacted().await;
        world.create("other", 1).await;
        let log =
            world.broker.inner.state.table.topic(&TopicRef::Name(TOPIC.into())).unwrap().partitions[0].log;
        let noise = "x".repeat(3000);
        world.put(TOPIC, &[("k", Some("v"))]).await;
        world.put("other", &[("noise", Some(&noise))]).await;
        world.close_segment(log).await;
        let names = world.files.list().unwrap();
        let at = names.iter().find_map(|name| {
            let bytes = world.files.bytes(name).filter(|_| name.ends_with(".segment"))?;
            let at = bytes.windows(100).position(|window| window == &noise.as_bytes()[..100])?;
            Some((name, at as u64 * 8))
        });
        let (name, bit) = at.unwrap();
        world.files.flip_bit(name, bit);
        // What was written lately is read from memory otherwise.
        let world = world.reopen().await;
        world.put(TOPIC, &[("k", None)]).await;
        for n in 0..4 {
            world.put(TOPIC, &[("counter", Some(&n.to_string()))]).await;
            world.close_segment(log).await;
            world.compact(log).await;
        }
        let record = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            world.records(log),
            [record("k", Some("v")), record("k", None), record("counter", Some("3"))]
        );
    }
}
