//! What the sample clients know of themselves, shared between producer, consumer and panel.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::client::offsets::Offsets;

/// Events on their way that are timed; while there are more, the others are only counted.
const TIMED_MAX: usize = 20_000;

/// Longer times count as this long.
const LONGEST_US: u64 = 600_000_000;

/// The shared numbers.
pub(crate) struct Stats {
    pub(crate) clock: Clock,
    numbers: Mutex<Numbers>,
}

struct Numbers {
    sent: BTreeMap<&'static str, u64>,
    consumed: u64,
    positions: Offsets,
    on_the_way: HashMap<String, Duration>,
    latency: Histogram<u64>,
}

/// The numbers at one moment; times since the snapshot before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) at: Duration,
    pub(crate) sent: BTreeMap<&'static str, u64>,
    pub(crate) consumed: u64,
    pub(crate) positions: Offsets,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Stats {
    /// Nothing has happened yet.
    pub(crate) fn new(clock: &Clock) -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3).context("cannot make a histogram")?;
        let numbers = Numbers {
            sent: BTreeMap::new(),
            consumed: 0,
            positions: Offsets::new(),
            on_the_way: HashMap::new(),
            latency,
        };
        Ok(Self { clock: clock.clone(), numbers: Mutex::new(numbers) })
    }

    /// Notes that the event `id` is handed to the producer.
    pub(crate) fn sent(&self, topic: &'static str, id: &str) {
        let now = self.clock.monotonic();
        let mut numbers = self.lock();
        *numbers.sent.entry(topic).or_default() += 1;
        if numbers.on_the_way.len() < TIMED_MAX {
            numbers.on_the_way.insert(id.to_owned(), now);
        }
    }

    /// Notes that a record has come, and which event it is, if it is one.
    pub(crate) fn consumed(&self, id: Option<&str>) {
        let now = self.clock.monotonic();
        let mut numbers = self.lock();
        numbers.consumed += 1;
        if let Some(sent) = id.and_then(|id| numbers.on_the_way.remove(id)) {
            let micros = (now - sent).as_micros();
            numbers.latency.saturating_record(u64::try_from(micros).unwrap_or(LONGEST_US));
        }
    }

    /// Notes how far the consumer has come in all its partitions.
    pub(crate) fn positions(&self, positions: Offsets) {
        self.lock().positions = positions;
    }

    /// The numbers now; the times begin anew.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut numbers = self.lock();
        let at = |share: f64| Duration::from_micros(numbers.latency.value_at_quantile(share));
        let snapshot = Snapshot {
            at: self.clock.monotonic(),
            sent: numbers.sent.clone(),
            consumed: numbers.consumed,
            positions: numbers.positions.clone(),
            p50: at(0.5),
            p99: at(0.99),
        };
        numbers.latency.reset();
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Events sent to all topics.
    pub(crate) fn sent_total(&self) -> u64 {
        self.sent.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use annals_clock::Clock;

    use super::Stats;

    #[test]
    fn an_event_is_timed_from_sending_to_receiving() {
        let (clock, hand) = Clock::manual(0, 1);
        let stats = Stats::new(&clock).unwrap();
        stats.sent("orders", "a");
        hand.advance(Duration::from_millis(3));
        stats.consumed(Some("a"));
        stats.consumed(None);
        let snapshot = stats.snapshot();
        assert_eq!((snapshot.sent_total(), snapshot.consumed), (1, 2));
        assert!((2_990..3_010).contains(&snapshot.p50.as_micros()), "{:?}", snapshot.p50);
        assert_eq!(stats.snapshot().p50, Duration::ZERO);
    }
}
