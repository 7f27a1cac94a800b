//! `annals dev`: something to look at from the first minute.
//!
//! Sample topics, a small live producer of events that look like those of a shop, a consumer group that
//! follows them, and a panel with throughput, lag and latency. Everything goes through the Kafka protocol, as
//! it would from outside.

mod consumer;
mod events;
mod hints;
mod panel;
mod producer;
mod stats;
mod topics;

use std::thread::{Scope, ScopedJoinHandle};

use annals_clock::Clock;
use anyhow::{Context, Result};

use self::panel::Panel;
use self::stats::Stats;
use crate::client::{ConnectArgs, Connection, DEFAULT_BOOTSTRAP};
use crate::interrupt::Interrupt;
use crate::output;

/// The consumer group of the sample consumer.
pub(crate) const GROUP: &str = "dashboard";

const EXAMPLES: &str = "\
Examples:
  annals dev
  annals dev --rate 500";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Broker to show things on
    #[arg(long, value_name = "HOST:PORT", env = "ANNALS_BOOTSTRAP_SERVER", default_value = DEFAULT_BOOTSTRAP)]
    bootstrap_server: String,

    #[command(flatten)]
    load: LoadArgs,
}

/// How lively it is.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct LoadArgs {
    /// Events a second, about
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
}

/// Runs the sample clients against a broker that is there already.
pub(crate) fn run(args: &Args) -> Result<()> {
    run_clients(&args.bootstrap_server, args.load, &Interrupt::listen()?)
}

/// Runs the sample clients against the broker at `bootstrap` until `shutdown` is raised. The broker has to
/// stay until this returns: the producer waits for its acknowledgements, and the consumer commits and leaves
/// its group.
pub(crate) fn run_clients(bootstrap: &str, load: LoadArgs, shutdown: &Interrupt) -> Result<()> {
    let connection = &Connection::open(&ConnectArgs::to(bootstrap))?;
    let clock = Clock::system();
    topics::create(connection)?;
    let stats = Stats::new(&clock)?;
    output::line(hints::text(connection.address()))?;
    std::thread::scope(|scope| {
        let consumer = start(scope, shutdown, "consumer", || consumer::run(connection, &stats, shutdown))?;
        let producer =
            start(scope, shutdown, "producer", || producer::run(connection, load.rate, &stats, shutdown))?;
        let shown = end_all_on_error(shutdown, || Panel::new(connection, &stats)?.run(shutdown));
        join(producer).and(join(consumer)).and(shown)
    })
}

type Client<'scope> = ScopedJoinHandle<'scope, Result<()>>;

fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    shutdown: &'env Interrupt,
    name: &str,
    task: impl FnOnce() -> Result<()> + Send + 'scope,
) -> Result<Client<'scope>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn_scoped(scope, move || end_all_on_error(shutdown, task));
    end_all_on_error(shutdown, || started.context("cannot start a sample client"))
}

fn join(client: Client<'_>) -> Result<()> {
    client.join().map_err(|_| anyhow::anyhow!("a sample client has panicked"))?
}

/// One part that fails takes the others with it, so that the failure is seen.
fn end_all_on_error<T>(shutdown: &Interrupt, task: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = task();
    if outcome.is_err() {
        shutdown.raise();
    }
    outcome
}
