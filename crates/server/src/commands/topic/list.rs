//! `annals topic list`

use anyhow::Result;
use rdkafka::consumer::BaseConsumer;
use serde::Serialize;

use crate::client::cluster::{self, Partition, Topic};
use crate::client::offsets::{self, Offsets, Which};
use crate::client::{Connection, Quiet};
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

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
    /// End offset minus start offset: what compaction removed and transaction markers are counted. None if a
    /// partition does not answer.
    records: Option<i64>,
}

/// Lists the topics.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[])?;
    let mut topics = cluster::topics(&client)?;
    topics.retain(|topic| args.internal || !topic.is_internal());
    let rows = rows(&client, &topics);
    match args.output.format {
        Format::Json => output::json(&rows),
        Format::Table => table(&rows).print(),
    }
}

fn rows(client: &BaseConsumer<Quiet>, topics: &[Topic]) -> Vec<Row> {
    let partitions: Vec<Partition> = topics.iter().flat_map(Topic::partitions).collect();
    let look_up = |which| match offsets::look_up(client, &partitions, which) {
        Ok(offsets) => offsets,
        Err(error) => {
            // A partition without a leader must not keep the others from being listed.
            eprintln!("annals: records are not known: {error:#}");
            Offsets::new()
        }
    };
    let (start, end) = (look_up(Which::Earliest), look_up(Which::Latest));
    topics.iter().map(|topic| row(topic, &start, &end)).collect()
}

fn row(topic: &Topic, start: &Offsets, end: &Offsets) -> Row {
    Row {
        topic: topic.name.clone(),
        partitions: topic.partitions.len(),
        replicas: topic.partitions.iter().map(|placement| placement.replicas.len()).max().unwrap_or(0),
        records: topic.partitions().map(|p| Some(end.get(&p)? - start.get(&p)?)).sum(),
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
        let records = or_dash(row.records.map(|records| human::count(records.unsigned_abs())));
        table.row([row.topic.clone(), row.partitions.to_string(), row.replicas.to_string(), records]);
    }
    table
}
