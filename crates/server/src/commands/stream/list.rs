//! `annals stream list`

use annals::client::{NamePage, Names, StreamInfo};
use anyhow::Result;
use serde::Serialize;

use crate::api::StoreApi;
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

const EXAMPLES: &str = "\
Examples:
  annals stream list --store bank
  annals stream list --store bank --prefix account- --long
  annals stream list --store bank --categories -o json";

/// Names that are asked for at once.
const PAGE: usize = 1000;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only names that start so
    #[arg(long, default_value = "")]
    prefix: String,

    /// List categories instead: what stands before the first `-` of the names of streams
    #[arg(long, conflicts_with_all = ["types", "long"])]
    categories: bool,

    /// List types of events instead
    #[arg(long, conflicts_with = "long")]
    types: bool,

    /// Show how many events each stream has, too; asks for each stream
    #[arg(short, long)]
    long: bool,

    /// List what Annals keeps for itself, too: names that start with $ or ~
    #[arg(long)]
    internal: bool,

    /// Stop after this many names
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Serialize)]
struct Row {
    stream: String,
    first_revision: u64,
    last_revision: Option<u64>,
    /// How many are shown.
    events: u64,
}

/// Lists names.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let (kind, heading) = match args {
        Args { categories: true, .. } => (Names::Categories, "category"),
        Args { types: true, .. } => (Names::Types, "type"),
        _ => (Names::Streams, "stream"),
    };
    let names = names(api, kind, args)?;
    if args.long {
        return long(api, &names, args.output.format);
    }
    match args.output.format {
        Format::Json => output::json(&names),
        Format::Table => {
            let mut table = Columns::new(&[(heading, Align::Left)]);
            names.iter().for_each(|name| table.row([name.as_str()]));
            table.print()
        }
    }
}

fn names(api: &StoreApi, kind: Names, args: &Args) -> Result<Vec<String>> {
    let most = args.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let (mut names, mut after) = (Vec::new(), None::<String>);
    while names.len() < most {
        let limit = PAGE.min(most - names.len());
        let page = api.client().names(&api.store, kind, &args.prefix, after.as_deref(), limit, args.internal);
        let NamePage { names: found, next } = api.ask(page)?;
        names.extend(found);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(names)
}

fn long(api: &StoreApi, names: &[String], format: Format) -> Result<()> {
    let rows: Vec<Row> = names.iter().map(|name| describe(api, name)).collect::<Result<_>>()?;
    if format == Format::Json {
        return output::json(&rows);
    }
    let right = ["first", "last", "events"].map(|heading| (heading, Align::Right));
    let mut table = Columns::new(&[("stream", Align::Left), right[0], right[1], right[2]]);
    for row in rows {
        let last = or_dash(row.last_revision);
        table.row([row.stream, row.first_revision.to_string(), last, row.events.to_string()]);
    }
    table.print()
}

fn describe(api: &StoreApi, name: &str) -> Result<Row> {
    let info: StreamInfo = api.ask(api.client().stream(&api.store, name))?;
    let (first, last) = (info.first_revision.0, info.last_revision.map(|revision| revision.0));
    let events = last.map_or(0, |last| (last + 1).saturating_sub(first));
    Ok(Row { stream: info.name, first_revision: first, last_revision: last, events })
}
