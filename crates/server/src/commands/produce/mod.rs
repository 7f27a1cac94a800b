//! `annals produce`: sends lines of a file or pipe as records.
//!
//! Exit code 0 means that the broker acknowledged every record. A line that is not what the options say ends
//! the command with its number; what was sent before it stays sent, and the summary says how many that is.

mod event;
mod input;
mod line;
mod progress;
mod send;

use std::fs::File;
use std::path::PathBuf;

use annals_clock::Clock;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use self::input::Lines;
use crate::client::delivery::{self, Deliveries};
use crate::client::{ConnectArgs, Connection};
use crate::failure::usage;
use crate::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  echo 'hello' | annals produce greetings
  annals produce orders events.jsonl --json --key-field customer.id
  annals produce orders --json --event-type OrderPlaced --source /shop < events.jsonl
  printf 'k1:v1\\nk2:NULL\\n' | annals produce users --key-separator : --null-value NULL";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,

    /// The topic to write to
    topic: String,

    /// File with one record a line; standard input if not given, or if it is "-"
    file: Option<PathBuf>,

    #[command(flatten)]
    lines: line::LineArgs,

    #[command(flatten)]
    event: event::EventArgs,

    /// Compress batches; saves disk and network, costs the client's processor
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    compression: Compression,

    /// Write all records to this partition, whatever their keys
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Who must have a record before it counts: "all" is safe, "1" the leader alone, "0" nobody
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,

    /// Leave out lines that cannot be sent, and count them
    #[arg(long)]
    skip_invalid: bool,

    /// Check the lines and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Print neither progress nor summary
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// The name that the client library knows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Acks {
    #[value(name = "all", alias = "-1")]
    All,
    #[value(name = "1")]
    Leader,
    #[value(name = "0")]
    None,
}

impl Acks {
    /// The value of the `acks` property.
    pub(crate) fn property(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "1",
            Self::None => "0",
        }
    }
}

/// Sends every line, waits for the acknowledgements and prints what became of them.
pub(crate) fn run(args: &Args) -> Result<()> {
    args.lines.check()?;
    let envelope = args.event.envelope(&args.lines)?;
    let input = open_input(args)?;
    let interrupt = Interrupt::listen()?;
    if args.dry_run {
        return send::check_only(args, input, &interrupt);
    }
    let connection = Connection::open(&args.connect)?;
    check_topic(&connection, args)?;
    let deliveries = Deliveries::default();
    let producer = connection.create(&producer_config(&connection, args), deliveries.clone())?;
    delivery::warm_up(&producer, &args.topic);
    let (clock, envelope) = (Clock::system(), envelope.as_ref());
    send::Sender { args, envelope, producer, deliveries, clock, interrupt }.run(input)
}

fn open_input(args: &Args) -> Result<Lines> {
    match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            Lines::of(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
        }
        _ => Lines::of(std::io::stdin()),
    }
}

/// Refuses a partition that is not there: the client library would wait for it to appear. Tells of a topic that is
/// not there: without auto-creation the library takes half a minute to give up.
fn check_topic(connection: &Connection, args: &Args) -> Result<()> {
    let topic = crate::client::cluster::find(&connection.consumer(&[])?, &args.topic)?;
    if topic.is_none() {
        eprintln!("annals: topic \"{}\" does not exist; the broker creates it now, if it may", args.topic);
    }
    let (Some(wanted), Some(topic)) = (args.partition, topic) else { return Ok(()) };
    if topic.partitions.iter().all(|placement| placement.partition != wanted) {
        bail!("topic \"{}\" has no partition {wanted}; it has {}", args.topic, topic.partitions.len());
    }
    Ok(())
}

fn producer_config(connection: &Connection, args: &Args) -> rdkafka::ClientConfig {
    let idempotent = if args.acks == Acks::All { "true" } else { "false" };
    let mut config = connection.config_with(&[
        ("linger.ms", "5"),
        ("batch.size", "1000000"),
        ("enable.idempotence", idempotent),
        ("queue.buffering.max.kbytes", "131072"),
        ("message.timeout.ms", "60000"),
        // The topic's max.message.bytes decides, not this client.
        ("message.max.bytes", "100000000"),
        ("sticky.partitioning.linger.ms", "10"),
        ("partitioner", "murmur2_random"),
    ]);
    config.set("acks", args.acks.property());
    config.set("compression.type", args.compression.name());
    config
}

impl line::LineArgs {
    fn check(&self) -> Result<()> {
        if self.json && self.key_separator.is_some() {
            return Err(usage(
                "--json takes the whole line as the value; use --key-field instead of --key-separator",
            ));
        }
        Ok(())
    }
}
