//! `annals subscription`: persistent subscriptions, whose consumers share the events of a selection.

mod create;
mod describe;
mod parked;
mod read;

use anyhow::Result;
use clap::Subcommand;

use crate::api::{StoreApi, StoreArgs};
use crate::commands::delete::Certainty;
use crate::failure;
use crate::human::plural;
use crate::output;

const DELETE_EXAMPLES: &str = "\
Examples:
  annals subscription delete mailer --store shop --yes";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a subscription
    Create(create::Args),
    /// List subscriptions and how they do
    List(describe::ListArgs),
    /// Show the selection, the choices and the state of subscriptions
    Describe(describe::Args),
    /// Change the choices of a subscription
    Alter(create::AlterArgs),
    /// Take events as a consumer, and print them
    Read(read::Args),
    /// List events that were put aside
    Parked(parked::ListArgs),
    /// Give parked events to consumers again
    ReplayParked(parked::ReplayArgs),
    /// Forget parked events
    DiscardParked(parked::DiscardArgs),
    /// Delete subscriptions
    Delete(DeleteArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = DELETE_EXAMPLES)]
struct DeleteArgs {
    /// Subscriptions to delete
    #[arg(required = true, value_name = "SUBSCRIPTION")]
    names: Vec<String>,

    #[command(flatten)]
    certainty: Certainty,
}

/// Runs one subscription command.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Delete(delete) => delete.certainty.check()?,
        Command::DiscardParked(discard) => discard.certainty.check()?,
        _ => {}
    }
    let api = StoreApi::open(&args.store)?;
    match &args.command {
        Command::Create(args) => create::run(&api, args),
        Command::Alter(args) => create::alter(&api, args),
        Command::List(args) => describe::list(&api, args),
        Command::Describe(args) => describe::run(&api, args),
        Command::Read(args) => read::run(&api, args),
        Command::Parked(args) => parked::list(&api, args),
        Command::ReplayParked(args) => parked::replay(&api, args),
        Command::DiscardParked(args) => parked::discard(&api, args),
        Command::Delete(args) => delete(&api, args),
    }
}

fn delete(api: &StoreApi, args: &DeleteArgs) -> Result<()> {
    let mut doomed = Vec::new();
    for name in &args.names {
        let info = api.ask(api.client().subscription(&api.store, name))?;
        doomed.push(format!("{name} ({})", plural(info.status.parked, "parked event")));
    }
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for name in &args.names {
        match api.ask(api.client().delete_subscription(&api.store, name)) {
            Ok(()) => output::line(format!("deleted subscription {name}"))?,
            Err(error) => failures.push(format!("cannot delete subscription \"{name}\": {error:#}")),
        }
    }
    failure::of_some(&failures)
}
