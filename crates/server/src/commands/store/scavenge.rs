//! `annals store scavenge`

use annals::client::Scavenged;
use anyhow::Result;

use crate::api::Api;
use crate::human;
use crate::output::{self, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals store scavenge bank

What is given back: events of deleted streams, and those that a stream's metadata (max-age, max-count,
truncate-before) does not show any more.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The store
    store: String,

    #[command(flatten)]
    output: FormatArgs,
}

/// Scavenges a store and says what came of it.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let done: Scavenged = api.ask(api.client().scavenge(&args.store))?;
    if args.output.format == Format::Json {
        return output::json(&done);
    }
    let (before, after) = (human::bytes(done.bytes_before), human::bytes(done.bytes_after));
    let back = human::bytes(done.bytes_before.saturating_sub(done.bytes_after));
    output::line(format!("scavenged store {}: {before} before, {after} after, {back} given back", args.store))
}
