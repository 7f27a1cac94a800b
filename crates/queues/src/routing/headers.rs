//! The headers exchange: the binding's arguments are compared with the message's headers.
//!
//! `x-match` says how: `all` (the default) and `any` leave out arguments whose names begin with `x-`, `all-with-x` and
//! `any-with-x` only `x-match` itself. An argument without a value asks that the header is there. Whole numbers are equal
//! if their values are, whatever their width. Every binding is looked at, so the cost grows with their number.

use super::{Binding, Target};
use crate::{Headers, Text, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct HeadersRouter(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    target: Target,
    routing_key: Text,
    arguments: Headers,
    any: bool,
    wanted: Vec<(Text, Value)>,
}

impl HeadersRouter {
    pub(crate) fn bind(&mut self, binding: &Binding, target: Target) {
        self.0.push(Rule::new(binding, target));
    }

    pub(crate) fn unbind(&mut self, binding: &Binding, target: &Target) {
        let same = |rule: &Rule| {
            rule.target == *target
                && rule.routing_key == binding.routing_key
                && rule.arguments == binding.arguments
        };
        if let Some(place) = self.0.iter().position(same) {
            self.0.swap_remove(place);
        }
    }

    pub(crate) fn route<'a>(&'a self, headers: Option<&Headers>, found: &mut impl FnMut(&'a Target)) {
        let none = Headers::new();
        let headers = headers.unwrap_or(&none);
        for rule in self.0.iter().filter(|rule| rule.matches(headers)) {
            found(&rule.target);
        }
    }
}

impl Rule {
    fn new(binding: &Binding, target: Target) -> Self {
        let mode = binding.arguments.get("x-match").and_then(Value::as_text);
        let mode = mode.map_or("all".into(), |mode| mode.as_str());
        let with_x = mode.ends_with("-with-x");
        let counts = |name: &Text| match name.as_bytes() {
            b"x-match" => false,
            name => with_x || !name.starts_with(b"x-"),
        };
        let wanted = binding.arguments.iter().filter(|(name, _)| counts(name)).cloned().collect();
        Self {
            target,
            routing_key: binding.routing_key.clone(),
            arguments: binding.arguments.clone(),
            any: mode.starts_with("any"),
            wanted,
        }
    }

    fn matches(&self, headers: &Headers) -> bool {
        let is_there = |(name, value): &(Text, Value)| {
            let with_name = headers.iter().filter(|(found, _)| found == name);
            with_name.into_iter().any(|(_, found)| *value == Value::Null || is_equal(value, found))
        };
        if self.any { self.wanted.iter().any(is_there) } else { self.wanted.iter().all(is_there) }
    }
}

fn is_equal(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Text(text), Value::Binary(bytes)) | (Value::Binary(bytes), Value::Text(text)) => {
            text.bytes() == bytes
        }
        (Value::F32(a), Value::F64(b)) | (Value::F64(b), Value::F32(a)) => f64::from(*a) == *b,
        _ => wanted == found || wanted.as_i64().is_some_and(|number| found.as_i64() == Some(number)),
    }
}
