//! Being a member of a consumer group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;

use crate::client::quiet;

/// Hears of rebalances. Clones share what they heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership(Arc<AtomicBool>);

impl Membership {
    /// Whether the partitions have changed since the last time this was asked.
    pub(crate) fn has_changed(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        quiet::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        quiet::log_error(&error, reason);
    }
}

impl ConsumerContext for Membership {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        tracing::debug!(?rebalance, "rebalanced");
        self.0.store(true, Ordering::Relaxed);
    }
}
