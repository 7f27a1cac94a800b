//! `annals binding list`

use anyhow::Result;
use serde_json::json;

use crate::client::management::{Binding, Management};
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals binding list
  annals binding list --source orders -o json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only those of one exchange
    #[arg(long, value_name = "EXCHANGE")]
    source: Option<String>,

    /// Only those that lead to one queue or exchange
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,

    #[command(flatten)]
    output: FormatArgs,
}

/// Lists the bindings. Those of the default exchange, one for each queue, are left out.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let mut bindings = management.bindings()?;
    let matches = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    bindings.retain(|binding| {
        !binding.source.is_empty()
            && matches(&args.source, &binding.source)
            && matches(&args.destination, &binding.destination)
    });
    match args.output.format {
        Format::Json => output::json(&bindings),
        Format::Table => table(&bindings).print(),
    }
}

fn table(bindings: &[Binding]) -> Columns {
    let headings = ["source", "to", "destination", "routing key", "arguments"];
    let mut table = Columns::new(&headings.map(|heading| (heading, Align::Left)));
    for binding in bindings {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let arguments =
            if binding.arguments.is_empty() { String::new() } else { json!(binding.arguments).to_string() };
        table.row([
            binding.source.clone(),
            binding.destination_type.clone(),
            binding.destination.clone(),
            or_dash(&binding.routing_key),
            or_dash(&arguments),
        ]);
    }
    table
}
