//! `annals completion`: scripts that let a shell complete commands and options.

use std::io::Write;

use anyhow::Result;
use clap::{CommandFactory, ValueEnum};

use super::Cli;

const EXAMPLES: &str = "\
Examples:
  annals completion bash > /etc/bash_completion.d/annals
  annals completion zsh > \"${fpath[1]}/_annals\"
  annals completion fish > ~/.config/fish/completions/annals.fish";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script on standard output.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // The generator panics when a pipe closes, so it writes into memory first.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "annals", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
