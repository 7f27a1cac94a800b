//! `annals exchange declare`

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::management::Management;
use crate::commands::arguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals exchange declare orders --type topic
  annals exchange declare orders --type topic --alternate unrouted
  annals exchange declare later --type x-delayed-message --argument x-delayed-type=direct";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The exchange
    exchange: String,

    /// How it chooses: direct, fanout, topic, headers or x-delayed-message
    #[arg(long = "type", value_name = "TYPE", default_value = "direct")]
    kind: String,

    /// Where messages go that no binding wants
    #[arg(long, value_name = "EXCHANGE")]
    alternate: Option<String>,

    /// Forget it with a restart
    #[arg(long)]
    transient: bool,

    /// Delete it with its last binding
    #[arg(long)]
    auto_delete: bool,

    /// Let only other exchanges publish to it
    #[arg(long)]
    internal: bool,

    /// Any argument, the value as JSON or text; may be repeated
    #[arg(long = "argument", value_name = "NAME=VALUE", value_parser = arguments::parse)]
    arguments: Vec<(String, Value)>,
}

/// Has the exchange be there.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let mut arguments = arguments::object(&args.arguments);
    if let Some(alternate) = &args.alternate {
        arguments.insert("alternate-exchange".to_owned(), json!(alternate));
    }
    let body = json!({
        "type": args.kind,
        "durable": !args.transient,
        "auto_delete": args.auto_delete,
        "internal": args.internal,
        "arguments": arguments,
    });
    let answer =
        management.call(Method::PUT, &management.path("exchanges", &[&args.exchange]), Some(&body))?;
    let verb =
        if answer.status == StatusCode::CREATED { "declared exchange" } else { "there is already exchange" };
    output::line(format!("{verb} {}", args.exchange))
}
