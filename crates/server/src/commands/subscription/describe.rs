//! `annals subscription list` and `annals subscription describe`

use std::time::Duration;

use annals::client::SubscriptionInfo;
use anyhow::Result;

use crate::api::StoreApi;
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const LIST_EXAMPLES: &str = "\
Examples:
  annals subscription list --store shop
  annals subscription list --store shop -o json | jq '.[] | select(.status.parked > 0)'";

const EXAMPLES: &str = "\
Examples:
  annals subscription describe mailer --store shop";

#[derive(clap::Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Subscriptions to describe
    #[arg(required = true, value_name = "SUBSCRIPTION")]
    names: Vec<String>,

    #[command(flatten)]
    output: FormatArgs,
}

/// Lists all subscriptions of a store.
pub(crate) fn list(api: &StoreApi, args: &ListArgs) -> Result<()> {
    let found = api.ask(api.client().subscriptions(&api.store))?;
    if args.output.format == Format::Json {
        return output::json(&found);
    }
    let end = api.ask(api.client().store(&api.store))?.end;
    let right = |heading| (heading, Align::Right);
    let mut table = Columns::new(&[
        ("subscription", Align::Left),
        ("events", Align::Left),
        right("checkpoint"),
        right("behind"),
        right("waiting"),
        right("leased"),
        right("parked"),
        right("consumers"),
    ]);
    for SubscriptionInfo { name, selection, status, .. } in found {
        let numbers = [
            status.checkpoint,
            end.saturating_sub(status.checkpoint),
            status.waiting,
            status.leased,
            status.parked,
            status.consumers,
        ];
        table.row([name, selection.to_string()].into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.print()
}

/// Describes some subscriptions.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let find = |name: &String| api.ask(api.client().subscription(&api.store, name));
    let found: Vec<SubscriptionInfo> = args.names.iter().map(find).collect::<Result<_>>()?;
    match args.output.format {
        Format::Json => output::json(&found),
        Format::Table => found.iter().try_for_each(print),
    }
}

fn print(found: &SubscriptionInfo) -> Result<()> {
    let SubscriptionInfo { name, selection, options, status } = found;
    output::line(format!("subscription {name}: {selection}"))?;
    let timeout = options.ack_timeout_ms.map(|ms| human::duration(Duration::from_millis(ms)));
    let choices = [
        ("ack-timeout", timeout),
        ("deliveries-max", options.deliveries_max.map(|number| number.to_string())),
        ("in-flight-max", options.in_flight_max.map(|number| number.to_string())),
        ("buffer-max", options.buffer_max.map(|number| number.to_string())),
        ("ordered", options.ordered_by_stream.map(|ordered| ordered.to_string())),
    ];
    for (name, value) in choices {
        if let Some(value) = value {
            output::line(format!("  {name}={value}"))?;
        }
    }
    output::line(format!(
        "  checkpoint {}, looked to {}, {} waiting, {} leased, {} parked, {}",
        status.checkpoint,
        status.looked_to,
        human::count(status.waiting),
        human::count(status.leased),
        human::count(status.parked),
        human::plural(status.consumers, "consumer")
    ))
}
