//! Every chore of the workspace, one command each: `cargo xtask help` lists them.
//!
//! CI runs `cargo xtask ci` and nothing else, so what passes here passes there. A chore prints what it runs, installs
//! what it needs below the target directory, and never touches the rest of the machine.
#![allow(clippy::print_stdout, reason = "a tool for the terminal prints its results")]

mod bench;
mod broker;
mod ci;
mod conformance;
mod excerpt;
mod fuzz;
mod kafka;
mod reliability;
mod shell;
mod side_by_side;
mod suites;
mod tally;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::workspace::Workspace;

/// Every chore of the Annals workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Run all tests: the Rust ones, then real clients in Python, Java, Go and C
    Test(test::Options),
    /// Run what CI runs: format, lints, docs, tidy, licences, then all tests
    Ci(ci::Options),
    /// Check layers, manifests, tracked text and file sizes
    Tidy(tidy::Options),
    /// Measure Annals beside its peers
    Bench(bench::Options),
    /// Run test suites that other projects wrote for brokers: librdkafka's and kafka-python's
    Conformance(conformance::Options),
    /// Show with faults on a large scale what Annals survives
    Reliability(reliability::Options),
    /// Search with libFuzzer for inputs that break a promise
    Fuzz(fuzz::Options),
    /// Run a reference Apache Kafka in the foreground, to compare against
    Kafka(kafka::Options),
}

fn main() -> ExitCode {
    match run(Chore::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    match chore {
        Chore::Test(options) => test::run(&workspace, &options),
        Chore::Ci(options) => ci::run(&workspace, &options),
        Chore::Tidy(options) => tidy::run(&workspace, &options),
        Chore::Bench(options) => bench::run(&workspace, &options),
        Chore::Conformance(options) => conformance::run(&workspace, &options),
        Chore::Reliability(options) => reliability::run(&workspace, &options),
        Chore::Fuzz(options) => fuzz::run(&workspace, &options),
        Chore::Kafka(options) => kafka::run(&workspace, &options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_options_of_all_chores_fit_together() {
        super::Chore::command().debug_assert();
    }
}
