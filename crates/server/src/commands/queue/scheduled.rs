//! `annals queue scheduled`

use std::time::Duration;

use annals_clock::Clock;
use anyhow::Result;

use super::peek::{body, or_dash};
use crate::client::management::{Management, Scheduled, missing};
use crate::failure::usage;
use crate::output::{self, Align, Columns, Format, FormatArgs};
use crate::{human, moment};

/// The queue that exchanges of the type x-delayed-message hold messages back in.
pub(super) const HELD_BACK: &str = "amq.delayed";

const EXAMPLES: &str = "\
Examples:
  annals queue scheduled
  annals queue scheduled -n 100 --from 2026-03-01T12:00:00Z -o json | jq -r .[].sequence

Only persistent messages have a sequence, by which annals queue cancel takes them back. The queue amq.delayed is there
once an exchange of the type x-delayed-message is declared.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue
    #[arg(default_value = HELD_BACK)]
    queue: String,

    /// The most messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,

    /// Begin with what is due then: a time, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    from: Option<String>,

    #[command(flatten)]
    output: FormatArgs,
}

/// Shows messages that are not due yet, the earliest first.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let now_ms = Clock::system().now_ms();
    let from = args.from.as_deref().map(|text| moment::parse(text, now_ms)).transpose().map_err(usage)?;
    let what = format!("scheduled?count={}&from_ms={}", args.count, from.unwrap_or(0));
    let messages: Vec<Scheduled> = management
        .get(&management.of_queue(&args.queue, &what))
        .map_err(|error| missing(error, "queue", &args.queue))?;
    match args.output.format {
        Format::Json => output::json(&messages),
        Format::Table => table(&messages, now_ms).print(),
    }
}

fn table(messages: &[Scheduled], now_ms: i64) -> Columns {
    let headings = [
        ("sequence", Align::Right),
        ("due", Align::Left),
        ("in", Align::Right),
        ("exchange", Align::Left),
        ("routing key", Align::Left),
        ("bytes", Align::Right),
        ("body", Align::Left),
    ];
    let mut table = Columns::new(&headings);
    for message in messages {
        let left_ms = u64::try_from(message.due_ms.saturating_sub(now_ms)).unwrap_or(0);
        table.row([
            message.sequence.map_or("-".to_owned(), |sequence| sequence.to_string()),
            moment::format(message.due_ms),
            human::duration(Duration::from_millis(left_ms)),
            or_dash(&message.exchange),
            or_dash(&message.routing_key),
            message.payload_bytes.to_string(),
            body(&message.payload, &message.payload_encoding),
        ]);
    }
    table
}
