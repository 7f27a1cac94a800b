//! Tests of a Go module: fetched by the Go proxy, run by `go test` and understood by what that tells as JSON.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Run;
use super::list::{End, Outcome};
use crate::shell;

/// A release of a module.
pub(super) struct Module {
    pub(super) path: &'static str,
    pub(super) version: &'static str,
}

/// Its sources.
pub(super) struct Sources {
    /// As they were published.
    published: PathBuf,
    /// A copy that may be written to.
    pub(super) copy: PathBuf,
}

impl Module {
    /// Has the sources copied below the suite's folder.
    pub(super) fn fetch(&self, run: &Run<'_>) -> Result<Sources> {
        let copy = run.folder.join(self.version);
        let mut download = Command::new("go");
        let release = format!("{}@{}", self.path, self.version);
        download.args(["mod", "download", "-json", &release]).current_dir(&run.folder);
        let module: Value = serde_json::from_str(&shell::output(&mut download)?)?;
        let published = PathBuf::from(module["Dir"].as_str().context("go mod download tells no folder")?);
        if !copy.exists() {
            println!("copying {release} to {}", copy.display());
            shell::run(Command::new("cp").arg("-r").arg(&published).arg(&copy))?;
            shell::run(Command::new("chmod").args(["-R", "u+rwX"]).arg(&copy))?;
        }
        Ok(Sources { published, copy })
    }
}

impl Sources {
    /// Has another text in the place of `from` in the copies of these files.
    pub(super) fn replace(&self, files: &[&str], from: &str, to: &str) -> Result<()> {
        for file in files {
            let text = std::fs::read_to_string(self.published.join(file))?;
            std::fs::write(self.copy.join(file), text.replace(from, to))?;
        }
        Ok(())
    }
}

/// Runs `command`, a `go test -json`.
pub(super) fn run(run: &Run<'_>, command: &mut Command, limit: Duration) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let end = shell::read_lines(command, limit, |line| {
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
        bail!("still running after {limit:?}");
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
