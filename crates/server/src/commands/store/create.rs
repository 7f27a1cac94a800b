//! `annals store create`

use anyhow::Result;

use crate::api::Api;
use crate::failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals store create bank
  annals store create bank --if-not-exists";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Stores to create
    #[arg(required = true, value_name = "STORE")]
    stores: Vec<String>,

    /// Succeed if a store is there already
    #[arg(long)]
    if_not_exists: bool,
}

/// Creates the stores.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let mut failures = Vec::new();
    for name in &args.stores {
        match api.wait(api.client().create_store(name)) {
            Ok(_) => output::line(format!("created store {name}"))?,
            // A topic has the name as well: then there is no store.
            Err(_) if args.if_not_exists && api.wait(api.client().store(name)).is_ok() => {
                output::line(format!("store {name} is there already"))?;
            }
            Err(error) => {
                failures.push(format!("cannot create store \"{name}\": {:#}", api.explain(error)));
            }
        }
    }
    failure::of_some(&failures)
}
