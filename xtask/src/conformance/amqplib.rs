//! amqplib's own tests, those that talk to a broker: what the makers of the client for Node run against RabbitMQ.
//!
//! They are in its package, up to release 1.2, and run by Node's own runner. A reporter of ours tells what came of each, and
//! tests that connect to port 5672 whatever they are told are led to ours (`tests/conformance/amqplib`).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::list::{End, Outcome};
use super::{Run, Suite};
use crate::shell;
use crate::suites::node;

pub(super) const SUITE: Suite = Suite {
    name: "amqplib",
    about: "the tests of the client for Node, from its package (needs node and npm)",
    settings: &[],
    run,
};

const FILES: [&str; 2] = ["channel_api", "callback_api"];
const LIMIT: Duration = Duration::from_secs(300);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let support = run.workspace.root.join("tests/conformance/amqplib");
    node::install(&run.folder, &support)?;
    let mut outcomes = Vec::new();
    for file in FILES {
        run_file(run, &support.join("reporter.mjs"), &support.join("redirect.cjs"), file, &mut outcomes)?;
    }
    Ok(outcomes)
}

fn run_file(
    run: &Run<'_>,
    reporter: &Path,
    redirect: &Path,
    file: &str,
    outcomes: &mut Vec<Outcome>,
) -> Result<()> {
    let mut command = Command::new("node");
    command.arg("--test").arg(format!("--test-reporter={}", reporter.display()));
    command.arg(format!("node_modules/amqplib/test/{file}.test.js")).current_dir(&run.folder);
    command.env("URL", run.amqp_url("")).env("NODE_OPTIONS", format!("--require={}", redirect.display()));
    let end = shell::read_lines(&mut command, LIMIT, |line| {
        println!("{line}");
        outcomes.extend(read_line(file, line).filter(|outcome| run.wants(&outcome.name)));
    })?;
    if let shell::End::TimedOut = end {
        bail!("{file} still runs after {LIMIT:?}");
    }
    Ok(())
}

/// `pass NAME MILLISECONDS`, or `fail` or `skip`.
fn read_line(file: &str, line: &str) -> Option<Outcome> {
    let (word, rest) = line.split_once(' ')?;
    let (name, milliseconds) = rest.rsplit_once(' ')?;
    let end = match word {
        "pass" => End::Passed,
        "fail" => End::Failed,
        "skip" => End::Skipped,
        _ => return None,
    };
    let seconds = milliseconds.parse::<f64>().ok()? / 1000.0;
    Some(Outcome { name: format!("{file}::{name}"), end, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_reporter_are_understood() {
        let read = |line| read_line("f", line).map(|outcome| (outcome.name, outcome.end, outcome.seconds));
        assert_eq!(read("pass a/b_c 1500.0"), Some(("f::a/b_c".to_owned(), End::Passed, 1.5)));
        assert_eq!(read("fail d 2"), Some(("f::d".to_owned(), End::Failed, 0.002)));
        assert_eq!(read("    at fail (x.js:1) y"), None);
    }
}
