//! Times of many records, in a histogram of fixed size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::client::{explain, quiet};

/// Longer times count as this long.
const LONGEST_US: u64 = 3_600_000_000;

/// An empty histogram of microseconds, exact to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).context("cannot make a histogram")
}

/// Puts a time into a histogram.
pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
    histogram.saturating_record(micros);
}

/// Hears of acknowledgements and times them. Clones share what they heard.
#[derive(Clone)]
pub(crate) struct Acknowledgements(Arc<Shared>);

struct Shared {
    clock: Clock,
    histogram: Mutex<Histogram<u64>>,
    acknowledged: AtomicU64,
    failed: Mutex<Option<KafkaError>>,
}

impl Acknowledgements {
    /// Nothing heard yet.
    pub(crate) fn new(clock: &Clock) -> Result<Self> {
        let histogram = Mutex::new(histogram()?);
        let (acknowledged, failed) = (AtomicU64::new(0), Mutex::new(None));
        Ok(Self(Arc::new(Shared { clock: clock.clone(), histogram, acknowledged, failed })))
    }

    /// Records acknowledged so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Forgets what was heard, to begin to measure.
    pub(crate) fn reset(&self) {
        self.0.acknowledged.store(0, Ordering::Relaxed);
        self.0.histogram.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// Fails if any record was not delivered.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(explain(error)).context("a record could not be written"),
            None => Ok(()),
        }
    }

    /// Adds the times heard to `total`.
    pub(crate) fn add_to(&self, total: &mut Histogram<u64>) -> Result<()> {
        let histogram = self.0.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        total.add(&*histogram).context("cannot add histograms")
    }
}

impl ClientContext for Acknowledgements {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        quiet::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        quiet::log_error(&error, reason);
    }
}

impl ProducerContext for Acknowledgements {
    /// When the record was sent, in nanoseconds of the clock: a number needs no allocation.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_ns: usize) {
        match result {
            Ok(_) => {
                let time = self.0.clock.monotonic().saturating_sub(Duration::from_nanos(sent_ns as u64));
                record(&mut self.0.histogram.lock().unwrap_or_else(PoisonError::into_inner), time);
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}
