//! `annals store`: create, list, describe, delete, export, import and scavenge event stores.

mod create;
mod delete;
mod describe;
mod export;
mod import;
mod line;
mod progress;
mod scavenge;

use anyhow::Result;
use clap::Subcommand;

use crate::api::{Api, ServerArgs};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create stores
    Create(create::Args),
    /// List stores
    List(describe::ListArgs),
    /// Show events, streams and the index of stores
    Describe(describe::Args),
    /// Delete stores and everything in them
    Delete(delete::Args),
    /// Write all events of a store as JSON lines
    Export(export::Args),
    /// Append the events of JSON lines to a store
    Import(import::Args),
    /// Give back the space of events that are not shown any more
    Scavenge(scavenge::Args),
}

/// Runs one store command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Command::Delete(delete) = &args.command {
        delete.certainty.check()?;
    }
    match &args.command {
        Command::Create(command) => create::run(&Api::open(&args.server)?, command),
        Command::List(command) => describe::list(&Api::open(&args.server)?, command),
        Command::Describe(command) => describe::run(&Api::open(&args.server)?, command),
        Command::Delete(command) => delete::run(&Api::open(&args.server)?, command),
        Command::Scavenge(command) => scavenge::run(&Api::open(&args.server)?, command),
        Command::Export(command) => {
            export::run(&Api::open_patient(&args.server, progress::PATIENCE)?, command)
        }
        Command::Import(command) => {
            import::run(&Api::open_patient(&args.server, progress::PATIENCE)?, command)
        }
    }
}
