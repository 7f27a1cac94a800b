//! `annals queue list`

use anyhow::Result;

use crate::client::management::{Management, Queue};
use crate::human;
use crate::output::{self, Align, Columns, Format, FormatArgs};

const EXAMPLES: &str = "\
Examples:
  annals queue list
  annals queue list --vhost shop -o json | jq -r '.[] | select(.messages_ready > 1000) | .name'";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    output: FormatArgs,
}

/// Lists the queues.
pub(crate) fn run(management: &Management, args: &Args) -> Result<()> {
    let queues = management.queues()?;
    match args.output.format {
        Format::Json => output::json(&queues),
        Format::Table => table(&queues).print(),
    }
}

/// Queues, one a row.
pub(crate) fn table(queues: &[Queue]) -> Columns {
    let headings = [
        ("queue", Align::Left),
        ("type", Align::Left),
        ("features", Align::Left),
        ("ready", Align::Right),
        ("unacked", Align::Right),
        ("consumers", Align::Right),
    ];
    let mut table = Columns::new(&headings);
    for queue in queues {
        table.row([
            queue.name.clone(),
            queue.kind.clone(),
            features(queue),
            human::count(queue.messages_ready),
            human::count(queue.messages_unacknowledged),
            queue.consumers.to_string(),
        ]);
    }
    table
}

/// What makes the queue special, in a few words.
fn features(queue: &Queue) -> String {
    let mut words: Vec<String> = Vec::new();
    let flags =
        [(queue.exclusive, "exclusive"), (!queue.durable, "transient"), (queue.auto_delete, "auto-delete")];
    words.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned()));
    let arguments = queue.arguments.iter().filter(|(name, _)| *name != "x-queue-type");
    words.extend(arguments.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{}={value}", name.strip_prefix("x-").unwrap_or(name))
    }));
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Queue, features};

    #[test]
    fn what_is_special_is_told() {
        let queue = |more: serde_json::Value| -> Queue {
            let mut queue = json!({
                "name": "q", "type": "classic", "durable": true, "auto_delete": false, "exclusive": false,
                "arguments": {}, "messages_ready": 0, "messages_unacknowledged": 0, "consumers": 0,
            });
            queue.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(queue).unwrap()
        };
        assert_eq!(features(&queue(json!({}))), "-");
        let special = json!({
            "durable": false, "auto_delete": true,
            "arguments": {"x-queue-type": "classic", "x-max-length": 5, "x-overflow": "reject-publish"},
        });
        assert_eq!(features(&queue(special)), "transient auto-delete max-length=5 overflow=reject-publish");
    }
}
