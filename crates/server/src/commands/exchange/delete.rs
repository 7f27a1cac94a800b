//! `annals exchange delete`

use anyhow::Result;
use hyper::Method;

use crate::client::management::{Management, missing};
use crate::commands::delete::Certainty;
use crate::failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals exchange delete orders
  annals exchange delete orders --if-unused --yes";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Exchanges to delete
    #[arg(required = true, value_name = "EXCHANGE")]
    exchanges: Vec<String>,

    /// Only one that no binding leads away from
    #[arg(long)]
    if_unused: bool,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the exchanges, after asking.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let doomed: Vec<String> = args.exchanges.iter().map(|name| format!("exchange {name}")).collect();
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for name in &args.exchanges {
        let path = format!("{}?if-unused={}", management.path("exchanges", &[name]), args.if_unused);
        match management.call(Method::DELETE, &path, None).map_err(|error| missing(error, "exchange", name)) {
            Ok(_) => output::line(format!("deleted exchange {name}"))?,
            Err(error) => failures.push(format!("cannot delete exchange \"{name}\": {error:#}")),
        }
    }
    failure::of_some(&failures)
}
