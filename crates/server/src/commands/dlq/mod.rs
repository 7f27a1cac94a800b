//! `annals dlq`: queues of dead letters: find them, look into them, and send their messages back.

mod find;
mod list;
mod redrive;

use anyhow::Result;
use clap::Subcommand;

use crate::client::management::{Management, ManagementArgs};
use crate::commands::queue::{PeekArgs, peek};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    management: ManagementArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List queues that dead letters of others come to
    List(list::Args),
    /// Look at dead letters without taking them
    Peek(PeekArgs),
    /// Send dead letters back to the queues in which they died, or elsewhere
    Redrive(redrive::Args),
}

/// Runs one command about dead letters.
pub(crate) fn run(args: &Args) -> Result<()> {
    let management = Management::open(&args.management)?;
    match &args.command {
        Command::List(args) => list::run(&management, args),
        Command::Peek(args) => peek(&management, args),
        Command::Redrive(args) => redrive::run(&management, args),
    }
}
