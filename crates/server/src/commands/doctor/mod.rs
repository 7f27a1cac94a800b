//! `annals doctor`: looks at what would make a server slow, unsafe or unable to start, and says what to do.

mod clock;
mod discard;
mod disk;
mod filesystem;
mod limits;
mod ports;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::failure::Reported;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals doctor
  annals doctor --data-dir /var/lib/annals -o json

Exit code 1 if any check fails; warnings do not count.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory, or where it would be made
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,

    #[command(flatten)]
    output: FormatArgs,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do; nothing if all is well.
    advice: Option<String>,
}

impl Check {
    /// A check that found nothing to complain about.
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    /// A check that found something to think about.
    pub(crate) fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    /// A check that found what will not work.
    pub(crate) fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Runs all checks and prints what they found.
pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = filesystem::existing(&args.data_dir);
    let mut checks = vec![filesystem::kind(&directory), filesystem::space(&directory)];
    checks.extend(discard::check(&directory));
    checks.push(disk::sync(&directory));
    checks.push(limits::open_files());
    checks.extend(clock::checks());
    checks.extend(ports::checks());
    match args.output.format {
        Format::Json => output::json(&checks)?,
        Format::Table => print(&checks)?,
    }
    if checks.iter().any(|check| check.verdict == Verdict::Fail) {
        return Err(Reported.into());
    }
    Ok(())
}

fn print(checks: &[Check]) -> Result<()> {
    let headings = [("check", Align::Left), ("verdict", Align::Left), ("found", Align::Left)];
    let mut table = Columns::new(&headings);
    for check in checks {
        table.row([check.check, name(check.verdict), &check.found]);
    }
    table.print()?;
    for check in checks {
        if let Some(advice) = &check.advice {
            output::line(format!("\n{} {}: {advice}", name(check.verdict), check.check))?;
        }
    }
    Ok(())
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    }
}
