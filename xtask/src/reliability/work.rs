//! Running a line, and reading its figures.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use annals_clock::Clock;
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::lines::{Line, Test, Work};
use super::machine;
use super::record::Record;
use crate::shell::{self, End};
use crate::workspace::Workspace;

/// How a test announces a figure.
const FIGURE: &str = "figure: ";

/// A name and a value with its unit.
type Figure = (String, String);

/// Does the work of a line. What fails is in the record.
pub(super) fn run(workspace: &Workspace, line: &Line, quick: bool) -> Result<Record> {
    let clock = Clock::system();
    let folder = Record::folder(workspace);
    fs::create_dir_all(&folder)?;
    let (mut figures, mut passed) = (Vec::new(), true);
    match line.work {
        Work::Tests(tests) => {
            for test in tests {
                let log = folder.join(format!("{}{}.log", line.name, test.about));
                let found = run_test(workspace, test, quick, &log)?;
                passed &= found.is_some();
                let prefix = if test.about.is_empty() { String::new() } else { format!("{}: ", test.about) };
                figures.extend(
                    found
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(name, value)| (prefix.clone() + &name, value)),
                );
            }
        }
        Work::Bench(scenario) => {
            (figures, passed) = run_bench(workspace, scenario, quick, &folder)?;
        }
    }
    let seconds = clock.monotonic().as_secs_f64();
    Ok(Record {
        name: line.name.to_owned(),
        passed,
        quick,
        seconds,
        figures,
        taken: machine::look(workspace)?,
    })
}

/// Runs a test. Returns its figures, or `None` if it failed or told none, as when its name has changed.
fn run_test(workspace: &Workspace, test: &Test, quick: bool, log: &Path) -> Result<Option<Vec<Figure>>> {
    let mut command = Command::new(shell::cargo());
    command.args(["test", "--package", test.package, "--test", test.target, "--"]);
    command.args(["--exact", test.name, "--nocapture"]).current_dir(&workspace.root);
    if let Some((variable, full, small)) = test.size {
        let size = if quick { small } else { full };
        println!("{variable}={size}");
        command.env(variable, size);
    }
    let (mut output, mut figures) = (Vec::new(), Vec::new());
    let end = shell::read_lines(&mut command, test.limit, |line| {
        output.push(line.to_owned());
        if let Some(figure) = parse(line) {
            println!("{line}");
            figures.push(figure);
        }
    })?;
    File::create(log)?.write_all(output.join("\n").as_bytes())?;
    let succeeded = matches!(end, End::Exited(status) if status.success());
    if !succeeded || figures.is_empty() {
        println!("it failed; what it said is in {}", log.display());
        return Ok(None);
    }
    Ok(Some(figures))
}

/// `figure: NAME=VALUE`, perhaps behind what the test runner says.
fn parse(line: &str) -> Option<Figure> {
    let (_, figure) = line.split_once(FIGURE)?;
    let (name, value) = figure.rsplit_once('=')?;
    Some((name.trim().to_owned(), grouped(value.trim())))
}

/// With commas in what is a long number.
fn grouped(value: &str) -> String {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = value.split_at(digits);
    let mut text = String::new();
    for (index, digit) in number.chars().enumerate() {
        if index > 0 && (digits - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Runs a scenario of the benchmarks with Annals alone. Returns what has a goal, and whether all goals were reached.
fn run_bench(
    workspace: &Workspace,
    scenario: &str,
    quick: bool,
    folder: &Path,
) -> Result<(Vec<Figure>, bool)> {
    let out = folder.join("bench");
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["bench", scenario, "--subject", "annals-sync", "--out"]).arg(&out);
    command.args(quick.then_some("--quick")).current_dir(&workspace.root);
    shell::run(&mut command)?;
    let results = fs::read_to_string(out.join("results.json")).context("the benchmark left no results")?;
    let results: Value = serde_json::from_str(&results)?;
    let figures = results.as_array().map(Vec::as_slice).unwrap_or_default();
    let with_goal =
        figures.iter().filter(|figure| figure["scenario"] == scenario && figure["goal"].is_string());
    let with_goal: Vec<&Value> = with_goal.collect();
    let met = !with_goal.is_empty() && (quick || with_goal.iter().all(|figure| figure["met"] == true));
    Ok((with_goal.into_iter().filter_map(ratio_of).collect(), met))
}

fn ratio_of(figure: &Value) -> Option<Figure> {
    let (metric, ratio) = (figure["metric"].as_str()?, figure["ratio"].as_f64()?);
    let missed = if figure["met"] == true { "" } else { ", not reached" };
    Some((metric.to_owned(), format!("{:.0} % of that alone{missed}", ratio * 100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_that_misses_its_goal_says_so() {
        let figure = |ratio: f64, met: bool| {
            ratio_of(&serde_json::json!({ "metric": "throughput", "ratio": ratio, "met": met })).unwrap().1
        };
        assert_eq!(figure(0.994, true), "99 % of that alone");
        assert_eq!(figure(0.59, false), "59 % of that alone, not reached");
    }

    #[test]
    fn figures_are_read_wherever_they_stand() {
        let figure = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(parse("figure: seeds=10000"), figure("seeds", "10,000"));
        assert_eq!(parse("test a::b ... figure: slowest start=412 ms"), figure("slowest start", "412 ms"));
        assert_eq!(parse("figure: resident=12345.5 MiB"), figure("resident", "12,345.5 MiB"));
        assert_eq!(parse("test result: ok"), None);
    }

    #[test]
    fn numbers_are_grouped_from_their_end() {
        for (number, text) in
            [("1", "1"), ("999", "999"), ("1000", "1,000"), ("1234567 x", "1,234,567 x"), ("", "")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
