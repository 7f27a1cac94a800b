//! The loop of `annals produce`: read a line, send it, in the end wait for all acknowledgements.

use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context, Result, bail};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseProducer;

use super::Args;
use super::event::Envelope;
use super::input::Lines;
use super::line::{self, Line};
use super::progress::{Progress, Totals};
use crate::client::delivery::{self, Deliveries, Outgoing};
use crate::failure::Reported;
use crate::human::plural;
use crate::interrupt::Interrupt;

/// Lines between two looks at the acknowledgements and the terminal.
const TURN_LINES: u64 = 256;

/// Everything that sending needs.
pub(crate) struct Sender<'a> {
    pub(crate) args: &'a Args,
    pub(crate) envelope: Option<&'a Envelope>,
    pub(crate) producer: BaseProducer<Deliveries>,
    pub(crate) deliveries: Deliveries,
    pub(crate) clock: Clock,
    pub(crate) interrupt: Interrupt,
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    skipped: u64,
}

impl Sender<'_> {
    /// Sends every line and reports on standard error.
    pub(crate) fn run(&self, mut lines: Lines) -> Result<()> {
        let progress = Progress::start(!self.args.quiet);
        let started = self.clock.monotonic();
        let mut tally = Tally::default();
        let outcome = self.send_lines(&mut lines, &mut tally, &progress);
        // What was handed over before a wrong line is still delivered, and counted. A second Ctrl-C ends the
        // process.
        delivery::drain(&self.producer, || {
            progress.update(&self.deliveries);
            true
        });
        progress.finish();
        if !self.args.quiet {
            let elapsed = self.clock.monotonic() - started;
            eprintln!("{}", Totals { deliveries: &self.deliveries, skipped: tally.skipped, elapsed });
        }
        outcome?;
        self.check_all_acknowledged(&tally, lines.number())
    }

    fn send_lines(&self, lines: &mut Lines, tally: &mut Tally, progress: &Progress) -> Result<()> {
        let turn = || {
            self.producer.poll(Duration::ZERO);
            progress.update(&self.deliveries);
            !self.interrupt.is_raised()
        };
        loop {
            let number = lines.number() + 1;
            let Some(text) = lines.next(turn)? else { return Ok(()) };
            match line::parse(text, &self.args.lines) {
                Ok(line) => {
                    self.send(&line).with_context(|| format!("line {number}"))?;
                    tally.sent += 1;
                }
                Err(reason) => skip_or_fail(self.args, tally, number, &reason)?,
            }
            if number.is_multiple_of(TURN_LINES) && !turn() {
                return Ok(());
            }
        }
    }

    fn send(&self, line: &Line<'_>) -> Result<()> {
        let outgoing = Outgoing {
            key: line.key.as_deref(),
            value: line.value,
            partition: self.args.partition,
            headers: self.headers(line)?,
        };
        delivery::send(&self.producer, &self.args.topic, outgoing)
    }

    fn headers(&self, line: &Line<'_>) -> Result<Option<OwnedHeaders>> {
        let fixed = &self.args.lines.fixed_headers;
        if self.envelope.is_none() && fixed.is_empty() && line.headers.is_empty() {
            return Ok(None);
        }
        let mut headers = OwnedHeaders::new();
        if let Some(envelope) = self.envelope {
            headers = delivery::add_headers(headers, &envelope.headers(&self.clock)?);
        }
        for (name, value) in fixed {
            headers = headers.insert(Header { key: name, value: Some(value.as_bytes()) });
        }
        for (name, value) in &line.headers {
            headers = headers.insert(Header { key: name, value: Some(*value) });
        }
        Ok(Some(headers))
    }

    fn check_all_acknowledged(&self, tally: &Tally, lines: u64) -> Result<()> {
        if let Some(reason) = self.deliveries.first_failure() {
            let failed = plural(self.deliveries.failed(), "record");
            bail!("{failed} could not be written to topic \"{}\": {reason:#}", self.args.topic);
        }
        let open = tally.sent.saturating_sub(self.deliveries.acknowledged());
        if open > 0 {
            bail!("{} may or may not have been written", plural(open, "record"));
        }
        if self.interrupt.is_raised() {
            eprintln!("annals: interrupted after line {lines}; everything up to it is written");
            return Err(Reported.into());
        }
        Ok(())
    }
}

/// Checks every line and sends nothing.
pub(crate) fn check_only(args: &Args, mut lines: Lines, interrupt: &Interrupt) -> Result<()> {
    let mut tally = Tally::default();
    loop {
        let number = lines.number() + 1;
        let Some(text) = lines.next(|| !interrupt.is_raised())? else { break };
        match line::parse(text, &args.lines) {
            Ok(_) => tally.sent += 1,
            Err(reason) => skip_or_fail(args, &mut tally, number, &reason)?,
        }
    }
    eprintln!("would send {} and skip {}", plural(tally.sent, "record"), plural(tally.skipped, "line"));
    Ok(())
}

fn skip_or_fail(args: &Args, tally: &mut Tally, number: u64, reason: &str) -> Result<()> {
    if !args.skip_invalid {
        bail!("line {number}: {reason}; --skip-invalid leaves such lines out");
    }
    tracing::debug!(line = number, reason, "skipped");
    tally.skipped += 1;
    Ok(())
}
