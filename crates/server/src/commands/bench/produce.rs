//! `annals bench produce`, and the sending half of the other tests.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, ThreadedProducer};

use super::latency::{Acknowledgements, histogram};
use super::load::Load;
use super::report::{self, Times};
use crate::client::explain;

/// How long one wait for acknowledgements lasts before it is looked whether the test was interrupted.
const TURN: Duration = Duration::from_millis(50);

/// Writes with all producers at once.
pub(crate) fn run(load: &Load<'_>) -> Result<report::Run> {
    let producers = load.args.producers;
    let outcomes: Vec<Result<Sent>> = std::thread::scope(|scope| {
        let start = |number| {
            let count = load.args.count.map(|count| share(count, producers, number));
            std::thread::Builder::new()
                .name(format!("producer-{number}"))
                .spawn_scoped(scope, move || Sender::connect(load)?.send_all(count, |_, _| {}))
        };
        let threads: Vec<_> = (0..producers).map(start).collect();
        threads.into_iter().map(join).collect()
    });
    let mut total =
        Sent { acknowledged: 0, elapsed: Duration::ZERO, times: Acknowledgements::new(&load.clock)? };
    let mut times = histogram()?;
    for outcome in outcomes {
        let sent = outcome?;
        total.acknowledged += sent.acknowledged;
        total.elapsed = total.elapsed.max(sent.elapsed);
        sent.times.add_to(&mut times)?;
    }
    Ok(report::Run::new(
        "produce",
        total.acknowledged,
        load.args.size,
        total.elapsed,
        Some(Times::of(&times)),
    ))
}

fn join<T>(thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Result<T>>>) -> Result<T> {
    let thread = thread.context("cannot start a producer")?;
    thread.join().map_err(|_| anyhow::anyhow!("a producer has panicked"))?
}

/// The part of `count` that producer `number` sends.
fn share(count: u64, producers: u64, number: u64) -> u64 {
    count / producers + u64::from(number < count % producers)
}

/// What one producer has done.
pub(crate) struct Sent {
    pub(crate) acknowledged: u64,
    pub(crate) elapsed: Duration,
    pub(crate) times: Acknowledgements,
}

/// One producer with its connection. A thread of its producer hears the acknowledgements as they come.
pub(crate) struct Sender<'a> {
    load: &'a Load<'a>,
    producer: ThreadedProducer<Acknowledgements>,
    times: Acknowledgements,
    noise: Vec<u8>,
    sent: u64,
}

impl<'a> Sender<'a> {
    /// Connects and writes one record, so that what is measured is not the beginning.
    pub(crate) fn connect(load: &'a Load<'a>) -> Result<Self> {
        let times = Acknowledgements::new(&load.clock)?;
        let producer = load.connection.create(&load.producer_config(), times.clone())?;
        let mut sender = Self { load, producer, times, noise: Vec::new(), sent: 0 };
        let noise = load.noise();
        sender.send(&noise[load.value(0)], load.clock.monotonic())?;
        sender.wait_for(1)?;
        sender.times.reset();
        sender.noise = noise;
        Ok(sender)
    }

    /// Sends `count` records, or as many as the duration of the load allows, and waits for their
    /// acknowledgement. Before each one `prepare` may write into the payload; it is told the time at which
    /// the record is due.
    pub(crate) fn send_all(
        mut self,
        count: Option<u64>,
        prepare: impl Fn(&mut [u8], Duration),
    ) -> Result<Sent> {
        let clock = self.load.clock.clone();
        let pace = Pace::new(self.load, clock.monotonic());
        let mut watch = self.load.watch();
        let mut noise = std::mem::take(&mut self.noise);
        for number in 0..count.unwrap_or(u64::MAX) {
            if self.wait_for_window()? {
                watch.lapse();
            }
            let now = watch.read();
            if (count.is_none() && now >= pace.end) || self.load.interrupt.is_raised() {
                break;
            }
            let due = pace.due(number).unwrap_or(now);
            std::thread::sleep(due.saturating_sub(now));
            let value = &mut noise[self.load.value(number)];
            prepare(value, due);
            self.send(value, due)?;
        }
        self.wait_for(self.sent)?;
        let elapsed = clock.monotonic() - pace.start;
        Ok(Sent { acknowledged: self.times.count(), elapsed, times: self.times })
    }

    fn send(&mut self, payload: &[u8], due: Duration) -> Result<()> {
        let mut record =
            BaseRecord::with_opaque_to(self.load.topic(), due.as_nanos() as usize).payload(payload);
        loop {
            record = match self.producer.send::<[u8], [u8]>(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => unsent,
                Err((error, _)) => return Err(explain(&error)),
            };
            // The window keeps the queue from filling, except with records of many megabytes.
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits if the window is full, until an eighth of it is free: then waking up is worth it. Returns whether it waited.
    fn wait_for_window(&self) -> Result<bool> {
        let window = self.load.window();
        let eighth = (window / 8).max(1);
        let is_full = self.sent.is_multiple_of(eighth) && self.sent - self.times.settled() >= window;
        if is_full {
            self.wait_for(self.sent - window + eighth)?;
        }
        Ok(is_full)
    }

    fn wait_for(&self, settled: u64) -> Result<()> {
        while self.times.settled() < settled {
            self.times.wait(settled, TURN)?;
        }
        self.times.wait(0, Duration::ZERO)
    }
}

/// When each record is due, and when it is enough.
struct Pace {
    start: Duration,
    end: Duration,
    gap_ns: Option<f64>,
}

impl Pace {
    fn new(load: &Load<'_>, start: Duration) -> Self {
        let per_producer = |rate: u64| 1e9 * load.args.producers as f64 / rate as f64;
        Self { start, end: start + load.args.duration, gap_ns: load.args.rate.map(per_producer) }
    }

    /// When record `number` is due; none if there is no rate.
    fn due(&self, number: u64) -> Option<Duration> {
        self.gap_ns.map(|gap| self.start + Duration::from_nanos((gap * number as f64) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_count_is_shared_out_to_the_last_record() {
        let shares: Vec<u64> = (0..3).map(|number| share(11, 3, number)).collect();
        assert_eq!(shares, [4, 4, 3]);
    }
}
