//! `annals binding add`

use anyhow::Result;
use hyper::Method;
use serde_json::json;

use super::Ends;
use crate::client::management::Management;
use crate::commands::arguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals binding add orders --queue billing --routing-key 'orders.#'
  annals binding add by-header --queue invoices --argument x-match=all --argument format=pdf
  annals binding add orders --exchange audit --routing-key '#'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    ends: Ends,
}

/// Has the binding be there.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let ends = &args.ends;
    let (_, kind, destination) = ends.destination()?;
    let body = json!({"routing_key": ends.routing_key, "arguments": arguments::object(&ends.arguments)});
    management.call(Method::POST, &ends.path(management)?, Some(&body))?;
    output::line(format!("bound {kind} {destination} to exchange {}", ends.source))
}
