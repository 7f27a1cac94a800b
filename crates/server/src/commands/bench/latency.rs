//! Times of many records, in a histogram of fixed size.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    heard: Mutex<Heard>,
    enough: Condvar,
}

struct Heard {
    histogram: Histogram<u64>,
    /// Records that were acknowledged or have failed, since the beginning.
    settled: u64,
    /// Records that were acknowledged since the last reset.
    acknowledged: u64,
    /// What the sender waits for, if it waits.
    awaited: Option<u64>,
    failed: Option<KafkaError>,
}

impl Acknowledgements {
    /// Nothing heard yet.
    pub(crate) fn new(clock: &Clock) -> Result<Self> {
        let histogram = histogram()?;
        let heard = Mutex::new(Heard { histogram, settled: 0, acknowledged: 0, awaited: None, failed: None });
        Ok(Self(Arc::new(Shared { clock: clock.clone(), heard, enough: Condvar::new() })))
    }

    /// Records acknowledged since the last reset.
    pub(crate) fn count(&self) -> u64 {
        self.heard().acknowledged
    }

    /// Forgets what was measured, to begin to measure.
    pub(crate) fn reset(&self) {
        let mut heard = self.heard();
        heard.histogram.reset();
        heard.acknowledged = 0;
    }

    /// Records acknowledged or failed since the beginning.
    pub(crate) fn settled(&self) -> u64 {
        self.heard().settled
    }

    /// Waits until `wanted` records since the beginning are acknowledged, for `limit` at most.
    ///
    /// # Errors
    /// If a record could not be written.
    pub(crate) fn wait(&self, wanted: u64, limit: Duration) -> Result<()> {
        let mut heard = self.heard();
        heard.awaited = Some(wanted);
        let waited = self.0.enough.wait_timeout_while(heard, limit, |heard| heard.settled < wanted);
        let (mut heard, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        heard.awaited = None;
        match &heard.failed {
            Some(error) => Err(explain(error)).context("a record could not be written"),
            None => Ok(()),
        }
    }

    /// Adds the times heard to `total`.
    pub(crate) fn add_to(&self, total: &mut Histogram<u64>) -> Result<()> {
        total.add(&self.heard().histogram).context("cannot add histograms")
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
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
        let time = self.0.clock.monotonic().saturating_sub(Duration::from_nanos(sent_ns as u64));
        let mut heard = self.heard();
        heard.settled += 1;
        match result {
            Ok(_) => {
                record(&mut heard.histogram, time);
                heard.acknowledged += 1;
            }
            Err((error, _)) => {
                heard.failed.get_or_insert_with(|| error.clone());
            }
        }
        // Waking somebody costs a system call, so it is not done for every record.
        if heard.awaited.is_some_and(|awaited| heard.settled >= awaited) {
            heard.awaited = None;
            self.0.enough.notify_one();
        }
    }
}
