//! `annals bench`: load through the Kafka protocol, and beside it what the disk can do by itself.
//!
//! The load comes from the same client library that applications use. Per record it costs little: one payload
//! buffer is reused, and the time of sending travels as a number beside the record, so that neither the
//! client nor the measuring is what is measured. Latency under `--rate` counts from the moment at which a
//! record was due, so a stall shows in every record that it held up.

mod baseline;
mod consume;
mod e2e;
mod latency;
mod load;
mod produce;
mod report;
mod watch;

use anyhow::Result;
use clap::Subcommand;

use self::baseline::Baseline;
use self::load::{Load, LoadArgs};
use self::report::Report;
use crate::client::{ConnectArgs, Connection};
use crate::interrupt::Interrupt;
use crate::output::FormatArgs;

const EXAMPLES: &str = "\
Examples:
  annals bench produce --size 1KiB --duration 10s --disk-dir /var/lib/annals
  annals bench produce --window 1 --count 2000        # latency of one durable write after the other
  annals bench e2e --rate 5000 -o json
  annals bench all --partitions 4 --disk-dir .";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,

    #[command(flatten)]
    output: FormatArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write as fast as the broker acknowledges
    Produce(LoadArgs),
    /// Read as fast as the broker serves (writes the records first if the topic is new)
    Consume(LoadArgs),
    /// Time from sending a record to receiving it
    E2e(LoadArgs),
    /// The disk alone: 1 MiB and 4 KiB writes, each with fdatasync
    Disk(baseline::Args),
    /// Produce, consume, end to end, and the disk
    All(LoadArgs),
}

/// Runs one benchmark and prints its figures.
pub(crate) fn run(args: &Args) -> Result<()> {
    let report = match &args.command {
        Command::Disk(disk) => Report { runs: Vec::new(), disk: Some(baseline::run(disk)?) },
        Command::Produce(load) => loaded(args, load, &[produce::run])?,
        Command::Consume(load) => loaded(args, load, &[consume::run])?,
        Command::E2e(load) => loaded(args, load, &[e2e::run])?,
        Command::All(load) => loaded(args, load, &[produce::run, consume::run, e2e::run])?,
    };
    report.print(args.output.format)
}

type Run = fn(&Load<'_>) -> Result<report::Run>;

/// Runs `tests` on one topic, with half of the baseline before and half after them.
fn loaded(args: &Args, load: &LoadArgs, tests: &[Run]) -> Result<Report> {
    let connection = Connection::open(&args.connect)?;
    let mut baseline = load.disk_dir.as_deref().map(Baseline::start).transpose()?;
    let load = Load::prepare(&connection, load, Interrupt::listen()?)?;
    let mut runs = Vec::new();
    for test in tests {
        if !load.interrupt.is_raised() {
            runs.push(test(&load)?);
        }
    }
    load.clean_up()?;
    if let Some(baseline) = &mut baseline {
        baseline.measure()?;
    }
    Ok(Report { runs, disk: baseline.map(Baseline::finish) })
}
