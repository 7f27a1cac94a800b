//! The commands, one file or folder each.

mod arguments;
mod bench;
mod binding;
mod completion;
mod consume;
mod delete;
mod dev;
mod dlq;
mod doctor;
mod exchange;
mod group;
mod produce;
mod projection;
mod queue;
mod serve;
mod store;
mod stream;
mod subscription;
mod topic;
mod verify;

use anyhow::Result;
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 called wrongly.
Environment: ANNALS_BOOTSTRAP_SERVER, ANNALS_COMMAND_CONFIG, ANNALS_SERVER, ANNALS_STORE,
ANNALS_USER, ANNALS_VHOST, ANNALS_LOG (for example librdkafka=debug).";

/// Annals: the event-driven stack in one binary
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = AFTER_HELP)]
#[command(max_term_width = 110, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say on standard error what the client library does
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Sample topics, a live producer and a consumer group to look at
    Dev(dev::Args),
    /// Create, list, describe, alter and delete topics
    Topic(topic::Args),
    /// Send lines of a file or pipe as records
    Produce(produce::Args),
    /// Print the records of topics
    Consume(consume::Args),
    /// List, describe, reset and delete consumer groups
    Group(group::Args),
    /// List, declare, look into, empty, move and delete queues
    Queue(queue::Args),
    /// List, declare and delete exchanges; publish to them
    Exchange(exchange::Args),
    /// List, add and remove bindings of exchanges
    Binding(binding::Args),
    /// Find dead letters, look at them and send them back
    Dlq(dlq::Args),
    /// Create, list, export, import, scavenge and delete event stores
    Store(store::Args),
    /// List, read, append to and delete the streams of an event store
    Stream(stream::Args),
    /// Persistent subscriptions of an event store: create, read, replay what was put aside
    Subscription(subscription::Args),
    /// See how the projections of programs do; pause, resume and rebuild them
    Projection(projection::Args),
    /// Measure the broker, and the disk beside it
    Bench(bench::Args),
    /// Look for what would make a server slow, unsafe or unable to start
    Doctor(doctor::Args),
    /// Check every byte of a data directory
    Verify(verify::Args),
    /// Print the completion script of a shell
    Completion(completion::Args),
}

impl Command {
    /// Whether the command sets up its own log lines.
    pub(crate) fn has_own_logging(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// Runs one command.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Topic(args) => topic::run(&args),
        Command::Produce(args) => produce::run(&args),
        Command::Consume(args) => consume::run(&args),
        Command::Group(args) => group::run(&args),
        Command::Queue(args) => queue::run(&args),
        Command::Exchange(args) => exchange::run(&args),
        Command::Binding(args) => binding::run(&args),
        Command::Dlq(args) => dlq::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Stream(args) => stream::run(&args),
        Command::Subscription(args) => subscription::run(&args),
        Command::Projection(args) => projection::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completion(args) => completion::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_options_of_all_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}
