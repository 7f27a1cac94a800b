//! What `annals store export` and `import` show while they work.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long they wait for a server that starts anew.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A bar on standard error; nothing where that is not a terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Starts to show the way to `total`, if that is known.
    pub(super) fn start(wanted: bool, total: Option<u64>) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
        let template = if total.is_some() {
            "{bar:30} {percent}% {msg} [{elapsed}, {eta} left]"
        } else {
            "{spinner} {msg} [{elapsed}]"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows how far it has come.
    pub(super) fn update(&self, done: u64, message: String) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
            bar.set_message(message);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
