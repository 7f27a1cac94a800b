//! `cargo xtask reliability`: the faults that Annals must survive, each in numbers, one command a line.
//!
//! Each line of the table is one or a few tests of the crates at full size (the ordinary test run has them small), told
//! how large by environment variables. A test prints what it found as lines `figure: NAME=VALUE`; it fails by itself
//! where something does not hold. The results are kept below the target directory, and `--write-docs` makes the table of
//! `docs/reliability.md` of them, so lines may be run one by one.

mod lines;
mod machine;
mod page;
mod record;
mod work;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::lines::{LINES, Line};
use self::record::Record;
use crate::workspace::Workspace;

/// Show with faults on a large scale what Annals survives.
#[derive(clap::Args)]
#[group(id = "reliability-options")]
pub(crate) struct Options {
    /// `list`, `all` or names of lines, as `list` shows them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Much smaller, to see that it works; does not count for the documentation
    #[arg(long)]
    quick: bool,
    /// Write the results of all full runs so far into docs/reliability.md
    #[arg(long)]
    write_docs: bool,
}

/// Runs the chosen lines and says what came of each.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let chosen = choose(options)?;
    if chosen.is_empty() && !options.write_docs {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let mut records = Vec::new();
    for line in chosen {
        println!("\n== {}: {}", line.name, line.what);
        let record = work::run(workspace, line, options.quick)?;
        record.keep(workspace)?;
        records.push(record);
    }
    records.iter().for_each(tell);
    if options.write_docs {
        page::write(workspace)?;
    }
    let failed = records.iter().any(|record| !record.passed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn choose(options: &Options) -> Result<Vec<&'static Line>> {
    match options.names.as_slice() {
        [one] if one == "list" => Ok(Vec::new()),
        [one] if one == "all" => Ok(LINES.iter().collect()),
        names => names.iter().map(|name| find(name)).collect(),
    }
}

fn find(name: &str) -> Result<&'static Line> {
    let Some(line) = LINES.iter().find(|line| line.name == name) else {
        bail!("no line is called \"{name}\"; `cargo xtask reliability list` shows them");
    };
    Ok(line)
}

fn list() {
    LINES.iter().for_each(|line| println!("{:10} {}", line.name, line.what));
}

fn tell(record: &Record) {
    let outcome = if record.passed { "passed" } else { "FAILED" };
    println!("\n{}: {outcome} in {:.0} s", record.name, record.seconds);
    record.figures.iter().for_each(|(name, value)| println!("  {name}: {value}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_names_and_the_names_are_unique() {
        for line in LINES {
            assert_eq!(find(line.name).unwrap().what, line.what);
        }
        assert!(find("flip").is_err());
    }
}
