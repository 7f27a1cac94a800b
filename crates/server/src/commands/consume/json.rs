//! Records as JSON lines.
//!
//! Keys, values and headers are bytes in Kafka. What is UTF-8 becomes a JSON string; what is not becomes an
//! object
//! `{"base64": "..."}`, so that nothing is lost and nothing is mistaken.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::Message;
use rdkafka::message::Headers;
use serde::{Serialize, Serializer};

use crate::moment;

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    time: Option<String>,
    key: Option<Bytes<'a>>,
    value: Option<Bytes<'a>>,
    headers: Vec<HeaderLine<'a>>,
}

/// Headers are a list: a name may come twice, and the order counts.
#[derive(Serialize)]
struct HeaderLine<'a> {
    name: &'a str,
    value: Option<Bytes<'a>>,
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", STANDARD.encode(self.0))]),
        }
    }
}

/// Writes one record and a newline.
pub(crate) fn write(message: &impl Message, out: &mut impl Write) -> io::Result<()> {
    let timestamp = message.timestamp().to_millis();
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let line = Line {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp,
        time: timestamp.map(moment::format),
        key: message.key().map(Bytes),
        value: message.payload().map(Bytes),
        headers: headers.map(|h| HeaderLine { name: h.key, value: h.value.map(Bytes) }).collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use serde_json::{Value, json};

    fn line(key: Option<&[u8]>, value: Option<&[u8]>) -> Value {
        let headers = OwnedHeaders::new().insert(Header { key: "ce_id", value: Some("7") });
        let time = Timestamp::CreateTime(1_767_268_800_007);
        let (value, key) = (value.map(<[u8]>::to_vec), key.map(<[u8]>::to_vec));
        let message = OwnedMessage::new(value, key, "orders".into(), time, 3, 42, Some(headers));
        let mut out = Vec::new();
        super::write(&message, &mut out).unwrap();
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn text_stays_text_and_bytes_become_base64() {
        let expected = json!({
            "topic": "orders", "partition": 3, "offset": 42,
            "timestamp": 1_767_268_800_007_i64, "time": "2026-01-01T12:00:00.007Z",
            "key": "k\"1", "value": {"base64": "/wA="}, "headers": [{"name": "ce_id", "value": "7"}],
        });
        assert_eq!(line(Some(b"k\"1"), Some(&[0xff, 0])), expected);
    }

    #[test]
    fn null_is_not_empty() {
        let line = line(None, Some(b""));
        assert_eq!((&line["key"], &line["value"]), (&Value::Null, &json!("")));
    }
}
