//! From a line of input to key, headers and value.
//!
//! A line is `[headers TAB] [key SEPARATOR] value`, or with `--json` one JSON object. Parsing borrows from
//! the line.

use std::borrow::Cow;

use serde_json::Value;

/// How lines are read.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct LineArgs {
    /// Split each line at the first SEP into key and value (\t stands for a tab)
    #[arg(short = 'K', long, value_name = "SEP", value_parser = parse_separator)]
    pub(crate) key_separator: Option<String>,

    /// Each line begins with headers, "name=value,name=value", and a tab
    #[arg(long)]
    pub(crate) headers: bool,

    /// Put this header on every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    pub(crate) fixed_headers: Vec<(String, String)>,

    /// Each line is a JSON object; anything else is an error
    #[arg(long)]
    pub(crate) json: bool,

    /// Take the key from this field of the JSON object; dots go into objects: customer.id
    #[arg(long, value_name = "PATH", requires = "json")]
    pub(crate) key_field: Option<String>,

    /// A value of this text is sent as null: a tombstone, which deletes its key from a compacted topic
    #[arg(long, value_name = "TEXT")]
    pub(crate) null_value: Option<String>,
}

/// A line, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) headers: Vec<(&'a str, &'a [u8])>,
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) value: Option<&'a [u8]>,
}

/// Takes a line apart. The error says what is wrong with it, without its number.
pub(crate) fn parse<'a>(line: &'a [u8], options: &LineArgs) -> Result<Line<'a>, String> {
    let (headers, rest) = if options.headers { split_headers(line)? } else { (Vec::new(), line) };
    if options.json {
        return parse_json(rest, headers, options);
    }
    let (key, value) = match &options.key_separator {
        Some(separator) => split_key(rest, separator)?,
        None => (None, rest),
    };
    Ok(Line { headers, key: key.map(Cow::Borrowed), value: unless_null(value, options) })
}

fn unless_null<'a>(value: &'a [u8], options: &LineArgs) -> Option<&'a [u8]> {
    let is_null = options.null_value.as_ref().is_some_and(|null| null.as_bytes() == value);
    (!is_null).then_some(value)
}

fn split_key<'a>(line: &'a [u8], separator: &str) -> Result<(Option<&'a [u8]>, &'a [u8]), String> {
    let separator = separator.as_bytes();
    let at = line.windows(separator.len()).position(|window| window == separator);
    let at = at.ok_or_else(|| format!("no key separator {:?} in it", String::from_utf8_lossy(separator)))?;
    Ok((Some(&line[..at]), &line[at + separator.len()..]))
}

type Headers<'a> = Vec<(&'a str, &'a [u8])>;

fn split_headers(line: &[u8]) -> Result<(Headers<'_>, &[u8]), String> {
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or("no tab behind the headers")?;
    let text = std::str::from_utf8(&line[..tab]).map_err(|_| "its headers are not UTF-8")?;
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let headers = pairs.map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value.as_bytes())),
        _ => Err(format!("\"{pair}\" is not a header; write name=value")),
    });
    Ok((headers.collect::<Result<_, _>>()?, &line[tab + 1..]))
}

fn parse_json<'a>(line: &'a [u8], headers: Headers<'a>, options: &LineArgs) -> Result<Line<'a>, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
    if !value.is_object() {
        return Err(format!("not a JSON object but {}", kind(&value)));
    }
    let key = match &options.key_field {
        Some(path) => Some(Cow::Owned(key_at(&value, path)?)),
        None => None,
    };
    Ok(Line { headers, key, value: unless_null(line, options) })
}

/// The key at a dotted path: text as it is, everything else as JSON.
fn key_at(value: &Value, path: &str) -> Result<Vec<u8>, String> {
    let field = path.split('.').try_fold(value, |value, name| value.get(name));
    match field {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(Value::Null) | None => Err(format!("it has no field \"{path}\" for the key")),
        Some(other) => Ok(other.to_string().into_bytes()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn parse_separator(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the separator is empty".to_owned()),
        "\\t" => Ok("\t".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not a header; write name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::{LineArgs, parse};

    fn key_and_value(line: &str, options: &LineArgs) -> Result<(Option<String>, Option<String>), String> {
        let line = parse(line.as_bytes(), options)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((line.key.map(|key| text(&key)), line.value.map(text)))
    }

    fn json(key_field: Option<&str>) -> LineArgs {
        LineArgs { json: true, key_field: key_field.map(str::to_owned), ..LineArgs::default() }
    }

    #[test]
    fn a_plain_line_is_the_value() {
        assert_eq!(key_and_value("a:b", &LineArgs::default()), Ok((None, Some("a:b".into()))));
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let options = LineArgs {
            key_separator: Some(":".into()),
            null_value: Some("NULL".into()),
            ..LineArgs::default()
        };
        assert_eq!(key_and_value("k:v:w", &options), Ok((Some("k".into()), Some("v:w".into()))));
        assert_eq!(key_and_value("k:NULL", &options), Ok((Some("k".into()), None)));
        assert_eq!(key_and_value(":v", &options), Ok((Some(String::new()), Some("v".into()))));
        assert!(key_and_value("no separator", &options).unwrap_err().contains("\":\""));
    }

    #[test]
    fn headers_stand_before_the_tab() {
        let options = LineArgs { headers: true, ..LineArgs::default() };
        let line = parse(b"a=1,b=2=3\tvalue", &options).unwrap();
        assert_eq!(line.headers, vec![("a", &b"1"[..]), ("b", &b"2=3"[..])]);
        assert_eq!(line.value, Some(&b"value"[..]));
        assert!(parse(b"value", &options).unwrap_err().contains("tab"));
        assert!(parse(b"oops\tvalue", &options).unwrap_err().contains("\"oops\""));
    }

    #[test]
    fn json_lines_are_objects_with_a_key_inside() {
        let line = r#"{"customer":{"id":"c7"},"n":12}"#;
        assert_eq!(
            key_and_value(line, &json(Some("customer.id"))),
            Ok((Some("c7".into()), Some(line.into())))
        );
        assert_eq!(key_and_value(line, &json(Some("n"))), Ok((Some("12".into()), Some(line.into()))));
        assert!(key_and_value(line, &json(Some("customer.name"))).unwrap_err().contains("customer.name"));
        assert!(key_and_value("[1]", &json(None)).unwrap_err().contains("an array"));
        assert!(key_and_value("{\"a\":", &json(None)).unwrap_err().contains("not JSON"));
    }
}
