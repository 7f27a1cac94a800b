//! The journal: how long appends and syncs take, how well they share a sync, whether writes are accepted.

use std::fmt;
use std::time::Duration;

use annals_journal::{Damage, Durability, Observer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, Watched, encode_gauge, seconds_histogram};

/// What the journal's own threads count.
#[derive(Debug)]
pub(super) struct JournalMetrics {
    append_sync: Histogram,
    append_async: Histogram,
    sync: Histogram,
    groups_per_sync: Histogram,
    written_bytes: Counter,
    damage: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurabilityLabel {
    durability: &'static str,
}

impl JournalMetrics {
    pub(super) fn register(registry: &mut Registry, watched: &Watched) -> Self {
        let append = Family::<DurabilityLabel, Histogram>::new_with_constructor(seconds_histogram);
        let of = |durability| append.get_or_create_owned(&DurabilityLabel { durability });
        let metrics = Self {
            append_sync: of("sync"),
            append_async: of("async"),
            sync: seconds_histogram(),
            groups_per_sync: Histogram::new((0..=10).map(|power| f64::from(1 << power))),
            written_bytes: Counter::default(),
            damage: Counter::default(),
        };
        registry.register(
            "append_seconds",
            "From handing a group to the journal to its acknowledgement",
            append,
        );
        registry.register("journal_sync_seconds", "Time of a write with its sync", metrics.sync.clone());
        let help = "Groups that one sync made durable";
        registry.register("journal_groups_per_sync", help, metrics.groups_per_sync.clone());
        registry.register(
            "journal_written_bytes",
            "Bytes written to the journal",
            metrics.written_bytes.clone(),
        );
        let help = "Damaged places found on disk since the start";
        registry.register("journal_damage", help, metrics.damage.clone());
        registry.register_collector(Box::new(StateCollector(watched.clone())));
        metrics
    }
}

impl Observer for Metrics {
    fn synced(&self, took: Duration, bytes: usize, groups: usize) {
        self.journal.sync.observe(took.as_secs_f64());
        self.journal.groups_per_sync.observe(groups as f64);
        self.journal.written_bytes.inc_by(bytes as u64);
    }

    fn appended(&self, took: Duration, durability: Durability) {
        let histogram = match durability {
            Durability::Sync => &self.journal.append_sync,
            Durability::Async => &self.journal.append_async,
        };
        histogram.observe(took.as_secs_f64());
    }

    fn damaged(&self, _: &Damage) {
        self.journal.damage.inc();
    }

    // That it stopped is seen when somebody asks, and logged by the journal itself.
}

/// Whether the journal takes writes, and what it holds.
#[derive(Debug)]
struct StateCollector(Watched);

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.0.get() else { return Ok(()) };
        let is_full = inner.journal.is_full();
        let is_writable = inner.journal.stopped().is_none() && !is_full;
        let gauges: [(&str, &str, u64); 4] = [
            ("journal_writable", "Whether writes are accepted", is_writable.into()),
            ("journal_disk_full", "Whether writes wait for space on the disk", is_full.into()),
            ("topics", "Topics", inner.state.with_catalogue(|catalogue| catalogue.topic_count() as u64)),
            (
                "partitions",
                "Partitions",
                inner.state.with_catalogue(|catalogue| catalogue.partition_count() as u64),
            ),
        ];
        for (name, help, value) in gauges {
            encode_gauge(&mut encoder, name, &format!("{help}."), &value)?;
        }
        Ok(())
    }
}
