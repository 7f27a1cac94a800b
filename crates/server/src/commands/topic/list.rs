//! `annals topic list`

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;
use serde::Serialize;

use crate::client::cluster::{self, Partition, Topic};
use crate::client::offsets::{self, Offsets, Which};
use crate::client::{Connection, Quiet};
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals topic list
  annals topic list -o json | jq -r '.[].topic'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show the topics that the broker keeps for itself, too
    #[arg(long)]
    internal: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partitions: usize,
    replicas: usize,
    /// End offset minus start offset: what compaction removed and transaction markers are counted.
    records: i64,
}

/// Lists the topics.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[])?;
    let mut topics = cluster::topics(&client)?;
    topics.retain(|topic| args.internal || !topic.is_internal());
    let rows = rows(&client, &topics)?;
    match args.output.format {
        Format::Json => output::json(&rows),
        Format::Table => table(&rows).print(),
    }
}

fn rows(client: &BaseConsumer<Quiet>, topics: &[Topic]) -> Result<Vec<Row>> {
    let partitions: Vec<Partition> = topics.iter().flat_map(Topic::partitions).collect();
    let start = offsets::look_up(client, &partitions, Which::Earliest)?;
    let end = offsets::look_up(client, &partitions, Which::Latest)?;
    Ok(topics.iter().map(|topic| row(topic, &start, &end)).collect())
}

fn row(topic: &Topic, start: &Offsets, end: &Offsets) -> Row {
    Row {
        topic: topic.name.clone(),
        partitions: topic.partitions.len(),
        replicas: topic.partitions.iter().map(|placement| placement.replicas.len()).max().unwrap_or(0),
        records: topic.partitions().map(|p| end[&p] - start[&p]).sum(),
    }
}

fn table(rows: &[Row]) -> Columns {
    let headings = [
        ("topic", Align::Left),
        ("partitions", Align::Right),
        ("replicas", Align::Right),
        ("records", Align::Right),
    ];
    let mut table = Columns::new(&headings);
    for row in rows {
        let records = human::count(row.records.unsigned_abs());
        table.row([row.topic.clone(), row.partitions.to_string(), row.replicas.to_string(), records]);
    }
    table
}
