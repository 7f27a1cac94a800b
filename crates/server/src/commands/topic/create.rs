//! `annals topic create`

use anyhow::Result;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::config;
use crate::client::{Connection, admin_options, code_text, explain, wait};
use crate::failure;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals topic create orders --partitions 6
  annals topic create users --config cleanup.policy=compact --if-not-exists";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Topics to create
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Partitions of each: more let more consumers of one group share the work; order holds within one only
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Copies of each partition; the broker's default if not given (Annals has one)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,

    /// Set a topic config; may be repeated
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = config::parse_pair)]
    configs: Vec<(String, String)>,

    /// Succeed if a topic exists already, and leave it as it is
    #[arg(long)]
    if_not_exists: bool,

    /// Let the broker check everything and create nothing
    #[arg(long)]
    dry_run: bool,
}

/// Creates the topics, and says which; fails if any could not be created.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let admin = connection.admin()?;
    let topics: Vec<NewTopic<'_>> = args.topics.iter().map(|name| new_topic(name, args)).collect();
    let results = wait(admin.create_topics(&topics, &admin_options(args.dry_run)))?;
    let mut failures = Vec::new();
    for result in results.map_err(|error| explain(&error))? {
        match result {
            Ok(name) => output::line(created(&name, args))?,
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) if args.if_not_exists => {
                output::line(format!("topic {name} exists already"))?;
            }
            Err((name, code)) => failures.push(refusal(&name, code, args)),
        }
    }
    failure::of_some(&failures)
}

fn new_topic<'a>(name: &'a str, args: &'a Args) -> NewTopic<'a> {
    // -1 asks the broker for its default (KIP-464).
    let replication = TopicReplication::Fixed(args.replication_factor.unwrap_or(-1));
    let topic = NewTopic::new(name, args.partitions, replication);
    args.configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

fn created(name: &str, args: &Args) -> String {
    let partitions = plural(args.partitions.unsigned_abs().into(), "partition");
    match args.dry_run {
        true => format!("would create topic {name} with {partitions}"),
        false => format!("created topic {name} with {partitions}"),
    }
}

fn refusal(name: &str, code: RDKafkaErrorCode, args: &Args) -> String {
    let reason = match code {
        RDKafkaErrorCode::InvalidConfig => config::refusal(&args.configs),
        RDKafkaErrorCode::TopicAlreadyExists => "it exists already; --if-not-exists accepts that".to_owned(),
        _ => code_text(code),
    };
    format!("cannot create topic \"{name}\": {reason}")
}
