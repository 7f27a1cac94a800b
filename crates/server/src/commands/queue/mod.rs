//! `annals queue`: list, declare, describe, delete, look into, empty and move queues, and take back what is not due yet.

mod cancel;
mod declare;
mod delete;
mod describe;
mod list;
mod peek;
mod purge;
mod scheduled;
mod transfer;

pub(crate) use peek::{PeekArgs, peek};
pub(crate) use transfer::{Pace, Target, make as move_messages};

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
    /// List queues
    List(list::Args),
    /// Have a queue be there
    Declare(declare::Args),
    /// Show all about queues
    Describe(describe::Args),
    /// Delete queues with their messages
    Delete(delete::Args),
    /// Look at messages without taking them
    Peek(PeekArgs),
    /// Look at messages that are held back until they are due
    Scheduled(scheduled::Args),
    /// Delete messages that are held back
    Cancel(cancel::Args),
    /// Delete the messages of a queue that are ready
    Purge(purge::Args),
    /// Move messages from a queue to an exchange or another queue
    Move(transfer::Args),
}

/// Runs one queue command.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        // Checked before the server is asked: these are wrong whether or not there is one.
        Command::Delete(delete) => delete.certainty.check()?,
        Command::Purge(purge) => purge.certainty.check()?,
        Command::Cancel(cancel) => cancel.certainty.check()?,
        Command::Move(args) => transfer::check(args)?,
        _ => {}
    }
    let management = Management::open(&args.management)?;
    match &args.command {
        Command::List(args) => list::run(&management, args),
        Command::Declare(args) => declare::run(&management, args),
        Command::Describe(args) => describe::run(&management, args),
        Command::Delete(args) => delete::run(&management, args),
        Command::Peek(args) => peek(&management, args),
        Command::Scheduled(args) => scheduled::run(&management, args),
        Command::Cancel(args) => cancel::run(&management, args),
        Command::Purge(args) => purge::run(&management, args),
        Command::Move(args) => transfer::run(&management, args),
    }
}
