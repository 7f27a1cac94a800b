//! `annals dlq list`

use anyhow::Result;
use serde::Serialize;

use super::find::dead_letter_queues;
use crate::client::management::Management;
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals dlq list
  annals dlq list -o json | jq -r '.[] | select(.messages > 0) | .queue'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    queue: String,
    /// Messages that are ready.
    messages: u64,
    /// The queues whose dead letters come here.
    from: Vec<String>,
}

/// Lists the queues that get dead letters.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let (queues, bindings) = (management.queues()?, management.bindings()?);
    let ready =
        |name: &str| queues.iter().find(|queue| queue.name == name).map_or(0, |queue| queue.messages_ready);
    let rows: Vec<Row> = dead_letter_queues(&queues, &bindings)
        .into_iter()
        .map(|(queue, from)| Row { messages: ready(&queue), queue, from: from.into_iter().collect() })
        .collect();
    match args.output.format {
        Format::Json => output::json(&rows),
        Format::Table => table(&rows).print(),
    }
}

fn table(rows: &[Row]) -> Columns {
    let mut table =
        Columns::new(&[("queue", Align::Left), ("ready", Align::Right), ("dead letters of", Align::Left)]);
    for row in rows {
        table.row([row.queue.clone(), human::count(row.messages), row.from.join(", ")]);
    }
    table
}
