//! `annals store import`: the events of JSON lines into a store, in their order, each of them once.
//!
//! The `n`th event of a stream in the file becomes revision `n` of the stream, and is appended on the condition that the stream
//! is just before that. What is there already, by its id and at its place, is passed over however long ago it came; so an
//! interrupted import is simply repeated. The events of one append lie next to each other in the store as in the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use annals::client::{Append, Event, Write};
use annals::store::{Expected, Revision};
use annals_clock::Clock;
use anyhow::{Context, Result, anyhow, bail};

use super::line::{Line, MetadataLine};
use super::progress::Progress;
use crate::api::Api;
use crate::human::{self, plural};

const EXAMPLES: &str = "\
Examples:
  annals store import bank bank.jsonl
  gunzip -c bank.jsonl.gz | annals store import bank -
  annals store import bank more.jsonl --append

Repeating an import that was interrupted appends only what is missing. The store is made if it is not there. Events are
recorded anew: `time`, where they have one, stays, and `recorded` is now. Reactions begin with the first event of a new
store: pause them (`annals projection pause`), or have them start with what comes, if that would do things twice.";

/// What goes into one append at the most.
const BATCH_EVENTS_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 2 << 20;
/// Streams that one append writes to at the most.
const BATCH_STREAMS_MAX: usize = 200;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The store
    store: String,

    /// The file to read; - is standard input
    file: PathBuf,

    /// Put the events behind those that streams have already. What was appended long ago is not recognised then
    #[arg(long)]
    append: bool,

    /// Store events readable that were stored encrypted
    #[arg(long)]
    encrypted_as_plain: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Imports a file.
pub(crate) fn run(api: &Api, args: &Args) -> Result<()> {
    let clock = Clock::system();
    let begun = clock.monotonic();
    let (mut reader, size): (Box<dyn BufRead>, _) = if args.file.as_os_str() == "-" {
        (Box::new(std::io::stdin().lock()), None)
    } else {
        let file = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
        let size = file.metadata().ok().map(|metadata| metadata.len());
        (Box::new(BufReader::with_capacity(1 << 20, file)), size)
    };
    make_store(api, &args.store)?;
    let mut import = Import {
        api,
        args,
        progress: Progress::start(!args.quiet, size),
        counts: HashMap::new(),
        batch: Batch::default(),
        done: Done::default(),
    };
    import.all(&mut reader)?;
    import.progress.finish();
    if !args.quiet {
        eprintln!("{}", import.done.summary(clock.monotonic() - begun));
    }
    Ok(())
}

fn make_store(api: &Api, name: &str) -> Result<()> {
    let found = api.wait(api.client().store(name));
    match found {
        Err(error) if error.problem("unknown-store").is_some() => {
            api.ask(api.client().create_store(name)).map(drop)
        }
        found => api.ask(std::future::ready(found)).map(drop),
    }
}

struct Import<'a> {
    api: &'a Api,
    args: &'a Args,
    progress: Progress,
    /// Events of each stream that the file has had so far.
    counts: HashMap<String, u64>,
    batch: Batch,
    done: Done,
}

/// Events that are to be appended together. A stream has all its events next to each other.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    events: usize,
    bytes: usize,
    /// The line of each event.
    lines: Vec<u64>,
}

/// What has been done.
#[derive(Default)]
struct Done {
    lines: u64,
    bytes: u64,
    events: u64,
    there_before: u64,
    metadata: u64,
}

impl Import<'_> {
    fn all(&mut self, reader: &mut dyn BufRead) -> Result<()> {
        let mut text = String::new();
        loop {
            text.clear();
            let read = reader.read_line(&mut text).context("cannot read the file")?;
            if read == 0 {
                break;
            }
            self.done.lines += 1;
            self.done.bytes += read as u64;
            if text.trim().is_empty() {
                continue;
            }
            let number = self.done.lines;
            let line = Line::parse(&text).with_context(|| format!("line {number} is no event"))?;
            match line {
                Line::Event(event) => {
                    self.check(&event).with_context(|| format!("line {number}"))?;
                    self.take(*event, text.len())?;
                }
                Line::Metadata(line) => self.metadata(&line).with_context(|| format!("line {number}"))?,
            }
        }
        self.flush()
    }

    fn check(&self, event: &Event) -> Result<()> {
        if event.stream.starts_with('$') || event.name.starts_with('$') {
            bail!("{} in {} is the store's own and cannot be imported", event.name, event.stream);
        }
        if event.encrypted && !self.args.encrypted_as_plain {
            bail!("event {} was stored encrypted: give --encrypted-as-plain to store it readable", event.id);
        }
        Ok(())
    }

    fn take(&mut self, event: Event, bytes: usize) -> Result<()> {
        let is_next = self.batch.writes.last().is_some_and(|write| write.stream == event.stream);
        let is_there = !is_next && self.batch.writes.iter().any(|write| write.stream == event.stream);
        let is_full = self.batch.events >= BATCH_EVENTS_MAX
            || self.batch.bytes >= BATCH_BYTES_MAX
            || (!is_next && self.batch.writes.len() >= BATCH_STREAMS_MAX);
        if is_there || is_full {
            self.flush()?;
        }
        let count = self.counts.entry(event.stream.clone()).or_default();
        let expected = match *count {
            _ if self.args.append => Expected::Any,
            0 => Expected::NoStream,
            before => Expected::Exact(Revision(before - 1)),
        };
        *count += 1;
        self.batch.push(event, expected, bytes, self.done.lines);
        Ok(())
    }

    /// Appends what has been collected.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.events == 0 {
            return Ok(());
        }
        let append = Append { writes: batch.writes, ..Append::default() };
        match self.api.wait(self.api.client().append(&self.args.store, &append)) {
            Ok(done) => self.count(batch.events, done.repeated),
            // A longer file than the last time: some of these events are there.
            Err(error) if batch.events > 1 && may_be_there_in_part(&error) => {
                self.one_by_one(append, &batch.lines)?;
            }
            Err(error) => return Err(self.refused(error, batch.lines[0])),
        }
        let message = format!("{}, {}", plural(self.done.events, "event"), human::bytes(self.done.bytes));
        self.progress.update(self.done.bytes, message);
        Ok(())
    }

    fn one_by_one(&mut self, append: Append, lines: &[u64]) -> Result<()> {
        let mut lines = lines.iter();
        for Write { stream, mut expected, events } in append.writes {
            for event in events {
                let write = Write { stream: stream.clone(), expected, events: vec![event] };
                let append = Append { writes: vec![write], ..Append::default() };
                let done = self.api.wait(self.api.client().append(&self.args.store, &append));
                let line = lines.next().copied().unwrap_or(self.done.lines);
                self.count(1, done.map_err(|error| self.refused(error, line))?.repeated);
                expected = match expected {
                    Expected::NoStream => Expected::Exact(Revision(0)),
                    Expected::Exact(before) => Expected::Exact(before.next()),
                    other => other,
                };
            }
        }
        Ok(())
    }

    fn count(&mut self, events: usize, repeated: bool) {
        self.done.events += events as u64;
        if repeated {
            self.done.there_before += events as u64;
        }
    }

    fn refused(&self, error: annals::client::ClientError, line: u64) -> anyhow::Error {
        let is_conflict = error.problem("wrong-expected-revision").is_some();
        let explained = self.api.explain(error);
        let advice = if is_conflict {
            "; the stream holds other events than the file: import into another store, or give --append"
        } else {
            ""
        };
        anyhow!("line {line}: {explained}{advice}")
    }

    fn metadata(&mut self, line: &MetadataLine) -> Result<()> {
        self.flush()?;
        let mut metadata = line.stream_metadata.clone();
        // Revisions count from the first event that was exported.
        metadata.truncate_before = None;
        let client = self.api.client();
        self.api.ask(client.set_stream_metadata(&self.args.store, &line.stream, &metadata, Expected::Any))?;
        self.done.metadata += 1;
        Ok(())
    }
}

fn may_be_there_in_part(error: &annals::client::ClientError) -> bool {
    error.problem("id-taken").is_some() || error.problem("wrong-expected-revision").is_some()
}

impl Batch {
    fn push(&mut self, event: Event, expected: Expected, bytes: usize, line: u64) {
        self.events += 1;
        self.bytes += bytes;
        self.lines.push(line);
        let stream = event.stream.clone();
        match self.writes.last_mut().filter(|write| write.stream == stream) {
            Some(write) => write.events.push(event.into_new()),
            None => self.writes.push(Write { stream, expected, events: vec![event.into_new()] }),
        }
    }
}

impl Done {
    fn summary(&self, elapsed: Duration) -> String {
        let rate = self.events as f64 / elapsed.as_secs_f64().max(1e-6);
        let there = match self.there_before {
            0 => String::new(),
            there => format!(" ({} there before)", human::count(there)),
        };
        let metadata = match self.metadata {
            0 => String::new(),
            count => format!(" and the metadata of {}", plural(count, "stream")),
        };
        format!(
            "imported {}{there}{metadata} in {}, {} events/s",
            plural(self.events, "event"),
            human::duration(elapsed),
            human::count(rate as u64)
        )
    }
}
