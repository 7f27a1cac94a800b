//! `cargo xtask bench`: builds the server and the harness in release mode, and runs the harness.
//!
//! The harness is a crate of its own (`bench/`), which finds all programs that it needs through what it is given here.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::shell;
use crate::workspace::Workspace;

/// Measure Annals beside its peers.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// `list`, `all` or names of scenarios, and options of the harness; `list` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds, runs the harness, and ends as it ends.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut build = Command::new(shell::cargo());
    build.args(["build", "--release", "--bin", "annals", "--bin", "annals-bench"]);
    build.args(["--package", "annals-server", "--package", "annals-bench"]);
    shell::run(build.current_dir(&workspace.root))?;
    let programs = workspace.target.join("release");
    let mut harness = Command::new(programs.join("annals-bench"));
    harness.args(&options.arguments).arg("--annals").arg(programs.join("annals"));
    harness.arg("--xtask").arg(std::env::current_exe().context("cannot find this program")?);
    harness.arg("--target").arg(&workspace.target).arg("--root").arg(&workspace.root);
    let status = harness.current_dir(&workspace.root).status().context("cannot start annals-bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::Options;

    #[derive(clap::Parser)]
    enum Chore {
        Bench(Options),
    }

    #[test]
    fn everything_is_left_to_the_harness() {
        for arguments in [&["produce", "--quick", "--runs", "3"][..], &["--help"], &["all", "--write-docs"]] {
            let Chore::Bench(options) = Chore::parse_from(["xtask", "bench"].iter().chain(arguments));
            assert_eq!(options.arguments, arguments);
        }
    }
}
