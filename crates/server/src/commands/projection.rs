//! `annals projection`: how the projections and reactions of programs do, and orders for them.
//!
//! They run in the processes of users. What they say of themselves and what is ordered of them is in the store, so it does not
//! matter where that is.

use std::time::Duration;

use annals::EventStore;
use annals::client::{ReadRequest, Selection};
use annals::projection::{OrderError, ProjectionReport};
use annals::store::Direction;
use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use serde::Serialize;

use crate::api::{StoreApi, StoreArgs};
use crate::moment;
use crate::nearest::hint;
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

const LIST_EXAMPLES: &str = "\
Examples:
  annals projection list --store shop
  annals projection list --store shop -o json | jq '.[] | select(.lag > 0)'

What is shown is what each said last. It says nothing while nothing changes, and nothing any more when its process was
killed: then its lag grows.";

const REBUILD_EXAMPLES: &str = "\
Examples:
  annals projection rebuild daily-revenue --store shop
  annals projection rebuild daily-revenue --store shop --wait

A new one is built from the first event on, beside the present one, which is read and kept up to date meanwhile.
Reactions do not obey: what they have done outside would be done twice.";

const PAUSE_EXAMPLES: &str = "\
Examples:
  annals projection pause daily-revenue --store shop

It stands until `annals projection resume`, also when its program is started anew.";

const RESUME_EXAMPLES: &str = "\
Examples:
  annals projection resume daily-revenue --store shop

Lets it go on after a pause, or after a failure whose cause is gone.";

/// How often to look whether a rebuild is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List projections and reactions: where they stand and how they do
    #[command(after_help = LIST_EXAMPLES)]
    List(FormatArgs),
    /// Let a read model be built anew beside the present one
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild(Rebuild),
    /// Let a projection or reaction stand where it is
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Named),
    /// Let a projection or reaction go on
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Named),
}

#[derive(clap::Args, Debug)]
struct Named {
    /// Its name
    name: String,
}

#[derive(clap::Args, Debug)]
struct Rebuild {
    #[command(flatten)]
    named: Named,

    /// Wait until the new one has taken the place of the present one
    #[arg(short, long)]
    wait: bool,
}

/// Runs one projection command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let api = StoreApi::open(&args.store)?;
    let store = api.api.event_store(&api.store)?;
    match &args.command {
        Command::List(output) => list(&api, &store, output.format),
        Command::Rebuild(args) => rebuild(&api, &store, args),
        Command::Pause(Named { name }) => {
            find(&api, &store, name)?;
            ordered(api.api.wait(store.pause_projection(name)))?;
            output::line(format!("ordered {name} to pause"))
        }
        Command::Resume(Named { name }) => {
            find(&api, &store, name)?;
            ordered(api.api.wait(store.resume_projection(name)))?;
            output::line(format!("ordered {name} to go on"))
        }
    }
}

fn ordered(done: Result<(), OrderError>) -> Result<()> {
    done.map_err(|error| anyhow!(error).context("the order was not given"))
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    report: ProjectionReport,
    /// Positions up to the last event of a user that it has not reached.
    lag: u64,
    reported: String,
}

fn list(api: &StoreApi, store: &EventStore, format: Format) -> Result<()> {
    let reports = api.api.wait(store.projections())?;
    let last = last_position(api)?;
    let row = |report: ProjectionReport| Row {
        name: report.name.clone(),
        lag: lag(&report, last),
        reported: moment::format(report.reported_ms),
        report,
    };
    let rows: Vec<Row> = reports.into_iter().map(row).collect();
    match format {
        Format::Json => output::json(&rows),
        Format::Table => table(&rows).print(),
    }
}

/// The position of the last event that is a user's.
fn last_position(api: &StoreApi) -> Result<Option<u64>> {
    let last = ReadRequest {
        selection: Selection::default(),
        direction: Direction::Backward,
        limit: Some(1),
        ..ReadRequest::default()
    };
    let page = api.ask(api.client().read(&api.store, &last))?;
    Ok(page.events.first().map(|event| event.position.0))
}

fn lag(report: &ProjectionReport, last: Option<u64>) -> u64 {
    let reached = report.position.map_or(0, |position| position.0 + 1);
    last.map_or(0, |last| last + 1).saturating_sub(reached)
}

fn table(rows: &[Row]) -> Columns {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Columns::new(&[
        ("name", left),
        ("version", right),
        ("state", left),
        ("position", right),
        ("lag", right),
        ("reported", left),
        ("rebuild", left),
        ("error", left),
    ]);
    for Row { name, report, lag, reported } in rows {
        let rebuild = report.rebuild.as_ref().map(|rebuild| match &rebuild.error {
            Some(error) => format!("{}: {error}", rebuild.phase),
            None => format!("{} at {}", rebuild.phase, or_dash(rebuild.position)),
        });
        table.row([
            name.clone(),
            report.version.to_string(),
            report.phase.to_string(),
            or_dash(report.position),
            lag.to_string(),
            reported.clone(),
            or_dash(rebuild),
            or_dash(report.error.clone()),
        ]);
    }
    table
}

/// The report of the newest version.
fn find(api: &StoreApi, store: &EventStore, name: &str) -> Result<ProjectionReport> {
    let reports = api.api.wait(store.projections())?;
    if let Some(report) = reports.iter().find(|report| report.name == name) {
        return Ok(report.clone());
    }
    let meant = hint(name, reports.iter().map(|report| report.name.as_str()));
    bail!("no projection or reaction {name} has run on store {}{meant}", api.store)
}

fn rebuild(api: &StoreApi, store: &EventStore, args: &Rebuild) -> Result<()> {
    let name = &args.named.name;
    let before = find(api, store, name)?;
    ordered(api.api.wait(store.rebuild_projection(name)))?;
    if !args.wait {
        return output::line(format!("ordered {name} to be built anew"));
    }
    loop {
        std::thread::sleep(LOOK_EVERY);
        let report = find(api, store, name)?;
        if report.version != before.version || report.generation > before.generation {
            let at = or_dash(report.position);
            return output::line(format!("{name} was built anew, up to position {at}"));
        }
        if let Some(rebuild) = report.rebuild
            && let Some(error) = rebuild.error.filter(|_| rebuild.generation > before.generation)
        {
            bail!("{name} was not built anew: {error}; it stands at {}", or_dash(rebuild.position));
        }
    }
}
