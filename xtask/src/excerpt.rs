//! What a failed test has printed, kept to be shown again at the end of a long log.
//!
//! A log of all tests has tens of thousands of lines, and what reads it may have cut off all but the last. So the end of
//! what each failed test printed is kept while it goes by: the last lines without those of a backtrace, which say little
//! about a test and push out what does.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::tally::Format;

/// Lines kept of one test.
const LINES_MAX: usize = 60;

/// The end of what one failed test has printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
}

/// Goes along with the output of one runner.
pub(crate) struct Collector {
    format: Format,
    /// The failed test whose output goes by; of [`Format::Lines`] the test that runs now.
    open: Option<(String, Tail)>,
    /// Whether the part of pytest's output goes by that holds the failures.
    in_failures: bool,
    /// The tests of Go that have not ended.
    running: BTreeMap<String, Tail>,
    excerpts: Vec<Excerpt>,
}

/// The last lines of something.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    in_backtrace: bool,
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.in_backtrace = line == "stack backtrace:" || (self.in_backtrace && is_frame(line));
        if self.in_backtrace {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    fn into_excerpt(self, name: String) -> Option<Excerpt> {
        let lines: Vec<String> = self.lines.into_iter().skip_while(|line| line.trim().is_empty()).collect();
        let end = lines.iter().rposition(|line| !line.trim().is_empty())?;
        Some(Excerpt { name, lines: lines[..=end].to_vec() })
    }
}

/// `  12: path::of::function`, or `             at /path/file.rs:3:4` below it.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.split(':').next().unwrap_or_default();
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    line.starts_with(' ') && (numbered || text.starts_with("at "))
}

impl Collector {
    /// Nothing has gone by.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, open: None, in_failures: false, running: BTreeMap::new(), excerpts: Vec::new() }
    }

    /// Takes the next line of the runner.
    pub(crate) fn read(&mut self, line: &str) {
        match self.format {
            Format::Cargo => self.read_cargo(line),
            Format::Pytest => self.read_pytest(line),
            Format::Go => self.read_go(line),
            Format::Lines => self.read_plain(line),
        }
    }

    /// The failed tests that have printed anything.
    pub(crate) fn finish(mut self) -> Vec<Excerpt> {
        // What was printed after the last result of a plain runner belongs to no test.
        if !matches!(self.format, Format::Lines) {
            self.close();
        }
        self.excerpts
    }

    /// `---- NAME stdout ----`, its output, and after the last one `failures:` with the names.
    fn read_cargo(&mut self, line: &str) {
        let heading = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = heading {
            self.open(name);
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.close();
        } else if let Some((_, tail)) = &mut self.open {
            tail.push(line);
        }
    }

    /// `=== FAILURES ===` or `=== ERRORS ===`, then `___ NAME ___` before each; ended by the next heading.
    fn read_pytest(&mut self, line: &str) {
        let heading = |mark: char| {
            let text = line.trim_matches(mark);
            let framed = line.starts_with([mark; 3].iter().collect::<String>().as_str()) && text != line;
            framed.then(|| text.trim().to_owned())
        };
        if let Some(part) = heading('=') {
            self.close();
            self.in_failures = part == "FAILURES" || part == "ERRORS";
        } else if let Some(name) = heading('_').filter(|_| self.in_failures) {
            self.open(&name);
        } else if let Some((_, tail)) = &mut self.open {
            tail.push(line);
        }
    }

    /// Events of single tests, whose output is kept until it is known how the test ends.
    fn read_go(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else { return };
        let (Some(name), Some(action)) = (event["Test"].as_str(), event["Action"].as_str()) else { return };
        match action {
            "output" => {
                let output = event["Output"].as_str().unwrap_or_default().trim_end();
                self.running.entry(name.to_owned()).or_default().push(output);
            }
            "fail" => {
                let tail = self.running.remove(name).unwrap_or_default();
                self.excerpts.extend(tail.into_excerpt(name.to_owned()));
            }
            "pass" | "skip" => drop(self.running.remove(name)),
            _ => {}
        }
    }

    /// Everything since the last result belongs to the test that the next result names.
    fn read_plain(&mut self, line: &str) {
        let Some(failed) = line.strip_prefix("FAIL ") else {
            if line.starts_with("ok ") || line.starts_with("skip ") {
                self.open = None;
            } else {
                self.open.get_or_insert_with(Default::default).1.push(line);
            }
            return;
        };
        if let Some((_, tail)) = self.open.take() {
            let name = failed.split_once(": ").map_or(failed, |(name, _)| name);
            self.excerpts.extend(tail.into_excerpt(name.to_owned()));
        }
    }

    fn open(&mut self, name: &str) {
        self.close();
        self.open = Some((name.to_owned(), Tail::default()));
    }

    fn close(&mut self) {
        if let Some((name, tail)) = self.open.take() {
            self.excerpts.extend(tail.into_excerpt(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and the lines, joined by `|`, of what is kept of `text`.
    fn kept(format: Format, text: &str) -> Vec<(String, String)> {
        let mut collector = Collector::new(format);
        text.lines().for_each(|line| collector.read(line));
        let excerpts = collector.finish().into_iter();
        excerpts.map(|excerpt| (excerpt.name, excerpt.lines.join("|"))).collect()
    }

    fn one(name: &str, lines: &str) -> (String, String) {
        (name.to_owned(), lines.to_owned())
    }

    #[test]
    fn cargo_output_is_kept_without_its_backtrace() {
        let text = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n\nthread 'a::b' panicked at x.rs:1:2:\n\
            left: 1\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x.rs:3:4\n  11: core::f\n\
            note: Some details are omitted\n\n---- c stdout ----\nhm\n\nfailures:\n    a::b\n    c\n\n\
            test result: FAILED. 0 passed; 2 failed;";
        assert_eq!(
            kept(Format::Cargo, text),
            [
                one("a::b", "thread 'a::b' panicked at x.rs:1:2:|left: 1|note: Some details are omitted"),
                one("c", "hm")
            ]
        );
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let lines: String = (0..200).map(|number| format!("line {number}\n")).collect();
        let kept = kept(Format::Cargo, &format!("---- a stdout ----\n{lines}failures:\n"));
        assert!(kept[0].1.starts_with("line 140|") && kept[0].1.ends_with("|line 199"), "{}", kept[0].1);
    }

    #[test]
    fn pytest_failures_are_told_from_the_rest() {
        let text = "____ not a failure ____\nx\n=========== FAILURES ===========\n______ test_a ______\n\
            a.py:3: in test_a\nE   assert 1 == 2\n______ test_b ______\nE   boom\n\
            ======= short test summary info =======\nFAILED a.py::test_a - assert 1 == 2";
        assert_eq!(
            kept(Format::Pytest, text),
            [one("test_a", "a.py:3: in test_a|E   assert 1 == 2"), one("test_b", "E   boom")]
        );
    }

    #[test]
    fn go_output_is_kept_for_those_that_fail() {
        let text = r#"{"Action":"output","Test":"TestA","Output":"fine\n"}
            {"Action":"output","Test":"TestB","Output":"    b_test.go:3: hm\n"}
            {"Action":"pass","Test":"TestA"}
            {"Action":"fail","Test":"TestB"}"#;
        assert_eq!(kept(Format::Go, text), [one("TestB", "    b_test.go:3: hm")]);
    }

    #[test]
    fn what_a_plain_test_said_before_its_result_is_its_own() {
        let text = "noise of a\nok a\nnoise of b\nFAIL b: boom\nFAIL c: boom\nafterwards";
        assert_eq!(kept(Format::Lines, text), [one("b", "noise of b")]);
    }
}
