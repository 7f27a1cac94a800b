//! Serving: puts journal, broker and front-ends together and takes them apart again in order.
//!
//! Start: lock the directory, answer HTTP (not ready yet), recover, accept Kafka and AMQP clients, say so in one line on
//! standard output. Stop: no new connections, finish what is under way, stop background work, sync and close the journal. A second
//! signal ends the process at once; nothing acknowledged is lost either way.

pub(crate) mod config;
pub(crate) mod logging;
#[cfg_attr(not(feature = "otlp"), path = "otlp_absent.rs")]
pub(crate) mod otlp;
mod status;

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_broker::Broker;
use annals_clock::Clock;
use annals_journal::{DataLock, DiskFiles};
use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::config::Settings;
use self::status::ServerStatus;

/// How long the end waits for background work that does not look whether it should end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// With fewer open files a server soon has to refuse clients or data.
const OPEN_FILES_MIN: u64 = 4096;

/// Where a server can be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) kafka: SocketAddr,
    /// `None` if it is turned off.
    pub(crate) amqp: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
}

/// Serves until `shutdown` becomes true. `ready` is told the addresses once clients are accepted.
pub(crate) fn serve(
    settings: Settings,
    shutdown: watch::Receiver<bool>,
    ready: impl FnOnce(Addresses) -> Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("annals")
        .build()
        .context("cannot start the runtime")?;
    raise_open_files();
    let ended = runtime.block_on(run(settings, shutdown, ready));
    // What still runs builds an index or recovers data: both begin again at the next start.
    runtime.shutdown_timeout(END_TIMEOUT);
    ended
}

/// Takes as many open files as the system lets us have: each connection needs one, and each segment two.
fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    if limits.current < limits.maximum || (limits.maximum.is_none() && limits.current.is_some()) {
        let wanted = Rlimit { current: limits.maximum, maximum: limits.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < OPEN_FILES_MIN) {
        tracing::warn!(
            most,
            "few files may be open at a time; each connection takes one, and each 64 MiB of data two"
        );
    }
}

async fn run(
    settings: Settings,
    shutdown: watch::Receiver<bool>,
    ready: impl FnOnce(Addresses) -> Result<()>,
) -> Result<()> {
    let clock = Clock::system();
    let lock = lock(&settings.data_dir)?;
    let status = Arc::new(ServerStatus::default());
    let (metrics, shared) = (status.http_metrics(), Arc::clone(&status) as _);
    let http = annals_http::Server::bind(settings.http.clone(), shared, metrics, clock.clone());
    let http = http.await.context("cannot serve HTTP")?;
    let http_address = http.local_addr();
    let (stop_http, http_stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(http.run(raised(http_stopped)));

    let broker = tokio::select! {
        opened = open(&settings, &clock) => opened?,
        () = raised(shutdown.clone()) => {
            tracing::info!("stopping before the data was recovered");
            // Recovery may go on until the process ends, and nobody else may use the directory before.
            std::mem::forget(lock);
            return Ok(());
        }
    };
    status.attach(broker.clone());
    let (stop_broker, broker_stopped) = watch::channel(false);
    let (running, mut background) = (broker.clone(), JoinSet::new());
    background.spawn(async move { running.run(raised(broker_stopped)).await });
    let kafka = annals_kafka::Server::bind(settings.kafka.clone(), broker.clone(), clock.clone()).await;
    let kafka = kafka.context("cannot serve Kafka clients")?;
    let amqp = bind_amqp(&settings, &broker, clock).await?;
    let amqp_address = amqp.as_ref().map(annals_amqp::Server::local_addr);
    ready(Addresses { kafka: kafka.local_addr(), amqp: amqp_address, http: http_address })?;

    let amqp = amqp.map(|amqp| amqp.run(raised(shutdown.clone())));
    let amqp = async {
        if let Some(amqp) = amqp {
            amqp.await;
        }
    };
    tokio::join!(kafka.run(draining(shutdown, Arc::clone(&status))), amqp);
    // Nobody waits any more: what is left to do is to end in order.
    let _ = stop_broker.send(true);
    // What is under way may still need the journal.
    while let Some(ended) = background.join_next().await {
        ended.context("the background work of the broker failed")?;
    }
    let closing = broker.clone();
    tokio::task::spawn_blocking(move || closing.close()).await.context("cannot close the journal")?;
    let _ = stop_http.send(true);
    while tasks.join_next().await.is_some() {}
    drop(lock);
    match broker.stopped() {
        Some(reason) if reason != annals_journal::CLOSED => {
            anyhow::bail!("the journal had stopped: {reason}")
        }
        _ => Ok(()),
    }
}

/// Listens for AMQP clients, unless that is turned off.
async fn bind_amqp(
    settings: &Settings,
    broker: &Broker,
    clock: Clock,
) -> Result<Option<annals_amqp::Server>> {
    let Some(options) = settings.amqp.clone() else { return Ok(None) };
    let bound = annals_amqp::Server::bind(options, broker.clone(), clock).await;
    bound.map(Some).context("cannot serve AMQP clients")
}

/// Makes the data directory if it is not there, and makes sure that nobody else uses it.
fn lock(directory: &Path) -> Result<DataLock> {
    let place = directory.display();
    // Others have no business in it: it holds the data and the keys of what is encrypted.
    let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.with_context(|| format!("cannot make the data directory {place}"))?;
    Ok(DataLock::acquire(directory)?)
}

async fn open(settings: &Settings, clock: &Clock) -> Result<Broker> {
    let place = settings.data_dir.display().to_string();
    let files = DiskFiles::with_direct(&settings.data_dir, settings.direct_io);
    let files = Arc::new(files.with_context(|| format!("cannot open {place}"))?);
    let (mut broker, journal, clock) = (settings.broker.clone(), settings.journal.clone(), clock.clone());
    broker.index_directory.get_or_insert_with(|| settings.data_dir.join("indexes"));
    let opened = tokio::task::spawn_blocking(move || Broker::open(broker, journal, files, clock));
    let opened = opened.await.context("opening the data panicked")?;
    opened.with_context(|| format!("cannot open the data in {place}"))
}

async fn raised(mut flag: watch::Receiver<bool>) {
    // The sender going away ends the server too.
    let _ = flag.wait_for(|raised| *raised).await;
}

async fn draining(shutdown: watch::Receiver<bool>, status: Arc<ServerStatus>) {
    raised(shutdown).await;
    tracing::info!("stopping: finishing what is under way");
    status.drain();
}
