//! Work that is measured from inside: a process of its own, so that its processor time and memory are those of one thing
//! alone. The harness starts itself again as `annals-bench worker ...` and reads one JSON object from its output.
//!
//! [`embedded`] is an event store in this process; the other files are clients of servers that do the same job.

mod driver;
mod embedded;
mod http;
mod postgres;
mod process;
mod slow;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::command::output;

/// Bytes of an event's data.
pub(crate) const EVENT_BYTES: usize = 256;

/// What the first argument is when this is a worker.
const NAME: &str = "worker";

#[derive(Parser)]
#[command(name = "annals-bench worker")]
struct Options {
    #[command(subcommand)]
    work: Work,
}

/// What a worker does.
#[derive(Subcommand)]
enum Work {
    /// Appends to an event store in this process
    Append(embedded::AppendOptions),
    /// Appends to a server of Annals over HTTP
    HttpAppend(http::Options),
    /// Appends to PostgreSQL
    PostgresAppend(postgres::Options),
    /// Reads an event store in this process, and builds its index again
    Read(embedded::ReadOptions),
    /// Waits until an event store whose index is gone answers again
    Reopen(embedded::ReopenOptions),
}

/// How long appends go on.
#[derive(clap::Args, Clone, Copy)]
struct Pace {
    /// Appends under way at any time
    #[arg(long)]
    in_flight: u64,
    /// Streams that are appended to in turn; each belongs to one of those under way
    #[arg(long)]
    streams: u64,
    /// Milliseconds before the measuring starts
    #[arg(long, default_value_t = 500)]
    warm_up_ms: u64,
    /// Milliseconds that are measured
    #[arg(long)]
    lasting_ms: u64,
}

/// What came of appending.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Appended {
    /// Appends in a second.
    pub(crate) per_s: f64,
    /// Appends before and while it was measured.
    pub(crate) all: u64,
    /// From the call to the acknowledgement.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time of this process for each append: of client and store where both are in it.
    pub(crate) cpu_us: f64,
    /// Resident memory of this process at the end, and at its peak.
    pub(crate) resident_mib: f64,
    pub(crate) resident_peak_mib: f64,
}

/// What came of reading.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct ReadBack {
    /// The median time to load one stream of 1,000 events, its events being in memory.
    pub(crate) stream_ms: f64,
    pub(crate) events: u64,
    pub(crate) all_per_s: f64,
    pub(crate) all_cpu_us: f64,
    pub(crate) rebuilt_per_s: f64,
    pub(crate) rebuilt_cpu_us: f64,
    pub(crate) resident_peak_mib: f64,
}

/// What came of starting without an index.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Reopened {
    /// Until the store is open.
    pub(crate) opened_s: f64,
    /// Until the first append is durable.
    pub(crate) appended_s: f64,
    /// Until the index holds everything.
    pub(crate) indexed_s: f64,
    pub(crate) resident_peak_mib: f64,
}

/// Works, if that is what this process was started for.
pub(crate) fn run_if_wanted() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    if arguments.next()? != NAME {
        return None;
    }
    let options = Options::parse_from(std::iter::once(program).chain(arguments));
    Some(match run(options.work) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(work: Work) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        Ok(match work {
            Work::Append(options) => serde_json::to_string(&embedded::append(options).await?)?,
            Work::HttpAppend(options) => serde_json::to_string(&http::append(options).await?)?,
            Work::PostgresAppend(options) => serde_json::to_string(&postgres::append(options).await?)?,
            Work::Read(options) => serde_json::to_string(&embedded::read(options).await?)?,
            Work::Reopen(options) => serde_json::to_string(&embedded::reopen(options).await?)?,
        })
    })
}

/// One call of a worker, as the harness makes it.
pub(crate) struct Worker(Vec<String>);

impl Worker {
    /// A worker that does this.
    pub(crate) fn new(work: &str) -> Self {
        Self(vec![NAME.to_owned(), work.to_owned()])
    }

    /// With an option.
    pub(crate) fn with(mut self, option: &str, value: &impl ToString) -> Self {
        self.0.extend([format!("--{option}"), value.to_string()]);
        self
    }

    /// With a directory for its data.
    pub(crate) fn in_directory(self, directory: &std::path::Path) -> Self {
        self.with("directory", &directory.display())
    }

    /// Appending for so long, with so many under way.
    pub(crate) fn lasting(self, duration: Duration) -> Self {
        self.with("lasting-ms", &duration.as_millis())
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) fn run<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let program: PathBuf = std::env::current_exe().context("cannot find this program")?;
        let text = output(Command::new(program).args(&self.0)).with_context(|| self.0.join(" "))?;
        serde_json::from_str(&text).context("the worker printed other JSON")
    }
}
