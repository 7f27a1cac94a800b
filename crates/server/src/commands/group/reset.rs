//! `annals group reset`

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Serialize;

use super::target::TargetArgs;
use crate::client::cluster::{self, Partition, Topic};
use crate::client::groups;
use crate::client::offsets::{Offsets, to_list};
use crate::client::{Connection, Quiet, explain};
use crate::failure::usage;
use crate::human::plural;
use crate::output::{self, Align, Columns, Format, FormatArgs, or_dash};

const EXAMPLES: &str = "\
Examples:
  annals group reset billing --to-earliest
  annals group reset billing --to-time \"2h ago\" --topic orders --execute
  annals group reset billing --shift-by -100 --topic orders:0 --execute

Shows what would change; --execute does it. The group's consumers have to be stopped.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The group to move
    group: String,

    #[command(flatten)]
    target: TargetArgs,

    /// Only this topic, or TOPIC:PARTITION; may be repeated. Needed for a topic the group has no offsets of
    #[arg(long = "topic", value_name = "TOPIC[:P]")]
    topics: Vec<String>,

    /// Show what would change and change nothing (the default)
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,

    /// Change it
    #[arg(long)]
    execute: bool,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partition: i32,
    from_offset: Option<i64>,
    to_offset: i64,
}

/// Shows the new offsets and, with `--execute`, commits them.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let client = connection.consumer(&[("group.id", &args.group), ("enable.auto.commit", "false")])?;
    let all: Vec<Partition> = cluster::topics(&client)?.iter().flat_map(Topic::partitions).collect();
    let committed = groups::committed(&client, &all)?;
    let partitions = choose(&all, &committed, args)?;
    let targets = args.target.resolve(&client, &partitions, &committed)?;
    if args.execute {
        check_stopped(&client, &args.group)?;
        commit(&client, &targets)?;
    }
    print(args, &committed, &targets)
}

/// The partitions that are named, or else all that the group has offsets of.
fn choose(all: &[Partition], committed: &Offsets, args: &Args) -> Result<Vec<Partition>> {
    if args.topics.is_empty() {
        if committed.is_empty() {
            bail!("group \"{}\" has no offsets; name what to set with --topic", args.group);
        }
        return Ok(committed.keys().cloned().collect());
    }
    let mut chosen = Vec::new();
    for text in &args.topics {
        let (topic, number) = parse_topic(text)?;
        let before = chosen.len();
        chosen
            .extend(all.iter().filter(|p| p.topic == topic && number.is_none_or(|n| n == p.number)).cloned());
        if chosen.len() == before {
            bail!("\"{text}\" does not exist; see \"annals topic list\"");
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// Topic names contain no colon, so what is behind one is a partition.
fn parse_topic(text: &str) -> Result<(&str, Option<i32>)> {
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((topic, number)) => match number.parse() {
            Ok(number) => Ok((topic, Some(number))),
            Err(_) => Err(usage(format!("\"{number}\" is not a partition; write --topic {topic}:0"))),
        },
    }
}

fn check_stopped(client: &BaseConsumer<Quiet>, name: &str) -> Result<()> {
    let members = groups::find(client, name)?.map_or(0, |group| group.members.len());
    if members > 0 {
        bail!("group \"{name}\" has {}; stop its consumers first", plural(members as u64, "member"));
    }
    Ok(())
}

/// Commits as a client that is no member, which brokers accept while the group is empty.
fn commit(client: &BaseConsumer<Quiet>, targets: &Offsets) -> Result<()> {
    let list = to_list(targets)?;
    client.assign(&list).map_err(|error| explain(&error))?;
    match client.commit(&list, CommitMode::Sync) {
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) | Ok(()) => Ok(()),
        Err(error) => Err(explain(&error)).context("cannot set the offsets"),
    }
}

fn print(args: &Args, committed: &Offsets, targets: &Offsets) -> Result<()> {
    let rows = targets.iter().map(|(partition, to_offset)| Row {
        topic: partition.topic.clone(),
        partition: partition.number,
        from_offset: committed.get(partition).copied(),
        to_offset: *to_offset,
    });
    let rows: Vec<Row> = rows.collect();
    if args.output.format == Format::Json {
        return output::json(&rows);
    }
    table(&rows).print()?;
    output::line("")?;
    let changed =
        plural(rows.iter().filter(|row| row.from_offset != Some(row.to_offset)).count() as u64, "offset");
    match args.execute {
        true => output::line(format!("moved {changed} of group {}", args.group)),
        false => {
            output::line(format!("would move {changed} of group {}; add --execute to do it", args.group))
        }
    }
}

fn table(rows: &[Row]) -> Columns {
    let headings = [
        ("topic", Align::Left),
        ("partition", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("by", Align::Right),
    ];
    let mut table = Columns::new(&headings);
    for row in rows {
        let moved = row.from_offset.map(|from| format!("{:+}", row.to_offset - from));
        table.row([
            row.topic.clone(),
            row.partition.to_string(),
            or_dash(row.from_offset),
            row.to_offset.to_string(),
            or_dash(moved),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::parse_topic;

    #[test]
    fn topics_with_and_without_a_partition() {
        assert_eq!(parse_topic("orders").unwrap(), ("orders", None));
        assert_eq!(parse_topic("orders:3").unwrap(), ("orders", Some(3)));
        assert!(parse_topic("orders:x").unwrap_err().to_string().contains("\"x\""));
    }
}
