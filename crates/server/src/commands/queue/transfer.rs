//! `annals queue move`, and what it shares with `annals dlq redrive`: a move of messages that the server makes.
//!
//! The server moves some messages at a time, each time as one write, and remembers how far it is. So a move goes on when
//! this command is killed, and after a restart of the server; Ctrl-C ends it in order.

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::management::{Management, missing};
use crate::failure::usage;
use crate::human::plural;
use crate::interrupt::Interrupt;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals queue move billing --to billing.new
  annals queue move billing --exchange orders --routing-key orders.retry --rate 100 --max 1000
  annals queue move billing --to billing.new --dry-run

The server makes the move. It goes on if this command is killed and after a restart of the server; Ctrl-C cancels it.
Each message is in exactly one place at any time.";

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// How many messages, how fast, and whether at all.
#[derive(clap::Args, Debug)]
pub(crate) struct Pace {
    /// The most messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// The most messages; all that are ready now, if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,

    /// Say what would go where and move nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue that messages are taken from
    queue: String,

    /// The queue that they go to
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["exchange", "routing_key"])]
    to: Option<String>,

    /// The exchange that they are published to
    #[arg(long, value_name = "EXCHANGE", requires = "routing_key")]
    exchange: Option<String>,

    /// The key that they are published with
    #[arg(long, value_name = "KEY", requires = "exchange")]
    routing_key: Option<String>,

    #[command(flatten)]
    pace: Pace,
}

/// Checks that it is said where messages go.
pub(crate) fn check(args: &Args) -> Result<()> {
    if args.to.is_none() && args.exchange.is_none() {
        return Err(usage("say where the messages go: --to QUEUE, or --exchange EXCHANGE --routing-key KEY"));
    }
    if args.to.as_ref() == Some(&args.queue) {
        return Err(usage("a queue's messages cannot be moved to itself"));
    }
    Ok(())
}

/// Moves messages.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let target = match (&args.to, &args.exchange) {
        (Some(queue), _) => Target::queue(queue),
        (None, exchange) => Target { exchange: exchange.clone(), routing_key: args.routing_key.clone() },
    };
    make(management, &args.queue, &target, &args.pace)
}

/// Where messages go. Without anything, each dead letter goes back to the queue in which it died last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) exchange: Option<String>,
    pub(crate) routing_key: Option<String>,
}

impl Target {
    /// A queue, by way of the default exchange.
    pub(crate) fn queue(name: &str) -> Self {
        Self { exchange: Some(String::new()), routing_key: Some(name.to_owned()) }
    }
}

/// How far a move is, as the server tells it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Progress {
    id: String,
    source: String,
    state: String,
    moved: u64,
    wanted: u64,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What a move would do.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Preview {
    messages: u64,
    targets: Vec<PreviewTarget>,
    unroutable: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct PreviewTarget {
    queue: String,
    messages: u64,
}

/// Has the server make a move, and watches it.
pub(crate) fn make(management: &Management, source: &str, target: &Target, pace: &Pace) -> Result<()> {
    let body = json!({
        "exchange": target.exchange,
        "routing_key": target.routing_key,
        "max": pace.max,
        "rate": pace.rate,
        "dry_run": pace.dry_run,
    });
    let answer = management
        .call(Method::POST, &management.of_queue(source, "moves"), Some(&body))
        .map_err(|error| missing(error, "queue", source))?;
    if pace.dry_run {
        return print_preview(source, &answer.json()?, pace.output.format);
    }
    let ended = watch(management, answer.json()?)?;
    match pace.output.format {
        Format::Json => output::json(&ended)?,
        Format::Table => {
            output::line(format!("moved {} from queue {source}", plural(ended.moved, "message")))?;
        }
    }
    fail_unless_done(&ended)
}

/// Asks how far the server is until it has ended. Ctrl-C cancels it there.
fn watch(management: &Management, begun: Progress) -> Result<Progress> {
    let interrupt = Interrupt::listen()?;
    let path = format!("/api/moves/{}", begun.id);
    let (mut progress, mut cancelled) = (begun, false);
    while progress.state == "running" {
        if interrupt.is_raised() && !cancelled {
            cancelled = true;
            progress = management.call(Method::DELETE, &path, None)?.json()?;
        } else {
            if cancelled {
                std::thread::sleep(LOOK);
            } else {
                let _raised = interrupt.wait(LOOK);
            }
            progress = management.get(&path)?;
        }
    }
    Ok(progress)
}

fn fail_unless_done(ended: &Progress) -> Result<()> {
    let text = |name: &str| ended.more.get(name).and_then(Value::as_str).unwrap_or_default();
    match ended.state.as_str() {
        "finished" => Ok(()),
        "cancelled" => bail!("cancelled: {} of {} messages were moved", ended.moved, ended.wanted),
        "unroutable" => bail!(
            "stopped at a message that no queue would get (exchange \"{}\", routing key \"{}\"): it and those behind it stay",
            text("exchange"),
            text("routing_key")
        ),
        other => bail!("the move ended as \"{other}\""),
    }
}

fn print_preview(source: &str, preview: &Preview, format: Format) -> Result<()> {
    if format == Format::Json {
        return output::json(preview);
    }
    output::line(format!("would move {} from queue {source}", plural(preview.messages, "message")))?;
    let mut table = Columns::new(&[("to queue", Align::Left), ("messages", Align::Right)]);
    for target in &preview.targets {
        table.row([target.queue.clone(), target.messages.to_string()]);
    }
    if preview.unroutable > 0 {
        table.row(["(no queue: the move would stop there)".to_owned(), preview.unroutable.to_string()]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Progress, fail_unless_done};

    #[test]
    fn a_move_that_did_not_end_well_fails() {
        let ended = |state: &str| -> Progress {
            let ended = json!({
                "id": "1-1", "source": "q", "state": state, "moved": 3, "wanted": 5, "exchange": "x", "routing_key": "k",
            });
            serde_json::from_value(ended).unwrap()
        };
        assert!(fail_unless_done(&ended("finished")).is_ok());
        let cancelled = fail_unless_done(&ended("cancelled")).unwrap_err().to_string();
        assert_eq!(cancelled, "cancelled: 3 of 5 messages were moved");
        let stopped = fail_unless_done(&ended("unroutable")).unwrap_err().to_string();
        assert!(stopped.contains("exchange \"x\", routing key \"k\""), "{stopped}");
    }
}
