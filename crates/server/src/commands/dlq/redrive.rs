//! `annals dlq redrive`

use anyhow::Result;

use crate::client::management::Management;
use crate::commands::queue::{Pace, Target, move_messages};

const EXAMPLES: &str = "\
Examples:
  annals dlq redrive orders.dead --dry-run
  annals dlq redrive orders.dead --rate 50
  annals dlq redrive orders.dead --to billing --max 100

Each message goes back to the queue in which it died last, unless --to names another. The server does it: it goes on if
this command is killed and after a restart of the server; Ctrl-C cancels it. Nothing is lost or doubled either way.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue of dead letters
    queue: String,

    /// The queue that all of them go to
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,

    #[command(flatten)]
    pace: Pace,
}

/// Sends dead letters back.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let target = args.to.as_deref().map_or_else(Target::default, Target::queue);
    move_messages(management, &args.queue, &target, &args.pace)
}
