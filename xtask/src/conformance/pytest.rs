//! Runs a suite of pytest and reads what came of each test.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Run;
use super::list::{End, Outcome};
use crate::shell;

/// Runs `command`, which starts pytest. The names of tests are told without `folder`, the beginning of their paths.
pub(super) fn run(
    run: &Run<'_>,
    command: &mut Command,
    folder: &str,
    limit: Duration,
) -> Result<Vec<Outcome>> {
    // What a test has logged would bury the reasons: of those that are expected to fail there is more than of all others.
    command.args(["--durations=0", "--durations-min=0", "-rpfE", "--show-capture=no"]);
    if !run.only.is_empty() {
        command.arg("-k").arg(run.only.join(" or "));
    }
    let (mut outcomes, mut durations) = (Vec::new(), HashMap::new());
    let end = shell::read_lines(command, limit, |line| {
        if let Some((name, seconds)) = read_duration(line, folder) {
            durations.insert(name.to_owned(), seconds);
            return;
        }
        println!("{line}");
        if let Some(outcome) = read_line(line, folder) {
            add(&mut outcomes, outcome);
        }
    })?;
    for outcome in &mut outcomes {
        outcome.seconds = durations.get(&outcome.name).copied().unwrap_or(0.0);
    }
    if let shell::End::TimedOut = end {
        bail!("still running after {limit:?}");
    }
    outcomes.retain(|outcome| run.wants(&outcome.name));
    Ok(outcomes)
}

/// `PASSED FOLDER/test_x.py::test_y[z]` or `FAILED FOLDER/test_x.py::test_y[z] - why`, from the summary at the end. What was
/// skipped has no line of its own there.
fn read_line(line: &str, folder: &str) -> Option<Outcome> {
    let (word, rest) = line.split_once(' ')?;
    let end = match word {
        "PASSED" => End::Passed,
        "FAILED" | "ERROR" => End::Failed,
        _ => return None,
    };
    let rest = rest.strip_prefix(folder)?;
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

/// `1.25s call     FOLDER/test_x.py::test_y[z]`.
fn read_duration<'a>(line: &'a str, folder: &str) -> Option<(&'a str, f64)> {
    let mut words = line.split_whitespace();
    let seconds = words.next()?.strip_suffix('s')?.parse().ok()?;
    let name = words.nth(1)?.strip_prefix(folder)?;
    Some((name, seconds)).filter(|_| line.contains("s call "))
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
            read_line(line, "test/integration/").into_iter().for_each(|outcome| add(&mut outcomes, outcome));
        }
        let ends: Vec<_> = outcomes.iter().map(|outcome| (outcome.name.as_str(), outcome.end)).collect();
        assert_eq!(ends, [("test_a.py::test_b[None]", End::Passed), ("test_a.py::test_c", End::Failed)]);
        let duration = |line| read_duration(line, "test/integration/");
        let line = "12.50s call     test/integration/test_a.py::test_c";
        assert_eq!(duration(line), Some(("test_a.py::test_c", 12.5)));
        assert_eq!(duration("0.50s setup    test/integration/test_a.py::test_c"), None);
    }
}
