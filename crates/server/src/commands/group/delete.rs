//! `annals group delete`

use std::io::IsTerminal;

use anyhow::{Result, bail};

use super::describe;
use crate::client::{Connection, admin_options, code_text, explain, wait};
use crate::failure::usage;
use crate::human::plural;
use crate::output;

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

/// Deletes the groups, after asking.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[])?;
    for name in &args.groups {
        let members = describe::find(&client, name)?.members.len();
        if members > 0 {
            bail!("group \"{name}\" has {}; stop its consumers first", plural(members as u64, "member"));
        }
    }
    let doomed = args.groups.join(", ");
    if args.dry_run {
        return output::line(format!("would delete {doomed} and the offsets"));
    }
    if !args.yes && !output::confirm(&format!("delete {doomed} and the offsets? This cannot be undone."))? {
        return output::line("nothing was deleted");
    }
    delete(connection, args)
}

fn delete(connection: &Connection, args: &Args) -> Result<()> {
    let admin = connection.admin()?;
    let names: Vec<&str> = args.groups.iter().map(String::as_str).collect();
    let results = wait(admin.delete_groups(&names, &admin_options(false)))?;
    let mut failures = Vec::new();
    for result in results.map_err(|error| explain(&error))? {
        match result {
            Ok(name) => output::line(format!("deleted group {name}"))?,
            Err((name, code)) => {
                failures.push(format!("cannot delete group \"{name}\": {}", code_text(code)));
            }
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\nannals: "));
    }
    Ok(())
}
