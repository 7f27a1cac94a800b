//! `annals stream append`

use std::io::{BufRead, Read};
use std::path::Path;

use annals::client::{Append, Appended, NewEvent, Write};
use annals::store::Expected;
use annals_clock::Clock;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_json::value::RawValue;

use super::parse_expected;
use crate::api::StoreApi;
use crate::failure::usage;
use crate::human::plural;
use crate::output::{self, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals stream append account-123 --store bank --type MoneyDeposited --data '{\"amount\": 100}'
  annals stream append account-123 --store bank --type MoneyDeposited --data @deposit.json --expected 4
  annals stream append account-123 --store bank --file events.jsonl --expected no_stream

Without --data and --file the data is read from standard input. A file has one event a line:
{\"type\": \"MoneyDeposited\", \"data\": {\"amount\": 100}, \"id\": \"…\", \"tags\": [\"customer:C1\"], \"metadata\": {\"correlationid\": \"…\"}}
All events are appended together or not at all. With ids of your own, doing it again changes nothing.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream to append to
    stream: String,

    /// The type of the event
    #[arg(long = "type", value_name = "NAME", required_unless_present = "file")]
    name: Option<String>,

    /// Its data, JSON; @FILE reads a file, - standard input
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    data: Option<String>,

    /// Its id [default: a new UUID]
    #[arg(long, conflicts_with = "file")]
    id: Option<String>,

    /// What it can be found by; may be repeated
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "file")]
    tags: Vec<String>,

    /// What is stored beside its data, such as correlationid=42 or schemaversion=2; may be repeated
    #[arg(long = "metadata", value_name = "NAME=VALUE", conflicts_with = "file")]
    metadata: Vec<String>,

    /// A file with one event a line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    file: Option<String>,

    /// What the stream must be like: any, no_stream, exists, or the revision of its last event
    #[arg(long, value_name = "EXPECTED", default_value = "any", value_parser = parse_expected)]
    expected: Expected,

    #[command(flatten)]
    output: FormatArgs,
}

/// Appends the events.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let mut events = match &args.file {
        Some(file) => from_file(file)?,
        None => vec![from_options(args)?],
    };
    let clock = Clock::system();
    for event in &mut events {
        event.id.get_or_insert_with(|| clock.uuid_v7().to_string());
    }
    let count = events.len() as u64;
    let write = Write { stream: args.stream.clone(), expected: args.expected, events };
    let append = Append { writes: vec![write], ..Append::default() };
    let done: Appended = api.ask(api.client().append(&api.store, &append))?;
    if args.output.format == Format::Json {
        return output::json(&done);
    }
    let revision = done.streams.first().map_or(0, |stream| stream.last_revision.0);
    let verb = if done.repeated { "had appended" } else { "appended" };
    output::line(format!(
        "{verb} {} to {}, up to revision {revision}, position {}",
        plural(count, "event"),
        args.stream,
        done.last_position
    ))
}

fn from_options(args: &Args) -> Result<NewEvent> {
    let text = match args.data.as_deref() {
        None | Some("-") => read_all(std::io::stdin().lock(), "standard input")?,
        Some(data) => match data.strip_prefix('@') {
            Some(path) => read_all(open(path)?, path)?,
            None => data.to_owned(),
        },
    };
    let data = RawValue::from_string(text.trim().to_owned());
    let data = data.map_err(|error| usage(format!("the data is no JSON: {error}")))?;
    let metadata = args.metadata.iter().map(|text| member(text)).collect::<Result<_>>()?;
    Ok(NewEvent {
        id: args.id.clone(),
        name: args.name.clone().unwrap_or_default(),
        data: Some(data),
        tags: args.tags.iter().map(|tag| annals::Tag::new(tag.as_str())).collect(),
        metadata,
        ..NewEvent::default()
    })
}

fn member(text: &str) -> Result<(String, Value)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        usage(format!("\"{text}\" is no metadata: write NAME=VALUE, such as correlationid=42"))
    })?;
    let number = value.parse::<u32>().ok().filter(|_| name == "schemaversion");
    Ok((name.to_owned(), number.map_or_else(|| value.into(), Value::from)))
}

fn from_file(file: &str) -> Result<Vec<NewEvent>> {
    let reader: Box<dyn BufRead> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::io::BufReader::new(open(path)?)),
    };
    let mut events = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {file}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let event = serde_json::from_str(&line);
        events.push(event.with_context(|| format!("{file}, line {}: this is no event", index + 1))?);
    }
    if events.is_empty() {
        bail!("there is no event in {file}");
    }
    Ok(events)
}

fn open(path: &str) -> Result<std::fs::File> {
    std::fs::File::open(Path::new(path)).with_context(|| format!("cannot read {path}"))
}

fn read_all(mut reader: impl Read, name: &str) -> Result<String> {
    let mut text = String::new();
    reader.read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    Ok(text)
}
