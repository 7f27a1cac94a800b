//! `annals topic describe`

use std::collections::BTreeMap;

use anyhow::Result;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::BaseConsumer;
use serde::Serialize;

use super::config;
use crate::client::cluster::{self, Partition, Placement};
use crate::client::offsets::{self, Which};
use crate::client::{Connection, Quiet, sizes};
use crate::human::{self, plural};
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

const EXAMPLES: &str = "\
Examples:
  annals topic describe orders
  annals topic describe orders --all-configs -o json";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Topics to describe
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Show the configs that have their default value, too
    #[arg(long)]
    all_configs: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Description {
    topic: String,
    records: i64,
    size_bytes: Option<u64>,
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    #[serde(flatten)]
    placement: Placement,
    start_offset: i64,
    end_offset: i64,
    size_bytes: Option<u64>,
}

/// Describes the topics, one after the other.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let (client, admin) = (connection.consumer(&[])?, connection.admin()?);
    let describe = |name: &String| describe(connection, &client, &admin, name, args.all_configs);
    let descriptions: Vec<Description> = args.topics.iter().map(describe).collect::<Result<_>>()?;
    match args.output.format {
        Format::Json => output::json(&descriptions),
        Format::Table => descriptions.iter().try_for_each(print),
    }
}

fn describe(
    connection: &Connection,
    client: &BaseConsumer<Quiet>,
    admin: &AdminClient<Quiet>,
    name: &str,
    all_configs: bool,
) -> Result<Description> {
    let topic = cluster::topic(client, name)?;
    let partitions: Vec<Partition> = topic.partitions().collect();
    let start = offsets::look_up(client, &partitions, Which::Earliest)?;
    let end = offsets::look_up(client, &partitions, Which::Latest)?;
    let sizes = sizes::of_topic(connection, client, name, &partitions);
    let rows = topic.partitions.iter().zip(&partitions).map(|(placement, partition)| PartitionRow {
        placement: placement.clone(),
        start_offset: start[partition],
        end_offset: end[partition],
        size_bytes: sizes.get(&partition.number).copied(),
    });
    let rows: Vec<PartitionRow> = rows.collect();
    Ok(Description {
        topic: topic.name,
        records: rows.iter().map(|row| row.end_offset - row.start_offset).sum(),
        size_bytes: rows.iter().map(|row| row.size_bytes).sum(),
        configs: configs(admin, name, all_configs)?,
        partitions: rows,
    })
}

fn configs(admin: &AdminClient<Quiet>, topic: &str, all: bool) -> Result<BTreeMap<String, String>> {
    let entries = config::read(admin, topic)?;
    if !all {
        return Ok(config::own(&entries));
    }
    Ok(entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())
}

fn print(description: &Description) -> Result<()> {
    let partitions = plural(description.partitions.len() as u64, "partition");
    let records = plural(description.records.unsigned_abs(), "record");
    let size = description.size_bytes.map(|size| format!(", {}", human::bytes(size))).unwrap_or_default();
    output::line(format!("topic {}: {partitions}, {records}{size}", description.topic))?;
    for (name, value) in &description.configs {
        output::line(format!("  {name}={value}"))?;
    }
    output::line("")?;
    table(&description.partitions).print()?;
    output::line("")
}

fn table(partitions: &[PartitionRow]) -> Columns {
    let headings = ["partition", "leader", "replicas", "in sync", "start", "end", "records", "size"];
    let mut table = Columns::new(&headings.map(|heading| (heading, Align::Right)));
    for row in partitions {
        let placement = &row.placement;
        table.row([
            placement.partition.to_string(),
            placement.leader.to_string(),
            brokers(&placement.replicas),
            brokers(&placement.in_sync),
            row.start_offset.to_string(),
            row.end_offset.to_string(),
            (row.end_offset - row.start_offset).to_string(),
            or_dash(row.size_bytes.map(human::bytes)),
        ]);
    }
    table
}

fn brokers(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}
