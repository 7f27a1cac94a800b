//! The `annals` binary: the server and, as clients of the Kafka protocol, the tools around it.
//!
//! Every command but `serve`, `dev` and `verify` talks to a broker over the network, so it works against
//! Apache Kafka as well. One file under `commands/` is one command.
//!
//! Exit codes: 0 the command did what was asked, 1 it failed, 2 it was called wrongly. A closed pipe on
//! standard output (`annals consume orders | head`) is an ordinary end, not a failure.

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
