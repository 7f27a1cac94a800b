//! `annals stream read`: events, now or as of a moment.

use std::io::Write;
use std::time::Duration;

use annals::client::{ClientError, Event, EventPage, ReadRequest, Selection};
use annals::store::Direction;
use annals_clock::Clock;
use anyhow::Result;

use super::{Row, rows};
use crate::api::StoreApi;
use crate::failure::usage;
use crate::moment;
use crate::output::{Align, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals stream read account-123 --store bank
  annals stream read account-123 --store bank --at 2025-01-10T23:59:59Z
  annals stream read account-123 --store bank --revision 4
  annals stream read --store bank --category account --since \"1h ago\" -o json | jq .data
  annals stream read --store bank --all --backward -n 10
  annals stream read --store bank --all --from end --follow

-o json prints one JSON object a line. Times: RFC 3339, an age like \"10m ago\", or milliseconds since 1970.";

/// Events that are asked for at once.
const PAGE: usize = 1000;
/// How long to wait for something to follow at a time.
const WAIT: Duration = Duration::from_secs(25);

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    from_where: Source,

    /// Only up to this revision: the stream as it was then
    #[arg(long, value_name = "N", requires = "stream", conflicts_with_all = ["at", "until"])]
    revision: Option<u64>,

    /// Only what was recorded up to this moment: the state as of then
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// Only what was recorded at or after this moment
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    since: Option<String>,

    /// The first event: a revision of the stream, or else a position; `end`: only what comes
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,

    /// The last event: a revision of the stream, or else a position
    #[arg(long, value_name = "PLACE", conflicts_with = "at")]
    until: Option<u64>,

    /// The newest first
    #[arg(short, long)]
    backward: bool,

    /// Stop after this many events
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Wait for more events at the end
    #[arg(short, long, conflicts_with_all = ["backward", "revision", "at", "until"])]
    follow: bool,

    /// Print Annals' own events, too, which start with $ or ~
    #[arg(long)]
    internal: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Source {
    /// The stream to read
    #[arg(value_name = "STREAM")]
    stream: Option<String>,

    /// All streams
    #[arg(long)]
    all: bool,

    /// All streams of a category: what stands before the first `-` of their names
    #[arg(long, value_name = "NAME")]
    category: Option<String>,

    /// All streams whose names start so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Events of one type
    #[arg(long = "type", value_name = "NAME")]
    name: Option<String>,

    /// Events with one tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

impl Source {
    fn selection(&self) -> Selection {
        let Self { stream, category, prefix, name, tag, .. } = self;
        let stream = stream.clone().map(Selection::Stream);
        let category = category.clone().map(Selection::Category);
        let prefix = prefix.clone().map(Selection::StreamPrefix);
        let name = name.clone().map(Selection::Type);
        let tag = tag.clone().map(Selection::Tag);
        stream.or(category).or(prefix).or(name).or(tag).unwrap_or_default()
    }
}

/// Prints events.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let mut request = request(args)?;
    if args.from.as_deref() == Some("end") {
        request.from = Some(end(api, &request)?);
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        request.limit = Some(left.min(PAGE as u64) as usize);
        let EventPage { events, next, end, .. } = page(api, args, &request)?;
        left -= (events.len() as u64).min(left);
        print(args, &events)?;
        if left == 0 {
            return Ok(());
        }
        match (next, args.follow) {
            (Some(next), _) => request.from = Some(next),
            (None, false) => return Ok(()),
            (None, true) => {
                let is_stream = matches!(request.selection, Selection::Stream(_));
                let behind = events.last().map(|event| event.revision.0 + 1);
                request.from = if is_stream { behind.or(request.from) } else { Some(end.0) };
                let before = end.0.checked_sub(1).map(annals::store::Position);
                while api.ask(api.client().head_beyond(&api.store, before, WAIT))? <= before {}
            }
        }
        request.from_time = None;
    }
}

fn request(args: &Args) -> Result<ReadRequest> {
    let now_ms = Clock::system().now_ms();
    let time = |text: &Option<String>| -> Result<Option<String>> {
        let parsed = text.as_deref().map(|text| moment::parse(text, now_ms)).transpose();
        Ok(parsed.map_err(usage)?.map(moment::format))
    };
    let from = match args.from.as_deref() {
        None | Some("end") => None,
        Some(number) => Some(number.parse::<u64>().map_err(|_| {
            usage(format!("\"{number}\" is no place to begin: give a revision, a position or `end`"))
        })?),
    };
    let (since, at) = (time(&args.since)?, time(&args.at)?);
    let last = args.revision.or(args.until);
    // Backward, one begins where one would end.
    let (from, from_time, until, until_time) =
        if args.backward { (from.or(last), at, None, since) } else { (from, since, last, at) };
    let from_time = from_time.filter(|_| from.is_none());
    let direction = if args.backward { Direction::Backward } else { Direction::Forward };
    let selection = args.from_where.selection();
    Ok(ReadRequest {
        selection,
        direction,
        from,
        from_time,
        until,
        until_time,
        limit: None,
        system: args.internal,
    })
}

fn page(api: &StoreApi, args: &Args, request: &ReadRequest) -> Result<EventPage> {
    let read = || api.client().read(&api.store, request);
    let Selection::Stream(stream) = &request.selection else { return api.ask(read()) };
    let mut found = api.api.wait(read());
    let is_unknown =
        |found: &Result<_, ClientError>| found.as_ref().is_err_and(|e| e.problem("unknown-stream").is_some());
    if args.follow && is_unknown(&found) {
        // What is followed may begin later: behind this end, or before it was asked for.
        let end = api.ask(api.client().store(&api.store))?.end;
        found = api.api.wait(read());
        if is_unknown(&found) {
            return Ok(EventPage { events: Vec::new(), next: None, end: end.into(), stream: None });
        }
    }
    api.ask_of_stream(stream, std::future::ready(found))
}

/// The place behind the last event.
fn end(api: &StoreApi, request: &ReadRequest) -> Result<u64> {
    let Selection::Stream(stream) = &request.selection else {
        return Ok(api.ask(api.client().store(&api.store))?.end);
    };
    match api.api.wait(api.client().stream(&api.store, stream)) {
        Ok(info) => Ok(info.last_revision.map_or(0, |last| last.0 + 1)),
        Err(error) if error.problem("unknown-stream").is_some() => Ok(0),
        Err(error) => Err(api.api.explain(error)),
    }
}

fn print(args: &Args, events: &[Event]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    if args.output.format == Format::Json {
        let mut out = std::io::stdout().lock();
        for event in events {
            serde_json::to_writer(&mut out, event).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        return Ok(out.flush()?);
    }
    let is_stream = args.from_where.stream.is_some();
    let (right, left) = (Align::Right, Align::Left);
    let table = if is_stream {
        rows(
            &[("revision", right)],
            events.iter().map(|event| Row { lead: vec![event.revision.to_string()], event }),
        )
    } else {
        let lead = |event: &Event| {
            vec![event.position.to_string(), event.stream.clone(), event.revision.to_string()]
        };
        let headings = [("position", right), ("stream", left), ("revision", right)];
        rows(&headings, events.iter().map(|event| Row { lead: lead(event), event }))
    };
    table.print()
}
