//! Running other programs, and saying so.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use annals_clock::Clock;
use anyhow::{Context as _, Result, bail};

/// Lines that a child may be ahead of the reader. Beyond that its pipe fills and it waits.
const LINES_AHEAD_MAX: usize = 1024;

/// How a child that was read to its end came to that end.
pub(crate) enum End {
    Exited(ExitStatus),
    /// It was still running when its time was up, and was killed.
    TimedOut,
}

/// The cargo that runs this tool.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Whether `program` can be started from the path.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Announces `command`, runs it with this terminal's input and output, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs `command` in silence and returns its standard output. Fails if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed what is not UTF-8", line(command)))
}

/// Announces `command`, runs it, and hands each line of its standard output to `on_line`. Kills it after `limit`.
pub(crate) fn read_lines(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<End> {
    announce(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| cannot_start(command))?;
    let lines = line_channel(&mut child)?;
    let clock = Clock::system();
    loop {
        match lines.recv_timeout(limit.saturating_sub(clock.monotonic())) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(End::Exited(child.wait()?)),
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                return Ok(End::TimedOut);
            }
        }
    }
}

/// Reads the child's output on a thread of its own, which ends when the output does.
fn line_channel(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("the child's output is not piped")?;
    let (sender, receiver) = sync_channel(LINES_AHEAD_MAX);
    std::thread::Builder::new().name("child-output".into()).spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn announce(command: &Command) {
    println!("$ {}", line(command));
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_in_order_and_the_exit_is_seen() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two; exit 3"]);
        let end =
            read_lines(&mut command, Duration::from_secs(20), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one", "two"]);
        assert!(matches!(end, End::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let end = read_lines(&mut command, Duration::from_millis(50), |_| {}).unwrap();
        assert!(matches!(end, End::TimedOut));
    }
}
