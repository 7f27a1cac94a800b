//! `annals store list` and `annals store describe`

use annals::client::StoreInfo;
use anyhow::Result;

use crate::api::Api;
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const LIST_EXAMPLES: &str = "\
Examples:
  annals store list
  annals store list -o json | jq -r '.[].name'";

const EXAMPLES: &str = "\
Examples:
  annals store describe bank
  annals store describe bank -o json";

#[derive(clap::Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Stores to describe
    #[arg(required = true, value_name = "STORE")]
    stores: Vec<String>,

    #[command(flatten)]
    output: FormatArgs,
}

/// Lists the stores.
pub(crate) fn list(api: &Api, args: &ListArgs) -> Result<()> {
    print(&api.ask(api.client().stores())?, args.output.format)
}

/// Describes some stores.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let find = |name: &String| api.ask(api.client().store(name));
    let stores: Vec<StoreInfo> = args.stores.iter().map(find).collect::<Result<_>>()?;
    print(&stores, args.output.format)
}

fn print(stores: &[StoreInfo], format: Format) -> Result<()> {
    if format == Format::Json {
        return output::json(&stores);
    }
    let right = |heading| (heading, Align::Right);
    let headings = [
        ("store", Align::Left),
        right("events"),
        right("streams"),
        right("first"),
        right("end"),
        right("indexed"),
    ];
    let mut table = Columns::new(&headings);
    for store in stores {
        table.row([
            store.name.clone(),
            human::count(store.end - store.start.min(store.end)),
            human::count(store.streams),
            store.start.to_string(),
            store.end.to_string(),
            share(store.indexed, store.end),
        ]);
    }
    table.print()
}

/// How much of a store its index holds.
fn share(indexed: u64, end: u64) -> String {
    if indexed >= end {
        return "all".to_owned();
    }
    format!("{:.1} %", indexed as f64 * 100.0 / end as f64)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_share_of_the_index() {
        assert_eq!((share(0, 0).as_str(), share(7, 7).as_str()), ("all", "all"));
        assert_eq!(share(1, 8), "12.5 %");
    }
}
