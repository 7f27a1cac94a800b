//! librdkafka's own tests, in C and C++: what its makers run against Apache Kafka before a release.
//!
//! The sources come with the crate `rdkafka-sys`, in the version that the workspace uses. They are copied below the target
//! directory and built there. Tests that need no broker are left out. Tests are chosen by their number, each number is
//! one process, and several run at a time: most of their time is waiting. One that fails is tried once more by itself,
//! since some of them measure time.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::list::{End, Outcome};
use super::{Run, Suite};
use crate::{shell, side_by_side};

pub(super) const SUITE: Suite = Suite {
    name: "librdkafka",
    about: "the tests of the C client, from its sources (needs a C++ compiler and make)",
    // Its own clusters have four partitions for a topic that is created by naming it.
    settings: &["partitions_default=4"],
    run: |run| run_scenario(run, "default"),
};

/// The few tests that want a cluster which does not create topics by itself.
pub(super) const WITHOUT_CREATION: Suite = Suite {
    name: "librdkafka-noautocreate",
    about: "the tests of the C client for clusters that do not create topics by themselves",
    settings: &["partitions_default=4", "auto_create_topics=false"],
    run: |run| run_scenario(run, "noautocreate"),
};

/// How many tests run at a time.
const WORKERS: usize = 8;
/// When a test is taken to hang. The longest takes eight minutes.
const LIMIT: Duration = Duration::from_secs(900);
/// The version of Apache Kafka whose behaviour is expected.
const KAFKA: &str = "4.1.0";
/// What a test's name starts with: its number.
const NUMBER_LEN: usize = 4;

/// Runs the chosen tests of one of the suite's scenarios.
fn run_scenario(run: &Run<'_>, scenario: &str) -> Result<Vec<Outcome>> {
    let tests = Tests { folder: build(run)?, scenario };
    let mut numbers: Vec<&str> = Vec::new();
    for name in run.list.names().into_iter().filter(|name| run.wants(name)) {
        let number = name.get(..NUMBER_LEN).with_context(|| format!("{name} has no number"))?;
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    println!("running {} tests, {WORKERS} at a time", numbers.len());
    let mut outcomes = run_all(run, &tests, &numbers)?;
    retry(run, &tests, &mut outcomes)?;
    outcomes.retain(|outcome| run.wants(&outcome.name));
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(outcomes)
}

/// The built tests.
struct Tests<'a> {
    /// Where `test-runner` is.
    folder: PathBuf,
    /// Which of them apply.
    scenario: &'a str,
}

fn run_all(run: &Run<'_>, tests: &Tests<'_>, numbers: &[&str]) -> Result<Vec<Outcome>> {
    let ended = side_by_side::each(numbers, WORKERS, |number| {
        let ended = run_number(run, tests, number, "first")?;
        for outcome in ended.iter().filter(|outcome| outcome.end != End::Skipped) {
            println!("{:44} {:?} after {:.1} s", outcome.name, outcome.end, outcome.seconds);
        }
        Ok(ended)
    })?;
    Ok(ended.into_iter().flatten().collect())
}

/// Runs what failed against expectation again, one at a time.
fn retry(run: &Run<'_>, tests: &Tests<'_>, outcomes: &mut Vec<Outcome>) -> Result<()> {
    let broken = run.list.broken(outcomes);
    for name in broken.iter().filter(|name| run.wants(name)) {
        println!("{name} failed; trying again by itself");
        let again = run_number(run, tests, &name[..NUMBER_LEN], "again")?;
        outcomes.retain(|outcome| again.iter().all(|second| second.name != outcome.name));
        outcomes.extend(again);
    }
    Ok(())
}

/// Runs the tests of one number and reads their report.
fn run_number(run: &Run<'_>, tests: &Tests<'_>, number: &str, attempt: &str) -> Result<Vec<Outcome>> {
    let folder = run.folder.join("runs").join(format!("{number}-{attempt}"));
    std::fs::create_dir_all(&folder)?;
    let (config, report, log) = (folder.join("test.conf"), folder.join("report.json"), folder.join("log"));
    std::fs::write(&config, format!("bootstrap.servers={}\ntest.topic.random=true\n", run.kafka))?;
    if report.exists() {
        std::fs::remove_file(&report)?;
    }
    let output = std::fs::File::create(&log)?;
    let mut command = Command::new("timeout");
    command.arg(LIMIT.as_secs().to_string()).arg("./test-runner").args(["-p1", "-L", "-s", tests.scenario]);
    command.current_dir(&tests.folder);
    command.env("TESTS", number).env("TEST_REPORT", &report).env("RDKAFKA_TEST_CONF", &config);
    command.env("TEST_KAFKA_VERSION", KAFKA).env("LD_LIBRARY_PATH", "../src:../src-cpp").env_remove("CI");
    // Some tests call Kafka's scripts; ours of that name calls `annals topic`.
    let scripts = run.workspace.root.join("tests/conformance/librdkafka");
    command.env("KAFKA_PATH", scripts).env("BROKERS", run.kafka).env("ANNALS", run.server);
    command.stdout(output.try_clone()?).stderr(output);
    let status = command.status().context("cannot start timeout")?;
    match std::fs::read_to_string(&report) {
        Ok(report) => read_report(&report, number),
        // It crashed or hung before it could report.
        Err(_) => {
            println!("{number} ended with {status} and no report; its log is {}", log.display());
            let names = run.list.names().into_iter().filter(|name| name.starts_with(number));
            let failed = |name: &str| Outcome { name: name.to_owned(), end: End::Failed, seconds: 0.0 };
            Ok(names.map(failed).collect())
        }
    }
}

/// Reads what `TEST_REPORT` asked for. It lists the tests of all numbers, most of them as skipped.
fn read_report(report: &str, number: &str) -> Result<Vec<Outcome>> {
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    let tests = report["tests"].as_object().context("the report lists no tests")?;
    let mut outcomes = Vec::new();
    for (name, test) in tests.iter().filter(|(name, _)| name.starts_with(number)) {
        let end = match test["state"].as_str().context("a test without a state")? {
            "PASSED" => End::Passed,
            "FAILED" | "RUNNING" => End::Failed,
            "SKIPPED" | "DNS" => End::Skipped,
            other => bail!("a test that is {other}"),
        };
        let seconds = test["duration"].as_f64().unwrap_or(0.0);
        outcomes.push(Outcome { name: name.clone(), end, seconds });
    }
    Ok(outcomes)
}

/// Copies and builds the suite, once for each version. Returns the folder that holds `test-runner`.
fn build(run: &Run<'_>) -> Result<PathBuf> {
    let (sources, version) = sources(run)?;
    let folder = run.workspace.target.join("conformance/librdkafka");
    std::fs::create_dir_all(&folder)?;
    let copy = folder.join(&version);
    let tests = copy.join("tests");
    if tests.join("test-runner").exists() {
        return Ok(tests);
    }
    println!("building librdkafka {version} and its tests in {} (about two minutes)", copy.display());
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    shell::run(Command::new("cp").arg("-r").arg(sources).arg(&copy))?;
    shell::run(Command::new("chmod").args(["-R", "u+rwX"]).arg(&copy))?;
    let log = folder.join("build.log");
    let script = "chmod +x configure lds-gen.py && find mklove packaging tests -name '*.sh' -exec chmod +x {} + && \
                  ./configure --disable-curl --disable-sasl --disable-ssl --disable-zstd --disable-lz4-ext && \
                  make -j4 libs && make -j4 -C tests build";
    let mut make = Command::new("bash");
    make.args(["-c", &format!("{{ {script}; }} >\"$0\" 2>&1")]).arg(&log).current_dir(&copy);
    // The workspace builds only the C half; the tests need the other one too.
    make.env_remove("GNUMAKEFLAGS").env_remove("MAKEFLAGS").env("CXX", "c++");
    shell::run(&mut make).with_context(|| format!("the log of the build is {}", log.display()))?;
    Ok(tests)
}

/// The folder of librdkafka's sources in the crate, and the crate's version.
fn sources(run: &Run<'_>) -> Result<(PathBuf, String)> {
    let (folder, version) = run.crate_sources("rdkafka-sys")?;
    Ok((folder.join("librdkafka"), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gives_one_outcome_for_each_test_of_the_number() {
        let report = r#"{"id": "x", "tests": {
            "<MAIN>": {"name": "<MAIN>", "state": "PASSED", "duration": 3.5},
            "0001_a": {"name": "0001_a", "state": "SKIPPED", "duration": 0},
            "0045_a": {"name": "0045_a", "state": "PASSED", "known_issue": false, "duration": 1.5},
            "0045_b": {"name": "0045_b", "state": "SKIPPED", "duration": 0},
            "0045_c": {"name": "0045_c", "state": "FAILED", "duration": 2}}}"#;
        let outcomes = read_report(report, "0045").unwrap();
        let ends: Vec<_> = outcomes.iter().map(|outcome| (outcome.name.as_str(), outcome.end)).collect();
        assert_eq!(ends, [("0045_a", End::Passed), ("0045_b", End::Skipped), ("0045_c", End::Failed)]);
    }
}
