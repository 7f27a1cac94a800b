//! `annals consume`: prints the records of topics.
//!
//! Without a group it reads the partitions by itself and leaves no trace. With a group it joins, commits what
//! it has printed, and leaves in order when it ends, so that the others take over at once. What is printed is
//! committed after it is printed: a record may be printed twice after a crash, but none is passed over.

mod finish;
mod format;
mod group;
mod json;
mod position;
mod print;
mod reader;
mod start;

use annals_clock::Clock;
use anyhow::{Result, bail};
use clap::ValueEnum;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use self::finish::Finish;
use self::format::Template;
use self::group::Membership;
use self::position::Position;
use self::reader::Reader;
use crate::client::cluster::{self, Partition};
use crate::client::offsets;
use crate::client::{ConnectArgs, Connection, Quiet, explain};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  annals consume orders
  annals consume orders payments --from \"10m ago\" -o json | jq .value
  annals consume orders --from -5 --exit-at-end -f '%T %p:%o %k %s\\n'
  annals consume orders --group billing -n 100

Positions: beginning, end, an offset (1234), -N for the last N records of each partition, or a time: an
RFC 3339 timestamp, milliseconds since 1970 (13 digits), or an age like \"10m ago\".
Formats: %t topic, %p partition, %o offset, %k key, %s value, %h headers, %T timestamp (ms), %D timestamp
(RFC 3339), %K and %S lengths of key and value, %% a percent sign; \\n, \\t, \\r, \\0, \\\\, \\xHH.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,

    /// Topics to read
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Where to start; with --group only where the group has no offset yet
    #[arg(long, value_name = "POSITION", default_value = "beginning", allow_hyphen_values = true)]
    from: String,

    /// Stop before this position, in each partition: end, an offset or a time
    #[arg(long, value_name = "POSITION")]
    until: Option<String>,

    /// Read as a member of this group: share partitions, remember offsets
    #[arg(short, long)]
    group: Option<String>,

    /// Read only this partition; may be repeated
    #[arg(short, long = "partition", conflicts_with = "group")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,

    /// Stop after this many records
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Stop when all partitions are read to their end
    #[arg(short, long)]
    exit_at_end: bool,

    /// Print each record in this format
    #[arg(short, long, value_parser = Template::parse, conflicts_with = "output")]
    format: Option<Template>,

    /// How to print: the value alone, or one JSON object a line with everything
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    /// Read records of open and aborted transactions, too
    #[arg(long)]
    read_uncommitted: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Output {
    Text,
    Json,
}

type Consuming = BaseConsumer<Membership>;

/// Prints records until there is a reason to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    let now_ms = Clock::system().now_ms();
    let from = Position::parse(&args.from, now_ms).map_err(usage)?;
    let until =
        args.until.as_deref().map(|until| Position::parse(until, now_ms)).transpose().map_err(usage)?;
    check(args, from, until)?;
    let connection = Connection::open(&args.connect)?;
    let asking = connection.consumer(&[])?;
    let partitions = partitions(&asking, args)?;
    let finish = Finish::plan(&asking, &partitions, until, args.exit_at_end, now_ms)?;
    let membership = Membership::default();
    let config = consumer_config(&connection, args, from);
    let consumer: Consuming = connection.create(&config, membership.clone())?;
    if args.group.is_some() {
        let topics: Vec<&str> = args.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| explain(&error))?;
    } else {
        let start = start::offsets(&asking, &partitions, from)?;
        consumer.assign(&offsets::to_list(&start)?).map_err(|error| explain(&error))?;
    }
    drop(asking);
    Reader::new(args, consumer, membership, finish)?.run()
}

fn check(args: &Args, from: Position, until: Option<Position>) -> Result<()> {
    if args.group.is_some() && !matches!(from, Position::Beginning | Position::End) {
        return Err(usage(
            "with --group, --from is where a new group starts: beginning or end; \
             to move a group use \"annals group reset\"",
        ));
    }
    if matches!(until, Some(Position::Beginning | Position::Last(_))) {
        return Err(usage("--until takes end, an offset or a time"));
    }
    Ok(())
}

fn consumer_config(connection: &Connection, args: &Args, from: Position) -> ClientConfig {
    let isolation = if args.read_uncommitted { "read_uncommitted" } else { "read_committed" };
    let reset = if from == Position::End { "latest" } else { "earliest" };
    let mut config = connection.config_with(&[
        ("isolation.level", isolation),
        ("auto.offset.reset", reset),
        ("fetch.wait.max.ms", "100"),
        ("queued.max.messages.kbytes", "16384"),
    ]);
    config.set("enable.partition.eof", "true");
    config.set("enable.auto.offset.store", "false");
    match &args.group {
        Some(group) => config.set("group.id", group),
        // The client library wants a group's name even where it never joins one.
        None => config.set("group.id", "annals-consume").set("enable.auto.commit", "false"),
    };
    config
}

fn partitions(consumer: &BaseConsumer<Quiet>, args: &Args) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    for name in &args.topics {
        let topic = cluster::topic(consumer, name)?;
        let missing = args.partitions.iter().find(|wanted| topic.partitions().all(|p| p.number != **wanted));
        if let Some(missing) = missing {
            bail!("topic \"{name}\" has no partition {missing}; it has {}", topic.partitions.len());
        }
        let wanted = |p: &Partition| args.partitions.is_empty() || args.partitions.contains(&p.number);
        partitions.extend(topic.partitions().filter(wanted));
    }
    Ok(partitions)
}
