//! The `annals` binary: the server and, as clients of its protocols, the tools around it.
//!
//! The commands for topics and groups talk to a broker in Kafka's protocol, so they work against Apache Kafka as
//! well; those for event stores talk to the HTTP API. One file or folder under `commands/` is one command.
//!
//! Exit codes: 0 the command did what was asked, 1 it failed, 2 it was called wrongly. A closed pipe on
//! standard output (`annals consume orders | head`) is an ordinary end, not a failure.

mod api;
mod client;
mod commands;
mod disk;
mod failure;
mod human;
mod interrupt;
mod logging;
mod moment;
mod nearest;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Cli;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.command.has_own_logging() {
        logging::init(cli.verbose);
    }
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
