//! `annals queue describe`

use std::time::Duration;

use annals_clock::Clock;
use anyhow::Result;
use serde_json::{Value, json};

use super::list::table;
use crate::client::management::{Binding, Management, Queue, missing};
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals queue describe billing
  annals queue describe billing shipping -o json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Queues to describe
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,

    #[command(flatten)]
    output: FormatArgs,
}

/// Describes the queues, one after the other.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let mut described = Vec::new();
    for name in &args.queues {
        let queue = management.queue(name)?;
        let bindings: Vec<Binding> = management
            .get(&management.of_queue(name, "bindings"))
            .map_err(|error| missing(error, "queue", name))?;
        described.push((queue, bindings));
    }
    match args.output.format {
        Format::Json => {
            let all: Vec<Value> = described
                .iter()
                .map(|(queue, bindings)| json!({"queue": queue, "bindings": bindings}))
                .collect();
            output::json(&all)
        }
        Format::Table => described.iter().try_for_each(|(queue, bindings)| print(queue, bindings)),
    }
}

fn print(queue: &Queue, bindings: &[Binding]) -> Result<()> {
    table(std::slice::from_ref(queue)).print()?;
    output::line("")?;
    for (name, count) in counts(queue) {
        output::line(format!("  {name}: {count}"))?;
    }
    let mut sources = Columns::new(&[
        ("from exchange", Align::Left),
        ("routing key", Align::Left),
        ("arguments", Align::Left),
    ]);
    for binding in bindings.iter().filter(|binding| !binding.source.is_empty()) {
        let arguments =
            if binding.arguments.is_empty() { "-".to_owned() } else { json!(binding.arguments).to_string() };
        sources.row([binding.source.clone(), or_empty(&binding.routing_key), arguments]);
    }
    output::line("")?;
    sources.print()?;
    output::line("")
}

fn or_empty(key: &str) -> String {
    if key.is_empty() { "-".to_owned() } else { key.to_owned() }
}

/// What has been counted, and how old the oldest message is.
fn counts(queue: &Queue) -> Vec<(&'static str, String)> {
    let stats = |name: &str| queue.more.get("message_stats").and_then(|stats| stats[name].as_u64());
    let own = |name: &str| queue.more.get(name).and_then(Value::as_u64);
    let fields = [
        ("published", stats("publish")),
        ("delivered", stats("deliver_get")),
        ("redelivered", stats("redeliver")),
        ("acknowledged", stats("ack")),
        ("dead-lettered or dropped", own("messages_dead")),
        ("waiting for their time", own("messages_delayed")),
    ];
    let mut told: Vec<(&'static str, String)> =
        fields.into_iter().filter_map(|(name, count)| Some((name, human::count(count?)))).collect();
    if let Some(oldest_ms) = own("oldest_ms") {
        let age_ms = u64::try_from(Clock::system().now_ms()).unwrap_or(0).saturating_sub(oldest_ms);
        told.push(("age of the oldest message", human::duration(Duration::from_millis(age_ms))));
    }
    told
}
