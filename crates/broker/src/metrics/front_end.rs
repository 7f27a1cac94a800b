//! What front-ends count: connections, memory in flight, requests, errors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::seconds_histogram;

/// The counters of one front-end. Clones count together.
#[derive(Clone, Debug)]
pub struct ProtocolMetrics {
    protocol: &'static str,
    connections: Gauge,
    opened: Counter,
    refused: Family<RefusedLabels, Counter>,
    memory: Gauge,
    errors: Family<ErrorLabels, Counter>,
    requests: Requests,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub struct ConnectionGuard(Gauge);

/// Counts bytes in flight until it is dropped.
#[derive(Debug)]
pub struct MemoryGuard {
    gauge: Gauge,
    bytes: i64,
}

/// All front-ends that asked for their counters.
#[derive(Debug, Default)]
pub(super) struct FrontEnds {
    connections: Family<ProtocolLabel, Gauge>,
    opened: Family<ProtocolLabel, Counter>,
    refused: Family<RefusedLabels, Counter>,
    memory: Family<ProtocolLabel, Gauge>,
    errors: Family<ErrorLabels, Counter>,
    requests: Mutex<BTreeMap<&'static str, Requests>>,
}

/// The requests of one protocol.
#[derive(Clone, Debug)]
struct Requests {
    count: Family<RequestLabels, Counter>,
    seconds: Family<ApiLabel, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    protocol: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    protocol: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    api: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

impl ProtocolMetrics {
    /// A client has connected. Counts it until the guard is dropped.
    pub fn connection_opened(&self) -> ConnectionGuard {
        self.opened.inc();
        self.connections.inc();
        ConnectionGuard(self.connections.clone())
    }

    /// A client was not let in. `reason` is one of a few fixed words.
    pub fn connection_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { protocol: self.protocol, reason }).inc();
    }

    /// Memory is held for a request or an answer. Counts it until the guard is dropped.
    pub fn memory(&self, bytes: usize) -> MemoryGuard {
        let mut guard = MemoryGuard { gauge: self.memory.clone(), bytes: 0 };
        guard.resize(bytes);
        guard
    }

    /// Something went wrong: `kind` is one of a few fixed words, such as `oversized_frame`.
    pub fn error(&self, kind: &'static str) {
        self.errors.get_or_create(&ErrorLabels { protocol: self.protocol, kind }).inc();
    }

    /// A request was answered: of this kind, with this error (or what the protocol calls none), after this time.
    pub fn request(&self, api: &'static str, error: &'static str, took: Duration) {
        self.requests.count.get_or_create(&RequestLabels { api, error }).inc();
        self.requests.seconds.get_or_create(&ApiLabel { api }).observe(took.as_secs_f64());
    }
}

impl MemoryGuard {
    /// Counts this many bytes from now on.
    pub fn resize(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.gauge.inc_by(bytes - self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl FrontEnds {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_opened", "Connections that were accepted", self.opened.clone());
        registry.register("connections_refused", "Connections that were refused", self.refused.clone());
        let help = "Memory held for requests and answers in flight";
        registry.register("memory_in_flight_bytes", help, self.memory.clone());
        registry.register("errors", "What went wrong", self.errors.clone());
    }

    pub(super) fn protocol(&self, protocol: &'static str) -> ProtocolMetrics {
        let label = ProtocolLabel { protocol };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        ProtocolMetrics {
            protocol,
            connections: self.connections.get_or_create_owned(&label),
            opened: self.opened.get_or_create_owned(&label),
            refused: self.refused.clone(),
            memory: self.memory.get_or_create_owned(&label),
            errors: self.errors.clone(),
            requests: requests.entry(protocol).or_insert_with(Requests::new).clone(),
        }
    }
}

impl Requests {
    fn new() -> Self {
        let seconds = Family::new_with_constructor(seconds_histogram as fn() -> Histogram);
        Self { count: Family::default(), seconds }
    }
}

impl Collector for FrontEnds {
    /// The requests: the protocol is part of their names, since each has its own kinds and errors.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (protocol, requests) in requests {
            let (name, kind) = (format!("{protocol}_requests"), requests.count.metric_type());
            let family =
                encoder.encode_descriptor(&name, "Requests answered, by kind and error.", None, kind)?;
            requests.count.encode(family)?;
            let (name, kind) = (format!("{protocol}_request_seconds"), Family::<ApiLabel, Histogram>::TYPE);
            let help = "From the arrival of a request to its answer.";
            requests.seconds.encode(encoder.encode_descriptor(&name, help, None, kind)?)?;
        }
        Ok(())
    }
}
