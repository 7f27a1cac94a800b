//! How a command fails: what is printed and which exit code the shell sees.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

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

/// Whether nobody reads standard output any more, and that is why. A server that hangs up is a broken pipe too.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    is_broken_pipe(error) && is_hung_up(io::stdout())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn is_hung_up(pipe: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&pipe, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{Usage, is_broken_pipe, is_hung_up, usage};

    #[test]
    fn a_broken_pipe_is_found_below_its_context() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(broken).context("cannot write").unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("something else")));
    }

    #[test]
    fn a_pipe_is_hung_up_when_its_reader_is_gone() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_hung_up(&writer));
        drop(reader);
        assert!(is_hung_up(&writer));
    }

    #[test]
    fn usage_errors_are_told_apart() {
        assert!(usage("give --yes").is::<Usage>());
    }
}
