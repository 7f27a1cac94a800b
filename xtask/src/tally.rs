//! Counting single tests from what the runners print.
//!
//! Each runner has its own words; [`Format`] knows them. A runner that ends badly without a failed test (it did not
//! compile, it crashed, it hung) counts as one failure, so that a broken suite can never look like a small one.

use std::fmt;

use serde_json::Value;

use crate::excerpt::Excerpt;

/// How many tests passed, failed and were left out, and which failed.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// One line for each omission, and for what else a reader should know.
    pub(crate) notes: Vec<String>,
    /// One line for each failure that has a name.
    pub(crate) failures: Vec<String>,
    /// What failed tests have printed.
    pub(crate) excerpts: Vec<Excerpt>,
}

/// The words in which a runner reports.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// `cargo test`: one `test result: …` line for each binary.
    Cargo,
    /// `pytest -rfEs`: `FAILED …` lines and one closing line `N passed, …`.
    Pytest,
    /// `go test -json`: one JSON object on each line.
    Go,
    /// One line for each test: `ok NAME`, `FAIL NAME: why` or `skip NAME: why`.
    Lines,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
        self.failures.extend(other.failures);
        self.excerpts.extend(other.excerpts);
    }

    /// What to say if tests failed and ran again: where nothing failed `again`, they have passed, and that they once failed is noted.
    pub(crate) fn unless_passed(mut self, again: &Self) -> Self {
        if again.failed > 0 || again.passed < self.failed {
            return self;
        }
        let failures = std::mem::take(&mut self.failures);
        self.notes.extend(failures.into_iter().map(|failure| format!("passed when it ran again: {failure}")));
        self.passed += std::mem::take(&mut self.failed);
        self
    }

    /// Counts one failure that no runner reported.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Counts one thing that was left out.
    pub(crate) fn skip(&mut self, note: String) {
        self.skipped += 1;
        self.notes.push(note);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Format {
    /// Counts what `line` reports and returns what of it a reader should see.
    pub(crate) fn read(self, line: &str, tally: &mut Tally) -> Option<String> {
        match self {
            Self::Cargo => read_cargo(line, tally),
            Self::Pytest => read_pytest(line, tally),
            Self::Go => return read_go(line, tally),
            Self::Lines => read_plain(line, tally),
        }
        Some(line.to_owned())
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`, and `test NAME ... FAILED` for the names.
fn read_cargo(line: &str, tally: &mut Tally) {
    if let Some(counts) = line.strip_prefix("test result: ") {
        count_words(counts, tally);
    } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
        tally.failures.push(format!("failed: {name}"));
    }
}

/// `2 failed, 11 passed, 1 skipped in 3.21s`, perhaps between `=` signs, and `FAILED file::name - why`.
fn read_pytest(line: &str, tally: &mut Tally) {
    let text = line.trim_matches(['=', ' ']);
    if text.contains(" in ") && text.starts_with(|first: char| first.is_ascii_digit()) {
        count_words(text, tally);
    } else if text.starts_with("FAILED ") || text.starts_with("ERROR ") {
        tally.failures.push(text.to_owned());
    } else if text.starts_with("SKIPPED ") {
        tally.notes.push(text.to_owned());
    }
}

/// Adds every `NUMBER WORD` pair whose word is known.
fn count_words(text: &str, tally: &mut Tally) {
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches([';', ',', '.'])).collect();
    for pair in words.windows(2) {
        let Ok(count) = pair[0].parse::<u64>() else { continue };
        match pair[1] {
            "passed" => tally.passed += count,
            "failed" | "error" | "errors" | "xpassed" => tally.failed += count,
            "ignored" | "skipped" | "xfailed" => tally.skipped += count,
            _ => {}
        }
    }
}

/// Events of single tests have both `Test` and an `Action`; output is shown without its JSON.
fn read_go(line: &str, tally: &mut Tally) -> Option<String> {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    let action = event["Action"].as_str().unwrap_or_default();
    if let Some(name) = event["Test"].as_str() {
        match action {
            "pass" => tally.passed += 1,
            "fail" => tally.fail(format!("failed: {name}")),
            "skip" => tally.skip(format!("skipped: {name}")),
            _ => {}
        }
    }
    let output = event["Output"].as_str().filter(|_| action.ends_with("output"))?.trim_end();
    let noise = ["=== RUN", "=== PAUSE", "=== CONT"].iter().any(|start| output.starts_with(start));
    (!noise && !output.is_empty()).then(|| output.to_owned())
}

fn read_plain(line: &str, tally: &mut Tally) {
    if line.starts_with("ok ") {
        tally.passed += 1;
    } else if line.starts_with("FAIL ") {
        tally.fail(line.to_owned());
    } else if line.starts_with("skip ") {
        tally.skip(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(format: Format, lines: &str) -> (u64, u64, u64, usize) {
        let mut tally = Tally::default();
        for line in lines.lines() {
            format.read(line, &mut tally);
        }
        (tally.passed, tally.failed, tally.skipped, tally.notes.len() + tally.failures.len())
    }

    #[test]
    fn cargo_results_of_all_binaries_are_added() {
        let lines = "running 4 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\
            test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s";
        assert_eq!(count(Format::Cargo, lines), (5, 1, 1, 1));
    }

    #[test]
    fn pytest_closing_line_is_read_with_and_without_rules() {
        assert_eq!(count(Format::Pytest, "2 failed, 11 passed, 1 skipped, 3 errors in 3.21s"), (11, 5, 1, 0));
        assert_eq!(count(Format::Pytest, "======= 12 passed in 1.00s ======="), (12, 0, 0, 0));
        assert_eq!(count(Format::Pytest, "FAILED test_a.py::test_b - 1 passed in vain"), (0, 0, 0, 1));
    }

    #[test]
    fn go_counts_tests_and_not_packages() {
        let lines = r#"{"Action":"run","Package":"p","Test":"TestA"}
            {"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: hm\n"}
            {"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
            {"Action":"fail","Package":"p","Test":"TestB","Elapsed":0.1}
            {"Action":"skip","Package":"p","Test":"TestC","Elapsed":0}
            {"Action":"fail","Package":"p","Elapsed":0.2}"#;
        assert_eq!(count(Format::Go, lines), (1, 1, 1, 2));
    }

    #[test]
    fn go_output_is_shown_without_its_envelope() {
        let line = r#"{"Action":"output","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}"#;
        assert_eq!(Format::Go.read(line, &mut Tally::default()).as_deref(), Some("--- PASS: TestA (0.00s)"));
        let noise = r#"{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}"#;
        assert_eq!(Format::Go.read(noise, &mut Tally::default()), None);
    }

    #[test]
    fn who_fails_twice_fails() {
        let once = || Tally { passed: 5, failed: 1, failures: vec!["failed: a".into()], ..Tally::default() };
        let passed = once().unless_passed(&Tally { passed: 1, ..Tally::default() });
        assert_eq!((passed.passed, passed.failed), (6, 0));
        assert_eq!(passed.notes, ["passed when it ran again: failed: a"]);
        assert_eq!(once().unless_passed(&once()), once());
        assert_eq!(once().unless_passed(&Tally::default()), once(), "it did not run");
    }

    #[test]
    fn plain_lines_are_counted_by_their_first_word() {
        assert_eq!(count(Format::Lines, "ok a\nFAIL b: boom\nskip c: no zstd\nokay\n"), (1, 1, 1, 2));
    }

    #[test]
    fn the_closing_line_names_skips_only_if_there_are_any() {
        let mut tally = Tally { passed: 3, ..Tally::default() };
        assert_eq!(tally.to_string(), "3 passed, 0 failed");
        tally.skip("java".into());
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 1 skipped");
    }
}
