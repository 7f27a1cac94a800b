//! Running other programs to their end.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command` and returns its standard output.
///
/// # Errors
/// If it cannot be started or fails; the message has the end of its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = errors.lines().collect();
        bail!(
            "{program} failed ({}): {}",
            output.status,
            errors[errors.len().saturating_sub(5)..].join("; ")
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed what is not UTF-8"))
}
