//! How a command fails: what is printed and which exit code the shell sees.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The command was called wrongly in a way that the argument parser cannot see. Exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The command has already told the user what failed, for example in a table. Exit code 1, nothing more is
/// printed.
#[derive(Debug)]
pub(crate) struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the failure was reported above")
    }
}

impl std::error::Error for Reported {}

/// A [`Usage`] error from a message.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// Fails if some of several things have failed, with a line for each.
pub(crate) fn of_some(failures: &[String]) -> anyhow::Result<()> {
    match failures {
        [] => Ok(()),
        failures => anyhow::bail!("{}", failures.join("\nannals: ")),
    }
}

/// Prints `error` on standard error, unless that is not needed, and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if error.is::<Reported>() {
        return ExitCode::FAILURE;
    }
    eprintln!("annals: {error:#}");
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{Usage, is_closed_pipe, usage};

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&Err::<(), _>(broken).context("cannot write").unwrap_err()));
        assert!(!is_closed_pipe(&anyhow::anyhow!("something else")));
    }

    #[test]
    fn usage_errors_are_told_apart() {
        assert!(usage("give --yes").is::<Usage>());
    }
}
