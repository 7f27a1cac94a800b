//! `annals topic delete`

use std::io::IsTerminal;

use anyhow::{Result, bail};

use crate::client::offsets::{self, Which};
use crate::client::{Connection, admin_options, cluster, code_text, explain, wait};
use crate::failure::usage;
use crate::human::plural;
use crate::output;

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

    /// Do not ask; needed where there is no terminal to ask on
    #[arg(short, long)]
    yes: bool,

    /// Say what would be deleted and delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Checks that there is a way to be sure.
pub(crate) fn check(args: &Args) -> Result<()> {
    if !args.yes && !args.dry_run && !std::io::stdin().is_terminal() {
        return Err(usage(
            "deleting cannot be undone, and there is no terminal to ask on; give --yes or --dry-run",
        ));
    }
    Ok(())
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
    if args.dry_run {
        return output::line(format!("would delete {}", doomed.join(", ")));
    }
    if !args.yes && !output::confirm(&format!("delete {}? This cannot be undone.", doomed.join(", ")))? {
        return output::line("nothing was deleted");
    }
    delete(connection, args)
}

fn delete(connection: &Connection, args: &Args) -> Result<()> {
    let admin = connection.admin()?;
    let names: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    let results = wait(admin.delete_topics(&names, &admin_options(false)))?;
    let mut failures = Vec::new();
    for result in results.map_err(|error| explain(&error))? {
        match result {
            Ok(name) => output::line(format!("deleted topic {name}"))?,
            Err((name, code)) => {
                failures.push(format!("cannot delete topic \"{name}\": {}", code_text(code)));
            }
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\nannals: "));
    }
    Ok(())
}
