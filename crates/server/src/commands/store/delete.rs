//! `annals store delete`

use annals::client::StoreInfo;
use anyhow::Result;

use crate::api::Api;
use crate::commands::delete::Certainty;
use crate::failure;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals store delete bank
  annals store delete bank --yes";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Stores to delete
    #[arg(required = true, value_name = "STORE")]
    stores: Vec<String>,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the stores, after asking.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let mut doomed = Vec::new();
    for name in &args.stores {
        let store: StoreInfo = api.ask(api.client().store(name))?;
        doomed.push(format!("{name} ({})", plural(store.end - store.start.min(store.end), "event")));
    }
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for name in &args.stores {
        match api.ask(api.client().delete_store(name)) {
            Ok(()) => output::line(format!("deleted store {name}"))?,
            Err(error) => failures.push(format!("cannot delete store \"{name}\": {error:#}")),
        }
    }
    failure::of_some(&failures)
}
