//! `cargo xtask conformance`: test suites that other projects wrote for brokers, against a fresh Annals.
//!
//! What each test is expected to do is listed in `tests/conformance/SUITE.txt` (see the `list` module), with the reason where
//! it is not expected to pass. A test that is listed as passing and fails breaks the run; one that passes against
//! expectation is told, so that its line can be changed.

mod amqp091_go;
mod amqplib;
mod franz_go;
mod go_module;
mod kafka_python;
mod kombu;
mod lapin;
mod librdkafka;
mod list;
mod pytest;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::list::{List, Outcome};
use crate::broker::Broker;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{shell, test};

/// Run test suites that other projects wrote for brokers.
#[derive(clap::Args)]
#[group(id = "conformance-options")]
pub(crate) struct Options {
    /// One of the suites, as the lists in tests/conformance are called; all if it is not given
    #[arg(value_name = "SUITE")]
    suite: Option<String>,
    /// Run only the tests whose name contains NAME; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Also run the tests that take more than a minute, some of them many
    #[arg(long)]
    full: bool,
    /// Test this server instead of a debug build
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Print the line of the list for each test that ran
    #[arg(long)]
    lines: bool,
}

/// One suite of another project.
struct Suite {
    name: &'static str,
    about: &'static str,
    /// Settings of the server that the suite's own environment has too.
    settings: &'static [&'static str],
    /// Fetches and builds it, runs the chosen tests and returns what came of each.
    run: fn(&Run<'_>) -> Result<Vec<Outcome>>,
}

const SUITES: &[Suite] = &[
    librdkafka::SUITE,
    librdkafka::WITHOUT_CREATION,
    kafka_python::SUITE,
    franz_go::SUITE,
    lapin::SUITE,
    amqp091_go::SUITE,
    amqplib::SUITE,
    kombu::SUITE,
];

/// What a suite needs to know to run.
struct Run<'a> {
    workspace: &'a Workspace,
    /// Where it fetches, builds and logs.
    folder: PathBuf,
    /// The server's program, for its command line.
    server: &'a Path,
    /// `HOST:PORT` of the broker for clients of Kafka.
    kafka: &'a str,
    /// `HOST:PORT` of the broker for clients of AMQP.
    amqp: &'a str,
    /// `HOST:PORT` of the broker's HTTP API.
    http: &'a str,
    list: &'a List,
    only: &'a [String],
    full: bool,
}

impl Run<'_> {
    /// Whether the test `name` is asked for.
    fn wants(&self, name: &str) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()));
        named && (self.full || !self.list.is_long(name))
    }

    /// The URL of the broker for clients of AMQP. `path` names the virtual host, as the client wants it.
    fn amqp_url(&self, path: &str) -> String {
        format!("amqp://guest:guest@{}/{path}", self.amqp)
    }

    /// The folder of a crate that the workspace uses, and its version.
    fn crate_sources(&self, name: &str) -> Result<(PathBuf, String)> {
        let mut command = Command::new(shell::cargo());
        command.args(["metadata", "--format-version=1"]).current_dir(&self.workspace.root);
        let metadata: Value = serde_json::from_str(&shell::output(&mut command)?)?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        let package = packages.iter().find(|package| package["name"] == name);
        let package = package.with_context(|| format!("the workspace does not use {name}"))?;
        let manifest = package["manifest_path"].as_str().with_context(|| format!("{name} has no folder"))?;
        let version = package["version"].as_str().with_context(|| format!("{name} has no version"))?;
        let folder = Path::new(manifest).parent().with_context(|| format!("{name} has no folder"))?;
        Ok((folder.to_owned(), version.to_owned()))
    }
}

/// Runs the chosen suites and prints the closing line.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let tally = tally(workspace, options)?;
    Ok(test::report(&tally))
}

/// What CI runs: all suites without their longest tests.
pub(crate) fn for_ci(workspace: &Workspace) -> Result<Tally> {
    let options = Options { suite: None, only: Vec::new(), full: false, server: None, lines: false };
    tally(workspace, &options)
}

fn tally(workspace: &Workspace, options: &Options) -> Result<Tally> {
    let wanted = |suite: &&Suite| options.suite.as_deref().is_none_or(|name| name == suite.name);
    let chosen: Vec<_> = SUITES.iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!(
            "no such suite; there are {}",
            SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>().join(", ")
        );
    }
    let server = match &options.server {
        // Suites run in folders of their own.
        Some(server) => std::path::absolute(server)?,
        None => test::build_server(workspace, false)?,
    };
    let mut total = Tally::default();
    for suite in chosen {
        println!("\n== {}: {}", suite.name, suite.about);
        let clock = Clock::system();
        let tally = run_suite(workspace, options, suite, &server, false).unwrap_or_else(|error| {
            let mut failed = Tally::default();
            failed.fail(format!("failed conformance {}: {error:#}", suite.name));
            failed
        });
        println!("== {}: {tally} in {:.1} s", suite.name, clock.monotonic().as_secs_f64());
        total.add(tally);
    }
    Ok(total)
}

/// Runs one suite. Where nobody watches, a few promises that are broken get a second chance with a new server.
fn run_suite(
    workspace: &Workspace,
    options: &Options,
    suite: &Suite,
    server: &Path,
    is_second: bool,
) -> Result<Tally> {
    let list = List::read(&workspace.root.join(format!("tests/conformance/{}.txt", suite.name)))?;
    let folder = workspace.target.join("conformance").join(suite.name);
    std::fs::create_dir_all(&folder)?;
    let broker = Broker::start_with(server, &folder.join("logs"), suite.name, suite.settings)?;
    let addresses = broker.addresses().clone();
    let run = Run {
        workspace,
        folder,
        server,
        kafka: &addresses.kafka,
        amqp: addresses.amqp.as_deref().context("the server does not take clients of AMQP")?,
        http: addresses.http.as_deref().context("the server does not serve HTTP")?,
        list: &list,
        only: &options.only,
        full: options.full,
    };
    let outcomes = (suite.run)(&run)?;
    let broken = list.broken(&outcomes);
    if test::in_ci() && (1..=test::CHANCES_MAX).contains(&(broken.len() as u64)) && !is_second {
        println!("\nonce more, since these failed: {}", broken.join(", "));
        broker.stop()?;
        let tally = list.judge(&outcomes, |name| run.wants(name));
        return Ok(tally.unless_passed(&run_suite(workspace, options, suite, server, true)?));
    }
    if options.lines {
        outcomes.iter().for_each(|outcome| println!("{}", list.line(outcome)));
    }
    let tally = list.judge(&outcomes, |name| run.wants(name));
    if tally.failed > 0 {
        println!("the server's log: {}", broker.log.display());
    }
    broker.stop()?;
    Ok(tally)
}
