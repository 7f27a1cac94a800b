//! `annals stream metadata`

use std::time::Duration;

use annals::client::StreamMetadata;
use annals::store::{Expected, Revision};
use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::StoreApi;
use crate::failure::usage;
use crate::human;
use crate::output::{self, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals stream metadata sensor-7 --store plant
  annals stream metadata sensor-7 --store plant --max-count 1000 --max-age 30d
  annals stream metadata sensor-7 --store plant --truncate-before 500 --set '{\"owner\": \"ops\"}'
  annals stream metadata sensor-7 --store plant --unset max-age

Events that are not kept are not shown at once; `annals store scavenge` gives back their space.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream
    stream: String,

    /// Show no events that are older: 30s, 10m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration)]
    max_age: Option<Duration>,

    /// Show only so many of the latest events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_count: Option<u64>,

    /// Show no events before this revision
    #[arg(long, value_name = "REVISION")]
    truncate_before: Option<u64>,

    /// Remember these members, a JSON object; null takes one away
    #[arg(long, value_name = "JSON")]
    set: Option<String>,

    /// Take away a limit: max-age or max-count; may be repeated
    #[arg(long, value_name = "LIMIT", value_parser = ["max-age", "max-count"])]
    unset: Vec<String>,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    stream: String,
    #[serde(flatten)]
    metadata: StreamMetadata,
    revision: Option<Revision>,
}

/// Shows the metadata, after changing it if that is wanted.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let custom = args.set.as_deref().map(object).transpose()?;
    let found = api.client().stream_metadata(&api.store, &args.stream);
    let (mut metadata, mut revision) = api.ask(found)?;
    let before = metadata.clone();
    change(&mut metadata, args, custom)?;
    if metadata != before {
        // What somebody else changes meanwhile is not overwritten.
        let expected = Expected::after(revision);
        let set = api.client().set_stream_metadata(&api.store, &args.stream, &metadata, expected);
        revision = Some(api.ask(set)?);
    }
    print(Shown { stream: args.stream.clone(), metadata, revision }, args.output.format)
}

fn object(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| usage(format!("--set takes a JSON object: {error}")))
}

fn change(metadata: &mut StreamMetadata, args: &Args, custom: Option<Map<String, Value>>) -> Result<()> {
    if let Some(age) = args.max_age {
        if age.as_secs() == 0 {
            return Err(usage("--max-age is at least 1s"));
        }
        metadata.max_age_seconds = Some(age.as_secs());
    }
    metadata.max_count = args.max_count.or(metadata.max_count);
    metadata.truncate_before = args.truncate_before.map(Revision).or(metadata.truncate_before);
    for (name, value) in custom.into_iter().flatten() {
        if value.is_null() {
            metadata.custom.remove(&name);
        } else {
            metadata.custom.insert(name, value);
        }
    }
    for limit in &args.unset {
        match limit.as_str() {
            "max-age" => metadata.max_age_seconds = None,
            _ => metadata.max_count = None,
        }
    }
    Ok(())
}

fn print(shown: Shown, format: Format) -> Result<()> {
    if format == Format::Json {
        return output::json(&shown);
    }
    let Shown { stream, metadata, revision } = shown;
    match revision {
        Some(revision) => output::line(format!("stream {stream}: metadata at revision {revision}"))?,
        None => output::line(format!("stream {stream}: no metadata"))?,
    }
    let age = metadata.max_age_seconds.map(|seconds| human::duration(Duration::from_secs(seconds)));
    let limits = [
        ("max-age", age),
        ("max-count", metadata.max_count.map(human::count)),
        ("truncate-before", metadata.truncate_before.map(|revision| revision.to_string())),
    ];
    for (name, value) in limits {
        if let Some(value) = value {
            output::line(format!("  {name}={value}"))?;
        }
    }
    metadata.custom.iter().try_for_each(|(name, value)| output::line(format!("  {name}={value}")))
}
