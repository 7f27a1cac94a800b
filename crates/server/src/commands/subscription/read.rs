//! `annals subscription read`: takes events as a consumer would.

use std::io::Write;
use std::time::Duration;

use annals::client::{Delivered, Fetched, NackAction};
use annals::store::Position;
use annals_clock::Clock;
use anyhow::{Result, bail};

use crate::api::StoreApi;
use crate::commands::stream::{Row, rows};
use crate::human::{self, plural};
use crate::output::{Align, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals subscription read mailer --store shop
  annals subscription read mailer --store shop -n 100 --ack -o json
  annals subscription read mailer --store shop -n 1 --park \"address unknown\"
  annals subscription read mailer --store shop --ack --wait 1m

Without --ack, --park, --retry or --skip the events are only looked at: they are given to others afterwards, counted as
delivered once more.";

/// Events that are asked for at once.
const BATCH: u64 = 100;
/// How long one request waits.
const WAIT_MAX: Duration = Duration::from_secs(25);

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The subscription
    name: String,

    /// Stop after this many events
    #[arg(short = 'n', long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// How long to wait for events
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = human::parse_duration)]
    wait: Duration,

    #[command(flatten)]
    outcome: Outcome,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct Outcome {
    /// Acknowledge what is printed
    #[arg(long)]
    ack: bool,

    /// Put what is printed aside, for this reason
    #[arg(long, value_name = "REASON")]
    park: Option<String>,

    /// Have what is printed given again after a while
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration)]
    retry: Option<Duration>,

    /// Have what is printed never given again
    #[arg(long)]
    skip: bool,
}

/// Prints events and settles them.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let clock = Clock::system();
    let begun = clock.monotonic();
    let (mut consumer, mut left) = (None::<String>, args.count);
    let mut ended = Ok(());
    while left > 0 {
        let wait = args.wait.saturating_sub(clock.monotonic() - begun);
        let limit = left.min(BATCH) as usize;
        let client = api.client();
        let fetched = client.fetch(&api.store, &args.name, consumer.as_deref(), limit, wait.min(WAIT_MAX));
        let Fetched { consumer: session, events } = api.ask(fetched)?;
        let session = consumer.insert(session);
        left -= (events.len() as u64).min(left);
        ended = print(args, &events).and_then(|()| settle(api, args, session, &events));
        let is_over = events.is_empty() && (clock.monotonic() - begun) >= args.wait;
        if ended.is_err() || is_over {
            break;
        }
    }
    if let Some(consumer) = consumer {
        // What was only looked at goes to others at once.
        api.ask(api.client().end_consumer(&api.store, &args.name, &consumer))?;
    }
    ended
}

fn settle(api: &StoreApi, args: &Args, consumer: &str, events: &[Delivered]) -> Result<()> {
    let positions: Vec<Position> = events.iter().map(|delivered| delivered.event.position).collect();
    if positions.is_empty() {
        return Ok(());
    }
    let (client, store, name) = (api.client(), &api.store, &args.name);
    let action = match &args.outcome {
        Outcome { ack: true, .. } => {
            let settled = api.ask(client.ack(store, name, consumer, &positions))?;
            return check(&settled.not_leased);
        }
        Outcome { park: Some(reason), .. } => NackAction::Park { reason: reason.clone() },
        Outcome { retry: Some(delay), .. } => NackAction::Retry { delay: *delay },
        Outcome { skip: true, .. } => NackAction::Skip,
        Outcome { .. } => return Ok(()),
    };
    let settled = api.ask(client.nack(store, name, consumer, &positions, &action))?;
    check(&settled.not_leased)
}

fn check(not_leased: &[Position]) -> Result<()> {
    if not_leased.is_empty() {
        return Ok(());
    }
    bail!("the time for {} had passed: they are given again", plural(not_leased.len() as u64, "event"))
}

fn print(args: &Args, events: &[Delivered]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    if args.output.format == Format::Json {
        let mut out = std::io::stdout().lock();
        for delivered in events {
            serde_json::to_writer(&mut out, delivered).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        return Ok(out.flush()?);
    }
    let (left, right) = (Align::Left, Align::Right);
    let headings = [("position", right), ("delivery", right), ("stream", left)];
    let row = |delivered: &'_ Delivered| -> Vec<String> {
        let event = &delivered.event;
        vec![event.position.to_string(), delivered.delivery.to_string(), event.stream.clone()]
    };
    rows(&headings, events.iter().map(|delivered| Row { lead: row(delivered), event: &delivered.event }))
        .print()
}
