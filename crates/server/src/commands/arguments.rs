//! Arguments of queues, exchanges and bindings, as they are written on a command line.

use serde_json::{Map, Value};

/// An argument as `NAME=VALUE`. A value that is JSON is taken as such, anything else as text.
pub(crate) fn parse(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((name.trim().to_owned(), value))
        }
        _ => Err(format!("\"{text}\" is not an argument; write x-max-length=1000")),
    }
}

/// All of them together.
pub(crate) fn object(arguments: &[(String, Value)]) -> Map<String, Value> {
    arguments.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn numbers_are_numbers_and_words_are_words() {
        assert_eq!(parse("x-max-length=5"), Ok(("x-max-length".to_owned(), json!(5))));
        assert_eq!(parse("format=pdf"), Ok(("format".to_owned(), json!("pdf"))));
        assert_eq!(parse("code=\"5\""), Ok(("code".to_owned(), json!("5"))));
        assert_eq!(parse("a="), Ok(("a".to_owned(), json!(""))));
        assert!(parse("x-max-length").unwrap_err().contains("\"x-max-length\""));
    }
}
