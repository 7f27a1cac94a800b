//! A regular expression over names. The one that matches everything, which almost all users have, costs nothing.

use std::str::FromStr;

use regex_lite::Regex;

/// A regular expression over the names of exchanges and queues.
///
/// It may match anywhere in a name, as in RabbitMQ: `^orders$` is that name alone. The empty expression matches nothing but
/// the empty name.
///
/// ```
/// use annals_broker::access::Pattern;
///
/// let pattern: Pattern = "^orders".parse()?;
/// assert!(pattern.matches("orders.new") && !pattern.matches("old.orders"));
/// assert!(!"".parse::<Pattern>()?.matches("orders"));
/// # Ok::<(), annals_broker::access::PatternError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern(Option<Regex>);

/// A text that is no regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text:?} is not a regular expression")]
pub struct PatternError {
    text: String,
    source: regex_lite::Error,
}

impl Pattern {
    /// Matches every name.
    pub fn everything() -> Self {
        Self(None)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or(".*", Regex::as_str)
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|expression| expression.is_match(name))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == ".*" {
            return Ok(Self::everything());
        }
        let expression = Regex::new(if text.is_empty() { "^$" } else { text });
        expression
            .map(|expression| Self(Some(expression)))
            .map_err(|source| PatternError { text: text.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_is_named() {
        let error = "a(".parse::<Pattern>().expect_err("no expression");
        assert_eq!(error.to_string(), "\"a(\" is not a regular expression");
    }
}
