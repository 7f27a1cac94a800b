//! The format string of `annals consume -f`, in the manner of kcat.

use std::io::{self, Write};

use rdkafka::Message;
use rdkafka::message::Headers;

use crate::moment;

/// A parsed format string.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
    Timestamp,
    Date,
}

impl Template {
    /// Parses a format string: `%` before a letter is a field, `\` before a letter a control character.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '%' => match parse_field(chars.next())? {
                    Some(field) => {
                        pieces
                            .extend((!literal.is_empty()).then(|| Piece::Text(std::mem::take(&mut literal))));
                        pieces.push(Piece::Field(field));
                    }
                    None => literal.push(b'%'),
                },
                '\\' => literal.push(parse_escape(&mut chars)?),
                other => literal.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        pieces.extend((!literal.is_empty()).then_some(Piece::Text(literal)));
        Ok(Self(pieces))
    }

    /// Writes one record.
    pub(crate) fn write(&self, message: &impl Message, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text)?,
                Piece::Field(field) => write_field(*field, message, out)?,
            }
        }
        Ok(())
    }
}

/// The field of a letter; none stands for the percent sign itself.
fn parse_field(letter: Option<char>) -> Result<Option<Field>, String> {
    let field = match letter {
        Some('%') => return Ok(None),
        Some('t') => Field::Topic,
        Some('p') => Field::Partition,
        Some('o') => Field::Offset,
        Some('k') => Field::Key,
        Some('K') => Field::KeyLength,
        Some('s') => Field::Value,
        Some('S') => Field::ValueLength,
        Some('h') => Field::Headers,
        Some('T') => Field::Timestamp,
        Some('D') => Field::Date,
        Some(other) => {
            return Err(format!("unknown field \"%{other}\"; there are %t %p %o %k %K %s %S %h %T %D %%"));
        }
        None => return Err("\"%\" at the end; write \"%%\" for a percent sign".to_owned()),
    };
    Ok(Some(field))
}

fn parse_escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| format!("\"\\x{digits}\" is not a byte; write \\x1f"))
        }
        Some(other) => Err(format!("unknown escape \"\\{other}\"; there are \\n \\t \\r \\0 \\\\ \\xHH")),
        None => Err("\"\\\" at the end; write \"\\\\\" for a backslash".to_owned()),
    }
}

fn write_field(field: Field, message: &impl Message, out: &mut impl Write) -> io::Result<()> {
    // Lengths of what is null are -1, so that null and empty can be told apart.
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    match field {
        Field::Topic => out.write_all(message.topic().as_bytes()),
        Field::Partition => write!(out, "{}", message.partition()),
        Field::Offset => write!(out, "{}", message.offset()),
        Field::Key => out.write_all(message.key().unwrap_or_default()),
        Field::KeyLength => write!(out, "{}", length(message.key())),
        Field::Value => out.write_all(message.payload().unwrap_or_default()),
        Field::ValueLength => write!(out, "{}", length(message.payload())),
        Field::Headers => write_headers(message, out),
        Field::Timestamp => write!(out, "{}", message.timestamp().to_millis().unwrap_or(-1)),
        Field::Date => match message.timestamp().to_millis() {
            Some(timestamp_ms) => out.write_all(moment::format(timestamp_ms).as_bytes()),
            None => Ok(()),
        },
    }
}

/// Headers as `name=value,name=value`.
fn write_headers(message: &impl Message, out: &mut impl Write) -> io::Result<()> {
    let Some(headers) = message.headers() else { return Ok(()) };
    for (number, header) in headers.iter().enumerate() {
        if number > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{}=", header.key)?;
        out.write_all(header.value.unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::Template;

    fn formatted(template: &str) -> String {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "a", value: Some("1") })
            .insert(Header { key: "b", value: None::<&str> });
        let (value, key) = (Some(b"v\xffw".to_vec()), Some(b"k".to_vec()));
        let time = Timestamp::CreateTime(1_767_268_800_007);
        let message = OwnedMessage::new(value, key, "orders".into(), time, 3, 42, Some(headers));
        let mut out = Vec::new();
        Template::parse(template).unwrap().write(&message, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn fields_and_escapes() {
        assert_eq!(formatted(r"%t[%p] @%o %k\n"), "orders[3] @42 k\n");
        assert_eq!(formatted(r"%T %D %h"), "1767268800007 2026-01-01T12:00:00.007Z a=1,b=");
        assert_eq!(formatted(r"%K:%S 100%% \x41\t\\"), "1:3 100% A\t\\");
        assert_eq!(formatted("größe %s"), "größe v\u{fffd}w");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Template::parse("%q").unwrap_err().contains("\"%q\""));
        assert!(Template::parse("50%").unwrap_err().contains("%%"));
        assert!(Template::parse(r"\q").unwrap_err().contains(r"\q"));
        assert!(Template::parse(r"\xzz").unwrap_err().contains(r"\xzz"));
    }
}
