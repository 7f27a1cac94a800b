//! `annals stream delete`

use annals::client::StreamInfo;
use annals::store::Expected;
use anyhow::Result;

use super::parse_expected;
use crate::api::StoreApi;
use crate::commands::delete::Certainty;
use crate::failure;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals stream delete cart-17 --store shop
  annals stream delete cart-17 cart-18 --store shop --yes
  annals stream delete cart-17 --store shop --for-good --expected 12 --yes

A deleted stream shows no events. An append brings it back, without its past, unless it was deleted for good.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Streams to delete
    #[arg(required = true, value_name = "STREAM")]
    streams: Vec<String>,

    /// Let nothing ever be appended to them again
    #[arg(long)]
    for_good: bool,

    /// What each stream must be like: any, exists, or the revision of its last event
    #[arg(long, value_name = "EXPECTED", default_value = "any", value_parser = parse_expected)]
    expected: Expected,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the streams, after asking.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let mut doomed = Vec::new();
    for name in &args.streams {
        let info: StreamInfo = api.ask_of_stream(name, api.client().stream(&api.store, name))?;
        let last = info.last_revision.map_or(0, |last| last.0 + 1);
        let events = plural(last.saturating_sub(info.first_revision.0), "event");
        let manner = if args.for_good { ", for good" } else { "" };
        doomed.push(format!("{name} ({events}{manner})"));
    }
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for name in &args.streams {
        let deleted = api.client().delete_stream(&api.store, name, args.expected, args.for_good);
        match api.ask_of_stream(name, deleted) {
            Ok(_) => output::line(format!("deleted stream {name}"))?,
            Err(error) => failures.push(format!("cannot delete stream \"{name}\": {error:#}")),
        }
    }
    failure::of_some(&failures)
}
