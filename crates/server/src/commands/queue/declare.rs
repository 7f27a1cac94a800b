//! `annals queue declare`

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::client::management::Management;
use crate::commands::arguments;
use crate::human::parse_duration;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals queue declare billing --dead-letter-exchange orders.dead --ttl 1h
  annals queue declare shipping --argument x-queue-type=quorum --delivery-limit 3
  annals queue declare scratch --transient --auto-delete --max-length 1000";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue
    queue: String,

    /// Forget it, and its messages, with a restart
    #[arg(long)]
    transient: bool,

    /// Delete it with its last consumer
    #[arg(long)]
    auto_delete: bool,

    /// How long a message waits before it leaves
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,

    /// The most messages
    #[arg(long, value_name = "N")]
    max_length: Option<u64>,

    /// What happens to messages beyond the limit
    #[arg(long, value_name = "drop-head|reject-publish|reject-publish-dlx")]
    overflow: Option<String>,

    /// Where messages go that are rejected, expire or are too many
    #[arg(long, value_name = "EXCHANGE")]
    dead_letter_exchange: Option<String>,

    /// The key that they get
    #[arg(long, value_name = "KEY", requires = "dead_letter_exchange")]
    dead_letter_routing_key: Option<String>,

    /// How often a message may come back before it leaves
    #[arg(long, value_name = "N")]
    delivery_limit: Option<u64>,

    /// The highest priority
    #[arg(long, value_name = "N")]
    max_priority: Option<u8>,

    /// Serve one consumer at a time
    #[arg(long)]
    single_active_consumer: bool,

    /// Any argument, the value as JSON or text; may be repeated
    #[arg(long = "argument", value_name = "NAME=VALUE", value_parser = arguments::parse)]
    arguments: Vec<(String, Value)>,
}

/// Has the queue be there.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let body = json!({
        "durable": !args.transient,
        "auto_delete": args.auto_delete,
        "arguments": args.all_arguments(),
    });
    let answer = management.call(Method::PUT, &management.path("queues", &[&args.queue]), Some(&body))?;
    let verb = if answer.status == StatusCode::CREATED { "declared queue" } else { "there is already queue" };
    output::line(format!("{verb} {}", args.queue))
}

impl Args {
    fn all_arguments(&self) -> Map<String, Value> {
        let ttl_ms = self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let named = [
            ("x-message-ttl", ttl_ms.map(|ttl| json!(ttl))),
            ("x-max-length", self.max_length.map(|length| json!(length))),
            ("x-overflow", self.overflow.as_ref().map(|overflow| json!(overflow))),
            ("x-dead-letter-exchange", self.dead_letter_exchange.as_ref().map(|name| json!(name))),
            ("x-dead-letter-routing-key", self.dead_letter_routing_key.as_ref().map(|key| json!(key))),
            ("x-delivery-limit", self.delivery_limit.map(|limit| json!(limit))),
            ("x-max-priority", self.max_priority.map(|priority| json!(priority))),
            ("x-single-active-consumer", self.single_active_consumer.then_some(json!(true))),
        ];
        let mut all = arguments::object(&self.arguments);
        all.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        all
    }
}
