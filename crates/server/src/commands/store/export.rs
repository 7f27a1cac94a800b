//! `annals store export`: all that users have put into a store, as JSON lines.
//!
//! First the schemas that programs have registered, then users' events in the order of the store, then what streams have as
//! metadata. What the library derives (snapshots, views, places of reactions) is left out: it is made anew, and its positions
//! would be those of another store.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::client::{EventPage, Names, ReadRequest, Selection, StoreInfo};
use annals_clock::Clock;
use anyhow::{Context, Result};

use super::line::MetadataLine;
use super::progress::Progress;
use crate::api::Api;
use crate::human::{self, plural};

const EXAMPLES: &str = "\
Examples:
  annals store export bank --file bank.jsonl
  annals store export bank | gzip > bank.jsonl.gz
  annals store export bank --file rest.jsonl --from 100000

Each line is an event as `annals stream read -o json` prints it, or at the end the metadata of a stream. Events that
streams do not show any more are not exported. Data that is stored encrypted is exported readable: guard the file.";

/// Events and names that are asked for at once.
const PAGE: usize = 2000;
/// The category under which programs register the schemas of their events.
const SCHEMAS: &str = "~schema";
/// Where the metadata of a stream lies.
const METADATA_PREFIX: &str = "$$";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The store
    store: String,

    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Only events from this position on
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What was written.
#[derive(Default)]
struct Written {
    events: u64,
    bytes: u64,
}

/// Exports a store.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let clock = Clock::system();
    let begun = clock.monotonic();
    let store: StoreInfo = api.ask(api.client().store(&args.store))?;
    let written = match &args.file {
        None => write_all(api, args, &store, &mut std::io::stdout().lock())?,
        Some(path) => to_file(api, args, &store, path)?,
    };
    if !args.quiet {
        eprintln!("{}", summary(&written, clock.monotonic() - begun));
    }
    Ok(())
}

/// A file is there with all of it or not at all.
fn to_file(api: &Api, args: &Args, store: &StoreInfo, path: &Path) -> Result<Written> {
    let cannot = || format!("cannot write {}", path.display());
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&unfinished).with_context(cannot)?);
    let written = write_all(api, args, store, &mut out).with_context(cannot)?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    std::fs::rename(&unfinished, path).with_context(cannot)?;
    Ok(written)
}

fn write_all(api: &Api, args: &Args, store: &StoreInfo, out: &mut dyn Write) -> Result<Written> {
    let mut written = Written::default();
    let progress =
        Progress::start(!args.quiet, Some(store.end - args.from.unwrap_or(store.start).min(store.end)));
    if args.from.is_none() {
        let schemas =
            ReadRequest { selection: Selection::Category(SCHEMAS.to_owned()), ..ReadRequest::default() };
        write_events(api, args, schemas, out, &mut written, &progress)?;
    }
    let events = ReadRequest { from: args.from, ..ReadRequest::default() };
    write_events(api, args, events, out, &mut written, &progress)?;
    write_metadata(api, args, out)?;
    out.flush()?;
    progress.finish();
    Ok(written)
}

fn write_events(
    api: &Api,
    args: &Args,
    mut request: ReadRequest,
    out: &mut dyn Write,
    written: &mut Written,
    progress: &Progress,
) -> Result<()> {
    let first = request.from.unwrap_or(0);
    request.limit = Some(PAGE);
    loop {
        let EventPage { events, next, .. } = api.ask(api.client().read(&args.store, &request))?;
        for event in &events {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            out.write_all(&line)?;
            written.events += 1;
            written.bytes += line.len() as u64;
        }
        let Some(next) = next else { return Ok(()) };
        progress.update(next.saturating_sub(first), plural(written.events, "event"));
        request.from = Some(next);
    }
}

/// The metadata of all streams that have some.
fn write_metadata(api: &Api, args: &Args, out: &mut dyn Write) -> Result<()> {
    let mut after = None::<String>;
    loop {
        let page =
            api.client().names(&args.store, Names::Streams, METADATA_PREFIX, after.as_deref(), PAGE, true);
        let page = api.ask(page)?;
        let streams = page.names.iter().filter_map(|name| name.strip_prefix(METADATA_PREFIX));
        for stream in streams.filter(|stream| !stream.starts_with('~')) {
            let (stream_metadata, _) = api.ask(api.client().stream_metadata(&args.store, stream))?;
            serde_json::to_writer(&mut *out, &MetadataLine { stream: stream.to_owned(), stream_metadata })?;
            out.write_all(b"\n")?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn summary(written: &Written, elapsed: Duration) -> String {
    let rate = written.events as f64 / elapsed.as_secs_f64().max(1e-6);
    format!(
        "exported {} ({}) in {}, {} events/s",
        plural(written.events, "event"),
        human::bytes(written.bytes),
        human::duration(elapsed),
        human::count(rate as u64)
    )
}
