//! What the Kafka front-end counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::memory::Memory;

/// Counters and gauges of the front-end. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    connections: Gauge,
    connections_refused: Counter,
    request_memory: Gauge,
    requests: Family<Api, Counter>,
    closed: Family<Reason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Api {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    notable: &'static str,
}

impl Metrics {
    /// Adds the metrics to `registry`, each with the prefix `kafka_`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("kafka_connections", "Open Kafka connections", self.connections.clone());
        let help = "Kafka connections refused because there were too many";
        registry.register("kafka_connections_refused", help, self.connections_refused.clone());
        let help = "Bytes of Kafka requests in flight";
        registry.register("kafka_request_memory_bytes", help, self.request_memory.clone());
        registry.register("kafka_requests", "Kafka requests, by API", self.requests.clone());
        let help = "Kafka connections that ended; notable ones are logged with their reason as a warning";
        registry.register("kafka_connections_closed", help, self.closed.clone());
    }

    /// Kafka connections that are open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Bytes of requests in flight, as last looked at.
    pub fn request_memory_bytes(&self) -> i64 {
        self.request_memory.get()
    }

    pub(crate) fn opened(&self) {
        self.connections.inc();
    }

    pub(crate) fn refused(&self) {
        self.connections_refused.inc();
    }

    pub(crate) fn closed(&self, is_notable: bool) {
        self.connections.dec();
        let notable = if is_notable { "true" } else { "false" };
        self.closed.get_or_create(&Reason { notable }).inc();
    }

    pub(crate) fn request(&self, api: &'static str, memory: &Memory) {
        self.requests.get_or_create(&Api { api }).inc();
        self.request_memory.set(i64::try_from(memory.used_bytes()).unwrap_or(i64::MAX));
    }
}
