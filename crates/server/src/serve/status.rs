//! What health checks and metrics learn about the server.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_broker::Broker;
use annals_http::{Readiness, Reason, ReasonCode, Status};

/// The state of the server: there is no broker while it recovers.
#[derive(Default)]
pub(crate) struct ServerStatus {
    broker: OnceLock<Broker>,
    draining: AtomicBool,
    http: annals_http::Metrics,
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
        match self.broker.get() {
            Some(broker) => broker.metrics().encode(into),
            None => into_eof(into),
        }
    }
}

fn into_eof(into: &mut String) -> fmt::Result {
    into.push_str("# EOF\n");
    Ok(())
}
