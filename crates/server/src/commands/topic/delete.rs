//! `annals topic delete`

use anyhow::Result;

use crate::client::offsets::{self, Which};
use crate::client::{Connection, admin_options, cluster, explain, wait};
use crate::commands::delete::{Certainty, report};
use crate::human::plural;

const EXAMPLES: &str = "\
Examples:
  annals topic delete orders
  annals topic delete orders payments --yes";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Topics to delete
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the topics, after asking.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[])?;
    let mut doomed = Vec::new();
    for name in &args.topics {
        let partitions: Vec<_> = cluster::topic(&client, name)?.partitions().collect();
        let start = offsets::look_up(&client, &partitions, Which::Earliest)?;
        let end = offsets::look_up(&client, &partitions, Which::Latest)?;
        let records = partitions.iter().map(|partition| end[partition] - start[partition]).sum::<i64>();
        doomed.push(format!("{name} ({})", plural(records.unsigned_abs(), "record")));
    }
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let names: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    let results = wait(connection.admin()?.delete_topics(&names, &admin_options(false)))?;
    report("topic", results.map_err(|error| explain(&error))?)
}
