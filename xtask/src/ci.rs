//! `cargo xtask ci`: what must hold before a change is taken, in the order in which it is cheapest to find out.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Result, bail};

use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{conformance, fuzz, shell, test, tidy};

/// The release of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// Run what CI runs.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to `cargo xtask test`
    #[command(flatten)]
    test: test::Options,
}

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("tidy", tidy::check),
    ("format", |workspace| cargo(workspace, &["fmt", "--all", "--check"], &[])),
    ("clippy", |workspace| {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
    }),
    ("docs", |workspace| {
        cargo(workspace, &["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
    }),
    ("licences", deny),
    ("fuzz", fuzz::for_ci),
];

/// Runs every step, whatever the one before it said, then the tests and the suites of others. The last line counts them.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut timings = Vec::new();
    let mut tally = Tally::default();
    for (name, step) in STEPS {
        let (result, took) = timed(|| step(workspace));
        timings.push((*name, took, result.is_ok()));
        if let Err(error) = result {
            println!("{name} failed: {error:#}");
            tally.fail(format!("failed step {name}: {error:#}"));
        }
    }
    let (tests, took) = timed(|| test::tally(workspace, &options.test));
    let tests = tests?;
    timings.push(("test", took, tests.failed == 0));
    tally.add(tests);
    let (suites, took) = timed(|| conformance::for_ci(workspace));
    let suites = suites?;
    timings.push(("conformance", took, suites.failed == 0));
    tally.add(suites);
    summarise(&timings);
    Ok(test::report(&tally))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let clock = Clock::system();
    let result = work();
    (result, clock.monotonic())
}

fn summarise(timings: &[(&str, Duration, bool)]) {
    println!();
    for (name, took, passed) in timings {
        println!("{name:11} {:7.1} s  {}", took.as_secs_f64(), if *passed { "passed" } else { "failed" });
    }
}

fn cargo(workspace: &Workspace, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(shell::cargo());
    command.args(arguments).envs(environment.iter().copied()).current_dir(&workspace.root);
    println!();
    shell::run(&mut command)
}

/// Licences, sources and duplicates. Advisories are left to a scheduled job: they change without a change of ours.
fn deny(workspace: &Workspace) -> Result<()> {
    let program = cargo_deny(workspace)?;
    let mut command = Command::new(program);
    command.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    shell::run(command.current_dir(&workspace.root))
}

/// The installed cargo-deny, or one that is built below the target directory.
fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    if shell::installed("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let tools = workspace.target.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        println!("\ninstalling cargo-deny {CARGO_DENY} into {} (about two minutes)", tools.display());
        let mut install = Command::new(shell::cargo());
        install.args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"]).arg(&tools);
        // It runs for a second: an optimised build of it would take longer than it saves.
        install.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
        let build = tools.join("build");
        shell::run(install.env("CARGO_TARGET_DIR", &build))?;
        std::fs::remove_dir_all(build)?;
    }
    if !program.exists() {
        bail!("cargo install left no {}", program.display());
    }
    Ok(program)
}
