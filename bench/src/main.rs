//! Annals beside its peers: the same client, the same disk, the same run. `cargo xtask bench` builds and starts this.
//!
//! A [`scenario`] says what is done with each [subject](servers::Subject) in one run. The [runner](mod@run) goes through all
//! subjects in turn, and does so several times. Each scenario leaves its [`samples`]; figures, tables and plots are made
//! from them in [`report`].
#![allow(clippy::print_stdout, reason = "a tool for the terminal prints its results")]

mod amqp;
mod command;
mod figure;
mod files;
mod load;
mod machine;
mod profile;
mod quantity;
mod report;
mod run;
mod samples;
mod scenario;
mod scenarios;
mod servers;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::machine::Machine;
use crate::run::{Place, Scale};
use crate::scenario::Scenario;
use crate::servers::Tools;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench list
  cargo xtask bench produce consume
  cargo xtask bench all --quick
  cargo xtask bench produce --subject annals-sync --subject kafka --runs 3
  cargo xtask bench all --write-docs
  cargo xtask bench profile";

/// Measure Annals beside its peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench", after_help = EXAMPLES)]
struct Options {
    /// Scenarios to run: their names, `all`, `list` to see them, or `profile` to see where the time goes
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Do everything, so shortly that the figures mean nothing
    #[arg(long)]
    quick: bool,

    /// Runs of each scenario; figures are medians [default: 5, quick: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,

    /// Where the results go [default: target/bench/results, quick: target/bench/quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Where the servers keep their data: on the disk that is to be measured [default: target/bench/data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Let only these take part; may be given more than once, `list` shows them
    #[arg(long = "subject", value_name = "KEY")]
    subjects: Vec<String>,

    /// Put the results into docs/benchmarks.md, after the runs if there are any
    #[arg(long)]
    write_docs: bool,

    /// Path of a release build of `annals`
    #[arg(long, hide = true)]
    annals: PathBuf,

    /// Path of `xtask`
    #[arg(long, hide = true)]
    xtask: PathBuf,

    /// The target directory
    #[arg(long, hide = true)]
    target: PathBuf,

    /// The root of the checkout
    #[arg(long, hide = true)]
    root: PathBuf,
}

/// The allocator of the server, so that a store in this process has no other.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(code) = worker::run_if_wanted() {
        return code;
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.names.iter().any(|name| name == "list") || (options.names.is_empty() && !options.write_docs) {
        list();
        return Ok(());
    }
    let folder = options.target.join("bench");
    let default = folder.join(if options.quick { "quick" } else { "results" });
    let out = options.out.clone().unwrap_or(default);
    if options.names == ["profile"] {
        return profile::run(&place(options, &folder)?, &out, options.quick);
    }
    let failed = measure(options, &folder, &out)?;
    if options.write_docs {
        report::write_docs(&options.root, &out)?;
    }
    if failed > 0 {
        bail!("not measured, and listed above: {failed}");
    }
    Ok(())
}

fn list() {
    println!("scenarios:");
    scenarios::ALL.iter().for_each(|scenario| println!("  {:15} {}", scenario.name(), scenario.about()));
    println!("\nsubjects:");
    servers::ALL.iter().for_each(|subject| println!("  {:15} {}", subject.key(), subject.name()));
    println!(
        "\n`cargo xtask bench profile` samples the server with perf; `cargo xtask bench all` runs everything; --help shows the options."
    );
}

/// Runs the scenarios that are named, and writes after each what is known so far. Returns how much could not be measured.
fn measure(options: &Options, folder: &Path, out: &Path) -> Result<usize> {
    let chosen = choose(&options.names)?;
    if let Some(unknown) = options.subjects.iter().find(|key| servers::find(key).is_none()) {
        bail!("no subject is called \"{unknown}\"; `cargo xtask bench list` shows them");
    }
    if chosen.is_empty() {
        return Ok(0);
    }
    let place = place(options, folder)?;
    println!("{}", place.machine.line());
    let runs = options.runs.map_or(if options.quick { 1 } else { 5 }, |runs| runs as usize);
    let scale = Scale { quick: options.quick, runs };
    let mut failed = 0;
    for scenario in chosen {
        println!("\n{}: {}", scenario.name(), scenario.about());
        let begin = place.clock.monotonic();
        let samples = run::run(&place, scenario, scale, &options.subjects)?;
        failed += samples.failures.len();
        report::write(out, &samples)?;
        let took = (place.clock.monotonic() - begin).as_secs_f64();
        println!("\n{}{} took {took:.0} s", report::text(scenario, &samples), scenario.name());
    }
    println!("\nresults: {}", out.display());
    Ok(failed)
}

fn choose(names: &[String]) -> Result<Vec<&'static dyn Scenario>> {
    if names.iter().any(|name| name == "all") {
        return Ok(scenarios::ALL.to_vec());
    }
    let find = |name: &String| {
        scenarios::find(name)
            .with_context(|| format!("no scenario is called \"{name}\"; `cargo xtask bench list` shows them"))
    };
    names.iter().map(find).collect()
}

fn place(options: &Options, folder: &Path) -> Result<Place> {
    let data = options.data_dir.clone().unwrap_or_else(|| folder.join("data"));
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let data = data.canonicalize()?;
    let machine = Machine::look(&options.root, &data);
    let (annals, xtask) = (options.annals.clone(), options.xtask.clone());
    let tools = Tools { annals, xtask, target: options.target.clone() };
    Ok(Place { tools, data, machine, clock: Clock::system() })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_fit_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn scenarios_are_chosen_by_name() {
        assert_eq!(choose(&["all".to_owned()]).unwrap().len(), scenarios::ALL.len());
        assert_eq!(choose(&["tiny".to_owned()]).unwrap()[0].name(), "tiny");
        assert!(choose(&["tinny".to_owned()]).is_err());
    }
}
