//! What is expected of each test: one line each, `NAME pass [SECONDS]`, `NAME fail REASON` or `NAME skip REASON`.
//!
//! `pass` is a promise. `fail` tells what is missing in Annals, `skip` why the suite itself leaves the test out. The
//! seconds are about what a test takes where that is long; above a minute it only runs with `--full`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::tally::Tally;

/// Tests that take longer than this many seconds are left to `--full`.
const SECONDS_MAX: u32 = 60;

/// A list of expectations.
pub(super) struct List {
    expected: BTreeMap<String, Expectation>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expectation {
    Pass { seconds: u32 },
    Fail { reason: String },
    Skip { reason: String },
}

/// What came of one test.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) end: End,
    pub(super) seconds: f64,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Failed,
    Skipped,
}

impl List {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("no list {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut expected = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (name, expectation) = parse_line(line).with_context(|| format!("line \"{line}\""))?;
            if expected.insert(name.to_owned(), expectation).is_some() {
                bail!("{name} is listed twice");
            }
        }
        Ok(Self { expected })
    }

    /// All names, those that take longest first.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.expected.keys().map(String::as_str).collect();
        names.sort_by_key(|name| std::cmp::Reverse(self.seconds(name)));
        names
    }

    /// Whether a test is left to `--full`.
    pub(super) fn is_long(&self, name: &str) -> bool {
        self.seconds(name) > SECONDS_MAX
    }

    fn seconds(&self, name: &str) -> u32 {
        match self.expected.get(name) {
            Some(Expectation::Pass { seconds }) => *seconds,
            _ => 0,
        }
    }

    /// The names of those that failed and are listed as passing.
    pub(super) fn broken(&self, outcomes: &[Outcome]) -> Vec<String> {
        let promised = |name: &str| matches!(self.expected.get(name), Some(Expectation::Pass { .. }));
        let broken = outcomes.iter().filter(|outcome| outcome.end == End::Failed && promised(&outcome.name));
        broken.map(|outcome| outcome.name.clone()).collect()
    }

    /// Compares what happened with what is expected of all tests that `wanted` names.
    pub(super) fn judge(&self, outcomes: &[Outcome], wanted: impl Fn(&str) -> bool) -> Tally {
        let mut tally = Tally::default();
        for outcome in outcomes {
            self.judge_one(outcome, &mut tally);
        }
        for (name, expectation) in self.expected.iter().filter(|(name, _)| wanted(name)) {
            let ran = outcomes.iter().any(|outcome| outcome.name == *name);
            if !ran && matches!(expectation, Expectation::Pass { .. }) {
                tally.fail(format!("failed: {name} is listed as passing and did not run"));
            }
        }
        tally
    }

    fn judge_one(&self, outcome: &Outcome, tally: &mut Tally) {
        let name = &outcome.name;
        match (self.expected.get(name), outcome.end) {
            (Some(Expectation::Pass { .. }), End::Passed) => tally.passed += 1,
            (Some(Expectation::Pass { .. }), End::Failed) => tally.fail(format!("failed: {name}")),
            (Some(Expectation::Pass { .. }), End::Skipped) => {
                tally.fail(format!("failed: {name} is listed as passing and was skipped"));
            }
            (Some(Expectation::Fail { reason } | Expectation::Skip { reason }), End::Passed) => {
                tally.passed += 1;
                tally.notes.push(format!("{name} passes now: its line still says \"{reason}\""));
            }
            (None, End::Passed | End::Failed) => tally.fail(format!("failed: {name} is not in the list")),
            (_, End::Failed | End::Skipped) => {}
        }
    }

    /// The line that says what happened.
    pub(super) fn line(&self, outcome: &Outcome) -> String {
        let name = &outcome.name;
        let reason = match self.expected.get(name) {
            Some(Expectation::Fail { reason } | Expectation::Skip { reason }) => reason.as_str(),
            _ => "?",
        };
        match outcome.end {
            End::Passed if outcome.seconds < 10.0 => format!("{name} pass"),
            End::Passed => format!("{name} pass {:.0}", outcome.seconds),
            End::Failed => format!("{name} fail {reason}"),
            End::Skipped => format!("{name} skip {reason}"),
        }
    }
}

fn parse_line(line: &str) -> Result<(&str, Expectation)> {
    let mut words = line.split_whitespace();
    let (name, word) = (words.next().context("no name")?, words.next().context("no expectation")?);
    let rest = words.collect::<Vec<_>>().join(" ");
    let expectation = match word {
        "pass" if rest.is_empty() => Expectation::Pass { seconds: 0 },
        "pass" => Expectation::Pass { seconds: rest.parse().context("the seconds are no number")? },
        "fail" | "skip" if rest.is_empty() => bail!("no reason"),
        "fail" => Expectation::Fail { reason: rest },
        "skip" => Expectation::Skip { reason: rest },
        _ => bail!("expected pass, fail or skip"),
    };
    Ok((name, expectation))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# a comment\na pass\nb pass 70\nc fail no such thing yet\n\nd skip not on this machine\n";

    fn outcome(name: &str, end: End) -> Outcome {
        Outcome { name: name.to_owned(), end, seconds: 1.0 }
    }

    #[test]
    fn a_promise_that_is_broken_is_a_failure() {
        let list = List::parse(TEXT).unwrap();
        let tally = list.judge(&[outcome("a", End::Failed)], |name| !list.is_long(name));
        assert_eq!((tally.passed, tally.failed), (0, 1));
        let tally = list.judge(&[], |name| !list.is_long(name));
        assert_eq!(tally.failures, ["failed: a is listed as passing and did not run"]);
    }

    #[test]
    fn what_passes_against_expectation_is_told() {
        let list = List::parse(TEXT).unwrap();
        let outcomes = [outcome("a", End::Passed), outcome("c", End::Passed), outcome("d", End::Skipped)];
        let tally = list.judge(&outcomes, |name| !list.is_long(name));
        assert_eq!((tally.passed, tally.failed), (2, 0));
        assert_eq!(tally.notes, ["c passes now: its line still says \"no such thing yet\""]);
    }

    #[test]
    fn strangers_are_failures_unless_their_suite_skips_them() {
        let list = List::parse(TEXT).unwrap();
        let tally = list.judge(&[outcome("x", End::Passed), outcome("y", End::Skipped)], |_| false);
        assert_eq!(tally.failures, ["failed: x is not in the list"]);
    }

    #[test]
    fn the_longest_come_first_and_mistakes_are_named() {
        assert_eq!(List::parse(TEXT).unwrap().names(), ["b", "a", "c", "d"]);
        for wrong in ["a", "a pass x", "a fail", "a maybe", "a pass\na pass"] {
            assert!(List::parse(wrong).is_err(), "{wrong}");
        }
    }
}
