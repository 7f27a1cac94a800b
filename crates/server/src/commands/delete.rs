//! What `topic delete` and `group delete` have in common: being sure, and telling what went.

use std::io::IsTerminal;

use anyhow::Result;
use rdkafka::error::RDKafkaErrorCode;

use crate::client::code_text;
use crate::failure::{self, usage};
use crate::output;

/// How a user is sure.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Certainty {
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(short, long)]
    yes: bool,

    /// Say what would be deleted and delete nothing
    #[arg(long)]
    dry_run: bool,
}

impl Certainty {
    /// Checks that there is a way to be sure, whether or not there is a broker.
    pub(crate) fn check(self) -> Result<()> {
        if !self.yes && !self.dry_run && !std::io::stdin().is_terminal() {
            return Err(usage(
                "deleting cannot be undone, and there is no terminal to ask on; give --yes or --dry-run",
            ));
        }
        Ok(())
    }

    /// Whether `doomed` is to be deleted. Says so if not.
    pub(crate) fn is_given(self, doomed: &str) -> Result<bool> {
        let refusal = match self {
            Self { dry_run: true, .. } => format!("would delete {doomed}"),
            Self { yes: true, .. } => return Ok(true),
            _ if output::confirm(&format!("delete {doomed}? This cannot be undone."))? => return Ok(true),
            _ => "nothing was deleted".to_owned(),
        };
        output::line(refusal)?;
        Ok(false)
    }
}

/// Says which are deleted; fails if any could not be. `kind` is what they are: topic or group.
pub(crate) fn report(kind: &str, results: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(name) => output::line(format!("deleted {kind} {name}"))?,
            Err((name, code)) => {
                failures.push(format!("cannot delete {kind} \"{name}\": {}", code_text(code)));
            }
        }
    }
    failure::of_some(&failures)
}
