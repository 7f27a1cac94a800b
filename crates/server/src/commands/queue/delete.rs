//! `annals queue delete`

use anyhow::Result;
use hyper::Method;

use crate::client::management::{Management, missing};
use crate::commands::delete::Certainty;
use crate::failure;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals queue delete billing
  annals queue delete scratch old --if-unused --yes";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Queues to delete
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,

    /// Only one that has no message that is ready
    #[arg(long)]
    if_empty: bool,

    /// Only one that has no consumer
    #[arg(long)]
    if_unused: bool,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Deletes the queues, after asking.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let mut doomed = Vec::new();
    for name in &args.queues {
        let queue = management.queue(name)?;
        let messages = queue.messages_ready + queue.messages_unacknowledged;
        doomed.push(format!("queue {name} ({})", plural(messages, "message")));
    }
    if !args.certainty.is_given(&doomed.join(", "))? {
        return Ok(());
    }
    let mut failures = Vec::new();
    for name in &args.queues {
        let (if_empty, if_unused) = (args.if_empty, args.if_unused);
        let path =
            format!("{}?if-empty={if_empty}&if-unused={if_unused}", management.path("queues", &[name]));
        match management.call(Method::DELETE, &path, None).map_err(|error| missing(error, "queue", name)) {
            Ok(_) => output::line(format!("deleted queue {name}"))?,
            Err(error) => failures.push(format!("cannot delete queue \"{name}\": {error:#}")),
        }
    }
    failure::of_some(&failures)
}
