//! `cargo xtask fuzz`: searches for inputs that break a promise, with libFuzzer.
//!
//! The targets are in the crate `annals-fuzz`. They are built by the stable compiler: what libFuzzer needs of it, counters
//! at every branch, are options of its code generator. No sanitizer is in use, since the workspace has no unsafe code; its
//! debug assertions and overflow checks are on. What is found stays below the target directory and is where the next run
//! goes on; `--keep` brings what covers something new into `fuzz/corpus`, which `cargo test` replays.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use crate::{shell, side_by_side};

/// Search for inputs that break a promise.
#[derive(clap::Args)]
#[group(id = "fuzz-options")]
pub(crate) struct Options {
    /// Only this target, as its folder in `fuzz/corpus` is named
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// How long to search with each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Add to `fuzz/corpus` what covers something new, at its smallest
    #[arg(long)]
    keep: bool,
    /// Run this input once and show what happens
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
}

/// Seconds for each target where nobody waits for more.
const CI_SECONDS: u32 = 10;
/// The largest input: enough for each part of each target, small enough to try many.
const INPUT_BYTES_MAX: u32 = 16 << 10;
/// The largest input that is kept in the repository.
const KEPT_BYTES_MAX: u64 = 4 << 10;
/// An input that takes longer is a hang.
const HANG_SECONDS: u32 = 20;
/// What libFuzzer needs the compiler to put in.
const COMPILER_FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the targets and searches with each.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let fuzzers = Fuzzers::build(workspace)?;
    let targets = fuzzers.choose(options.target.as_deref())?;
    if let (Some(input), [target]) = (&options.replay, targets.as_slice()) {
        let mut command = Command::new(fuzzers.program(target));
        shell::run(command.arg(input).env("RUST_BACKTRACE", "1"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut broken = Vec::new();
    for target in &targets {
        if let Err(error) = fuzzers.search(target, options.seconds) {
            eprintln!("{error:#}");
            broken.push(target.as_str());
        } else if options.keep {
            fuzzers.keep(target)?;
        }
    }
    if broken.is_empty() {
        println!("\nnothing found in {} targets", targets.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nbroken: {}", broken.join(", "));
    Ok(ExitCode::FAILURE)
}

/// A short search with every target.
pub(crate) fn for_ci(workspace: &Workspace) -> Result<()> {
    let fuzzers = Fuzzers::build(workspace)?;
    let workers = std::thread::available_parallelism()?.get();
    side_by_side::each(&fuzzers.choose(None)?, workers, |target| fuzzers.search(target, CI_SECONDS))?;
    Ok(())
}

/// The targets, built.
struct Fuzzers {
    programs: PathBuf,
    corpora: PathBuf,
    work: PathBuf,
}

impl Fuzzers {
    fn build(workspace: &Workspace) -> Result<Self> {
        let host = host()?;
        let work = workspace.target.join("fuzz");
        let mut cargo = Command::new(shell::cargo());
        cargo.args(["build", "-p", "annals-fuzz", "--profile", "fuzz", "--features", "libfuzzer"]);
        // With a target named, the flags do not reach build scripts and macros.
        cargo.args(["--target", &host]).current_dir(&workspace.root);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", COMPILER_FLAGS.join("\u{1f}")).env("CARGO_TARGET_DIR", &work);
        // libFuzzer is C++.
        cargo.env("CXX", "c++");
        shell::run(&mut cargo)?;
        let programs = work.join(host).join("fuzz");
        Ok(Self { programs, corpora: workspace.root.join("fuzz/corpus"), work })
    }

    /// The chosen target, or all.
    fn choose(&self, target: Option<&str>) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for folder in std::fs::read_dir(&self.corpora)? {
            all.push(folder?.file_name().to_string_lossy().into_owned());
        }
        all.sort_unstable();
        match target {
            None => Ok(all),
            Some(target) if all.iter().any(|known| known == target) => Ok(vec![target.to_owned()]),
            Some(target) => bail!("there is no target {target}; there are {}", all.join(", ")),
        }
    }

    fn program(&self, target: &str) -> PathBuf {
        self.programs.join(format!("fuzz-{target}"))
    }

    /// Where the inputs that were found are.
    fn found(&self, target: &str) -> PathBuf {
        self.work.join("found").join(target)
    }

    fn search(&self, target: &str, seconds: u32) -> Result<()> {
        let (found, broken) = (self.found(target), self.work.join("broken").join(target));
        std::fs::create_dir_all(&found)?;
        std::fs::create_dir_all(&broken)?;
        let log = self.work.join(format!("{target}.log"));
        println!("\n{target}: searching for {seconds} s; the log is {}", log.display());
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(self.program(target));
        command.arg(&found).arg(self.corpora.join(target));
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={HANG_SECONDS}"));
        command
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .args(["-rss_limit_mb=2048", "-print_final_stats=1"]);
        command.env("RUST_BACKTRACE", "1").stdout(output.try_clone()?).stderr(output);
        let status = command.status().with_context(|| format!("cannot start the target {target}"))?;
        let log_text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        if !status.success() {
            tail(&log_text).for_each(|line| println!("{line}"));
            bail!(
                "{target} broke a promise: run `cargo xtask fuzz {target} --replay FILE` with {}",
                broken.display()
            );
        }
        log_text.lines().filter(|line| line.contains("DONE")).for_each(|line| println!("{line}"));
        Ok(())
    }

    /// Adds inputs that cover something new to the corpus in the repository.
    fn keep(&self, target: &str) -> Result<()> {
        let corpus = self.corpora.join(target);
        let small = self.work.join("small").join(target);
        if small.exists() {
            std::fs::remove_dir_all(&small)?;
        }
        std::fs::create_dir_all(&small)?;
        for input in std::fs::read_dir(self.found(target))? {
            let input = input?;
            if input.metadata()?.len() <= KEPT_BYTES_MAX {
                std::fs::copy(input.path(), small.join(input.file_name()))?;
            }
        }
        let mut command = Command::new(self.program(target));
        // Edges alone: with counts of how often each is passed, a corpus is ten times as large and hardly better.
        command.args(["-merge=1", "-use_value_profile=0", "-use_counters=0"]).arg(&corpus).arg(&small);
        shell::run(&mut command)
    }
}

/// The lines around a panic, or the last ones.
fn tail(log: &str) -> impl Iterator<Item = &str> {
    const LINES_MAX: usize = 40;
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.iter().position(|line| line.contains("panicked at"));
    let from = from.unwrap_or(lines.len().saturating_sub(LINES_MAX));
    lines.into_iter().skip(from).take(LINES_MAX)
}

/// The machine that this runs on, as the compiler names it.
fn host() -> Result<String> {
    let version = shell::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_starts_at_the_panic() {
        let log = "one\nthread 'x' panicked at y\nwhy\n";
        assert_eq!(tail(log).collect::<Vec<_>>(), ["thread 'x' panicked at y", "why"]);
        let long: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(tail(&long.join("\n")).next(), Some("60"));
    }
}
