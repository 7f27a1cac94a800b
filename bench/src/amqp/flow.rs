//! Messages from publishers to consumers: as many as the server takes, or at a rate.
//!
//! Every body begins with the moment at which its message was sent, or was due if there is a rate, so that whoever receives
//! it knows how long it was under way.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, sleep};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};

use super::confirms::Confirms;
use super::connection::Connection;
use super::wire::{self, BODY, Frames};
use crate::load::Times;

/// What is written at once at most.
const WRITE_BYTES: usize = 32 * 1024;
/// Messages that are published and not yet received, where somebody receives them: what is measured is the way through the
/// server, and not how fast its queue grows.
const UNDER_WAY_MAX: u64 = 20_000;
/// How often who waits looks whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SHORT_PAUSE: Duration = Duration::from_micros(50);
/// The moment at the beginning of a body.
const STAMP_BYTES: usize = 8;

/// What is sent, by whom, and how it is received.
#[derive(Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) exchange: &'a str,
    /// The routing key, and the queue that is consumed.
    pub(crate) queue: &'a str,
    pub(crate) publishers: usize,
    pub(crate) consumers: usize,
    /// At least 8.
    pub(crate) body_bytes: usize,
    pub(crate) persistent: bool,
    /// Publishes of each publisher that wait for their confirms at most; `None` wants none.
    pub(crate) window: Option<usize>,
    /// Deliveries of each consumer that are not acknowledged at most, each one being acknowledged; `None` acknowledges none.
    pub(crate) prefetch: Option<u16>,
    /// Messages a second of all publishers together; `None` for as many as go.
    pub(crate) rate: Option<f64>,
    pub(crate) amount: Amount,
}

/// How much is sent.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    Lasting(Duration),
    /// By each publisher.
    Count(u64),
}

/// What one flow has measured.
pub(crate) struct Outcome {
    pub(crate) messages: u64,
    /// Until the last was received and the last was confirmed.
    pub(crate) seconds: f64,
    /// From publishing to receiving, if anybody received.
    pub(crate) latency_ms: Option<Times>,
}

impl Outcome {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds.max(1e-9)
    }
}

/// What all threads of a flow look at.
struct Shared<'a> {
    flow: Flow<'a>,
    clock: &'a Clock,
    start: Duration,
    sent: AtomicU64,
    received: AtomicU64,
    /// Publishers that have not come to their end.
    publishing: AtomicUsize,
    failed: AtomicBool,
}

/// What one thread has seen: when it was done, and for how many microseconds messages were under way.
#[derive(Default)]
struct Seen {
    end: Duration,
    under_way_us: Vec<u32>,
}

impl Flow<'_> {
    /// Sends everything and waits until it is confirmed and received.
    ///
    /// # Errors
    /// If a connection fails.
    pub(crate) fn run(&self, address: &str, clock: &Clock) -> Result<Outcome> {
        // Consumers come first: a queue that nobody consumes fills up.
        let consumers: Result<Vec<_>> = (0..self.consumers).map(|_| self.consumer(address)).collect();
        let publishers: Result<Vec<_>> = (0..self.publishers).map(|_| self.publisher(address)).collect();
        let shared = Shared {
            flow: *self,
            clock,
            start: clock.monotonic(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            publishing: AtomicUsize::new(self.publishers),
            failed: AtomicBool::new(false),
        };
        let seen = shared.run(consumers?, publishers?)?;
        let end = seen.iter().map(|seen| seen.end).max().unwrap_or(shared.start);
        let messages = shared.sent.load(Ordering::Relaxed);
        let latency_ms = percentiles(seen.into_iter().flat_map(|seen| seen.under_way_us).collect());
        Ok(Outcome { messages, seconds: end.saturating_sub(shared.start).as_secs_f64(), latency_ms })
    }

    fn consumer(&self, address: &str) -> Result<Connection> {
        let mut connection = Connection::open(address)?;
        connection.consume(self.queue, self.prefetch)?;
        connection.look_every(LOOK_EVERY)?;
        Ok(connection)
    }

    fn publisher(&self, address: &str) -> Result<Connection> {
        let mut connection = Connection::open(address)?;
        if self.window.is_some() {
            connection.select_confirms()?;
        }
        Ok(connection)
    }
}

impl Shared<'_> {
    /// Runs each connection on a thread of its own.
    fn run(&self, consumers: Vec<Connection>, publishers: Vec<Connection>) -> Result<Vec<Seen>> {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for connection in consumers {
                let thread = Builder::new().name("consumer".into());
                threads.push(thread.spawn_scoped(scope, || self.watched(|| self.receive(connection)))?);
            }
            for (index, connection) in publishers.into_iter().enumerate() {
                let thread = Builder::new().name("publisher".into());
                let publish = move || self.watched(|| Publisher::new(self, connection, index).run());
                threads.push(thread.spawn_scoped(scope, publish)?);
            }
            let mut seen = Vec::new();
            for thread in threads {
                let Ok(ended) = thread.join() else { bail!("a thread of the load generator has panicked") };
                seen.push(ended?);
            }
            Ok(seen)
        })
    }

    /// Tells the others if it fails, so that nobody waits for it.
    fn watched(&self, work: impl FnOnce() -> Result<Seen>) -> Result<Seen> {
        let ended = work();
        if ended.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        ended
    }

    fn receive(&self, mut connection: Connection) -> Result<Seen> {
        let mut seen = Seen::default();
        while !self.is_over() {
            if connection.receive()? {
                let now = self.clock.monotonic();
                let before = seen.under_way_us.len();
                self.take(&mut connection, now, &mut seen.under_way_us)?;
                connection.send()?;
                let count = seen.under_way_us.len() - before;
                self.received.fetch_add(count as u64, Ordering::Relaxed);
                seen.end = now;
            }
        }
        connection.close()?;
        Ok(seen)
    }

    /// Takes every delivery that is there.
    fn take(&self, connection: &mut Connection, now: Duration, under_way_us: &mut Vec<u32>) -> Result<()> {
        let acknowledges = self.flow.prefetch.is_some();
        let now_ns = nanoseconds(now);
        while let (Some(frame), out) = connection.next_frame_beside()? {
            if frame.kind == BODY {
                let under_way_ns = now_ns.saturating_sub(frame.u64_at(0));
                under_way_us.push(u32::try_from(under_way_ns / 1000).unwrap_or(u32::MAX));
            } else if acknowledges && frame.method() == wire::BASIC_DELIVER {
                out.ack(frame.delivery_tag());
            }
        }
        Ok(())
    }

    /// Whether everything has been received that was sent, or cannot be any more.
    fn is_over(&self) -> bool {
        let all_sent = self.publishing.load(Ordering::Acquire) == 0;
        let all = all_sent && self.received.load(Ordering::Relaxed) >= self.sent.load(Ordering::Relaxed);
        all || self.failed.load(Ordering::Relaxed)
    }
}

/// One publisher.
struct Publisher<'a> {
    shared: &'a Shared<'a>,
    connection: Connection,
    index: usize,
    /// A message as it goes over the wire, and where its body begins.
    message: Vec<u8>,
    body_at: usize,
    confirms: Confirms,
    sent: u64,
}

impl<'a> Publisher<'a> {
    fn new(shared: &'a Shared<'a>, connection: Connection, index: usize) -> Self {
        let Flow { exchange, queue, persistent, body_bytes, .. } = shared.flow;
        let mut frames = Frames::default();
        let body_at = frames.publish(exchange, queue, persistent, body_bytes.max(STAMP_BYTES));
        let message = frames.bytes;
        Self { shared, connection, index, message, body_at, confirms: Confirms::default(), sent: 0 }
    }

    fn run(mut self) -> Result<Seen> {
        while let Some(count) = self.next_count() {
            self.publish(count)?;
            while self.confirms.waiting() >= self.shared.flow.window.unwrap_or(usize::MAX) {
                self.take_confirms()?;
            }
        }
        while self.confirms.waiting() > 0 {
            self.take_confirms()?;
        }
        let end = self.shared.clock.monotonic();
        self.shared.publishing.fetch_sub(1, Ordering::Release);
        self.connection.close()?;
        Ok(Seen { end, ..Seen::default() })
    }

    /// How many messages to send now, once there are some to send; `None` at the end.
    fn next_count(&self) -> Option<u64> {
        let shared = self.shared;
        loop {
            let elapsed = shared.clock.monotonic().saturating_sub(shared.start);
            let left = match shared.flow.amount {
                Amount::Lasting(duration) if elapsed >= duration => 0,
                Amount::Lasting(_) => u64::MAX,
                Amount::Count(count) => count - self.sent,
            };
            if left == 0 || shared.failed.load(Ordering::Relaxed) {
                return None;
            }
            let due = shared.flow.rate.map_or(u64::MAX, |rate| self.due_by(elapsed, rate));
            let count = left.min(due).min(self.room());
            if count > 0 {
                return Some(count);
            }
            let wait = shared.flow.rate.filter(|_| due == 0).map(|rate| {
                let next = Duration::from_secs_f64(self.due_at(self.sent, rate));
                next.saturating_sub(elapsed)
            });
            sleep(wait.unwrap_or(SHORT_PAUSE));
        }
    }

    /// How many can be sent without too many being under way.
    fn room(&self) -> u64 {
        let flow = &self.shared.flow;
        let at_once = (WRITE_BYTES / self.message.len()).max(1);
        let unconfirmed = flow.window.map_or(usize::MAX, |window| window - self.confirms.waiting());
        let room = at_once.min(unconfirmed) as u64;
        if flow.consumers == 0 {
            return room;
        }
        let received = self.shared.received.load(Ordering::Relaxed);
        let under_way = self.shared.sent.load(Ordering::Relaxed).saturating_sub(received);
        room.min(UNDER_WAY_MAX.saturating_sub(under_way))
    }

    /// When message `number` of this publisher is due, in seconds from the start: publishers take turns.
    fn due_at(&self, number: u64, rate: f64) -> f64 {
        (number * self.shared.flow.publishers as u64 + self.index as u64) as f64 / rate
    }

    /// How many are due and not sent.
    fn due_by(&self, elapsed: Duration, rate: f64) -> u64 {
        let turns = elapsed.as_secs_f64() * rate - self.index as f64;
        if turns < 0.0 {
            return 0;
        }
        let due = (turns / self.shared.flow.publishers as f64) as u64 + 1;
        due.saturating_sub(self.sent)
    }

    fn publish(&mut self, count: u64) -> Result<()> {
        let now = self.shared.clock.monotonic();
        for _ in 0..count {
            let moment = self.shared.flow.rate.map_or(now, |rate| {
                self.shared.start + Duration::from_secs_f64(self.due_at(self.sent, rate))
            });
            self.message[self.body_at..self.body_at + STAMP_BYTES]
                .copy_from_slice(&nanoseconds(moment).to_be_bytes());
            self.connection.out.bytes.extend_from_slice(&self.message);
            self.sent += 1;
            if self.shared.flow.window.is_some() {
                self.confirms.sent();
            }
        }
        self.shared.sent.fetch_add(count, Ordering::Relaxed);
        self.connection.send()
    }

    fn take_confirms(&mut self) -> Result<()> {
        take_confirms(&mut self.connection, &mut self.confirms)
    }
}

/// Waits for confirms, and takes those that are there.
fn take_confirms(connection: &mut Connection, confirms: &mut Confirms) -> Result<()> {
    if !connection.receive()? {
        bail!("no confirm came in time");
    }
    while let Some(frame) = connection.next_frame()? {
        match frame.method() {
            wire::BASIC_ACK => {
                let (tag, multiple) = frame.confirmed();
                confirms.confirm(tag, multiple);
            }
            wire::BASIC_NACK => bail!("the server refused a message"),
            _ => {}
        }
    }
    Ok(())
}

/// Publishes `each` persistent messages to each of `queues` on one connection, and waits for all confirms.
///
/// # Errors
/// If the connection fails or a message is refused.
pub(crate) fn publish_to_all(
    address: &str,
    queues: &[String],
    each: usize,
    body_bytes: usize,
    window: usize,
) -> Result<()> {
    let mut connection = Connection::open(address)?;
    connection.select_confirms()?;
    let mut confirms = Confirms::default();
    for queue in queues {
        for _ in 0..each {
            connection.out.publish("", queue, true, body_bytes);
            confirms.sent();
        }
        if connection.out.bytes.len() >= WRITE_BYTES || confirms.waiting() >= window {
            connection.send()?;
        }
        while confirms.waiting() >= window {
            take_confirms(&mut connection, &mut confirms)?;
        }
    }
    connection.send()?;
    while confirms.waiting() > 0 {
        take_confirms(&mut connection, &mut confirms)?;
    }
    connection.close().context("cannot close a connection")
}

fn nanoseconds(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

fn percentiles(mut under_way_us: Vec<u32>) -> Option<Times> {
    under_way_us.sort_unstable();
    let last = under_way_us.len().checked_sub(1)?;
    let at = |share: f64| f64::from(under_way_us[(last as f64 * share).round() as usize]) / 1000.0;
    Some(Times { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let times = percentiles((0..=1000).rev().map(|number| number * 10).collect()).unwrap();
        assert_eq!((times.p50, times.p99, times.p999), (5.0, 9.9, 9.99));
        assert!(percentiles(Vec::new()).is_none());
    }
}
