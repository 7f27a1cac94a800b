//! The panel of `annals dev`: a block that is rewritten in place on a terminal, a line now and then
//! elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;

use super::GROUP;
use super::stats::{Snapshot, Stats};
use super::topics::TOPICS;
use crate::client::cluster::Partition;
use crate::client::offsets::{Which, look_up};
use crate::client::{Connection, Quiet};
use crate::human::{self, plural};
use crate::interrupt::Interrupt;

const BLOCK_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the numbers of the sample clients.
pub(crate) struct Panel<'a> {
    client: BaseConsumer<Quiet>,
    stats: &'a Stats,
    address: &'a str,
    in_place: bool,
    /// Lines of the block that is on the terminal.
    shown: usize,
    start: Duration,
    before: Snapshot,
}

impl<'a> Panel<'a> {
    /// A panel on standard output.
    pub(crate) fn new(connection: &'a Connection, stats: &'a Stats) -> Result<Self> {
        Ok(Self {
            client: connection.consumer(&[])?,
            stats,
            address: connection.address(),
            in_place: io::stdout().is_terminal(),
            shown: 0,
            start: stats.clock.monotonic(),
            before: stats.snapshot(),
        })
    }

    /// Shows the numbers until `shutdown`.
    pub(crate) fn run(mut self, shutdown: &Interrupt) -> Result<()> {
        let every = if self.in_place { BLOCK_EVERY } else { LINE_EVERY };
        while !shutdown.wait(every) {
            let now = self.stats.snapshot();
            let lag = self.lag(&now);
            let text = if self.in_place { self.block(&now, lag) } else { self.line(&now, lag) };
            self.show(&text)?;
            self.before = now;
        }
        Ok(())
    }

    /// Records that the consumer has yet to read; none while that cannot be known.
    fn lag(&self, now: &Snapshot) -> Option<u64> {
        let partitions: Vec<Partition> = now.positions.keys().cloned().collect();
        if partitions.is_empty() {
            return None;
        }
        let end = look_up(&self.client, &partitions, Which::Latest).ok()?;
        Some(
            now.positions.iter().map(|(partition, position)| (end[partition] - position).max(0) as u64).sum(),
        )
    }

    fn show(&mut self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.in_place && self.shown > 0 {
            // Up to the first line of the block, and clear from there.
            write!(out, "\x1b[{}A\x1b[J", self.shown)?;
        }
        self.shown = text.lines().count();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    fn line(&self, now: &Snapshot, lag: Option<u64>) -> String {
        format!(
            "{} sent {} ({}/s) received {} lag {} end to end p50 {} p99 {}\n",
            human::duration(now.at - self.start),
            human::count(now.sent_total()),
            self.rate(self.before.sent_total(), now.sent_total(), now),
            human::count(now.consumed),
            crate::output::or_dash(lag),
            time(now.p50),
            time(now.p99),
        )
    }

    fn block(&self, now: &Snapshot, lag: Option<u64>) -> String {
        let mut text =
            format!("annals dev at {}, for {}\n\n", self.address, human::duration(now.at - self.start));
        let none = BTreeMap::new();
        let before = if self.before.sent.is_empty() { &none } else { &self.before.sent };
        for (topic, _) in TOPICS {
            let (then, sent) = (*before.get(topic).unwrap_or(&0), *now.sent.get(topic).unwrap_or(&0));
            let (sent_text, rate) = (human::count(sent), self.rate(then, sent, now));
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "  {topic:<10} {sent_text:>12} events {rate:>8}/s");
        }
        let lag = lag.map_or_else(|| "-".to_owned(), |lag| plural(lag, "record"));
        let _infallible = writeln!(
            text,
            "\n  group {GROUP}: {} received, lag {lag}\n  end to end: p50 {}, p99 {}\n\nCtrl-C ends it.",
            human::count(now.consumed),
            time(now.p50),
            time(now.p99),
        );
        text
    }

    fn rate(&self, then: u64, count: u64, now: &Snapshot) -> String {
        let seconds = (now.at - self.before.at).as_secs_f64().max(1e-3);
        human::count((count.saturating_sub(then) as f64 / seconds).round() as u64)
    }
}

/// A time, or a dash while nothing was timed.
fn time(span: Duration) -> String {
    if span.is_zero() { "-".to_owned() } else { human::duration(span) }
}
