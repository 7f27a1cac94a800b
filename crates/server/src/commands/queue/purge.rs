//! `annals queue purge`

use anyhow::Result;
use hyper::Method;

use crate::client::management::{Management, missing};
use crate::commands::delete::Certainty;
use crate::human::plural;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals queue purge billing
  annals queue purge billing --yes

Messages that consumers hold stay.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue
    queue: String,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Empties the queue, after asking.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let name = &args.queue;
    let ready = plural(management.queue(name)?.messages_ready, "ready message");
    if !args.certainty.is_given(&format!("{ready} of queue {name}"))? {
        return Ok(());
    }
    let path = management.of_queue(name, "contents");
    management.call(Method::DELETE, &path, None).map_err(|error| missing(error, "queue", name))?;
    output::line(format!("purged queue {name}"))
}
