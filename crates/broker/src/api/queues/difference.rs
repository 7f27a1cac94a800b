//! What differs between something that is there and a declaration of it, in RabbitMQ's words.
//!
//! Arguments are compared by value: the width of a number does not matter.

use std::fmt;

use super::arguments::{COMPARED, DELAYED, integer_of, type_name};
use super::{ExchangeDefinition, Headers, QueueDefinition, Value};

/// What is declared as one thing and is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field or argument.
    pub field: &'static str,
    /// What was declared.
    pub received: String,
    /// What is there.
    pub current: String,
}

impl Difference {
    /// Says it of the queue or exchange that `named` shows.
    pub fn of(&self, named: &impl fmt::Display) -> String {
        let Self { field, received, current } = self;
        format!("inequivalent arg '{field}' for {named}: received {received} but current is {current}")
    }
}

/// A declaration of a queue, as far as it is compared.
#[derive(Clone, Copy, Debug)]
pub struct DeclaredQueue<'a> {
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// As declared.
    pub arguments: &'a Headers,
}

impl DeclaredQueue<'_> {
    /// Tells in what a queue is not what was declared.
    pub fn difference(&self, current: &QueueDefinition) -> Option<Difference> {
        field("durable", current.durable, self.durable)
            .or_else(|| field("auto_delete", current.auto_delete, self.auto_delete))
            .or_else(|| arguments(&COMPARED, &current.arguments, self.arguments))
    }
}

/// Tells in what an exchange is not what was declared.
pub fn exchange_difference(
    current: &ExchangeDefinition,
    declared: &ExchangeDefinition,
) -> Option<Difference> {
    field("type", type_of(current), type_of(declared))
        .or_else(|| field("durable", current.durable, declared.durable))
        .or_else(|| field("auto_delete", current.auto_delete, declared.auto_delete))
        .or_else(|| field("internal", current.internal, declared.internal))
        .or_else(|| {
            let compared =
                ["alternate-exchange", "x-delayed-type", "x-annals-topic", "x-annals-source-topic"];
            arguments(&compared, &current.arguments, &declared.arguments)
        })
}

/// The name of an exchange's type.
pub fn type_of(exchange: &ExchangeDefinition) -> &'static str {
    if exchange.delayed { DELAYED } else { exchange.kind.as_str() }
}

fn field<T: Copy + PartialEq + fmt::Display>(
    field: &'static str,
    current: T,
    declared: T,
) -> Option<Difference> {
    let differs = current != declared;
    let (received, current) = (format!("'{declared}'"), format!("'{current}'"));
    differs.then_some(Difference { field, received, current })
}

fn arguments(compared: &[&'static str], current: &Headers, declared: &Headers) -> Option<Difference> {
    compared.iter().find_map(|&field| match (current.get(field), declared.get(field)) {
        (None, None) => None,
        (Some(current), Some(declared)) if is_same(current, declared) => None,
        (Some(current), Some(declared)) => {
            let (received, current) = (format!("'{}'", shown(declared)), format!("'{}'", shown(current)));
            Some(Difference { field, received, current })
        }
        // A queue without a type is a classic one.
        (None, Some(declared)) if is_default(field, declared) => None,
        (Some(current), None) if is_default(field, current) => None,
        (current, declared) => {
            let told = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), with_type);
            Some(Difference { field, received: told(declared), current: told(current) })
        }
    })
}

fn is_default(argument: &str, value: &Value) -> bool {
    argument == "x-queue-type" && value.as_text().is_some_and(|kind| kind == "classic")
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (integer_of(one), integer_of(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn with_type(value: &Value) -> String {
    format!("the value '{}' of type '{}'", shown(value), type_name(value))
}

/// A value as texts show it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => integer_of(other).map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ExchangeKind, QueueId, QueueOptions};
    use super::*;

    fn told(stored: &[(&str, Value)], declared: &[(&str, Value)], durable: bool) -> Option<String> {
        let table = |entries: &[(&str, Value)]| entries.iter().cloned().collect::<Headers>();
        let current = QueueDefinition {
            id: QueueId(1),
            vhost: "/".into(),
            name: "q".into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            options: QueueOptions::default(),
            arguments: table(stored),
        };
        let arguments = table(declared);
        let declared = DeclaredQueue { durable, auto_delete: false, arguments: &arguments };
        declared.difference(&current).map(|difference| difference.of(&"queue 'q' in vhost '/'"))
    }

    #[test]
    fn what_is_the_same_is_the_same_whatever_its_width() {
        assert_eq!(told(&[("x-max-length", Value::I32(5))], &[("x-max-length", Value::I64(5))], true), None);
        assert_eq!(told(&[], &[("x-queue-type", Value::from("classic"))], true), None);
        assert_eq!(told(&[], &[("mine", Value::I32(1))], true), None, "nobody compares it");
    }

    #[test]
    fn differences_are_told_in_rabbitmqs_words() {
        let start = |field: &str| format!("inequivalent arg '{field}' for queue 'q' in vhost '/': ");
        assert_eq!(told(&[], &[], false), Some(start("durable") + "received 'false' but current is 'true'"));
        assert_eq!(
            told(&[("x-max-length", Value::I32(5))], &[("x-max-length", Value::I32(6))], true),
            Some(start("x-max-length") + "received '6' but current is '5'")
        );
        assert_eq!(
            told(&[], &[("x-message-ttl", Value::I32(9))], true),
            Some(start("x-message-ttl") + "received the value '9' of type 'signedint' but current is none")
        );
        assert_eq!(
            told(&[("x-overflow", Value::from("drop-head"))], &[], true),
            Some(
                start("x-overflow") + "received none but current is the value 'drop-head' of type 'longstr'"
            )
        );
    }

    #[test]
    fn an_exchange_of_another_type_is_told() {
        let current = ExchangeDefinition::new(ExchangeKind::Direct);
        let declared = ExchangeDefinition::new(ExchangeKind::Fanout);
        let told =
            exchange_difference(&current, &declared).map(|found| found.of(&"exchange 'x' in vhost '/'"));
        let text = "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'";
        assert_eq!(told.as_deref(), Some(text));
    }
}
