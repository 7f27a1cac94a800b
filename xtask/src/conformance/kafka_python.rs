//! kafka-python's integration tests: what its makers run against each release of Apache Kafka.
//!
//! They are in its source package, which is fetched below the target directory. The package lacks one file that they
//! import: `service.py` here stands in for it. Run by pytest against `KAFKA_URI`, one test after the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::list::{End, Outcome};
use super::{Run, Suite};
use crate::shell;
use crate::suites::python::environment;

pub(super) const SUITE: Suite = Suite {
    name: "kafka-python",
    about: "the integration tests of the Python client, from its source package (needs python3 with venv)",
    // As in the properties of its own brokers.
    settings: &["partitions_default=4", "kafka.node_id=0", "groups.session_timeout_min=1s"],
    run,
};

/// The release whose tests are run.
const VERSION: &str = "3.0.12";
/// The version of Apache Kafka whose behaviour is expected.
const KAFKA: &str = "4.1.0";
const LIMIT: Duration = Duration::from_secs(900);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let support = run.workspace.root.join("tests/conformance/kafka-python");
    let python = environment(&run.folder.join("environment"), &support.join("requirements.txt"))?;
    let sources = fetch(run, &python, &support)?;
    let mut command = Command::new(&python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short", "--timeout=120"]);
    command.args(["--durations=0", "-rpfE", "-W", "ignore"]).arg("test/integration").current_dir(&sources);
    command.env("KAFKA_URI", format!("kafka://{}", run.kafka)).env("KAFKA_VERSION", KAFKA);
    // Its fixtures insist on a folder of Apache Kafka, even if nothing in it is ever run.
    command.env("KAFKA_ROOT", &sources).env("PYTHONDONTWRITEBYTECODE", "1");
    if !run.only.is_empty() {
        command.arg("-k").arg(run.only.join(" or "));
    }
    let (mut outcomes, mut durations) = (Vec::new(), HashMap::new());
    let end = shell::read_lines(&mut command, LIMIT, |line| {
        if let Some((name, seconds)) = read_duration(line) {
            durations.insert(name.to_owned(), seconds);
            return;
        }
        println!("{line}");
        if let Some(outcome) = read_line(line) {
            add(&mut outcomes, outcome);
        }
    })?;
    for outcome in &mut outcomes {
        outcome.seconds = durations.get(&outcome.name).copied().unwrap_or(0.0);
    }
    if let shell::End::TimedOut = end {
        bail!("still running after {LIMIT:?}");
    }
    outcomes.retain(|outcome| run.wants(&outcome.name));
    Ok(outcomes)
}

/// `PASSED test/integration/test_x.py::test_y[z]` or `FAILED test/integration/test_x.py::test_y[z] - why`, from the summary
/// at the end. What was skipped has no line of its own there.
fn read_line(line: &str) -> Option<Outcome> {
    let (word, rest) = line.split_once(" test/integration/")?;
    let end = match word {
        "PASSED" => End::Passed,
        "FAILED" | "ERROR" => End::Failed,
        _ => return None,
    };
    let name = rest.split_once(" - ").map_or(rest, |(name, _)| name).trim_end();
    Some(Outcome { name: name.to_owned(), end, seconds: 0.0 })
}

/// Adds `outcome`. A test that passed and could not be cleared away has two; the failure counts.
fn add(outcomes: &mut Vec<Outcome>, outcome: Outcome) {
    match outcomes.iter_mut().find(|known| known.name == outcome.name) {
        Some(known) if outcome.end == End::Failed => known.end = End::Failed,
        Some(_) => {}
        None => outcomes.push(outcome),
    }
}

/// `1.25s call     test/integration/test_x.py::test_y[z]`.
fn read_duration(line: &str) -> Option<(&str, f64)> {
    let mut words = line.split_whitespace();
    let seconds = words.next()?.strip_suffix('s')?.parse().ok()?;
    let name = words.nth(1)?.strip_prefix("test/integration/")?;
    Some((name, seconds)).filter(|_| line.contains("s call "))
}

/// The unpacked source package.
fn fetch(run: &Run<'_>, python: &Path, support: &Path) -> Result<PathBuf> {
    let sources = run.folder.join(format!("kafka_python-{VERSION}"));
    let complete = sources.join("test/service.py");
    if !complete.exists() {
        println!("fetching the source package of kafka-python {VERSION} into {}", run.folder.display());
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", "kafka-python", "--dest"]).arg(&run.folder);
        shell::run(pip.arg(format!("kafka-python=={VERSION}")))?;
        let archive = run.folder.join(format!("kafka_python-{VERSION}.tar.gz"));
        shell::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&run.folder))?;
        // Python has a package `test` of its own, which would win.
        std::fs::write(sources.join("test/__init__.py"), "")?;
    }
    std::fs::copy(support.join("service.py"), complete)?;
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_pytest_are_understood() {
        let mut outcomes = Vec::new();
        for line in [
            "PASSED test/integration/test_a.py::test_b[None]",
            "PASSED test/integration/test_a.py::test_c",
            "ERROR test/integration/test_a.py::test_c - ValueError: a - b",
            "SKIPPED [1] test/integration/test_a.py:300: because",
            "test/integration/test_a.py::test_d PASSED           [ 50%]",
        ] {
            read_line(line).into_iter().for_each(|outcome| add(&mut outcomes, outcome));
        }
        let ends: Vec<_> = outcomes.iter().map(|outcome| (outcome.name.as_str(), outcome.end)).collect();
        assert_eq!(ends, [("test_a.py::test_b[None]", End::Passed), ("test_a.py::test_c", End::Failed)]);
        let duration = read_duration("12.50s call     test/integration/test_a.py::test_c");
        assert_eq!(duration, Some(("test_a.py::test_c", 12.5)));
        assert_eq!(read_duration("0.50s setup    test/integration/test_a.py::test_c"), None);
    }
}
