//! `annals exchange list`

use anyhow::Result;
use serde_json::json;

use crate::client::management::{Exchange, Management};
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals exchange list
  annals exchange list --all -o json | jq -r .[].name";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show those that every virtual host has, too
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    output: FormatArgs,
}

/// Lists the exchanges.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let mut exchanges = management.exchanges()?;
    exchanges.retain(|exchange| args.all || !(exchange.name.is_empty() || exchange.name.starts_with("amq.")));
    match args.output.format {
        Format::Json => output::json(&exchanges),
        Format::Table => table(&exchanges).print(),
    }
}

fn table(exchanges: &[Exchange]) -> Columns {
    let headings = [("exchange", Align::Left), ("type", Align::Left), ("features", Align::Left)];
    let mut table = Columns::new(&headings);
    for exchange in exchanges {
        let flags = [
            (!exchange.durable, "transient"),
            (exchange.auto_delete, "auto-delete"),
            (exchange.internal, "internal"),
        ];
        let mut words: Vec<String> =
            flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned()).collect();
        if !exchange.arguments.is_empty() {
            words.push(json!(exchange.arguments).to_string());
        }
        let name = if exchange.name.is_empty() { "(default)" } else { &exchange.name };
        let features = if words.is_empty() { "-".to_owned() } else { words.join(" ") };
        table.row([name.to_owned(), exchange.kind.clone(), features]);
    }
    table
}
