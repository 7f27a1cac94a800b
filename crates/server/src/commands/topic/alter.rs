//! `annals topic alter`

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AlterConfig, NewPartitions, ResourceSpecifier};

use super::config;
use crate::client::{Connection, Quiet, admin_options, cluster, code_text, explain, wait};
use crate::failure::usage;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals topic alter orders --partitions 12
  annals topic alter orders --config retention.ms=86400000 --delete-config max.message.bytes --dry-run

Configs that are not named keep their values. With more partitions, new records of a key may go to another
partition than the old ones.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The topic to change
    topic: String,

    /// Grow to this many partitions
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,

    /// Set a config; may be repeated
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = config::parse_pair)]
    configs: Vec<(String, String)>,

    /// Return a config to its default; may be repeated
    #[arg(long = "delete-config", value_name = "NAME")]
    deletes: Vec<String>,

    /// Let the broker check everything and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Checks that there is something to do.
pub(crate) fn check(args: &Args) -> Result<()> {
    if args.partitions.is_none() && args.configs.is_empty() && args.deletes.is_empty() {
        return Err(usage("nothing to change; give --partitions, --config or --delete-config"));
    }
    Ok(())
}

/// Changes the topic.
pub(crate) fn run(connection: &Connection, args: &Args) -> Result<()> {
    let admin = connection.admin()?;
    let now = cluster::topic(&connection.consumer(&[])?, &args.topic)?.partitions.len();
    if let Some(wanted) = args.partitions {
        add_partitions(&admin, args, now, wanted as usize)?;
    }
    if !args.configs.is_empty() || !args.deletes.is_empty() {
        alter_configs(&admin, args)?;
    }
    Ok(())
}

fn add_partitions(admin: &AdminClient<Quiet>, args: &Args, now: usize, wanted: usize) -> Result<()> {
    let topic = &args.topic;
    if wanted < now {
        bail!(
            "topic \"{topic}\" has {now} partitions and cannot have {wanted}: partitions are never removed"
        );
    }
    if wanted == now {
        return output::line(format!("topic {topic} has {now} partitions already"));
    }
    let request = [NewPartitions::new(topic, wanted)];
    let results = wait(admin.create_partitions(&request, &admin_options(args.dry_run)))?;
    for result in results.map_err(|error| explain(&error))? {
        result.map_err(|(_, code)| {
            anyhow::anyhow!("cannot add partitions to \"{topic}\": {}", code_text(code))
        })?;
    }
    output::line(format!(
        "{} topic {topic} from {now} to {wanted} partitions",
        verb(args, "grew", "would grow")
    ))
}

/// Sets and unsets configs. The client library knows only the request that replaces all of them, so those
/// that stay are read first and sent again.
fn alter_configs(admin: &AdminClient<Quiet>, args: &Args) -> Result<()> {
    let topic = &args.topic;
    let mut configs = config::own(&config::read(admin, topic)?);
    for name in &args.deletes {
        if configs.remove(name).is_none() {
            output::line(format!("config {name} of topic {topic} has its default already"))?;
        }
    }
    configs.extend(args.configs.iter().cloned());
    let refused = || format!("cannot change configs of \"{topic}\"");
    send_configs(admin, args, &configs).with_context(refused)?;
    check_configs(admin, args, &configs).with_context(refused)?;
    for (name, value) in &args.configs {
        output::line(format!("{} {name}={value} on topic {topic}", verb(args, "set", "would set")))?;
    }
    for name in &args.deletes {
        output::line(format!("{} {name} on topic {topic}", verb(args, "unset", "would unset")))?;
    }
    Ok(())
}

fn send_configs(admin: &AdminClient<Quiet>, args: &Args, configs: &BTreeMap<String, String>) -> Result<()> {
    let request = AlterConfig::new(ResourceSpecifier::Topic(&args.topic));
    let request = configs.iter().fold(request, |request, (name, value)| request.set(name, value));
    let results = wait(admin.alter_configs([&request], &admin_options(args.dry_run)))?;
    for result in results.map_err(|error| explain(&error))? {
        result.map_err(|(_, code)| anyhow::anyhow!("{}", code_text(code)))?;
    }
    Ok(())
}

/// Finds out whether the broker took the configs: the client library drops what it answers for a single
/// topic, so they are read again. After a dry run there is nothing to read, and only what can be
/// told without the broker is checked.
fn check_configs(admin: &AdminClient<Quiet>, args: &Args, wanted: &BTreeMap<String, String>) -> Result<()> {
    let accepted = match args.dry_run {
        true => config::mistake(&args.configs).is_none(),
        false => config::own(&config::read(admin, &args.topic)?) == *wanted,
    };
    if !accepted {
        bail!("{}", config::refusal(&args.configs));
    }
    Ok(())
}

fn verb<'a>(args: &Args, done: &'a str, would: &'a str) -> &'a str {
    if args.dry_run { would } else { done }
}
