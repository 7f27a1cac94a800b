//! Messages as records of topics, and records as messages.
//!
//! What goes through an exchange into a topic, or into a queue that is a stream, is a record that any Kafka client understands: the
//! body is the value, the routing key the key (or the event's `partitionkey`, if it has one), properties and headers are
//! headers of the record in plain text. One more header, `annals`, holds the message as it was, so that it comes back to AMQP
//! clients without loss. What Kafka clients write has no such header and becomes a message by the same names.
//!
//! CloudEvents keep their attributes both ways, by the bindings for Kafka (`ce_type`) and AMQP (`cloudEvents:type`), with
//! `content-type` for `datacontenttype` in both. The routing key of an event is its type, that of any other record its key.

use std::borrow::Cow;

use annals_event::{amqp, kafka};
use annals_queues::{Headers, Message, Properties, Text, Value, envelope};
use annals_topics::batch::{NewRecord, Record, RecordHeader};
use bytes::Bytes;

use super::batch::{ENVELOPE, Encoded};

/// The header that holds the routing key, where the record's key is another.
const ROUTING_KEY: &str = "annals-routing-key";
/// The header that says how often a record came out of a topic and went into another.
const HOPS: &str = "annals-hops";
/// Records that went from topic to topic more often go in circles.
pub(super) const HOPS_MAX: u32 = 16;

const CONTENT_TYPE: &str = "content-type";
const CONTENT_ENCODING: &str = "content-encoding";
const MESSAGE_ID: &str = "message-id";
const CORRELATION_ID: &str = "correlation-id";
const REPLY_TO: &str = "reply-to";
/// The longest routing key that AMQP 0-9-1 can write.
const ROUTING_KEY_LEN_MAX: usize = 255;

/// One record to be written, with what it is made of.
pub(super) struct TopicRecord {
    pub(super) key: Option<Bytes>,
    value: Bytes,
    headers: Vec<(String, Option<Bytes>)>,
    timestamp_ms: i64,
}

impl TopicRecord {
    /// A message as a record. A topic that is compacted needs a key.
    pub(super) fn new(encoded: &Encoded, hops: u32, needs_key: bool) -> Self {
        let message = &encoded.message;
        let mut headers = Vec::new();
        if let Some(properties) = &message.properties {
            put_properties(&mut headers, properties);
            properties.headers.iter().for_each(|(name, value)| put_header(&mut headers, name, value));
        }
        let routing_key = message.routing_key.bytes();
        let own_key = headers.iter().rev().find(|(name, _)| name == "ce_partitionkey");
        let own_key = own_key.and_then(|(_, value)| value.clone());
        if own_key.as_ref().is_some_and(|key| key != routing_key) {
            headers.push((ROUTING_KEY.to_owned(), Some(routing_key.clone())));
        }
        if hops > 0 {
            headers.push((HOPS.to_owned(), Some(hops.to_string().into())));
        }
        headers.push((ENVELOPE.to_owned(), Some(encoded.envelope.clone())));
        let key = own_key.or_else(|| (needs_key || !routing_key.is_empty()).then(|| routing_key.clone()));
        Self { key, value: message.body.clone(), headers, timestamp_ms: message.published_ms }
    }

    /// About the bytes that it takes, and not less.
    pub(super) fn len_max(&self) -> usize {
        let header =
            |(name, value): &(String, Option<Bytes>)| 12 + name.len() + value.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(header).sum();
        40 + self.key.as_ref().map_or(0, Bytes::len) + self.value.len() + headers
    }

    pub(super) fn with<T>(&self, use_it: impl FnOnce(&NewRecord<'_>) -> T) -> T {
        let headers: Vec<(&str, Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        use_it(&NewRecord {
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: Some(&self.value),
            headers: &headers,
        })
    }
}

fn put_properties(headers: &mut Vec<(String, Option<Bytes>)>, properties: &Properties) {
    let texts = [
        (CONTENT_TYPE, &properties.content_type),
        (CONTENT_ENCODING, &properties.content_encoding),
        (MESSAGE_ID, &properties.message_id),
        (CORRELATION_ID, &properties.correlation_id),
        (REPLY_TO, &properties.reply_to),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            headers.push((name.to_owned(), Some(text.bytes().clone())));
        }
    }
}

fn put_header(headers: &mut Vec<(String, Option<Bytes>)>, name: &Text, value: &Value) {
    // Others are in the envelope only.
    let Ok(name) = std::str::from_utf8(name.as_bytes()) else { return };
    let name = match amqp::attribute(name) {
        Some(attribute) => kafka::header(attribute),
        None if name.starts_with("annals") => return,
        None => name.to_owned(),
    };
    headers.push((name, plain(value)));
}

/// A value as people and other programs read it.
fn plain(value: &Value) -> Option<Bytes> {
    Some(match value {
        Value::Null => return None,
        Value::Text(text) => text.bytes().clone(),
        Value::Binary(bytes) => bytes.clone(),
        other => json(other).to_string().into(),
    })
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::F32(number) => (*number).into(),
        Value::F64(number) => (*number).into(),
        Value::Decimal { scale, unscaled } => (f64::from(*unscaled) / 10_f64.powi(i32::from(*scale))).into(),
        Value::U64(number) | Value::Timestamp(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Table(headers) => {
            let field = |(name, value): &(Text, Value)| (name.to_string(), json(value));
            serde_json::Value::Object(headers.iter().map(field).collect())
        }
        number => number.as_i64().into(),
    }
}

/// How often a record came out of a topic and went into another.
pub(super) fn hops(record: &Record) -> u32 {
    let hops = last(record, HOPS).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    hops.unwrap_or(0)
}

fn last<'a>(record: &'a Record, name: &str) -> Option<&'a Bytes> {
    record.headers.iter().rev().find(|header| header.key == name.as_bytes())?.value.as_ref()
}

/// A record as a message. One that came from an exchange is what it was.
pub(super) fn message_of(record: &Record) -> Message {
    let body = record.value.clone().unwrap_or_default();
    if let Some(stored) = last(record, ENVELOPE) {
        let key = last(record, ROUTING_KEY).or(record.key.as_ref()).cloned().unwrap_or_default();
        // A header of this name that is something else is somebody's own.
        if let Ok(message) = envelope::decode(stored.clone(), key, body.clone(), record.timestamp_ms) {
            return message;
        }
    }
    Message {
        routing_key: routing_key(record),
        properties: Some(Box::new(properties(record))),
        body,
        persistent: true,
        published_ms: record.timestamp_ms,
        group: record.key.clone().map(Text::from),
        ..Message::default()
    }
}

fn routing_key(record: &Record) -> Text {
    let is_there = |attribute: &str| last(record, &kafka::header(attribute));
    let required = ["specversion", "id", "source"].into_iter().all(|name| is_there(name).is_some());
    let kind = is_there("type").filter(|_| required);
    let key = kind.or(record.key.as_ref()).filter(|key| key.len() <= ROUTING_KEY_LEN_MAX);
    key.cloned().unwrap_or_default().into()
}

fn properties(record: &Record) -> Properties {
    let mut properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    properties.timestamp = u64::try_from(record.timestamp_ms).ok().map(|ms| ms / 1000);
    let mut headers = Headers::new();
    for RecordHeader { key, value } in &record.headers {
        let name = String::from_utf8_lossy(key);
        let text = value.clone().map(Text::from);
        match &*name {
            CONTENT_TYPE => properties.content_type = text.filter(fits),
            CONTENT_ENCODING => properties.content_encoding = text.filter(fits),
            MESSAGE_ID => properties.message_id = text.filter(fits),
            CORRELATION_ID => properties.correlation_id = text.filter(fits),
            REPLY_TO => properties.reply_to = text.filter(fits),
            name if name.len() > 255 => {}
            name => {
                let name = kafka::attribute(name).map_or(Cow::Borrowed(name), |of| amqp::property(of).into());
                headers.push(&*name, text.map_or(Value::Null, Value::Text));
            }
        }
    }
    properties.headers = headers;
    properties
}

/// Whether AMQP 0-9-1 can write it as a property.
fn fits(text: &Text) -> bool {
    text.len() <= 255
}

/// The partition that Kafka's clients choose for a key (`BuiltInPartitioner.partitionForKey`: murmur2).
pub(super) fn partition_for(key: &[u8], count: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % count.max(1)
}

/// As `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_topics::batch::{BatchBuilder, BatchOptions, ExpandLimits};

    use super::*;

    fn record(write: impl FnOnce(&mut BatchBuilder)) -> Record {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        write(&mut builder);
        let batch = builder.build().unwrap();
        batch.records(&ExpandLimits::default()).unwrap().next().unwrap().unwrap()
    }

    fn stored(message: &Message) -> Record {
        let encoded = Encoded::new(Arc::new(message.clone()));
        record(|builder| TopicRecord::new(&encoded, 0, false).with(|record| builder.push(record).unwrap()))
    }

    fn text<'a>(record: &'a Record, name: &str) -> &'a str {
        std::str::from_utf8(last(record, name).unwrap()).unwrap()
    }

    /// From Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn keys_are_hashed_as_kafka_hashes_them() {
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_and_is_plain_to_others() {
        let headers: Headers = [
            ("cloudEvents:type", Value::from("com.example.placed")),
            ("cloudEvents_partitionkey", Value::from("customer-7")),
            ("count", Value::I32(3)),
            ("flags", Value::List(vec![Value::Bool(true), Value::Null])),
            ("nothing", Value::Null),
        ]
        .into_iter()
        .collect();
        let properties = Properties {
            content_type: Some("application/json".into()),
            correlation_id: Some("c-1".into()),
            headers,
            ..Properties::default()
        };
        let message = Message {
            exchange: "orders".into(),
            routing_key: "orders.eu".into(),
            properties: Some(Box::new(properties)),
            body: "{}".into(),
            persistent: true,
            priority: 4,
            published_ms: 1_700_000_000_000,
            ..Message::default()
        };
        let record = stored(&message);
        assert_eq!(message_of(&record), message);
        assert_eq!(
            (record.key.as_deref(), record.value.as_deref()),
            (Some(&b"customer-7"[..]), Some(&b"{}"[..]))
        );
        assert_eq!(text(&record, "ce_type"), "com.example.placed");
        assert_eq!(text(&record, "content-type"), "application/json");
        assert_eq!(text(&record, "correlation-id"), "c-1");
        assert_eq!((text(&record, "count"), text(&record, "flags")), ("3", "[true,null]"));
        assert_eq!(last(&record, "nothing"), None);
    }

    #[test]
    fn an_event_of_a_kafka_client_is_one_for_amqp_clients_and_back() {
        let event = annals_event::Event::builder("/shop", "com.example.paid")
            .subject("order-1")
            .json(&serde_json::json!(1));
        let event = event.build(&annals_clock::Clock::manual(0, 1).0).unwrap();
        let sent = kafka::encode(&event);
        let headers: Vec<(&str, Option<&[u8]>)> =
            sent.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref())).collect();
        let new = NewRecord {
            key: Some(b"order-1"),
            value: sent.value.as_deref(),
            headers: &headers,
            ..NewRecord::at(5000)
        };
        let message = message_of(&record(|builder| builder.push(&new).unwrap()));
        assert_eq!(
            (message.routing_key.clone(), message.group.clone()),
            ("com.example.paid".into(), Some("order-1".into()))
        );
        let properties = message.properties.clone().unwrap();
        assert_eq!(
            (properties.content_type, properties.timestamp),
            (Some("application/json".into()), Some(5))
        );
        assert_eq!(properties.headers.get("cloudEvents:subject"), Some(&Value::from("order-1")));
        // Through an exchange into another topic it is the same event.
        let again = stored(&message);
        let header = |header: &RecordHeader| kafka::Header {
            name: String::from_utf8(header.key.to_vec()).unwrap(),
            value: header.value.clone(),
        };
        let read = kafka::Message {
            key: again.key.clone(),
            headers: again.headers.iter().map(header).collect(),
            value: again.value.clone(),
        };
        assert_eq!(kafka::decode(&read).unwrap(), event);
    }

    #[test]
    fn a_header_that_only_looks_like_ours_is_somebodys_own() {
        let headers: [(&str, Option<&[u8]>); 2] = [("annals", Some(b"\xff\xff")), ("k", None)];
        let new = NewRecord { key: Some(b"k"), headers: &headers, ..NewRecord::at(0) };
        let message = message_of(&record(|builder| builder.push(&new).unwrap()));
        assert_eq!((message.routing_key, message.body), ("k".into(), Bytes::new()));
        assert_eq!(message.properties.unwrap().headers.get("k"), Some(&Value::Null));
    }
}
