//! Queues: how full they are, how old what lies there is, what happened to messages, and how long consumers keep them.
//!
//! All of it is looked at when somebody asks; what is counted, the queues count themselves. The first [`QUEUES_MAX`] queues, in
//! the order in which they were made, are told one by one and the others together as `~other`, so that sums over all
//! queues are always right.

use std::collections::BTreeMap;
use std::fmt;

use annals_clock::TimestampMs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Watched, encode_gauge};
use crate::Broker;
use crate::api::Caller;
use crate::api::queues::admin::{ProcessingTime, QueueInfo};

/// Queues that are told one by one.
const QUEUES_MAX: usize = 1000;

/// What the queues beyond the limit are told as, in place of a virtual host and a name.
const OTHER: &str = "~other";

#[derive(Debug)]
pub(super) struct QueueCollector {
    watched: Watched,
}

/// One series: a queue, or all those beyond the limit.
#[derive(Debug, Default)]
struct Series {
    ready: u64,
    unacknowledged: u64,
    delayed: u64,
    ready_bytes: u64,
    unacknowledged_bytes: u64,
    consumers: u64,
    /// Age of the oldest ready message.
    oldest_seconds: f64,
    published: u64,
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    returned: u64,
    /// Why messages left without being consumed: the reason, and how many.
    dead: [u64; REASONS.len()],
    refused: u64,
    duplicates: u64,
    lost: u64,
}

const REASONS: [&str; 4] = ["rejected", "expired", "maxlen", "delivery_limit"];

/// A gauge: its name, what it says, and where it is found.
type Gauge = (&'static str, &'static str, fn(&Series) -> u64);

const GAUGES: [Gauge; 6] = [
    ("queue_ready_messages", "Messages of a queue that wait for a consumer.", |series| series.ready),
    ("queue_unacknowledged_messages", "Messages of a queue that consumers hold.", |series| {
        series.unacknowledged
    }),
    ("queue_delayed_messages", "Messages of a queue that are not due yet.", |series| series.delayed),
    ("queue_ready_bytes", "Bytes in the bodies of ready messages.", |series| series.ready_bytes),
    ("queue_unacknowledged_bytes", "Bytes in the bodies of held messages.", |series| {
        series.unacknowledged_bytes
    }),
    ("queue_consumers", "Consumers of a queue.", |series| series.consumers),
];

const COUNTERS: [Gauge; 8] = [
    ("queue_published_messages", "Messages that came into a queue.", |series| series.published),
    ("queue_delivered_messages", "Messages that were handed out, repeated ones included.", |series| {
        series.delivered
    }),
    ("queue_redelivered_messages", "Messages that were handed out again.", |series| series.redelivered),
    ("queue_acknowledged_messages", "Messages that consumers accepted.", |series| series.acknowledged),
    ("queue_returned_messages", "Messages that consumers gave back.", |series| series.returned),
    ("queue_refused_messages", "Messages that a full queue refused.", |series| series.refused),
    ("queue_duplicate_messages", "Messages that were dropped, their identity being known.", |series| {
        series.duplicates
    }),
    ("queue_lost_messages", "Messages that could not be read any more.", |series| series.lost),
];

impl QueueCollector {
    pub(super) fn new(watched: Watched) -> Self {
        Self { watched }
    }
}

impl Series {
    fn add(&mut self, queue: &QueueInfo, now_ms: TimestampMs) {
        let counters = &queue.counters;
        let died = [counters.rejected, counters.expired, counters.over_limit, counters.over_deliveries];
        for (sum, count) in [
            (&mut self.ready, queue.ready),
            (&mut self.unacknowledged, queue.unacknowledged),
            (&mut self.delayed, queue.delayed),
            (&mut self.ready_bytes, queue.ready_bytes),
            (&mut self.unacknowledged_bytes, queue.unacknowledged_bytes),
            (&mut self.consumers, queue.consumers.len() as u64),
            (&mut self.published, counters.published),
            (&mut self.delivered, counters.delivered),
            (&mut self.redelivered, counters.redelivered),
            (&mut self.acknowledged, counters.acknowledged),
            (&mut self.returned, counters.returned),
            (&mut self.refused, counters.refused),
            (&mut self.duplicates, counters.duplicates),
            (&mut self.lost, counters.lost),
        ] {
            *sum += count;
        }
        self.dead.iter_mut().zip(died).for_each(|(sum, count)| *sum += count);
        let age_ms = queue.oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms).max(0));
        self.oldest_seconds = self.oldest_seconds.max(age_ms as f64 / 1000.0);
    }
}

/// What one look found: series by virtual host and name.
struct Facts {
    queues: u64,
    series: BTreeMap<(String, String), Series>,
    processing: ProcessingTime,
}

impl Facts {
    fn gather(broker: &Broker, now_ms: TimestampMs) -> Self {
        let mut queues = broker.queues(&Caller::internal(), None);
        queues.sort_unstable_by_key(|queue| queue.definition.id);
        let mut facts = Self {
            queues: queues.len() as u64,
            series: BTreeMap::new(),
            processing: ProcessingTime::default(),
        };
        for (place, queue) in queues.iter().enumerate() {
            let name = match place < QUEUES_MAX {
                true => (queue.definition.vhost.to_string(), queue.definition.name.to_string()),
                false => (OTHER.to_owned(), OTHER.to_owned()),
            };
            facts.series.entry(name).or_default().add(queue, now_ms);
            let took = &queue.processing_time;
            facts.processing.sum_ms += took.sum_ms;
            facts.processing.counts.iter_mut().zip(took.counts).for_each(|(sum, count)| *sum += count);
        }
        facts
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_gauge(&mut encoder, "queues", "Queues.", &self.queues)?;
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (queue, series) in &self.series {
                family.encode_family(&labels(queue))?.encode_gauge(&value(series))?;
            }
        }
        let help = "Age of the oldest ready message of a queue.";
        let mut oldest = encoder.encode_descriptor("queue_oldest_seconds", help, None, MetricType::Gauge)?;
        for (queue, series) in &self.series {
            oldest.encode_family(&labels(queue))?.encode_gauge(&series.oldest_seconds)?;
        }
        for (name, help, value) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (queue, series) in &self.series {
                let labels = labels(queue);
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value(series), None)?;
            }
        }
        self.encode_dead(&mut encoder)?;
        self.encode_processing(&mut encoder)
    }

    fn encode_dead(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages that left a queue without being consumed.";
        let mut dead = encoder.encode_descriptor("queue_dead_messages", help, None, MetricType::Counter)?;
        for ((vhost, queue), series) in &self.series {
            for (reason, count) in REASONS.iter().zip(series.dead) {
                let labels = [("vhost", vhost.as_str()), ("queue", queue.as_str()), ("reason", reason)];
                dead.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn encode_processing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bounds =
            ProcessingTime::BOUNDS_MS.iter().map(|bound| *bound as f64 / 1000.0).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.processing.counts).collect();
        let (sum, count) = (self.processing.sum_ms as f64 / 1000.0, self.processing.count());
        let help = "From handing a message out to its acceptance.";
        encoder
            .encode_descriptor("queue_processing_seconds", help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

fn labels((vhost, queue): &(String, String)) -> [(&'static str, &str); 2] {
    [("vhost", vhost), ("queue", queue)]
}

impl Collector for QueueCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.watched.get() else { return Ok(()) };
        let now_ms = inner.clock.now_ms();
        Facts::gather(&Broker { inner }, now_ms).encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_clock::Clock;
    use annals_journal::FaultFiles;

    use super::*;
    use crate::api::queues::consume::Get;
    use crate::api::queues::publish::{NewMessage, Publish};
    use crate::api::queues::settle::Settlement;
    use crate::api::queues::topology::DeclareQueue;
    use crate::api::queues::{Headers, Message, OwnerId, QueueOptions, QueueRef, Text};
    use crate::metrics::Metrics;

    /// The value of the series that is written exactly so.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    async fn declare(broker: &Broker, name: &str) {
        let declare = DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            owner: OwnerId(0),
            durable: false,
            exclusive: false,
            auto_delete: false,
            options: QueueOptions::default(),
            arguments: Headers::new(),
        };
        broker.declare_queue(&Caller::internal(), declare).await.unwrap();
    }

    #[tokio::test]
    async fn a_queue_is_told_with_its_depth_and_what_happened() {
        let (clock, time) = Clock::manual(1_000_000, 1);
        let files = Arc::new(FaultFiles::new());
        let broker = Broker::open(Default::default(), Default::default(), files, clock).unwrap();
        let caller = Caller::internal();
        declare(&broker, "tasks").await;
        let new = |body: &'static str| {
            let message = Message { routing_key: "tasks".into(), body: body.into(), ..Message::default() };
            NewMessage { message, more_keys: Vec::new() }
        };
        let messages = vec![new("a"), new("bc"), new("def"), new("ghij")];
        let publish = Publish { vhost: "/".into(), exchange: Text::empty(), messages };
        broker.publish(&caller, publish).await.unwrap().durable().await.unwrap();
        let queue = QueueRef { vhost: "/".into(), name: "tasks".into(), owner: OwnerId(0) };
        let got = broker.get(&caller, Get { queue, no_ack: false, max: 3 }).await.unwrap();
        time.advance(std::time::Duration::from_millis(1_500));
        broker.settle(&caller, &[got.deliveries[0].lease], Settlement::Accept);
        broker.settle(&caller, &[got.deliveries[1].lease], Settlement::Reject);

        let metrics = broker.metrics();
        let tasks =
            |name: &str| value(metrics, &format!("annals_queue_{name}{{vhost=\"/\",queue=\"tasks\"}}"));
        assert_eq!(value(metrics, "annals_queues"), Some(1.0));
        assert_eq!((tasks("ready_messages"), tasks("unacknowledged_messages")), (Some(1.0), Some(1.0)));
        assert_eq!(tasks("ready_bytes"), Some(4.0));
        assert_eq!(tasks("oldest_seconds"), Some(1.5));
        assert_eq!(
            (tasks("published_messages_total"), tasks("delivered_messages_total")),
            (Some(4.0), Some(3.0))
        );
        assert_eq!(tasks("acknowledged_messages_total"), Some(1.0));
        let dead = "annals_queue_dead_messages_total{vhost=\"/\",queue=\"tasks\",reason=\"rejected\"}";
        assert_eq!(value(metrics, dead), Some(1.0));
        assert_eq!(value(metrics, "annals_queue_processing_seconds_sum"), Some(1.5));
        assert_eq!(value(metrics, "annals_queue_processing_seconds_bucket{le=\"1.0\"}"), Some(0.0));
        assert_eq!(value(metrics, "annals_queue_processing_seconds_bucket{le=\"2.5\"}"), Some(1.0));
        assert_eq!(value(metrics, "annals_queue_processing_seconds_bucket{le=\"+Inf\"}"), Some(1.0));
        broker.close();
    }

    #[tokio::test]
    async fn beyond_the_limit_queues_are_told_together() {
        let files = Arc::new(FaultFiles::new());
        let broker = Broker::open(Default::default(), Default::default(), files, Clock::system()).unwrap();
        for number in 0..QUEUES_MAX + 2 {
            declare(&broker, &format!("q{number}")).await;
        }
        let metrics = broker.metrics();
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let series = text.lines().filter(|line| line.starts_with("annals_queue_ready_messages{")).count();
        assert_eq!(series, QUEUES_MAX + 1);
        assert!(text.contains("annals_queue_ready_messages{vhost=\"~other\",queue=\"~other\"} 0\n"));
        assert!(text.contains(&format!("queue=\"q{}\"", QUEUES_MAX - 1)));
        assert!(!text.contains(&format!("queue=\"q{QUEUES_MAX}\"")));
        broker.close();
    }
}
