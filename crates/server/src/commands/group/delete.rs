//! `annals group delete`

use anyhow::{Result, bail};

use super::describe;
use crate::client::{Connection, admin_options, explain, wait};
use crate::commands::delete::{Certainty, report};
use crate::human::plural;

const EXAMPLES: &str = "\
Examples:
  annals group delete billing
  annals group delete billing shipping --yes";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Groups to delete
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the groups, after asking.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[])?;
    for name in &args.groups {
        let members = describe::find(&client, name)?.members.len();
        if members > 0 {
            bail!("group \"{name}\" has {}; stop its consumers first", plural(members as u64, "member"));
        }
    }
    if !args.certainty.is_given(&format!("{} and the offsets", args.groups.join(", ")))? {
        return Ok(());
    }
    let names: Vec<&str> = args.groups.iter().map(String::as_str).collect();
    let results = wait(connection.admin()?.delete_groups(&names, &admin_options(false)))?;
    report("group", results.map_err(|error| explain(&error))?)
}
