//! lapin's own tests, in Rust: those in the `tests` folder of its crate.
//!
//! The sources come from the registry, in the version that the workspace uses, and with the versions of other crates that its
//! makers have locked. They are copied below the target directory and built there, without TLS, which no test uses. The
//! files run one after the other, since they share the names of queues.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};

use super::list::{End, Outcome};
use super::{Run, Suite};
use crate::shell;

pub(super) const SUITE: Suite = Suite {
    name: "lapin",
    about: "the tests of the Rust client for AMQP, from its crate",
    settings: &[],
    run,
};

/// How long building and running one file of tests may take.
const LIMIT: Duration = Duration::from_secs(900);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let sources = copy(run)?;
    let mut outcomes = Vec::new();
    for file in files(&sources.join("tests"))? {
        run_file(run, &sources, &file, &mut outcomes)?;
    }
    Ok(outcomes)
}

fn run_file(run: &Run<'_>, sources: &Path, file: &str, outcomes: &mut Vec<Outcome>) -> Result<()> {
    let mut command = Command::new(shell::cargo());
    command.args(["test", "--locked", "--no-default-features", "--features", "tokio,smol,default-runtime"]);
    command.args(["--test", file, "--no-fail-fast", "--", "--test-threads=1"]).current_dir(sources);
    command.env("AMQP_ADDR", run.amqp_url("%2f")).env("CARGO_TARGET_DIR", run.folder.join("build"));
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    let (clock, before, mut begun) = (Clock::system(), outcomes.len(), None);
    let end = shell::read_lines(&mut command, LIMIT, |line| {
        println!("{line}");
        outcomes.extend(read_line(file, line, &mut begun).filter(|outcome| run.wants(&outcome.name)));
    })?;
    if let shell::End::TimedOut = end {
        bail!("{file} still runs after {LIMIT:?}");
    }
    if let [only] = &mut outcomes[before..] {
        only.seconds = clock.monotonic().as_secs_f64();
    }
    Ok(())
}

/// `test NAME ... ok`, or another end. What a test prints itself comes between the two: then the end has its own line.
fn read_line(file: &str, line: &str, begun: &mut Option<String>) -> Option<Outcome> {
    let end = match line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
        Some((name, end)) => {
            *begun = Some(name.to_owned());
            end
        }
        None => line,
    };
    let end = match end.split([',', ' ']).next()? {
        "ok" => End::Passed,
        "FAILED" => End::Failed,
        "ignored" => End::Skipped,
        _ => return None,
    };
    Some(Outcome { name: format!("{file}::{}", begun.take()?), end, seconds: 0.0 })
}

/// Copies the crate, once for each version, to where it is a workspace of its own.
fn copy(run: &Run<'_>) -> Result<PathBuf> {
    let (sources, version) = run.crate_sources("lapin")?;
    let copy = run.folder.join(format!("lapin-{version}"));
    let manifest = copy.join("Cargo.toml");
    if !manifest.exists() {
        println!("copying the sources of lapin {version} into {}", copy.display());
        shell::run(Command::new("cp").arg("-r").arg(&sources).arg(&copy))?;
        shell::run(Command::new("chmod").args(["-R", "u+rwX"]).arg(&copy))?;
    }
    let text = std::fs::read_to_string(sources.join("Cargo.toml"))?;
    std::fs::write(manifest, format!("{text}\n[workspace]\n"))?;
    Ok(copy)
}

/// The names of the files of tests, in order.
fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().filter(|_| path.extension().is_some_and(|extension| extension == "rs"));
        names.extend(stem.and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_cargo_are_understood() {
        let mut begun = None;
        let mut read = |line| read_line("file", line, &mut begun).map(|outcome| (outcome.name, outcome.end));
        assert_eq!(read("test a::b ... ok"), Some(("file::a::b".to_owned(), End::Passed)));
        assert_eq!(read("test c ... FAILED"), Some(("file::c".to_owned(), End::Failed)));
        assert_eq!(read("test d ... ignored, slow"), Some(("file::d".to_owned(), End::Skipped)));
        assert_eq!(read("test result: ok. 1 passed; 0 failed"), None);
        assert_eq!(read("running 1 test"), None);
        assert_eq!(read("test e ... a line of the log"), None);
        assert_eq!(read("another one"), None);
        assert_eq!(read("ok"), Some(("file::e".to_owned(), End::Passed)));
        assert_eq!(read("ok"), None, "nothing has begun");
    }
}
