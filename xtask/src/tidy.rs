//! `cargo xtask tidy`: the rules of the house that a compiler does not know.
//!
//! Each check returns what it found as plain sentences. All checks run, and all findings are shown at once.

mod layers;
mod manifests;
mod sizes;
mod text;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Check the rules of the house.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// List the size of every source file, the largest first, and check nothing
    #[arg(long)]
    sizes: bool,
}

/// Runs all checks, or shows the file sizes.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.sizes {
        sizes::list(workspace)?;
        return Ok(ExitCode::SUCCESS);
    }
    check(workspace)?;
    println!("tidy: {} crates, every arrow points down", workspace.crates.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs all checks; fails if one of them has a finding.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = layers::check(&workspace.crates);
    findings.extend(manifests::check(workspace)?);
    findings.extend(text::check(workspace)?);
    findings.extend(sizes::check(workspace)?);
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("found by tidy, and listed above: {}", findings.len());
    }
    Ok(())
}
