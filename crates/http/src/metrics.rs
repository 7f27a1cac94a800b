//! What this front-end counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of the HTTP front-end. Clones count together.
///
/// Labels stay few: `route` is one of the paths served here or `other`, `code` a status that handlers answer.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connections: Gauge,
    requests: Family<RequestLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    code: u16,
}

impl Metrics {
    /// Adds `http_connections` and `http_requests_total` to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Open HTTP connections";
        registry.register("http_connections", help, self.connections.clone());
        registry.register(
            "http_requests",
            "HTTP requests answered, by route and status",
            self.requests.clone(),
        );
    }

    pub(crate) fn request(&self, route: &str, code: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), code }).inc();
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> ConnectionGuard {
        self.connections.inc();
        ConnectionGuard(self.connections.clone())
    }
}

/// Takes one connection off the count when dropped.
pub(crate) struct ConnectionGuard(Gauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
