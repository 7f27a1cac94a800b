//! `annals group describe`

use std::collections::BTreeSet;
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Result, bail};
use rdkafka::consumer::BaseConsumer;
use serde::Serialize;

use super::lag;
use crate::client::cluster::{self, Partition, Topic};
use crate::client::groups::{self, Group, UNKNOWN};
use crate::client::offsets::{Offsets, Which, look_up};
use crate::client::{Connection, Quiet};
use crate::human::{self, plural};
use crate::nearest;
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

const EXAMPLES: &str = "\
Examples:
  annals group describe billing
  annals group describe billing -o json | jq '.[0].partitions | map(.time_lag_ms) | max'

Lag is counted in records; time lag is the age of the first record that the group has not consumed.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Groups to describe
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    /// Do not read records to find the time lag
    #[arg(long)]
    no_time_lag: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Description {
    group: String,
    state: String,
    strategy: String,
    members: usize,
    lag: i64,
    time_lag_ms: Option<i64>,
    partitions: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    end_offset: i64,
    lag: Option<i64>,
    time_lag_ms: Option<i64>,
    member: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
}

/// Describes the groups, one after the other.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let describe = |name: &String| describe(connection, name, !args.no_time_lag);
    let descriptions: Vec<Description> = args.groups.iter().map(describe).collect::<Result<_>>()?;
    match args.output.format {
        Format::Json => output::json(&descriptions),
        Format::Table => descriptions.iter().try_for_each(print),
    }
}

fn describe(connection: &Connection, name: &str, with_time: bool) -> Result<Description> {
    let client = connection.consumer(&[("group.id", name)])?;
    let group = find(&client, name)?;
    let all: Vec<Partition> = cluster::topics(&client)?.iter().flat_map(Topic::partitions).collect();
    let committed = groups::committed(&client, &all)?;
    let owners = group.owners();
    // An owned partition may be that of a topic which has just been deleted.
    let owned = owners.keys().copied().filter(|partition| all.contains(partition));
    let partitions: BTreeSet<&Partition> = committed.keys().chain(owned).collect();
    let partitions: Vec<Partition> = partitions.into_iter().cloned().collect();
    let end = look_up(&client, &partitions, Which::Latest)?;
    let ages = if with_time { ages(connection, &committed, &end)? } else { Ages::default() };
    let rows = partitions.iter().map(|partition| row(partition, &group, &committed, &end, &ages)).collect();
    Ok(summary(&group, rows, with_time))
}

/// The group as the broker knows it, or a clear error.
pub(super) fn find(client: &BaseConsumer<Quiet>, name: &str) -> Result<Group> {
    if let Some(group) = groups::find(client, name)? {
        return Ok(group);
    }
    let all = groups::list(client)?;
    bail!(
        "group \"{name}\" does not exist{}",
        nearest::hint(name, all.iter().map(|group| group.name.as_str()))
    )
}

/// Time lags in milliseconds: of partitions that are behind, as far as a record could be read.
type Ages = std::collections::BTreeMap<Partition, i64>;

fn ages(connection: &Connection, committed: &Offsets, end: &Offsets) -> Result<Ages> {
    let behind =
        committed.iter().filter(|(partition, offset)| end.get(partition).is_some_and(|end| end > offset));
    let behind: Offsets = behind.map(|(partition, offset)| (partition.clone(), *offset)).collect();
    let clock = Clock::system();
    let timestamps = lag::timestamps(connection, &behind, &clock)?;
    let now_ms = clock.now_ms();
    Ok(timestamps.into_iter().map(|(partition, then_ms)| (partition, (now_ms - then_ms).max(0))).collect())
}

fn row(partition: &Partition, group: &Group, committed: &Offsets, end: &Offsets, ages: &Ages) -> Row {
    let committed_offset = committed.get(partition).copied();
    let end_offset = end[partition];
    let lag = committed_offset.map(|offset| (end_offset - offset).max(0));
    let owner = group.owners().get(partition).copied();
    Row {
        topic: partition.topic.clone(),
        partition: partition.number,
        committed_offset,
        end_offset,
        lag,
        time_lag_ms: if lag == Some(0) { Some(0) } else { ages.get(partition).copied() },
        member: owner.map(|member| member.id.clone()),
        client_id: owner.map(|member| member.client_id.clone()),
        host: owner.map(|member| member.host.clone()),
    }
}

fn summary(group: &Group, partitions: Vec<Row>, with_time: bool) -> Description {
    Description {
        group: group.name.clone(),
        state: group.state.clone(),
        strategy: group.strategy.clone(),
        members: group.members.len(),
        lag: partitions.iter().filter_map(|row| row.lag).sum(),
        time_lag_ms: partitions.iter().filter_map(|row| row.time_lag_ms).max().filter(|_| with_time),
        partitions,
    }
}

fn print(description: &Description) -> Result<()> {
    let strategy = match description.strategy.as_str() {
        "" => String::new(),
        strategy => format!(", {strategy}"),
    };
    let time = description.time_lag_ms.map(|lag| format!(", {} in time", span(lag))).unwrap_or_default();
    output::line(format!(
        "group {}: {}, {}{strategy}, lag {}{time}",
        description.group,
        description.state.to_lowercase(),
        plural(description.members as u64, "member"),
        plural(description.lag.unsigned_abs(), "record"),
    ))?;
    if description.state == UNKNOWN {
        output::line("its members are not known: it uses the consumer protocol of KIP-848")?;
    }
    let unknown = description.partitions.iter().filter(|row| row.lag.is_none()).count();
    if unknown > 0 {
        output::line(format!(
            "not counted: {} without a committed offset",
            plural(unknown as u64, "partition")
        ))?;
    }
    output::line("")?;
    table(&description.partitions).print()?;
    output::line("")
}

fn table(rows: &[Row]) -> Columns {
    let headings = [
        ("topic", Align::Left),
        ("partition", Align::Right),
        ("committed", Align::Right),
        ("end", Align::Right),
        ("lag", Align::Right),
        ("time lag", Align::Right),
        ("client", Align::Left),
        ("host", Align::Left),
        ("member", Align::Left),
    ];
    let mut table = Columns::new(&headings);
    for row in rows {
        table.row([
            row.topic.clone(),
            row.partition.to_string(),
            or_dash(row.committed_offset),
            row.end_offset.to_string(),
            or_dash(row.lag),
            or_dash(row.time_lag_ms.map(span)),
            or_dash(row.client_id.as_ref()),
            or_dash(row.host.as_ref()),
            or_dash(row.member.as_ref()),
        ]);
    }
    table
}

fn span(millis: i64) -> String {
    match millis {
        0 => "0".to_owned(),
        _ => human::duration(Duration::from_millis(millis.unsigned_abs())),
    }
}
