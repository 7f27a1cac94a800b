//! amqp091-go's own tests: what its makers, who are RabbitMQ's, run against RabbitMQ.
//!
//! The module comes from the Go proxy and is copied below the target directory. All of its tests run, with those that need a
//! broker (`-tags integration`), one after the other. Some of them break connections by RabbitMQ's management API, whose port
//! they take for granted: the copy is told ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::list::{End, Outcome};
use super::{Run, Suite};
use crate::shell;

pub(super) const SUITE: Suite = Suite {
    name: "amqp091-go",
    about: "the tests of the Go client for AMQP, from its module (needs go)",
    settings: &[],
    run,
};

/// The release whose tests are run.
const VERSION: &str = "v1.16.0";
const MODULE: &str = "github.com/rabbitmq/amqp091-go";
/// What names the port of the management API.
const MANAGED: [&str; 2] = ["internal/utils/http.go", "recovery_test.go"];
const MANAGEMENT_PORT: &str = "15672";
const LIMIT: Duration = Duration::from_secs(900);

fn run(run: &Run<'_>) -> Result<Vec<Outcome>> {
    let sources = fetch(run)?;
    let mut command = Command::new("go");
    command.args(["test", "-json", "-count=1", "-tags=integration", "-timeout=14m", "."]);
    command.env("AMQP_URL", run.amqp_url("")).current_dir(sources);
    let mut outcomes = Vec::new();
    let end = shell::read_lines(&mut command, LIMIT, |line| {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            println!("{line}");
            return;
        };
        if let Some(output) = event["Output"].as_str().filter(|output| !output.starts_with("=== ")) {
            print!("{output}");
        }
        outcomes.extend(read_event(&event).filter(|outcome| run.wants(&outcome.name)));
    })?;
    if let shell::End::TimedOut = end {
        bail!("still running after {LIMIT:?}");
    }
    Ok(outcomes)
}

/// The end of a test or of a part of one.
fn read_event(event: &Value) -> Option<Outcome> {
    let end = match event["Action"].as_str()? {
        "pass" => End::Passed,
        "fail" => End::Failed,
        "skip" => End::Skipped,
        _ => return None,
    };
    let (name, seconds) = (event["Test"].as_str()?, event["Elapsed"].as_f64().unwrap_or(0.0));
    Some(Outcome { name: name.to_owned(), end, seconds })
}

/// The sources, where they may be written to.
fn fetch(run: &Run<'_>) -> Result<PathBuf> {
    let sources = run.folder.join(VERSION);
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", &format!("{MODULE}@{VERSION}")]).current_dir(&run.folder);
    let module: Value = serde_json::from_str(&shell::output(&mut download)?)?;
    let cached = module["Dir"].as_str().context("go mod download tells no folder")?;
    if !sources.exists() {
        println!("copying {MODULE} {VERSION} to {}", sources.display());
        shell::run(Command::new("cp").args(["-r", cached]).arg(&sources))?;
        shell::run(Command::new("chmod").args(["-R", "u+rwX"]).arg(&sources))?;
    }
    let (_, port) = run.http.rsplit_once(':').context("an address without a port")?;
    for file in MANAGED {
        let text = std::fs::read_to_string(Path::new(cached).join(file))?;
        std::fs::write(sources.join(file), text.replace(MANAGEMENT_PORT, port))?;
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_go_are_understood() {
        let read = |text| {
            let event: Value = serde_json::from_str(text).expect("JSON");
            read_event(&event).map(|outcome| (outcome.name, outcome.end, outcome.seconds))
        };
        assert_eq!(
            read(r#"{"Action":"pass","Package":"p","Test":"TestA/b_c","Elapsed":1.5}"#),
            Some(("TestA/b_c".to_owned(), End::Passed, 1.5))
        );
        assert_eq!(
            read(r#"{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}"#),
            Some(("TestB".to_owned(), End::Skipped, 0.0))
        );
        assert_eq!(read(r#"{"Action":"pass","Package":"p","Elapsed":2}"#), None);
        assert_eq!(read(r#"{"Action":"run","Package":"p","Test":"TestA"}"#), None);
    }
}
