//! What has been counted, in RabbitMQ's fields.

use annals_broker::api::queues::admin::{Counters, QueueInfo};
use serde_json::{Value, json};

use super::rates::no_rate;

/// Messages that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
}

impl Totals {
    pub(super) fn of<'a>(queues: impl IntoIterator<Item = &'a QueueInfo>) -> Self {
        queues.into_iter().fold(Self::default(), |totals, queue| Self {
            ready: totals.ready + queue.ready,
            unacknowledged: totals.unacknowledged + queue.unacknowledged,
        })
    }

    /// As members of an object.
    pub(super) fn put(self, into: &mut Value) {
        let Self { ready, unacknowledged } = self;
        let fields = [
            ("messages", ready + unacknowledged),
            ("messages_ready", ready),
            ("messages_unacknowledged", unacknowledged),
        ];
        for (name, count) in fields {
            into[name] = json!(count);
            into[format!("{name}_details")] = no_rate();
        }
    }
}

/// What happened to messages since the start.
pub(super) fn message_stats<'a>(counters: impl IntoIterator<Item = &'a Counters>) -> Value {
    let mut stats = json!({});
    let mut add = |name: &str, count: u64| {
        let before = stats[name].as_u64().unwrap_or(0);
        stats[name] = json!(before + count);
        stats[format!("{name}_details")] = no_rate();
    };
    for counters in counters {
        add("publish", counters.published);
        let no_ack = counters.delivered_no_ack - counters.got_no_ack;
        add("deliver_get", counters.delivered);
        add("deliver", counters.delivered - counters.got - no_ack);
        add("deliver_no_ack", no_ack);
        add("get", counters.got - counters.got_no_ack);
        add("get_no_ack", counters.got_no_ack);
        add("redeliver", counters.redelivered);
        add("ack", counters.acknowledged);
    }
    stats
}
