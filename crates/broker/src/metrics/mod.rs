//! What the broker counts and measures, in the OpenMetrics text format.
//!
//! What happens often is counted where it happens, in counters that are shared and never looked up by a formatted name.
//! What is a state (lag, members, whether the disk is full) is looked at when somebody asks. The number of series is
//! bounded: beyond [`TOPICS_MAX`] topics the rest counts as `~other`, and groups and queues have limits of their own.
//!
//! Front-ends count through [`Metrics::protocol`]. What a front-end registers in a registry of its own can follow
//! in the same text:
//!
//! ```
//! use annals_broker::Metrics;
//!
//! let metrics = Metrics::default();
//! let kafka = metrics.protocol("kafka");
//! let connection = kafka.connection_opened();
//! kafka.request("Fetch", "NONE", std::time::Duration::from_millis(2));
//! let mut text = String::new();
//! metrics.encode(&mut text).expect("a string takes everything");
//! assert!(text.contains("annals_connections{protocol=\"kafka\"} 1\n"));
//! assert!(text.contains("annals_kafka_requests_total{api=\"Fetch\",error=\"NONE\"} 1\n"));
//! assert!(text.ends_with("# EOF\n"));
//! # drop(connection);
//! ```

mod front_end;
mod groups;
mod journal;
mod process;
mod queues;
mod topics;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::Inner;
use front_end::FrontEnds;
use journal::JournalMetrics;
use topics::{TopicMetrics, Volume};

pub use front_end::{ConnectionGuard, MemoryGuard, ProtocolMetrics};
pub(crate) use topics::Appending;

/// Topics that are counted by name; those beyond are counted together.
pub(crate) const TOPICS_MAX: usize = 1000;

/// The broker's metrics. Shared; see [`crate::Broker::metrics`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    journal: JournalMetrics,
    topics: Arc<TopicMetrics>,
    front_ends: Arc<FrontEnds>,
    dropped_dead_letters: Counter,
    recovery_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    watched: Watched,
}

/// The broker that is looked at when somebody asks; none before it is open and after it is gone.
#[derive(Clone, Debug, Default)]
struct Watched(Arc<OnceLock<Weak<Inner>>>);

impl Default for Metrics {
    fn default() -> Self {
        let mut root = Registry::default();
        let watched = Watched::default();
        let topics = Arc::new(TopicMetrics::default());
        let front_ends = Arc::new(FrontEnds::default());
        let recovery_seconds = Gauge::default();
        let registry = root.sub_registry_with_prefix("annals");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        let help = "How long the last start took to recover the data";
        registry.register("recovery_seconds", help, recovery_seconds.clone());
        let dropped_dead_letters = Counter::default();
        let help = "Messages that were dropped because they had been dead-lettered too often";
        registry.register("queue_dropped_dead_letters", help, dropped_dead_letters.clone());
        let journal = JournalMetrics::register(registry, &watched);
        registry.register_collector(Box::new(Arc::clone(&topics)));
        registry.register_collector(Box::new(groups::GroupCollector::new(watched.clone())));
        registry.register_collector(Box::new(queues::QueueCollector::new(watched.clone())));
        front_ends.register(registry);
        registry.register_collector(Box::new(Arc::clone(&front_ends)));
        root.register_collector(Box::new(process::ProcessCollector));
        Self { registry: root, journal, topics, front_ends, dropped_dead_letters, recovery_seconds, watched }
    }
}

impl Metrics {
    /// The counters of one front-end. Cheap to clone; ask once and keep it.
    ///
    /// `protocol` is a short lower-case word such as `kafka`: it becomes a label and, for requests, part of a name.
    pub fn protocol(&self, protocol: &'static str) -> ProtocolMetrics {
        self.front_ends.protocol(protocol)
    }

    /// Everything in the OpenMetrics text format, with the end mark. May wait for the disk for a moment.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self, out: &mut String) -> fmt::Result {
        self.encode_open(out)?;
        text::encode_eof(out)
    }

    /// As [`Metrics::encode`] without the end mark, so that the metrics of another registry can follow.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode_open(&self, out: &mut String) -> fmt::Result {
        if let Some(inner) = self.watched.get() {
            let is_there =
                |topic: &str| inner.state.with_catalogue(|catalogue| catalogue.topic(topic).is_some());
            self.topics.forget(|topic| !is_there(topic));
        }
        text::encode_registry(out, &self.registry)
    }

    /// From here on `inner` is looked at when somebody asks.
    pub(crate) fn watch(&self, inner: &Arc<Inner>) {
        // A broker is opened once.
        let _ = self.watched.0.set(Arc::downgrade(inner));
    }

    /// The data is recovered.
    pub(crate) fn recovered(&self, took: Duration) {
        self.recovery_seconds.set(took.as_secs_f64());
    }

    /// A message went round too often, and is gone.
    pub(crate) fn dead_letter_dropped(&self) {
        self.dropped_dead_letters.inc();
    }

    /// Counts the records of one request once they are acknowledged.
    pub(crate) fn appending(&self) -> Appending {
        Appending::new(Arc::clone(&self.topics))
    }

    /// Batches of a topic were given to a reader. Nothing counts for a topic that is only waited for.
    pub(crate) fn fetched(&self, topic: &Arc<str>, batches: &[Bytes]) {
        if !batches.is_empty() {
            let volume = Volume::of_batches(batches);
            self.topics.count(topic, |counters| counters.fetch(volume));
        }
    }

    /// A topic is gone, and its series with it.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        self.topics.forget(|name| name == topic);
    }
}

impl Watched {
    fn get(&self) -> Option<Arc<Inner>> {
        self.0.get()?.upgrade()
    }
}

/// For times between a tenth of a millisecond and ten seconds.
fn seconds_histogram() -> Histogram {
    const BOUNDS: [f64; 16] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    Histogram::new(BOUNDS)
}

/// One gauge without labels.
fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}
