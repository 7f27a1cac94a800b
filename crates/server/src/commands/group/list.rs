//! `annals group list`

use anyhow::Result;
use serde::Serialize;

use crate::client::{Connection, groups};
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals group list
  annals group list -o json | jq -r '.[] | select(.state == \"Empty\") | .group'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    group: String,
    state: String,
    members: usize,
    strategy: String,
}

/// Lists the groups that the brokers know.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let groups = groups::list(&connection.consumer(&[])?)?;
    let rows: Vec<Row> = groups
        .into_iter()
        .map(|g| Row { group: g.name, state: g.state, members: g.members.len(), strategy: g.strategy })
        .collect();
    match args.output.format {
        Format::Json => output::json(&rows),
        Format::Table => table(&rows).print(),
    }
}

fn table(rows: &[Row]) -> Columns {
    let headings = [
        ("group", Align::Left),
        ("state", Align::Left),
        ("members", Align::Right),
        ("strategy", Align::Left),
    ];
    let mut table = Columns::new(&headings);
    for row in rows {
        table.row([row.group.clone(), row.state.clone(), row.members.to_string(), row.strategy.clone()]);
    }
    table
}
