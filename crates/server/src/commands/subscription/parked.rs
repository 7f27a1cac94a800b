//! `annals subscription parked`, `replay-parked` and `discard-parked`

use annals::client::ParkedEvent;
use annals::store::Position;
use anyhow::Result;

use crate::api::StoreApi;
use crate::commands::delete::Certainty;
use crate::human::plural;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const LIST_EXAMPLES: &str = "\
Examples:
  annals subscription parked mailer --store shop
  annals subscription parked mailer --store shop -o json";

const REPLAY_EXAMPLES: &str = "\
Examples:
  annals subscription replay-parked mailer --store shop
  annals subscription replay-parked mailer --store shop --position 17 --position 42";

const DISCARD_EXAMPLES: &str = "\
Examples:
  annals subscription discard-parked mailer --store shop --yes
  annals subscription discard-parked mailer --store shop --position 17 --yes";

/// Events that are asked for at once.
const PAGE: usize = 1000;

#[derive(clap::Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// The subscription
    name: String,

    #[command(flatten)]
    output: FormatArgs,
}

#[derive(clap::Args, Debug)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The subscription
    name: String,

    /// Only the event at this position; may be repeated
    #[arg(long = "position", value_name = "POSITION")]
    positions: Vec<u64>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = DISCARD_EXAMPLES)]
pub(crate) struct DiscardArgs {
    /// The subscription
    name: String,

    /// Only the event at this position; may be repeated
    #[arg(long = "position", value_name = "POSITION")]
    positions: Vec<u64>,

    #[command(flatten)]
    pub(crate) certainty: Certainty,
}

/// Lists parked events.
pub(crate) fn list(api: &StoreApi, args: &ListArgs) -> Result<()> {
    let parked = all(api, &args.name)?;
    if args.output.format == Format::Json {
        return output::json(&parked);
    }
    let (left, right) = (Align::Left, Align::Right);
    let headings = [("position", right), ("deliveries", right), ("since", left), ("reason", left)];
    let mut table = Columns::new(&headings);
    for event in parked {
        table.row([event.position.to_string(), event.deliveries.to_string(), event.since, event.reason]);
    }
    table.print()
}

fn all(api: &StoreApi, name: &str) -> Result<Vec<ParkedEvent>> {
    let (mut parked, mut from) = (Vec::new(), None);
    loop {
        let page = api.ask(api.client().parked(&api.store, name, from, PAGE))?;
        parked.extend(page.parked);
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(parked),
        }
    }
}

/// Gives parked events again.
pub(crate) fn replay(api: &StoreApi, args: &ReplayArgs) -> Result<()> {
    let positions = positions(&args.positions);
    let count = api.ask(api.client().replay_parked(&api.store, &args.name, positions.as_deref()))?;
    output::line(format!("{} of {} will be given again", plural(count, "parked event"), args.name))
}

/// Forgets parked events, after asking.
pub(crate) fn discard(api: &StoreApi, args: &DiscardArgs) -> Result<()> {
    let positions = positions(&args.positions);
    let doomed = match &positions {
        Some(positions) => plural(positions.len() as u64, "parked event"),
        None => {
            let info = api.ask(api.client().subscription(&api.store, &args.name))?;
            plural(info.status.parked, "parked event")
        }
    };
    if !args.certainty.is_given(&format!("{doomed} of {}", args.name))? {
        return Ok(());
    }
    let count = api.ask(api.client().discard_parked(&api.store, &args.name, positions.as_deref()))?;
    output::line(format!("discarded {} of {}", plural(count, "parked event"), args.name))
}

/// None: all.
fn positions(numbers: &[u64]) -> Option<Vec<Position>> {
    (!numbers.is_empty()).then(|| numbers.iter().map(|number| Position(*number)).collect())
}
