//! What health checks and metrics learn about the server.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_broker::Broker;
use annals_http::{Readiness, Reason, ReasonCode, Status};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The state of the server: there is no broker while it recovers.
pub(crate) struct ServerStatus {
    broker: OnceLock<Broker>,
    draining: AtomicBool,
    http: annals_http::Metrics,
    /// What is counted whether there is a broker or not.
    registry: Registry,
}

impl Default for ServerStatus {
    fn default() -> Self {
        let (http, mut registry) = (annals_http::Metrics::default(), Registry::with_prefix("annals"));
        http.register(&mut registry);
        Self { broker: OnceLock::new(), draining: AtomicBool::new(false), http, registry }
    }
}

impl ServerStatus {
    pub(crate) fn attach(&self, broker: Broker) {
        // Called once, after recovery.
        let _ = self.broker.set(broker);
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn http_metrics(&self) -> annals_http::Metrics {
        self.http.clone()
    }
}

impl Status for ServerStatus {
    fn ready(&self) -> Readiness {
        let Some(broker) = self.broker.get() else {
            return Readiness::not_ready([Reason::new(ReasonCode::Recovering, "the journal is being read")]);
        };
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Acquire) {
            reasons.push(Reason::new(ReasonCode::Draining, "the server is stopping"));
        } else if let Some(reason) = broker.stopped() {
            reasons.push(Reason::new(ReasonCode::JournalStopped, reason));
        }
        if broker.is_disk_full() {
            reasons.push(Reason::new(ReasonCode::DiskFull, "writes resume when there is space again"));
        }
        Readiness::not_ready(reasons)
    }

    fn encode_metrics(&self, into: &mut String) -> fmt::Result {
        if let Some(broker) = self.broker.get() {
            broker.metrics().encode_open(into)?;
        }
        text::encode_registry(into, &self.registry)?;
        text::encode_eof(into)
    }

    fn broker(&self) -> Option<&Broker> {
        self.broker.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_clock::Clock;
    use annals_journal::DiskFiles;

    use super::*;

    fn metrics(status: &ServerStatus) -> String {
        let mut text = String::new();
        status.encode_metrics(&mut text).unwrap();
        text
    }

    #[test]
    fn metrics_are_those_of_http_while_recovering_and_then_those_of_the_broker_too() {
        let directory = tempfile::tempdir().unwrap();
        let status = ServerStatus::default();
        let recovering = metrics(&status);
        assert!(recovering.contains("annals_http_connections 0\n"), "{recovering}");
        assert!(recovering.ends_with("# EOF\n"));

        let files = Arc::new(DiskFiles::open(directory.path()).unwrap());
        let (options, journal) = (annals_broker::Options::default(), annals_journal::Options::default());
        let broker = Broker::open(options, journal, files, Clock::system()).unwrap();
        status.attach(broker.clone());
        let _connection = broker.metrics().protocol("kafka").connection_opened();
        let serving = metrics(&status);
        for sample in ["annals_http_connections 0", "annals_connections{protocol=\"kafka\"} 1"] {
            assert_eq!(serving.lines().filter(|line| *line == sample).count(), 1, "{sample} in {serving}");
        }
        let families: Vec<&str> = serving.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let distinct: std::collections::BTreeSet<&&str> = families.iter().collect();
        assert_eq!(families.len(), distinct.len(), "a family appears twice in {serving}");
        assert_eq!(serving.matches("# EOF").count(), 1);
        let described = include_str!("../../../../docs/metrics.md");
        for family in families {
            let name = family.split(' ').nth(2).unwrap();
            // A counter's samples, which people see, end in _total; and those of an info in _info.
            let is_described =
                ["", "_total", "_info"].iter().any(|end| described.contains(&format!("`{name}{end}`")));
            assert!(is_described, "docs/metrics.md does not tell of {name}");
        }
        assert!(serving.ends_with("# EOF\n"));
        broker.close();
    }
}
