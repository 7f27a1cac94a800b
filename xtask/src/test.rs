//! `cargo xtask test`: everything that can show that Annals works, and one line that says whether it does.
//!
//! First the Rust tests, then one suite for each client library that nobody here wrote, each against a server of its
//! own with an empty data directory. A suite whose toolchain is absent is named and counted as skipped; where `CI`
//! is set, a skip is a failure, because there nobody would notice it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};

use crate::broker::{Addresses, Broker};
use crate::excerpt::{Collector, Excerpt};
use crate::shell::{self, End};
use crate::suites::{self, Role, Suite};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Run all tests.
#[derive(clap::Args)]
#[group(id = "test-options")]
pub(crate) struct Options {
    /// Run only the suites whose name starts with NAME; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// List the suites and what each needs, and run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// How many seeds the simulations of the Rust tests try
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) seeds: u64,
    /// Run the client suites against the Kafka broker at HOST:PORT instead of Annals
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) against: Option<String>,
    /// Run only the tests of the client suites whose name matches
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Test a release build of the server instead of a debug build
    #[arg(long)]
    pub(crate) release: bool,
}

/// So many failures of a suite may be chance.
pub(crate) const CHANCES_MAX: u64 = 3;

/// Runs the chosen suites and prints the closing line.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.list {
        suites::ALL.iter().for_each(|suite| println!("{:16} {}", suite.name, suite.about));
        return Ok(ExitCode::SUCCESS);
    }
    let tally = tally(workspace, options)?;
    Ok(report(&tally))
}

/// Prints each omission again, what failed tests have printed, each failure, and at last `N passed, N failed`. Who reads only
/// the end of a long log finds there what failed.
pub(crate) fn report(tally: &Tally) -> ExitCode {
    println!();
    tally.notes.iter().for_each(|note| println!("{note}"));
    println!();
    tally.excerpts.iter().for_each(show);
    tally.failures.iter().for_each(|failure| println!("{failure}"));
    println!("{tally}");
    let skip_is_failure = in_ci() && tally.skipped > 0;
    if skip_is_failure {
        eprintln!("error: CI accepts no skipped test");
    }
    if tally.failed > 0 || skip_is_failure { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Shows the end of what a failed test has printed, so that nobody has to look for it far above.
fn show(excerpt: &Excerpt) {
    println!("---- {} ----", excerpt.name);
    excerpt.lines.iter().for_each(|line| println!("{line}"));
    println!();
}

/// Runs the chosen suites one after the other.
pub(crate) fn tally(workspace: &Workspace, options: &Options) -> Result<Tally> {
    let chosen = choose(options)?;
    let mut total = Tally::default();
    let mut binary = Binary { release: options.release, built: None };
    for suite in chosen {
        println!("\n== {}: {}", suite.name, suite.about);
        let clock = Clock::system();
        let tally = run_suite(workspace, options, suite, &mut binary);
        println!("== {}: {tally} in {:.1} s", suite.name, clock.monotonic().as_secs_f64());
        total.add(tally);
    }
    Ok(total)
}

fn choose(options: &Options) -> Result<Vec<&'static Suite>> {
    let wanted = |suite: &&Suite| {
        let named = options.only.is_empty() || options.only.iter().any(|start| suite.name.starts_with(start));
        named && (options.against.is_none() || suite.role == Role::Client)
    };
    let chosen: Vec<_> = suites::ALL.iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no suite is named like that; `cargo xtask test --list` names them");
    }
    Ok(chosen)
}

/// Runs one suite. Where nobody watches, a client suite of which a few tests fail gets a second chance with a new server: clients
/// have time limits of their own, which a busy machine may break. What passes then is named at the end of the log all the same, with
/// what it printed. The tests of the crates get none: one that fails now and then has found something.
fn run_suite(workspace: &Workspace, options: &Options, suite: &Suite, binary: &mut Binary) -> Tally {
    let tally = attempt(workspace, options, suite, binary);
    if !in_ci() || suite.role == Role::Rust || !(1..=CHANCES_MAX).contains(&tally.failed) {
        return tally;
    }
    println!("\n== {}: {tally}; once more", suite.name);
    let again = attempt(workspace, options, suite, binary);
    tally.unless_passed(&again)
}

/// Runs one suite once. What keeps it from running is a failure of that suite and leaves the others alone.
fn attempt(workspace: &Workspace, options: &Options, suite: &Suite, binary: &mut Binary) -> Tally {
    let mut tally = Tally::default();
    let absent: Vec<_> = suite.needs.iter().copied().filter(|program| !shell::installed(program)).collect();
    if !absent.is_empty() {
        tally.skip(format!("skipped suite {}: not installed: {}", suite.name, absent.join(", ")));
        return tally;
    }
    let result = match suite.role {
        Role::Rust => run_command(workspace, options, suite, None, &mut tally),
        Role::Client | Role::AmqpClient => run_client(workspace, options, suite, binary, &mut tally),
    };
    if let Err(error) = result {
        tally.fail(format!("failed suite {}: {error:#}", suite.name));
    }
    tally
}

fn run_client(
    workspace: &Workspace,
    options: &Options,
    suite: &Suite,
    binary: &mut Binary,
    tally: &mut Tally,
) -> Result<()> {
    if let Some(kafka) = &options.against {
        TcpStream::connect(kafka).with_context(|| format!("no broker at {kafka}"))?;
        let addresses = Addresses { kafka: kafka.clone(), http: None, amqp: None };
        return run_command(workspace, options, suite, Some(&addresses), tally);
    }
    let binary = binary.path(workspace)?;
    let broker = Broker::start(&binary, &workspace.clients().join("logs"), suite.name)?;
    let addresses = broker.addresses().clone();
    run_command(workspace, options, suite, Some(&addresses), tally)?;
    if tally.failed > 0 {
        println!("the server's log: {}", broker.log.display());
    }
    broker.stop()
}

fn run_command(
    workspace: &Workspace,
    options: &Options,
    suite: &Suite,
    addresses: Option<&Addresses>,
    tally: &mut Tally,
) -> Result<()> {
    let mut command = (suite.prepare)(workspace, options, suite)?;
    if let Some(addresses) = addresses {
        command.env("ANNALS_KAFKA", &addresses.kafka);
        command.env("ANNALS_HTTP", addresses.http.as_deref().unwrap_or_default());
        command.env("ANNALS_AMQP", addresses.amqp.as_deref().unwrap_or_default());
    }
    let mut collector = Collector::new(suite.format);
    let end = shell::read_lines(&mut command, suite.limit, |line| {
        collector.read(line);
        if let Some(line) = suite.format.read(line, tally) {
            println!("{line}");
        }
    })?;
    tally.excerpts.extend(collector.finish());
    match end {
        End::TimedOut => bail!("still running after {:?}", suite.limit),
        End::Exited(status) if !status.success() && tally.failed == 0 => {
            bail!("the runner ended with {status}")
        }
        End::Exited(_) if tally.passed + tally.failed == 0 => bail!("the runner reported no test"),
        End::Exited(_) => Ok(()),
    }
}

/// The `annals` binary, built when the first suite needs it.
struct Binary {
    release: bool,
    built: Option<PathBuf>,
}

impl Binary {
    fn path(&mut self, workspace: &Workspace) -> Result<PathBuf> {
        if let Some(path) = &self.built {
            return Ok(path.clone());
        }
        let path = build_server(workspace, self.release)?;
        self.built = Some(path.clone());
        Ok(path)
    }
}

/// Builds the server and returns its program.
pub(crate) fn build_server(workspace: &Workspace, release: bool) -> Result<PathBuf> {
    let mut command = Command::new(shell::cargo());
    command.args(["build", "--bin", "annals"]).args(release.then_some("--release"));
    shell::run(command.current_dir(&workspace.root))?;
    Ok(workspace.target.join(if release { "release" } else { "debug" }).join("annals"))
}

/// Whether this is a run that nobody watches.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}
