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

use std::path::PathBuf;
use std::thread::{Scope, ScopedJoinHandle};

use annals_clock::Clock;
use anyhow::{Context, Result};
use tokio::sync::watch;

use self::panel::Panel;
use self::stats::Stats;
use crate::client::{ConnectArgs, Connection};
use crate::interrupt::Interrupt;
use crate::output;
use crate::serve::config::{self, Settings};
use crate::serve::serve;

/// The consumer group of the sample consumer.
pub(crate) const GROUP: &str = "dashboard";

const EXAMPLES: &str = "\
Examples:
  annals dev
  annals dev --data-dir ./data --rate 500
  annals dev --bootstrap-server 127.0.0.1:9092";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Keep the data in this directory instead of one that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where Kafka clients connect; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    kafka_addr: String,

    /// Where health and metrics are served; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7117")]
    http_addr: String,

    /// Show things on a broker that runs already, instead of serving
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["data_dir", "kafka_addr", "http_addr"])]
    bootstrap_server: Option<String>,

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

/// Serves, and runs the sample clients against that; or against a broker that is there already.
pub(crate) fn run(args: &Args) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    if let Some(bootstrap) = &args.bootstrap_server {
        return run_clients(bootstrap, args.load, &interrupt);
    }
    let scratch = if args.data_dir.is_none() { Some(Scratch::new()?) } else { None };
    let data_dir = scratch.as_ref().map(|scratch| scratch.0.clone()).or_else(|| args.data_dir.clone());
    let data_dir = config::text_of(&data_dir.unwrap_or_default())?;
    let off = String::new();
    let pairs = [
        ("data_dir", &data_dir),
        ("kafka.addr", &args.kafka_addr),
        ("http.addr", &args.http_addr),
        ("amqp.addr", &off),
    ];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
    let settings = Settings::load(None, config::environment()?.into_iter(), &pairs)?;
    let (stop, stopped) = watch::channel(false);
    let (ready, readied) = std::sync::mpsc::sync_channel(1);
    let server = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
        serve(settings, stopped, |addresses| {
            // The commands' thread waits for it.
            ready.send(addresses).context("nobody waits for the server")
        })
    })?;
    let shown = match readied.recv() {
        Ok(addresses) => {
            let (kafka, http) = (addresses.kafka, addresses.http);
            output::line(format!("serving kafka={kafka} http={http}, data in {data_dir}"))?;
            run_clients(&kafka.to_string(), args.load, &interrupt)
        }
        // The server ended before it was ready, and says why.
        Err(_) => Ok(()),
    };
    let _ = stop.send(true);
    let served = server.join().map_err(|_| anyhow::anyhow!("the server has panicked"))?;
    served.and(shown)
}

/// A directory that goes away with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let clock = Clock::system();
        let path = std::env::temp_dir().join(format!("annals-dev-{}", clock.uuid_v7()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst, in a place that is cleaned up anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
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
