//! What `annals produce` shows while it works, and at the end.

use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::delivery::Deliveries;
use crate::human;

/// A line on standard error that is rewritten in place; nothing where standard error is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Starts to show progress, if it is wanted and there is a terminal.
    pub(crate) fn start(wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows how many records are acknowledged by now.
    pub(crate) fn update(&self, deliveries: &Deliveries) {
        let Some(bar) = &self.0 else { return };
        let records = human::plural(deliveries.acknowledged(), "record");
        bar.set_message(format!("{records} acknowledged, {}", human::bytes(deliveries.acknowledged_bytes())));
        bar.tick();
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The summary of a run.
pub(crate) struct Totals<'a> {
    pub(crate) deliveries: &'a Deliveries,
    pub(crate) skipped: u64,
    pub(crate) elapsed: Duration,
}

impl fmt::Display for Totals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, bytes) = (self.deliveries.acknowledged(), self.deliveries.acknowledged_bytes());
        let seconds = self.elapsed.as_secs_f64().max(1e-6);
        let (records_rate, bytes_rate) = (records as f64 / seconds, bytes as f64 / seconds);
        write!(f, "{} acknowledged ({})", human::plural(records, "record"), human::bytes(bytes))?;
        write!(f, " in {}", human::duration(self.elapsed))?;
        write!(
            f,
            ", {} records/s, {}/s",
            human::count(records_rate as u64),
            human::bytes(bytes_rate as u64)
        )?;
        if self.skipped > 0 {
            write!(f, "; {} skipped", human::plural(self.skipped, "invalid line"))?;
        }
        if self.deliveries.failed() > 0 {
            write!(f, "; {} failed", human::count(self.deliveries.failed()))?;
        }
        Ok(())
    }
}
