//! What whoever declares an exchange or a queue has to be allowed beside configuring it: what its arguments lead to.
//!
//! Each front-end asks for the same, so that none of them is a way around what another one refuses. The arguments are those that
//! [`super::arguments`] reads.
//!
//! Source: RabbitMQ's documentation of access control (`alternate-exchange`, `x-dead-letter-exchange`).

use super::arguments::type_name;
use super::{Headers, Text, Value};
use crate::access::Right;

/// A right to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The right.
    pub right: Right,
    /// What it is a right to.
    pub object: Object,
    /// The name of that.
    pub name: Text,
}

/// What a name is the name of. Topics are named as exchanges here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A queue.
    Queue,
    /// An exchange, or a topic that an exchange is joined to.
    Exchange,
}

/// An argument that has to name something, and is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid type '{kind}' for arg '{argument}'")]
pub struct NotText {
    /// The argument.
    pub argument: &'static str,
    /// What RabbitMQ calls its type.
    pub kind: &'static str,
}

/// What the arguments of an exchange need: reading it and writing to its alternate exchange; writing to the topic that gets
/// what passes it; reading the topic whose records pass it.
///
/// # Errors
/// [`NotText`] if the alternate exchange is none.
pub fn exchange_needs(exchange: &Text, arguments: &Headers) -> Result<Vec<Need>, NotText> {
    let mut needs = led_to(Object::Exchange, exchange, arguments, "alternate-exchange")?;
    for (argument, right) in [("x-annals-topic", Right::Write), ("x-annals-source-topic", Right::Read)] {
        let topics = values(arguments, argument).filter_map(Value::as_text);
        needs.extend(topics.map(|topic| Need { right, object: Object::Exchange, name: topic.clone() }));
    }
    Ok(needs)
}

/// What the arguments of a queue need: reading it and writing to its dead-letter exchange.
///
/// # Errors
/// [`NotText`] if that is none.
pub fn queue_needs(queue: &Text, arguments: &Headers) -> Result<Vec<Need>, NotText> {
    led_to(Object::Queue, queue, arguments, "x-dead-letter-exchange")
}

/// Messages are taken from one to the exchange that an argument names.
fn led_to(
    object: Object,
    from: &Text,
    arguments: &Headers,
    argument: &'static str,
) -> Result<Vec<Need>, NotText> {
    let mut needs = Vec::new();
    for value in values(arguments, argument) {
        let to = value.as_text().ok_or_else(|| NotText { argument, kind: type_name(value) })?;
        needs.push(Need { right: Right::Read, object, name: from.clone() });
        needs.push(Need { right: Right::Write, object: Object::Exchange, name: to.clone() });
    }
    Ok(needs)
}

/// All values of an argument: who gives it twice needs the rights to both.
fn values<'a>(arguments: &'a Headers, argument: &'a str) -> impl Iterator<Item = &'a Value> {
    arguments.iter().filter(move |(name, _)| name == argument).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(needs: Result<Vec<Need>, NotText>) -> Vec<(Right, Object, String)> {
        let needs = needs.expect("texts").into_iter();
        needs.map(|need| (need.right, need.object, need.name.to_string())).collect()
    }

    #[test]
    fn what_arguments_lead_to_has_to_be_allowed() {
        let arguments = [
            ("alternate-exchange", Value::from("other")),
            ("x-annals-topic", Value::from("out")),
            ("x-annals-source-topic", Value::from("in")),
        ];
        let expected = [
            (Right::Read, Object::Exchange, "x".to_owned()),
            (Right::Write, Object::Exchange, "other".to_owned()),
            (Right::Write, Object::Exchange, "out".to_owned()),
            (Right::Read, Object::Exchange, "in".to_owned()),
        ];
        assert_eq!(needed(exchange_needs(&"x".into(), &arguments.into_iter().collect())), expected);
        let twice = [("x-dead-letter-exchange", Value::from("a")), ("x-dead-letter-exchange", "b".into())];
        let expected = [
            (Right::Read, Object::Queue, "q".to_owned()),
            (Right::Write, Object::Exchange, "a".to_owned()),
            (Right::Read, Object::Queue, "q".to_owned()),
            (Right::Write, Object::Exchange, "b".to_owned()),
        ];
        assert_eq!(needed(queue_needs(&"q".into(), &twice.into_iter().collect())), expected);
        let wrong = [("alternate-exchange", Value::I32(1))].into_iter().collect();
        let error = exchange_needs(&"x".into(), &wrong).expect_err("no text").to_string();
        assert_eq!(error, "invalid type 'signedint' for arg 'alternate-exchange'");
    }
}
