//! Which queues get dead letters, and whose.
//!
//! A queue says to which exchange its dead letters go. From there bindings lead on, perhaps over more exchanges. With the
//! default exchange, the key is the name of the queue; where none is set, it is the message's own and could be any.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::management::{Binding, Queue};

/// The queues that get dead letters, each with the queues that these come from.
pub(super) fn dead_letter_queues(
    queues: &[Queue],
    bindings: &[Binding],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let is_there = |name: &str| queues.iter().any(|queue| queue.name == name);
    for queue in queues {
        let argument = |name: &str| queue.arguments.get(name).and_then(|value| value.as_str());
        let Some(exchange) = argument("x-dead-letter-exchange") else { continue };
        let targets = match (exchange, argument("x-dead-letter-routing-key")) {
            ("", Some(key)) => BTreeSet::from([key.to_owned()]),
            ("", None) => BTreeSet::new(),
            (exchange, _) => reachable(exchange, bindings),
        };
        for target in targets.into_iter().filter(|target| is_there(target)) {
            found.entry(target).or_default().insert(queue.name.clone());
        }
    }
    found
}

/// The queues that bindings of an exchange lead to, whatever the key.
fn reachable(exchange: &str, bindings: &[Binding]) -> BTreeSet<String> {
    let (mut queues, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![exchange.to_owned()]);
    while let Some(exchange) = open.pop() {
        if !seen.insert(exchange.clone()) {
            continue;
        }
        for binding in bindings.iter().filter(|binding| binding.source == exchange) {
            match binding.destination_type.as_str() {
                "queue" => drop(queues.insert(binding.destination.clone())),
                _ => open.push(binding.destination.clone()),
            }
        }
    }
    queues
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn queue(name: &str, arguments: &Value) -> Queue {
        serde_json::from_value(json!({
            "name": name, "type": "classic", "durable": true, "auto_delete": false, "exclusive": false,
            "arguments": arguments, "messages_ready": 0, "messages_unacknowledged": 0, "consumers": 0,
        }))
        .unwrap()
    }

    fn binding(source: &str, kind: &str, destination: &str) -> Binding {
        serde_json::from_value(json!({
            "source": source, "destination": destination, "destination_type": kind, "routing_key": "",
            "arguments": {}, "properties_key": "~",
        }))
        .unwrap()
    }

    #[test]
    fn dead_letters_are_followed_through_exchanges() {
        let queues = [
            queue("billing", &json!({"x-dead-letter-exchange": "dead"})),
            queue("shipping", &json!({"x-dead-letter-exchange": "dead"})),
            queue("mail", &json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "mail.dead"})),
            queue("anywhere", &json!({"x-dead-letter-exchange": ""})),
            queue("graveyard", &json!({})),
            queue("mail.dead", &json!({})),
            queue("unrelated", &json!({})),
        ];
        let bindings = [
            binding("dead", "exchange", "deeper"),
            binding("deeper", "exchange", "dead"),
            binding("deeper", "queue", "graveyard"),
            binding("other", "queue", "unrelated"),
        ];
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let expected = BTreeMap::from([
            ("graveyard".to_owned(), names(&["billing", "shipping"])),
            ("mail.dead".to_owned(), names(&["mail"])),
        ]);
        assert_eq!(dead_letter_queues(&queues, &bindings), expected);
    }
}
