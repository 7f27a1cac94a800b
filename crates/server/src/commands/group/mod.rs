//! `annals group`: list, describe, reset and delete consumer groups.

mod delete;
mod describe;
mod lag;
mod list;
mod reset;
mod target;

use anyhow::Result;
use clap::Subcommand;

use crate::client::{ConnectArgs, Connection};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List consumer groups
    List(list::Args),
    /// Show members, offsets, and lag in records and in time
    Describe(describe::Args),
    /// Move the offsets of a group
    Reset(reset::Args),
    /// Delete groups and their offsets
    Delete(delete::Args),
}

/// Runs one group command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Command::Delete(delete) = &args.command {
        delete.certainty.check()?;
    }
    let connection = Connection::open(&args.connect)?;
    match &args.command {
        Command::List(args) => list::run(&connection, args),
        Command::Describe(args) => describe::run(&connection, args),
        Command::Reset(args) => reset::run(&connection, args),
        Command::Delete(args) => delete::run(&connection, args),
    }
}
