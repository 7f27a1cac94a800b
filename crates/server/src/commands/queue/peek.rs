//! `annals queue peek` and `annals dlq peek`

use std::time::Duration;

use annals_clock::Clock;
use anyhow::Result;
use serde_json::Value;

use crate::client::management::{Management, Peeked, missing};
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals queue peek billing
  annals queue peek billing -n 100 --from 5000 -o json | jq -r .[].payload
  annals dlq peek orders.dead

Messages stay where they are. Those that lie in memory only, since they need not survive a restart, are not shown.";

/// Characters of a body in a table.
const SHOWN_CHARS: usize = 60;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PeekArgs {
    /// The queue
    queue: String,

    /// The most messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,

    /// Begin at this place in the queue
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    from: u64,

    #[command(flatten)]
    output: FormatArgs,
}

/// Shows messages.
pub(crate) fn peek(management: &Management, args: &PeekArgs) -> Result<()> {
    let what = format!("messages?count={}&from={}", args.count, args.from);
    let messages: Vec<Peeked> = management
        .get(&management.of_queue(&args.queue, &what))
        .map_err(|error| missing(error, "queue", &args.queue))?;
    match args.output.format {
        Format::Json => output::json(&messages),
        Format::Table => table(&messages).print(),
    }
}

fn table(messages: &[Peeked]) -> Columns {
    let headings = [
        ("sequence", Align::Right),
        ("age", Align::Right),
        ("held", Align::Left),
        ("exchange", Align::Left),
        ("routing key", Align::Left),
        ("died", Align::Left),
        ("bytes", Align::Right),
        ("body", Align::Left),
    ];
    let now_ms = Clock::system().now_ms();
    let mut table = Columns::new(&headings);
    for message in messages {
        let age_ms = u64::try_from(now_ms.saturating_sub(message.published_ms)).unwrap_or(0);
        table.row([
            message.sequence.to_string(),
            human::duration(Duration::from_millis(age_ms)),
            if message.leased { "yes" } else { "no" }.to_owned(),
            or_dash(&message.exchange),
            or_dash(&message.routing_key),
            death(&message.properties),
            message.payload_bytes.to_string(),
            body(&message.payload, &message.payload_encoding),
        ]);
    }
    table
}

pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Where and why a message died last.
fn death(properties: &Value) -> String {
    let latest = &properties["headers"]["x-death"][0];
    match (latest["queue"].as_str(), latest["reason"].as_str()) {
        (Some(queue), Some(reason)) => format!("{queue}: {reason}"),
        _ => "-".to_owned(),
    }
}

/// The beginning of the body, on one line.
pub(super) fn body(payload: &str, encoding: &str) -> String {
    if encoding != "string" {
        return "(no text)".to_owned();
    }
    let visible = |character: char| if character.is_control() { '\u{b7}' } else { character };
    let mut shown: String = payload.chars().take(SHOWN_CHARS).map(visible).collect();
    if payload.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('\u{2026}');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{body, death};

    #[test]
    fn a_message_fits_on_a_line() {
        assert_eq!(body("a\nb", "string"), "a\u{b7}b");
        assert_eq!(body(&"x".repeat(61), "string"), "x".repeat(60) + "\u{2026}");
        assert_eq!(body("/wA=", "base64"), "(no text)");
        assert_eq!(death(&json!([])), "-");
        let dead = json!({"headers": {"x-death": [{"queue": "q", "reason": "expired"}]}});
        assert_eq!(death(&dead), "q: expired");
    }
}
