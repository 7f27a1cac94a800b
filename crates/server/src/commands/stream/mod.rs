//! `annals stream`: list, read, append to, describe and delete the streams of an event store.

mod append;
mod delete;
mod event;
mod expected;
mod list;
mod metadata;
mod read;

use anyhow::Result;
use clap::Subcommand;

use crate::api::{StoreApi, StoreArgs};

pub(super) use event::{Row, rows};
pub(super) use expected::parse as parse_expected;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List streams, categories or event types
    List(list::Args),
    /// Print events: of a stream or of many, now or as of a moment
    Read(read::Args),
    /// Append events to a stream
    Append(append::Args),
    /// Show and change what a stream keeps of its events
    Metadata(metadata::Args),
    /// Delete streams
    Delete(delete::Args),
}

/// Runs one stream command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Command::Delete(delete) = &args.command {
        delete.certainty.check()?;
    }
    let api = StoreApi::open(&args.store)?;
    match &args.command {
        Command::List(args) => list::run(&api, args),
        Command::Read(args) => read::run(&api, args),
        Command::Append(args) => append::run(&api, args),
        Command::Metadata(args) => metadata::run(&api, args),
        Command::Delete(args) => delete::run(&api, args),
    }
}
