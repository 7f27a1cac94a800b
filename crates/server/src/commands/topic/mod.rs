//! `annals topic`: create, list, describe, alter and delete topics.

mod alter;
mod config;
mod create;
mod delete;
mod describe;
mod list;

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
    /// Create topics
    Create(create::Args),
    /// List topics
    List(list::Args),
    /// Show partitions, offsets and configs of topics
    Describe(describe::Args),
    /// Add partitions, set and unset configs
    Alter(alter::Args),
    /// Delete topics and everything in them
    Delete(delete::Args),
}

/// Runs one topic command.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        // Checked before the connection is made: these are wrong whether or not there is a broker.
        Command::Delete(delete) => delete.certainty.check()?,
        Command::Alter(alter) => alter::check(alter)?,
        Command::Create(_) | Command::List(_) | Command::Describe(_) => {}
    }
    let connection = Connection::open(&args.connect)?;
    match &args.command {
        Command::Create(args) => create::run(&connection, args),
        Command::List(args) => list::run(&connection, args),
        Command::Describe(args) => describe::run(&connection, args),
        Command::Alter(args) => alter::run(&connection, args),
        Command::Delete(args) => delete::run(&connection, args),
    }
}
