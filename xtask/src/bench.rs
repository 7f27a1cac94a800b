//! `cargo xtask bench`: builds in release mode and measures with the load generator of the `annals` command.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::shell;
use crate::workspace::Workspace;

/// Measure a release build.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to `annals bench`; `--help` lists what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs `annals bench` and ends as it ends.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut command = Command::new(shell::cargo());
    command.args(["run", "--release", "--bin", "annals", "--", "bench"]).args(&options.arguments);
    let status = command.current_dir(&workspace.root).status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
