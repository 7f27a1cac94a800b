//! `annals binding`: list, add and remove bindings.

mod add;
mod list;
mod remove;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::client::management::{Management, ManagementArgs};
use crate::commands::arguments;
use crate::failure::usage;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    management: ManagementArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List bindings
    List(list::Args),
    /// Have an exchange pass messages on to a queue or another exchange
    Add(add::Args),
    /// Remove a binding
    Remove(remove::Args),
}

/// Runs one binding command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let management = Management::open(&args.management)?;
    match &args.command {
        Command::List(args) => list::run(&management, args),
        Command::Add(args) => add::run(&management, args),
        Command::Remove(args) => remove::run(&management, args),
    }
}

/// From where to where.
#[derive(clap::Args, Debug)]
struct Ends {
    /// The exchange that messages come from
    source: String,

    /// The queue that they go to
    #[arg(long, value_name = "QUEUE", conflicts_with = "exchange")]
    queue: Option<String>,

    /// The exchange that they go to
    #[arg(long, value_name = "EXCHANGE")]
    exchange: Option<String>,

    /// The key, or for a topic exchange the pattern, of the messages
    #[arg(short = 'k', long, value_name = "KEY", default_value = "")]
    routing_key: String,

    /// What a headers exchange compares, the value as JSON or text; may be repeated
    #[arg(long = "argument", value_name = "NAME=VALUE", value_parser = arguments::parse)]
    arguments: Vec<(String, Value)>,
}

impl Ends {
    /// The letter that stands for the kind of destination in paths, its kind, and its name.
    fn destination(&self) -> Result<(&'static str, &'static str, &str)> {
        match (&self.queue, &self.exchange) {
            (Some(queue), _) => Ok(("q", "queue", queue)),
            (None, Some(exchange)) => Ok(("e", "exchange", exchange)),
            (None, None) => Err(usage("say where the messages go: --queue QUEUE, or --exchange EXCHANGE")),
        }
    }

    fn path(&self, management: &Management) -> Result<String> {
        let (letter, _, destination) = self.destination()?;
        Ok(management.path("bindings", &["e", &self.source, letter, destination]))
    }
}
