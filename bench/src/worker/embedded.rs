//! An event store in this process: the broker alone, as an application embeds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_broker::api::Caller;
use annals_broker::api::stores::{
    AppendEvents, Expected, NewEvent, ReadEvents, Revision, Selection, StreamName, WriteStream,
};
use annals_broker::{Broker, Options};
use annals_clock::Clock;
use annals_event::Event;
use annals_journal::{DiskFiles, Files};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::slow::SlowFiles;
use super::{Appended, EVENT_BYTES, Pace, ReadBack, Reopened, driver, process};

const STORE: &str = "bench";
/// Streams that one append of the filling writes to.
const FILL_STREAMS: u64 = 500;
/// Appends of the filling that are under way.
const FILL_IN_FLIGHT: usize = 16;
/// The stream that is loaded, and its events.
const LOADED: &str = "loaded-1";
const LOADED_EVENTS: usize = 1_000;
const LOADS: usize = 201;

#[derive(clap::Args)]
pub(super) struct AppendOptions {
    #[arg(long)]
    directory: PathBuf,
    #[command(flatten)]
    pace: Pace,
    /// Events that every stream gets before
    #[arg(long, default_value_t = 0)]
    filled: u64,
    /// How much longer each sync takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    sync_ms: u64,
}

#[derive(clap::Args)]
pub(super) struct ReadOptions {
    #[arg(long)]
    directory: PathBuf,
    /// Streams to fill the store with, unless it has events
    #[arg(long)]
    streams: u64,
    /// Events of each of them
    #[arg(long)]
    filled: u64,
}

#[derive(clap::Args)]
pub(super) struct ReopenOptions {
    #[arg(long)]
    directory: PathBuf,
}

/// A broker with one store.
struct Embedded {
    broker: Broker,
    clock: Clock,
    background: JoinSet<()>,
}

impl Embedded {
    async fn open(directory: &Path) -> Result<Self> {
        Self::open_slow(directory, Duration::ZERO).await
    }

    /// Opens a broker on a disk whose syncs take so much longer.
    async fn open_slow(directory: &Path, sync: Duration) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (clock, files) = (Clock::system(), DiskFiles::open(directory)?);
        let files: Arc<dyn Files> =
            if sync.is_zero() { Arc::new(files) } else { Arc::new(SlowFiles::new(files, sync)) };
        let options = Options { index_directory: Some(indexes(directory)), ..Options::default() };
        let broker = Broker::open(options, annals_journal::Options::default(), files, clock.clone())?;
        let (running, mut background) = (broker.clone(), JoinSet::new());
        background.spawn(async move { running.run(std::future::pending()).await });
        if broker.stores(&Caller::internal()).await.is_empty() {
            broker.create_store(&Caller::internal(), STORE).await?;
        }
        Ok(Self { broker, clock, background })
    }

    async fn close(mut self) {
        self.background.shutdown().await;
        self.broker.close();
    }

    fn client(&self) -> Appender {
        Appender {
            broker: self.broker.clone(),
            clock: self.clock.clone(),
            data: Bytes::from(vec![b'x'; EVENT_BYTES]),
        }
    }

    async fn end(&self) -> u64 {
        self.broker.stores(&Caller::internal()).await.first().map_or(0, |store| store.end.0)
    }

    /// Waits until the index holds everything, so that what is measured next does not pay for what was before.
    async fn wait_for_index(&self) {
        loop {
            let stores = self.broker.stores(&Caller::internal()).await;
            if stores.iter().all(|store| store.indexed >= store.end) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Gives each stream so many events, one after the other: the events of a stream lie far apart, as they do in life.
    async fn fill(&self, streams: u64, events: u64) -> Result<()> {
        let mut under_way = JoinSet::new();
        for _ in 0..events {
            for first in (0..streams).step_by(FILL_STREAMS as usize) {
                if under_way.len() >= FILL_IN_FLIGHT
                    && let Some(done) = under_way.join_next().await
                {
                    done??;
                }
                let client = self.client();
                under_way.spawn(async move {
                    client.append_to_all(first..(first + FILL_STREAMS).min(streams)).await
                });
            }
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn read_all(&self) -> Result<u64> {
        let mut request = ReadEvents { limit: 10_000, ..ReadEvents::new(STORE, Selection::All) };
        let mut count = 0;
        loop {
            let read = self.broker.read_events(&Caller::internal(), request.clone()).await?;
            count += read.events.len() as u64;
            request.from = read.next;
            if read.next.is_none() {
                return Ok(count);
            }
        }
    }

    /// The median time of a load.
    async fn load_stream(&self) -> Result<f64> {
        let stream = StreamName::new(LOADED)?;
        let mut times = Vec::new();
        for _ in 0..LOADS {
            let began = self.clock.monotonic();
            let request =
                ReadEvents { limit: 10_000, ..ReadEvents::new(STORE, Selection::Stream(stream.clone())) };
            let read = self.broker.read_events(&Caller::internal(), request).await?;
            times.push((self.clock.monotonic() - began).as_secs_f64() * 1e3);
            ensure!(read.events.len() == LOADED_EVENTS, "the stream has {} events", read.events.len());
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// Where a broker in `directory` has its indexes.
pub(super) fn indexes(directory: &Path) -> PathBuf {
    directory.join("indexes")
}

/// Appends through one broker.
struct Appender {
    broker: Broker,
    clock: Clock,
    data: Bytes,
}

impl Appender {
    fn event(&self) -> Result<NewEvent> {
        let event = Event::builder("/bank", "MoneyDeposited").data("application/json", self.data.clone());
        Ok(event.build(&self.clock)?.into())
    }

    async fn append_to_all(&self, streams: std::ops::Range<u64>) -> Result<()> {
        let write = |stream| -> Result<WriteStream> {
            Ok(WriteStream { stream: name_of(stream)?, expected: Expected::Any, events: vec![self.event()?] })
        };
        let writes = streams.map(write).collect::<Result<_>>()?;
        let request =
            AppendEvents { store: STORE.into(), writes, guards: Vec::new(), conditions: Vec::new() };
        self.broker.append_events(&Caller::internal(), request).await?;
        Ok(())
    }
}

impl driver::Client for Appender {
    async fn append(&mut self, stream: u64, revision: u64) -> Result<()> {
        let expected = revision
            .checked_sub(1)
            .map_or(Expected::NoStream, |revision| Expected::Exact(Revision(revision)));
        let request = AppendEvents::to_stream(STORE, name_of(stream)?, expected, vec![self.event()?]);
        let appended = self.broker.append_events(&Caller::internal(), request).await?;
        ensure!(appended.last_revisions == [Revision(revision)], "another revision than expected");
        Ok(())
    }
}

fn name_of(stream: u64) -> Result<StreamName> {
    Ok(StreamName::new(&format!("account-{stream}"))?)
}

pub(super) async fn append(options: AppendOptions) -> Result<Appended> {
    let sync = Duration::from_millis(options.sync_ms);
    let store = Embedded::open_slow(&options.directory, sync).await?;
    store.fill(options.pace.streams, options.filled).await?;
    store.wait_for_index().await;
    let clients = (0..options.pace.in_flight).map(|_| store.client()).collect();
    let appended = driver::run(clients, options.pace, options.filled).await?;
    ensure!(
        store.end().await == appended.all + options.filled * options.pace.streams,
        "the store has {} events",
        store.end().await
    );
    store.close().await;
    Ok(appended)
}

pub(super) async fn read(options: ReadOptions) -> Result<ReadBack> {
    let store = Embedded::open(&options.directory).await?;
    if store.end().await == 0 {
        let client = store.client();
        let events = (0..LOADED_EVENTS).map(|_| client.event()).collect::<Result<Vec<_>>>()?;
        let request = |event| {
            Ok::<_, anyhow::Error>(AppendEvents::to_stream(
                STORE,
                StreamName::new(LOADED)?,
                Expected::Any,
                vec![event],
            ))
        };
        store.fill(options.streams, options.filled / 2).await?;
        for event in events {
            store.broker.append_events(&Caller::internal(), request(event)?).await?;
        }
        store.fill(options.streams, options.filled.div_ceil(2)).await?;
    }
    store.wait_for_index().await;
    let stream_ms = store.load_stream().await?;
    let (read_s, read_us, events) = timed(&store, store.read_all()).await?;
    ensure!(events == store.end().await, "{events} events were read");
    let rebuild = async {
        let name = STORE.into();
        store.broker.rebuild_store_index(&Caller::internal(), &name).await.context("building the index")
    };
    let (rebuilt_s, rebuilt_us, ()) = timed(&store, rebuild).await?;
    let again_ms = store.load_stream().await?;
    let read = ReadBack {
        stream_ms: stream_ms.min(again_ms),
        events,
        all_per_s: events as f64 / read_s,
        all_cpu_us: read_us / events as f64,
        rebuilt_per_s: events as f64 / rebuilt_s,
        rebuilt_cpu_us: rebuilt_us / events as f64,
        resident_peak_mib: process::resident_mib()?.1,
    };
    store.close().await;
    Ok(read)
}

/// What something gives, with its seconds and its microseconds of processor time.
async fn timed<T>(store: &Embedded, work: impl Future<Output = Result<T>>) -> Result<(f64, f64, T)> {
    let before = (store.clock.monotonic(), process::cpu_us()?);
    let given = work.await?;
    Ok(((store.clock.monotonic() - before.0).as_secs_f64(), process::cpu_us()? - before.1, given))
}

pub(super) async fn reopen(options: ReopenOptions) -> Result<Reopened> {
    std::fs::remove_dir_all(indexes(&options.directory)).context("there are no indexes to remove")?;
    let clock = Clock::system();
    let began = clock.monotonic();
    let since = || (clock.monotonic() - began).as_secs_f64();
    let store = Embedded::open(&options.directory).await?;
    let opened_s = since();
    let client = store.client();
    let stream = StreamName::new("after-the-start")?;
    let request = AppendEvents::to_stream(STORE, stream, Expected::Any, vec![client.event()?]);
    store.broker.append_events(&Caller::internal(), request).await?;
    let appended_s = since();
    store.wait_for_index().await;
    let reopened =
        Reopened { opened_s, appended_s, indexed_s: since(), resident_peak_mib: process::resident_mib()?.1 };
    store.close().await;
    Ok(reopened)
}
