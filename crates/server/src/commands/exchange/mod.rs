//! `annals exchange`: list, declare, delete exchanges, and publish to them.

mod declare;
mod delete;
mod list;
mod publish;

use anyhow::Result;
use clap::Subcommand;

use crate::client::management::{Management, ManagementArgs};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    management: ManagementArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List exchanges
    List(list::Args),
    /// Have an exchange be there
    Declare(declare::Args),
    /// Delete exchanges with their bindings
    Delete(delete::Args),
    /// Publish one message
    Publish(publish::Args),
}

/// Runs one exchange command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Command::Delete(delete) = &args.command {
        delete.certainty.check()?;
    }
    let management = Management::open(&args.management)?;
    match &args.command {
        Command::List(args) => list::run(&management, args),
        Command::Declare(args) => declare::run(&management, args),
        Command::Delete(args) => delete::run(&management, args),
        Command::Publish(args) => publish::run(&management, args),
    }
}
