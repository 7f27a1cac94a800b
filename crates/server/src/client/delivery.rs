//! What became of the records that a producer sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::{ANSWER_TIMEOUT, explain, quiet};

/// How long one turn of waiting lasts when the producer's queue is full or is being emptied.
const TURN: Duration = Duration::from_millis(1);

/// Events that are looked at in one turn; each holds the acknowledgements of a batch.
const TURN_EVENTS: usize = 64;

/// Counts of acknowledged and failed records, shared with the producer's callback.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    acknowledged_bytes: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    /// Records that the broker has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Bytes of keys and values in them.
    pub(crate) fn acknowledged_bytes(&self) -> u64 {
        self.0.acknowledged_bytes.load(Ordering::Relaxed)
    }

    /// Records that were given up.
    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Why the first of them failed.
    pub(crate) fn first_failure(&self) -> Option<anyhow::Error> {
        let first = self.0.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().map(explain)
    }

    fn record_failure(&self, error: &KafkaError) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
        let mut first = self.0.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.clone());
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        quiet::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        quiet::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let bytes = message.key_len() + message.payload_len();
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.0.acknowledged_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Err((error, message)) => {
                tracing::debug!(%error, partition = message.partition(), "a record was not delivered");
                self.record_failure(error);
            }
        }
    }
}

/// One record to send. Everything but the topic may be absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing<'a> {
    /// The key.
    pub(crate) key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// The partition; none leaves it to the partitioner.
    pub(crate) partition: Option<i32>,
    /// The headers.
    pub(crate) headers: Option<OwnedHeaders>,
}

/// Gets an idempotent producer ready. It asks for its id when it hears of the cluster, and if its connection is not up by
/// then, only half a second later: so let it hear of the cluster once more when the connection is up.
pub(crate) fn warm_up(producer: &BaseProducer<Deliveries>, topic: &str) {
    for _ in 0..2 {
        // The answer goes to the producer too. If there is none, sending will tell.
        let _ = producer.client().fetch_metadata(Some(topic), ANSWER_TIMEOUT);
    }
}

/// Hands a record to the producer, waiting while its queue is full.
///
/// # Errors
/// If the record cannot be sent at all, for example because it is too large.
pub(crate) fn send(producer: &BaseProducer<Deliveries>, topic: &str, outgoing: Outgoing<'_>) -> Result<()> {
    let mut record = to_record(topic, outgoing);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                if producer.in_flight_count() == 0 {
                    bail!("the record is larger than queue.buffering.max.kbytes allows");
                }
                record = unsent;
            }
            Err((error, _)) => return Err(explain(&error)),
        }
        take_turn(producer);
    }
}

fn to_record<'a>(topic: &'a str, outgoing: Outgoing<'a>) -> BaseRecord<'a, [u8], [u8]> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic);
    record.key = outgoing.key;
    record.payload = outgoing.value;
    record.partition = outgoing.partition;
    record.headers = outgoing.headers;
    record
}

/// Puts the headers of an event behind those that are there.
pub(crate) fn add_headers(headers: OwnedHeaders, event: &[annals_event::kafka::Header]) -> OwnedHeaders {
    event.iter().fold(headers, |headers, header| {
        headers.insert(Header { key: &header.name, value: header.value.as_deref() })
    })
}

/// Waits until every record has been acknowledged or given up, calling `each_turn` in between; it ends the
/// wait by returning `false`.
pub(crate) fn drain(producer: &BaseProducer<Deliveries>, mut each_turn: impl FnMut() -> bool) {
    // The client library's own flush rounds up to 100 ms; a single record should not take that long.
    while producer.in_flight_count() > 0 && each_turn() {
        take_turn(producer);
    }
}

/// Hears the acknowledgements that are there, and sleeps a little. Polling with a timeout would spin through
/// its last millisecond, because the library waits in whole ones.
fn take_turn(producer: &BaseProducer<Deliveries>) {
    for _ in 0..TURN_EVENTS {
        producer.poll(Duration::ZERO);
    }
    std::thread::sleep(TURN);
}
