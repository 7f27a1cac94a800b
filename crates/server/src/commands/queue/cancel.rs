//! `annals queue cancel`

use anyhow::{Result, anyhow};
use hyper::{Method, StatusCode};

use super::scheduled::HELD_BACK;
use crate::client::http::is_refused_with;
use crate::client::management::Management;
use crate::commands::delete::Certainty;
use crate::failure;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals queue scheduled
  annals queue cancel 17
  annals queue cancel 17 18 19 --yes

A message that is cancelled is deleted. One that has become due is where it was to go, and is not found here any more.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What annals queue scheduled shows as sequence
    #[arg(required = true, value_name = "SEQUENCE")]
    sequences: Vec<u64>,

    /// The queue
    #[arg(long, value_name = "NAME", default_value = HELD_BACK)]
    queue: String,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes messages that are not due yet, after asking.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let messages = plural(args.sequences.len() as u64, "scheduled message");
    if !args.certainty.is_given(&format!("{messages} of queue {}", args.queue))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for sequence in &args.sequences {
        match cancel(management, &args.queue, *sequence) {
            Ok(()) => output::line(format!("cancelled message {sequence}"))?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    failure::of_some(&failures)
}

fn cancel(management: &Management, queue: &str, sequence: u64) -> Result<()> {
    let path = management.of_queue(queue, &format!("scheduled/{sequence}"));
    match management.call(Method::DELETE, &path, None) {
        Err(error) if is_refused_with(&error, StatusCode::NOT_FOUND) => {
            Err(anyhow!("no scheduled message {sequence} in queue \"{queue}\" of this virtual host"))
        }
        answer => answer.map(drop),
    }
}
