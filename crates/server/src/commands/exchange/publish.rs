//! `annals exchange publish`

use std::io::Read;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::client::management::{Management, missing};
use crate::commands::arguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  annals exchange publish orders --routing-key orders.new --body '{\"order\":17}' --content-type application/json
  annals exchange publish amq.default --routing-key billing < invoice.pdf
  annals exchange publish orders --routing-key orders.new --body x --header priority=5 --transient

Ends well when the message is on disk, and fails if no queue gets it.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The exchange; amq.default for the default exchange, whose routing keys are names of queues
    exchange: String,

    /// Routing key
    #[arg(short = 'k', long, value_name = "KEY", default_value = "")]
    routing_key: String,

    /// The content; standard input, if not given
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,

    /// Media type of the content
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// A header, the value as JSON or text; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = arguments::parse)]
    headers: Vec<(String, Value)>,

    /// Any other property, as AMQP 0-9-1 names it (message_id, priority, expiration); may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = arguments::parse)]
    properties: Vec<(String, Value)>,

    /// The message need not survive a restart
    #[arg(long)]
    transient: bool,
}

/// Publishes the message.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let body = match &args.body {
        Some(text) => text.clone().into_bytes(),
        None => read_input()?,
    };
    let request = json!({
        "routing_key": args.routing_key,
        "payload": BASE64_STANDARD.encode(body),
        "payload_encoding": "base64",
        "properties": args.all_properties(),
    });
    let path = format!("{}/publish", management.path("exchanges", &[&args.exchange]));
    let answer = management
        .call(Method::POST, &path, Some(&request))
        .map_err(|error| missing(error, "exchange", &args.exchange))?;
    if answer.json::<Value>()?["routed"] != true {
        bail!(
            "no queue got the message: no binding of exchange \"{}\" wants the key \"{}\"",
            args.exchange,
            args.routing_key
        );
    }
    output::line(format!("published to exchange {}", args.exchange))
}

fn read_input() -> Result<Vec<u8>> {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
    Ok(body)
}

impl Args {
    fn all_properties(&self) -> Map<String, Value> {
        let mut all = arguments::object(&self.properties);
        // Text properties that look like numbers are texts all the same.
        for (name, value) in &mut all {
            if !matches!(name.as_str(), "priority" | "timestamp" | "delivery_mode") && !value.is_string() {
                *value = json!(value.to_string());
            }
        }
        all.insert("delivery_mode".to_owned(), json!(if self.transient { 1 } else { 2 }));
        if let Some(content_type) = &self.content_type {
            all.insert("content_type".to_owned(), json!(content_type));
        }
        if !self.headers.is_empty() {
            all.insert("headers".to_owned(), Value::Object(arguments::object(&self.headers)));
        }
        all
    }
}
