//! `annals subscription create` and `annals subscription alter`

use std::time::Duration;

use annals::client::{NewSubscription, Selection, SubscriptionOptions};
use annals::store::Position;
use annals_clock::Clock;
use anyhow::Result;

use crate::api::StoreApi;
use crate::failure::usage;
use crate::human;
use crate::moment;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals subscription create mailer --store shop --type OrderPlaced
  annals subscription create mailer --store shop --category order --from end --ordered
  annals subscription create mailer --store shop --ack-timeout 1m --deliveries-max 5";

const ALTER_EXAMPLES: &str = "\
Examples:
  annals subscription alter mailer --store shop --ack-timeout 2m
  annals subscription alter mailer --store shop --deliveries-max 0";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Its name
    name: String,

    #[command(flatten)]
    selected: Selected,

    /// Where to begin: start, end (only what comes), a time, or the position of the last event to leave out
    #[arg(long, value_name = "PLACE", default_value = "start")]
    from: String,

    /// Give Annals' own events, too, which start with $ or ~
    #[arg(long)]
    internal: bool,

    #[command(flatten)]
    choices: Choices,
}

#[derive(clap::Args, Debug)]
#[command(after_help = ALTER_EXAMPLES)]
pub(crate) struct AlterArgs {
    /// Its name
    name: String,

    #[command(flatten)]
    choices: Choices,
}

#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct Selected {
    /// Events of one stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,

    /// Events of a category of streams
    #[arg(long, value_name = "NAME")]
    category: Option<String>,

    /// Events of streams whose names start so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Events of one type
    #[arg(long = "type", value_name = "NAME")]
    event_type: Option<String>,

    /// Events with one tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

#[derive(clap::Args, Debug)]
struct Choices {
    /// How long a consumer has for an event [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration)]
    ack_timeout: Option<Duration>,

    /// How often an event is given before it is parked; 0: without end [default: 10]
    #[arg(long, value_name = "N")]
    deliveries_max: Option<u32>,

    /// Events that one consumer may have at a time [default: 32]
    #[arg(long, value_name = "N")]
    in_flight_max: Option<usize>,

    /// Events that are read ahead [default: 500]
    #[arg(long, value_name = "N")]
    buffer_max: Option<usize>,

    /// Give the events of one stream to one consumer at a time, in order
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ordered: Option<bool>,
}

impl Choices {
    fn options(&self) -> SubscriptionOptions {
        SubscriptionOptions {
            ack_timeout_ms: self.ack_timeout.map(|timeout| timeout.as_millis() as u64),
            deliveries_max: self.deliveries_max,
            in_flight_max: self.in_flight_max,
            buffer_max: self.buffer_max,
            ordered_by_stream: self.ordered,
        }
    }
}

impl Selected {
    fn selection(&self) -> Selection {
        let Self { stream, category, prefix, event_type, tag } = self;
        let stream = stream.clone().map(Selection::Stream);
        let category = category.clone().map(Selection::Category);
        let prefix = prefix.clone().map(Selection::StreamPrefix);
        let event_type = event_type.clone().map(Selection::Type);
        let tag = tag.clone().map(Selection::Tag);
        stream.or(category).or(prefix).or(event_type).or(tag).unwrap_or_default()
    }
}

/// Creates a subscription.
pub(crate) fn run(api: &StoreApi, args: &Args) -> Result<()> {
    let mut new = NewSubscription {
        name: args.name.clone(),
        selection: args.selected.selection(),
        system: args.internal,
        options: args.choices.options(),
        ..NewSubscription::default()
    };
    begin(&mut new, &args.from)?;
    api.ask(api.client().create_subscription(&api.store, &new))?;
    output::line(format!("created subscription {}", args.name))
}

fn begin(new: &mut NewSubscription, from: &str) -> Result<()> {
    match from {
        "start" => {}
        "end" => new.from = Some("end"),
        place => match place.parse::<u64>() {
            Ok(position) if position < moment::MILLIS_MIN.unsigned_abs() => {
                new.after = Some(Position(position));
            }
            _ => {
                let time = moment::parse(place, Clock::system().now_ms());
                new.after_time = Some(moment::format(time.map_err(usage)?));
            }
        },
    }
    Ok(())
}

/// Changes the choices of a subscription.
pub(crate) fn alter(api: &StoreApi, args: &AlterArgs) -> Result<()> {
    let options = args.choices.options();
    if options == SubscriptionOptions::default() {
        return Err(usage(
            "there is nothing to change: give --ack-timeout, --deliveries-max or another choice",
        ));
    }
    api.ask(api.client().alter_subscription(&api.store, &args.name, options))?;
    output::line(format!("altered subscription {}", args.name))
}
