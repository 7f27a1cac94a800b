//! `annals binding remove`

use anyhow::{Result, bail};
use hyper::Method;

use super::Ends;
use crate::client::http::segment;
use crate::client::management::{Binding, Management};
use crate::commands::arguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals binding remove orders --queue billing --routing-key 'orders.#'
  annals binding remove by-header --queue invoices --argument x-match=all --argument format=pdf";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    ends: Ends,
}

/// Removes the binding with this key and these arguments.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let ends = &args.ends;
    let ((_, kind, destination), path) = (ends.destination()?, ends.path(management)?);
    let wanted = arguments::object(&ends.arguments);
    let bindings: Vec<Binding> = management.get(&path)?;
    let found = bindings
        .iter()
        .find(|binding| binding.routing_key == ends.routing_key && binding.arguments == wanted);
    let Some(found) = found else {
        bail!(
            "exchange \"{}\" has no such binding to {kind} \"{destination}\"; \"annals binding list\" shows what there is",
            ends.source
        );
    };
    management.call(Method::DELETE, &format!("{path}/{}", segment(&found.properties_key)), None)?;
    output::line(format!("unbound {kind} {destination} from exchange {}", ends.source))
}
